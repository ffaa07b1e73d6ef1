//! Literals, numbers and strings.

use std::borrow::Cow;

use super::{
    super::{float_parser, integer::MAX_DIGITS, json_document::Value, json_writer},
    JsonError, Parser,
};

impl<'a> Parser<'a> {
    /// Reads a value that is neither an array nor an object.
    pub(super) fn scalar(&mut self) -> Result<Value<'a>, JsonError> {
        match self.rest().as_bytes() {
            [b'"', ..] => self.string().map(Value::Text),
            [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => self.number(),
            [b'n' | b't' | b'f' | b'N' | b'I' | b'-', ..] => self.literal(),
            _ => Err(self.expecting_value()),
        }
    }

    fn literal(&mut self) -> Result<Value<'a>, JsonError> {
        let (literal, value) = match self.peek() {
            Some(b'n') => ("null", Value::Null),
            Some(b't') => ("true", Value::Bool(true)),
            Some(b'f') => ("false", Value::Bool(false)),
            Some(b'N') => ("NaN", Value::Float(f64::NAN)),
            Some(b'I') => ("Infinity", Value::Float(f64::INFINITY)),
            _ => ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        };
        if !self.rest().starts_with(literal) {
            return Err(self.expecting_value());
        }
        self.at += literal.len();
        // Python calls a function for constants that are not JSON.
        let is_call = matches!(value, Value::Float(_));
        if is_call && !self.can_nest(1) {
            return Err(JsonError::Unreadable);
        }
        self.echo.extend_from_slice(if is_call { b"null" } else { literal.as_bytes() });
        Ok(value)
    }

    /// Reads a number whose first byte is known to be a digit, or a sign before a digit.
    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = if bytes.get(sign) == Some(&b'0') { 1 } else { digits(sign) };
        let mut end = sign + whole;
        let integral = end;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            if fraction > 0 {
                end += 1 + fraction;
            }
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + signed);
            if exponent > 0 {
                end += 1 + signed + exponent;
            }
        }
        let text = &self.rest()[..end];
        self.at += end;
        if end > integral {
            let number = float_parser::parse(text);
            json_writer::write_float(number, &mut self.echo);
            return Ok(Value::Float(number));
        }
        if whole > MAX_DIGITS {
            return Err(JsonError::Unreadable);
        }
        // Only zero has two forms here.
        let digits = if text == "-0" { "0" } else { text };
        self.echo.extend_from_slice(digits.as_bytes());
        Ok(Value::Integer(digits))
    }

    /// Reads a string. Its first byte is known to be a quote.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let begin = self.at;
        self.at += 1;
        let unescaped = self.unescaped(begin)?;
        if self.peek() == Some(b'"') {
            self.at += 1;
            // It is written as it was read.
            self.echo.extend_from_slice(&self.text.as_bytes()[begin..self.at]);
            return Ok(Cow::Borrowed(unescaped));
        }
        let mut string = unescaped.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    json_writer::write_text(&string, &mut self.echo);
                    return Ok(Cow::Owned(string));
                }
                Some(b'\\') => {
                    let character = self.escape(begin)?;
                    string.push(character);
                }
                _ => return Err(self.error("Invalid control character at", self.at)),
            }
            string.push_str(self.unescaped(begin)?);
        }
    }

    /// Reads the part of a string up to the next quote, backslash or control character.
    fn unescaped(&mut self, begin: usize) -> Result<&'a str, JsonError> {
        let rest = self.rest();
        let Some(length) = rest.bytes().position(|b| b == b'"' || b == b'\\' || b < b' ') else {
            return Err(self.error("Unterminated string starting at", begin));
        };
        self.at += length;
        Ok(&rest[..length])
    }

    fn escape(&mut self, begin: usize) -> Result<char, JsonError> {
        let Some(letter) = self.rest()[1..].chars().next() else {
            return Err(self.error("Unterminated string starting at", begin));
        };
        let character = match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode_escape(),
            _ => return Err(self.error("Invalid \\escape", self.at)),
        };
        self.at += 2;
        Ok(character)
    }

    /// Reads `\uXXXX`, or two of them that are a surrogate pair. A lone surrogate becomes U+FFFD.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let Some(first) = self.hex_at(self.at + 2) else {
            return Err(self.error("Invalid \\uXXXX escape", self.at + 1));
        };
        self.at += 6;
        if (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u") {
            match self.hex_at(self.at + 2) {
                Some(second @ 0xDC00..0xE000) => {
                    self.at += 6;
                    let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                    return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(_) => {}
                None => return Err(self.error("Invalid \\uXXXX escape", self.at + 1)),
            }
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Returns the value of four hexadecimal digits that are not the end of the text.
    fn hex_at(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4).filter(|_| at + 4 < self.text.len())?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
}
