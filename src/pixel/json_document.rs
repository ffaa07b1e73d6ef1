use std::{borrow::Cow, ops::Range};

/// A JSON document, as far as validation needs it.
#[derive(Debug)]
pub struct Document<'d> {
    /// The document as FastAPI writes it in a response.
    pub echo: Cow<'d, [u8]>,
    /// The members with the names of [`Self::FIELDS`]; `None` if the document is not an object.
    pub fields: Option<[Option<Field<'d>>; 4]>,
}

impl Document<'_> {
    /// The fields of a pixel, in the order in which errors are reported.
    pub const FIELDS: [&'static str; 4] = ["x", "y", "channel", "value"];
}

/// A field of a pixel, which may be invalid.
#[derive(Debug)]
pub struct Field<'d> {
    pub value: Value<'d>,
    /// The place of the value in [`Document::echo`].
    pub place: Range<usize>,
}

/// A JSON value. Borrows from the body what needs no conversion.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'d> {
    Null,
    Bool(bool),
    /// Canonical decimal digits of any length.
    Integer(&'d str),
    Float(f64),
    Text(Cow<'d, str>),
    Array,
    Object,
}
