use std::{borrow::Cow, fmt};

/// An integer of any size as canonical decimal digits, with a sign if it is negative.
#[derive(Clone, PartialEq, Eq)]
pub struct Digits<'a>(Cow<'a, [u8]>);

impl<'a> Digits<'a> {
    /// Borrows ASCII digits, which must be canonical.
    pub(super) fn borrowed(digits: &'a [u8]) -> Self {
        Self(Cow::Borrowed(digits))
    }

    /// Takes digits, which must be canonical.
    pub(super) fn owned(digits: String) -> Self {
        Self(Cow::Owned(digits.into_bytes()))
    }

    /// Copies borrowed digits.
    pub(super) fn into_owned(self) -> Digits<'static> {
        Digits(Cow::Owned(self.0.into_owned()))
    }

    /// Returns the digits in ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Digits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}
