//! The head of a request (RFC 9112 §2.1): the only code that judges its bytes, and what follows from each rule
//! that one can break.

mod fields;
mod parser;
mod rules;

use std::{net::IpAddr, ops::Range};

pub use parser::{HeadParser, Parsed, skip_empty_lines};
pub use rules::RequestRejection;

/// The versions of HTTP that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http10,
    /// HTTP/1.1, and each later minor version (RFC 9110 §2.5).
    Http11,
}

/// How the end of a body is marked (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// It has so many bytes.
    Length(usize),
    /// By its last chunk.
    Chunked,
}

/// A complete head, and what it says about its request. If it is rejected, the body is not looked at.
#[allow(clippy::struct_excessive_bools)] // a head says yes or no to many things
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head. The body begins behind them.
    pub length: usize,
    pub framing: Framing,
    /// The version of the response.
    pub version: Version,
    /// Whether the response has no body (RFC 9110 §9.3.2).
    pub is_head: bool,
    /// Whether the body is said to be JSON.
    pub is_json: bool,
    /// Whether the client sends nothing behind this request (RFC 9112 §9.3).
    pub closes: bool,
    /// Whether the client waits for a response before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Why the request is rejected.
    pub rejection: Option<RequestRejection>,
    real_ip: Option<Range<usize>>,
}

impl RequestHead {
    /// The client, as the proxy in front names it in `X-Real-IP`. `input` is what was parsed.
    pub fn real_ip(&self, input: &[u8]) -> Option<IpAddr> {
        str::from_utf8(input.get(self.real_ip.clone()?)?).ok()?.parse().ok()
    }

    /// A head that says no more about the body than how to decode it, for hyper.
    pub fn canonical(&self) -> Vec<u8> {
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
