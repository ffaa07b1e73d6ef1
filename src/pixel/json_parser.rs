//! Parses JSON as Python's `json.loads` does, with its errors and their positions. `NaN` and the infinities
//! are numbers. Of equal keys, the last value replaces the first.
//!
//! Writes the document at the same time as FastAPI does in a response. There is no tree of its values,
//! because a body may consist of nothing else.

mod equal_names;
mod scalar;

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use super::json_document::{Document, Field, Value};

/// Why a body is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonError {
    /// A syntax error. `at` counts characters.
    Syntax { message: &'static str, at: usize },
    /// Not UTF-8, nested too deep, or with a number that is too long.
    Unreadable,
}

/// The greatest depth of arrays and objects that the Python application accepts: Python's recursion limit of
/// 1000, less the calls that uvicorn and FastAPI need.
const MAX_DEPTH: usize = 960;

/// Parses one JSON document, which [`decode_utf8`] has decoded.
pub fn parse(text: &str) -> Result<Document<'_>, JsonError> {
    let mut parser = Parser::new(text);
    parser.skip_white_space();
    let root = parser.value()?;
    parser.skip_white_space();
    if parser.at < text.len() {
        return Err(parser.error("Extra data", parser.at));
    }
    let mut fields = parser.fields();
    let echo = parser.echo_without_replaced(&mut fields);
    Ok(Document { echo: echo.into(), fields: (root == Value::Object).then_some(fields) })
}

/// Decodes UTF-8 with or without a byte order mark.
///
/// Python accepts encoded surrogates, but cannot write a response with them. Here they become U+FFFD. Python
/// also detects UTF-16 and UTF-32 by their NUL bytes, which are an error here (RFC 8259 section 8.1).
pub fn decode_utf8(body: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    if matches!(body, [0, _] | [_, 0] | [0, _, _, _, ..] | [_, 0, _, _, ..]) {
        return Err(JsonError::Unreadable);
    }
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    if let Ok(text) = std::str::from_utf8(body) {
        return Ok(text.into());
    }
    let mut body = body.to_vec();
    for begin in 0..body.len().saturating_sub(2) {
        if let [0xED, 0xA0..=0xBF, 0x80..=0xBF] = body[begin..begin + 3] {
            body[begin..begin + 3].copy_from_slice("\u{FFFD}".as_bytes());
        }
    }
    String::from_utf8(body).map(Cow::from).map_err(|_| JsonError::Unreadable)
}

struct Parser<'a> {
    text: &'a str,
    /// The position in bytes, at a character boundary.
    at: usize,
    /// The arrays and objects around `at`, the innermost last. They are not on the stack, because the client
    /// decides how many they are.
    open: Vec<Container>,
    /// The members of the objects in `open`, and at the end of the document those of the outermost object.
    members: Vec<Member<'a>>,
    /// The parsed part of the document, as FastAPI writes it, but with members that a later one replaces.
    echo: Vec<u8>,
    /// The objects with such members, by the place of their contents in `echo`.
    merged: BTreeMap<usize, MergedObject>,
}

/// An array or object that is being parsed.
#[derive(Clone, Copy)]
struct Container {
    /// The byte that ends it.
    end: u8,
    /// Where its contents begin in `echo`.
    begin: usize,
    /// Where the members of an object begin in `members`.
    first_member: usize,
}

/// A member of an object: its places in `echo`, and its value. The last member may be incomplete.
struct Member<'a> {
    name: Range<usize>,
    value_at: Range<usize>,
    value: Value<'a>,
}

