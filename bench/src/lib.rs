//! What all peers share: the pixel, what is right about it, and where they listen.

use serde::{Deserialize, Serialize};

/// Where every peer listens. The runner gives each of them a network of its own.
pub const ADDRESS: &str = "127.0.0.1:8000";

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
