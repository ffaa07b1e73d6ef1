//! From the bytes of a body to an answer, as the Python application that pixeld replaces gave it
//! (pydantic's lax mode over Python's JSON).
//!
//! Nearly every body takes the short way: [`fast_decode`] reads it once and copies nothing. What it
//! does not recognise goes to [`validate`], which reads the same bytes slowly and completely, and
//! either accepts them after all or says what is wrong with each field.

mod detail;
mod fast_decode;
mod float;
mod integer;
mod json;
mod object_builder;
mod python_json;
mod response;
mod validate;

use std::borrow::Cow;

pub use detail::Detail;
pub use fast_decode::fast_decode;
pub use response::{UNREADABLE_BODY, VALUE_OUT_OF_RANGE, accepted_len, write_accepted};
pub use validate::{Rejection, reject_text, validate};

/// Reads a body that was sent as JSON, the short way where that is enough.
///
/// # Errors
/// As [`validate`].
pub fn parse(body: &[u8]) -> Result<Pixel<'_>, Rejection> {
    fast_decode(body).map_or_else(|| validate(body), |decoded| Ok(decoded?))
}

/// One colour value at one place. Coordinates are integers of any size, as canonical decimal
/// digits, because they are echoed digit for digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixel<'a> {
    /// Canonical decimal digits, with a sign when negative.
    pub x: Cow<'a, str>,
    /// Canonical decimal digits, with a sign when negative.
    pub y: Cow<'a, str>,
    /// Which colour.
    pub channel: Channel,
    /// How much of it.
    pub value: u8,
}

/// The colour that a [`Pixel`] gives a value for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Red.
    R,
    /// Green.
    G,
    /// Blue.
    B,
}

impl Channel {
    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"R" => Some(Self::R),
            b"G" => Some(Self::G),
            b"B" => Some(Self::B),
            _ => None,
        }
    }

    /// `R`, `G` or `B`.
    pub fn name(self) -> &'static str {
        match self {
            Self::R => "R",
            Self::G => "G",
            Self::B => "B",
        }
    }
}

/// A body of the right shape whose `value` is not in 0..=255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

/// The fields of a body of the right shape; what is left to check is the range of `value`.
#[derive(Debug)]
struct Fields<'a> {
    x: Cow<'a, str>,
    y: Cow<'a, str>,
    channel: Channel,
    value: Cow<'a, str>,
}

impl<'a> Fields<'a> {
    fn into_pixel(self) -> Result<Pixel<'a>, OutOfRange> {
        let value = self.value.parse().map_err(|_| OutOfRange)?;
        Ok(Pixel { x: self.x, y: self.y, channel: self.channel, value })
    }
}
