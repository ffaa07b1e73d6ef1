//! What all peers share: the pixel, what is right about it, and where they listen.

use std::env;

use serde::{Deserialize, Serialize};

/// Returns where a peer listens: its first argument, or port 8000 in the network that the runner gives each of them.
#[must_use]
pub fn address() -> String {
    env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into())
}

/// The body of a request. serde refuses what is out of range.
#[derive(Debug, Deserialize, Serialize)]
pub struct Pixel {
    x: i64,
    y: i64,
    channel: Channel,
    value: u8,
}

#[derive(Debug, Deserialize, Serialize)]
enum Channel {
    R,
    G,
    B,
}

/// The answer to an accepted pixel.
#[derive(Debug, Serialize)]
pub struct Accepted {
    status: &'static str,
    received: Pixel,
}

impl From<Pixel> for Accepted {
    fn from(received: Pixel) -> Self {
        Self { status: "ok", received }
    }
}

/// The body of the answer to anything else; its status is 422.
pub const REFUSED: &str = r#"{"error":"not a pixel"}"#;

/// Bytes in, the answer's body out, for peers that have no JSON of their own.
///
/// # Errors
///
/// Fails where the bytes are no pixel.
pub fn answer(body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Accepted::from(serde_json::from_slice::<Pixel>(body)?))
}
