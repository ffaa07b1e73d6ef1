//! From the bytes of a body to an answer, as the Python application that pixeld replaces gave it
//! (pydantic's lax mode over Python's JSON).
//!
//! Nearly every body takes the short way: [`fast_decode`] reads it once and copies nothing. What it
//! does not recognise goes to [`validate`], which reads the same bytes slowly and completely, and
//! either accepts them after all or says what is wrong with each field.

mod detail;
mod digits;
mod fast_decode;
mod float;
mod integer;
mod json;
mod object_builder;
mod python_json;
mod response;
mod validate;

pub use detail::Detail;
pub use digits::Digits;
pub use fast_decode::fast_decode;
pub use response::{UNREADABLE_BODY, VALUE_OUT_OF_RANGE, accepted_len, write_accepted};
pub use validate::{Rejection, reject_text, validate};

/// Reads a body that was sent as JSON, the short way where that is enough.
///
/// # Errors
/// As [`validate`].
pub fn parse(body: &[u8]) -> Result<Pixel<'_>, Rejection> {
    if let Some(decoded) = fast_decode(body) {
        return Ok(decoded?);
    }
    validate(body)
}

/// One colour value at one place. Coordinates are integers of any size, because they are echoed digit for
/// digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixel<'a> {
    /// The column.
    pub x: Digits<'a>,
    /// The row.
    pub y: Digits<'a>,
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
    fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'R' => Some(Self::R),
            b'G' => Some(Self::G),
            b'B' => Some(Self::B),
            _ => None,
        }
    }
}

/// A body of the right shape whose `value` is not in 0..=255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;
