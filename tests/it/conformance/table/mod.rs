//! What a client may do to an HTTP server, and what it then sees (RFC 9110, 9112, 3986).
//! This folder stands for itself, so that other test programs can include it.

#![allow(dead_code, unused_imports)] // each test program uses its own part of this

mod case;
mod chunks;
mod connection;
mod expect;
mod fields;
mod host;
mod length;
mod methods;
mod pipelining;
mod play;
mod request_line;
mod wire;

pub use case::Case;
pub use play::{Via, play_all};
pub use wire::Peer;

/// All cases, by group.
pub fn groups() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("request line", request_line::cases()),
        ("methods and paths", methods::cases()),
        ("Host", host::cases()),
        ("fields", fields::cases()),
        ("Content-Length", length::cases()),
        ("chunks", chunks::cases()),
        ("Expect", expect::cases()),
        ("pipelining", pipelining::cases()),
        ("connection", connection::cases()),
    ]
}