/// An object with equal names.
struct MergedObject {
    /// Where its contents end in `echo`.
    end: usize,
    /// The parts of the members that stay, in their new order, each with the comma before it.
    kept: Vec<Range<usize>>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let echo = Vec::with_capacity(text.len());
        Self { text, at: 0, open: Vec::new(), members: Vec::new(), echo, merged: BTreeMap::new() }
    }

    /// Python raises this exception in three nested calls, which count for the recursion limit.
    fn error(&self, message: &'static str, at: usize) -> JsonError {
        if self.can_nest(3) { self.syntax(message, at) } else { JsonError::Unreadable }
    }

    /// Python raises this exception at the outermost level.
    fn expecting_value(&self) -> JsonError {
        self.syntax("Expecting value", self.at)
    }

    fn syntax(&self, message: &'static str, at: usize) -> JsonError {
        JsonError::Syntax { message, at: self.text[..at].chars().count() }
    }

    fn can_nest(&self, levels: usize) -> bool {
        self.open.len() + levels <= MAX_DEPTH
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads a value with all that it contains.
    fn value(&mut self) -> Result<Value<'a>, JsonError> {
        'values: loop {
            let mut value = match self.peek() {
                Some(begin @ (b'[' | b'{')) => match self.open(begin)? {
                    Some(empty) => empty,
                    None => continue,
                },
                _ => self.scalar()?,
            };
            while let Some(around) = self.open.last().copied() {
                if around.end == b'}' {
                    self.end_member(value, around);
                }
                if self.comma_or_end(around.end)? {
                    self.begin_item(around)?;
                    continue 'values;
                }
                value = self.close(around);
            }
            return Ok(value);
        }
    }

    /// Begins an array or object. Returns it if it is empty. Otherwise its first value is next.
    fn open(&mut self, begin: u8) -> Result<Option<Value<'a>>, JsonError> {
        if !self.can_nest(1) {
            return Err(JsonError::Unreadable);
        }
        self.echo.push(begin);
        let end = if begin == b'[' { b']' } else { b'}' };
        let container = Container { end, begin: self.echo.len(), first_member: self.members.len() };
        self.open.push(container);
        self.at += 1;
        self.skip_white_space();
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(Some(self.close(container)));
        }
        self.begin_item(container)?;
        Ok(None)
    }

    /// Ends the innermost array or object.
    fn close(&mut self, container: Container) -> Value<'a> {
        self.open.pop();
        if container.end == b'}' {
            self.merge_equal_names(container);
            if !self.open.is_empty() {
                self.members.truncate(container.first_member);
            }
        }
        self.echo.push(container.end);
        if container.end == b'}' { Value::Object } else { Value::Array }
    }

    /// Consumes a comma and returns true, or consumes `end` and returns false.
    fn comma_or_end(&mut self, end: u8) -> Result<bool, JsonError> {
        self.skip_white_space();
        let next = self.peek();
        if next != Some(b',') && next != Some(end) {
            return Err(self.error("Expecting ',' delimiter", self.at));
        }
        self.at += 1;
        let more = next == Some(b',');
        if more {
            self.skip_white_space();
        }
        Ok(more)
    }

    /// Begins the next item of an array, or member of an object, whose name and colon it reads.
    fn begin_item(&mut self, around: Container) -> Result<(), JsonError> {
        if self.echo.len() > around.begin {
            self.echo.push(b',');
        }
        if around.end == b']' {
            return Ok(());
        }
        if self.peek() != Some(b'"') {
            return Err(self.error("Expecting property name enclosed in double quotes", self.at));
        }
        let begin = self.echo.len();
        self.string()?;
        self.skip_white_space();
        if self.peek() != Some(b':') {
            return Err(self.error("Expecting ':' delimiter", self.at));
        }
        self.at += 1;
        self.skip_white_space();
        let name = begin..self.echo.len();
        self.echo.push(b':');
        self.members.push(Member { name, value_at: self.echo.len()..self.echo.len(), value: Value::Null });
        Ok(())
    }

    /// Ends the member that is being parsed. FastAPI leaves out names that begin with `_sa`, because it takes
    /// them for attributes of SQLAlchemy.
    fn end_member(&mut self, value: Value<'a>, around: Container) {
        let Some(member) = self.members.last_mut() else { return };
        member.value_at.end = self.echo.len();
        member.value = value;
        let begin = member.name.start;
        if self.echo[begin..].starts_with(b"\"_sa") {
            // With the comma before it, if it has one.
            self.echo.truncate(if begin > around.begin { begin - 1 } else { begin });
            self.members.pop();
            // Objects in it are gone, too.
            self.merged.split_off(&self.echo.len());
        }
    }

    /// Takes the fields of a pixel from the members of the outermost object. Of equal names, it takes the last one.
    fn fields(&mut self) -> [Option<Field<'a>>; 4] {
        let mut fields = [const { None }; Document::FIELDS.len()];
        for Member { name, value_at, value } in self.members.drain(..) {
            let is_name = |field: &&str| self.echo[name.start + 1..name.end - 1] == *field.as_bytes();
            if let Some(field) = Document::FIELDS.iter().position(is_name) {
                fields[field] = Some(Field { value, place: value_at });
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::{super::integer::MAX_DIGITS, *};

    fn parse(body: &[u8]) -> Result<(), JsonError> {
        super::parse(&decode_utf8(body)?).map(drop)
    }

    #[test]
    fn errors_match_pythons_text_and_position() {
        for (text, message, at) in [
            ("not json", "Expecting value", 0),
            ("", "Expecting value", 0),
            ("-", "Expecting value", 0),
            ("01", "Extra data", 1),
            ("1.", "Extra data", 1),
            ("{", "Expecting property name enclosed in double quotes", 1),
            (r#"{"a":1,}"#, "Expecting property name enclosed in double quotes", 7),
            (r#"{"a" 1}"#, "Expecting ':' delimiter", 5),
            (r#"{"a":1 "b":2}"#, "Expecting ',' delimiter", 7),
            ("[1,]", "Expecting value", 3),
            (r#""é"x"#, "Extra data", 3),
            (r#""abc"#, "Unterminated string starting at", 0),
            ("\"a\nb\"", "Invalid control character at", 2),
            (r#""a\x""#, "Invalid \\escape", 2),
            (r#""\u1234"#, "Invalid \\uXXXX escape", 2),
            (r#""\u12g4""#, "Invalid \\uXXXX escape", 2),
        ] {
            let error = JsonError::Syntax { message, at };
            assert_eq!(parse(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn input_that_python_rejects_is_unreadable() {
        let deep = "[".repeat(100_000);
        let long = "1".repeat(MAX_DIGITS + 1);
        for body in [b"\"\xff\"".as_slice(), b"{\0}\0", b"\0\0\0{", deep.as_bytes(), long.as_bytes()] {
            assert_eq!(parse(body), Err(JsonError::Unreadable));
        }
    }

    #[test]
    fn depth_limit_is_that_of_python() {
        for (depth, inner, readable) in [
            (MAX_DEPTH, "1", true),
            (MAX_DEPTH + 1, "1", false),
            (MAX_DEPTH - 1, "NaN", true),
            (MAX_DEPTH, "NaN", false),
        ] {
            let body = format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(parse(body.as_bytes()).is_ok(), readable, "{inner} {depth} deep");
        }
        for (depth, inner, has_position) in
            [(MAX_DEPTH, "x", true), (MAX_DEPTH - 3, "1 1", true), (MAX_DEPTH - 2, "1 1", false)]
        {
            let error = parse(("[".repeat(depth) + inner).as_bytes()).unwrap_err();
            assert_eq!(error != JsonError::Unreadable, has_position, "{inner} {depth} deep");
        }
    }

    #[test]
    fn encoded_surrogate_is_one_character() {
        let error = JsonError::Syntax { message: "Extra data", at: 3 };
        assert_eq!(parse(b"\"\xED\xA0\x80\"x"), Err(error));
    }
}
