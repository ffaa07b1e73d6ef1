//! Reads the body of a request and writes the body of its response, as the Python application does that
//! pixeld replaces: pydantic's lax mode over Python's `json`.
//!
//! [`fast_decode`] reads usual bodies in one pass and copies nothing. All others go to [`validate`], which
//! accepts them or reports an error for each invalid field.

mod digits;
mod error_detail;
mod fast_decode;
mod float_parser;
mod integer;
mod json_document;
mod json_parser;
mod json_writer;
mod response_body;
mod validate;

pub use digits::Digits;
pub use error_detail::Detail;
pub use fast_decode::{fast_decode, parse};
pub use response_body::{UNREADABLE_BODY, VALUE_OUT_OF_RANGE, accepted_len, write_accepted};
pub use validate::{BodyRejection, reject_text, validate};

/// A function that reads a body that was sent as JSON, as [`parse`] does.
pub type Parse = for<'b> fn(&'b [u8]) -> Result<Pixel<'b>, BodyRejection>;

/// One colour value at one place. The response repeats coordinates of any size digit for digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixel<'a> {
    /// The column.
    pub x: Digits<'a>,
    /// The row.
    pub y: Digits<'a>,
    /// The colour that `value` is for.
    pub channel: Channel,
    /// The intensity.
    pub value: u8,
}

impl<'a> Pixel<'a> {
    /// Checks the range of `value`, which has canonical digits.
    fn new(x: Digits<'a>, y: Digits<'a>, channel: Channel, value: &[u8]) -> Result<Self, BodyRejection> {
        let value = integer::to_u8(value).ok_or(BodyRejection::OutOfRange)?;
        Ok(Self { x, y, channel, value })
    }

    fn into_owned(self) -> Pixel<'static> {
        Pixel { x: self.x.into_owned(), y: self.y.into_owned(), ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    R,
    G,
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
