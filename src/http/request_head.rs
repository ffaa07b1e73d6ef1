//! The heads of requests. Only this module decides whether a head is valid.
//!
//! `parser` splits a head into lines, and uses `fields` to evaluate the fields that matter. `rules` lists the rules
//! that a head can break, each with its response.

mod fields;
mod parser;
mod rules;

use std::{net::IpAddr, ops::Range};

pub use parser::{HeadParser, Parsed, skip_empty_lines};
pub use rules::RequestRejection;

/// The version of HTTP that a request has, and that its response gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http10,
    /// HTTP/1.1 or a later minor version (RFC 9110 §2.5).
    Http11,
}

/// The way in which the end of a body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The body has this number of bytes.
    Length(usize),
    /// The body ends with its last chunk.
    Chunked,
}

/// A complete head. If it is rejected and the connection stays open, its body is read and discarded.
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The length of the head in bytes. The body follows.
    pub length: usize,
    pub framing: Framing,
    pub version: Version,
    /// Whether the method is HEAD, so the response has no body (RFC 9110 §9.3.2).
    pub method_is_head: bool,
    /// Whether `content-type` is JSON.
    pub is_json: bool,
    /// Whether the client asks the server to close the connection after the response (RFC 9112 §9.3).
    pub asks_to_close: bool,
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    pub rejection: Option<RequestRejection>,
    /// The position of the value of `x-real-ip` in the input of the parser.
    real_ip: Option<Range<usize>>,
}

impl RequestHead {
    /// Returns the client's address, which the proxy sends in `x-real-ip`. `input` is the input of the parser.
    pub fn real_ip(&self, input: &[u8]) -> Option<IpAddr> {
        str::from_utf8(input.get(self.real_ip.clone()?)?).ok()?.parse().ok()
    }

    /// Returns the head that hyper gets instead of the client's. The daemon uses hyper only to read a body that is chunked,
    /// has not arrived completely with its head, or is announced with `Expect`. This head has the fields for that.
    pub fn for_hyper(&self) -> Vec<u8> {
        let framing = match self.framing {
            Framing::Length(length) => format!("content-length: {length}"),
            Framing::Chunked => "transfer-encoding: chunked".into(),
        };
        let expect = if self.expects_continue { "expect: 100-continue\r\n" } else { "" };
        format!("POST / HTTP/1.1\r\n{framing}\r\n{expect}\r\n").into()
    }
}

#[cfg(test)]
mod tests;
