use std::{borrow::Cow, ops::Range};

/// A JSON document. Arrays and objects have no memory of their own, because a body may consist of nothing
/// else. Their contents are in two lists, in the order in which they end.
#[derive(Debug)]
pub struct Document<'d> {
    /// The outermost value.
    pub root: Value<'d>,
    pub(super) items: Vec<Value<'d>>,
    pub(super) members: Vec<Member<'d>>,
}

impl<'d> Document<'d> {
    /// Makes a document that is neither an array nor an object.
    pub fn of_scalar(root: Value<'d>) -> Self {
        Self { root, items: Vec::new(), members: Vec::new() }
    }

    /// Returns the items of an array of this document.
    pub fn items(&self, array: &Range<usize>) -> &[Value<'d>] {
        &self.items[array.clone()]
    }

    /// Returns the members of an object of this document. Their names differ.
    pub fn members(&self, object: &Range<usize>) -> &[Member<'d>] {
        &self.members[object.clone()]
    }
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
    /// The range of [`Document::items`].
    Array(Range<usize>),
    /// The range of [`Document::members`].
    Object(Range<usize>),
}

/// A member of an object: its name and its value.
pub type Member<'d> = (Cow<'d, str>, Value<'d>);
