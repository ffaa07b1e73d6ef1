//! JSON as Python's `json.loads` reads it, faults and positions included: it takes `NaN` and the
//! infinities, and of equal keys the last value wins at the place of the first.

use std::{borrow::Cow, collections::HashMap};

use super::integer::{self, MOST_DIGITS};

/// A JSON value. An integer is canonical decimal digits of any length.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(String),
    Float(f64),
    Text(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// Why a body is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It breaks the grammar; `at` counts characters, not bytes.
    Syntax { message: &'static str, at: usize },
    /// Not UTF-8, nested too deep, or a number too long: the Python application reads no further.
    Unreadable,
}

/// How deep arrays and objects may nest before the Python application gives up: Python's recursion
/// limit of 1000, less the calls that it has come through under uvicorn.
const DEEPEST: usize = 960;

/// Reads one JSON document.
pub fn read(body: &[u8]) -> Result<Value, Fault> {
    let text = text_of(body).ok_or(Fault::Unreadable)?;
    let mut reader = Reader { text: &text, at: 0, open: Vec::new() };
    reader.skip_white_space();
    let value = reader.value()?;
    reader.skip_white_space();
    if reader.at < text.len() { Err(reader.fault("Extra data", reader.at)) } else { Ok(value) }
}

/// Python takes surrogates that are encoded in UTF-8, though it cannot answer with them; here they
/// become U+FFFD. Where it guesses UTF-16 or UTF-32 from NUL bytes, nothing is read: JSON is UTF-8.
fn text_of(body: &[u8]) -> Option<Cow<'_, str>> {
    if matches!(body, [0, _] | [_, 0] | [0, _, _, _, ..] | [_, 0, _, _, ..]) {
        return None;
    }
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    if let Ok(text) = std::str::from_utf8(body) {
        return Some(text.into());
    }
    let mut body = body.to_vec();
    for begin in 0..body.len().saturating_sub(2) {
        if let [0xED, 0xA0..=0xBF, 0x80..=0xBF] = body[begin..begin + 3] {
            body[begin..begin + 3].copy_from_slice("\u{FFFD}".as_bytes());
        }
    }
    String::from_utf8(body).ok().map(Cow::from)
}

struct Reader<'a> {
    text: &'a str,
    /// In bytes, always at a character boundary.
    at: usize,
    /// The arrays and objects around `at`, the innermost last. They are not on the stack, because
    /// the client decides how many they are.
    open: Vec<Open>,
}

/// An array or object that is being read.
enum Open {
    Array(Vec<Value>),
    Object(Object),
}

#[derive(Default)]
struct Object {
    members: Vec<(String, Value)>,
    places: HashMap<String, usize>,
    /// Of the member that is read next.
    name: String,
}

impl Open {
    fn end(&self) -> u8 {
        match self {
            Self::Array(_) => b']',
            Self::Object(_) => b'}',
        }
    }

    fn add(&mut self, value: Value) {
        match self {
            Self::Array(items) => items.push(value),
            Self::Object(Object { members, places, name }) => {
                let place = *places.entry(name.clone()).or_insert(members.len());
                match members.get_mut(place) {
                    Some((_, known)) => *known = value,
                    None => members.push((std::mem::take(name), value)),
                }
            }
        }
    }

    fn close(self) -> Value {
        match self {
            Self::Array(items) => Value::Array(items),
            Self::Object(object) => Value::Object(object.members),
        }
    }
}

impl Reader<'_> {
    /// Python makes this exception where the fault is, in three calls, which count as nesting.
    fn fault(&self, message: &'static str, at: usize) -> Fault {
        if self.has_room_for(3) { self.syntax(message, at) } else { Fault::Unreadable }
    }

    /// This one is made at the outermost level.
    fn no_value(&self) -> Fault {
        self.syntax("Expecting value", self.at)
    }

    fn syntax(&self, message: &'static str, at: usize) -> Fault {
        Fault::Syntax { message, at: self.text[..at].chars().count() }
    }

    fn has_room_for(&self, levels: usize) -> bool {
        self.open.len() + levels <= DEEPEST
    }

    fn rest(&self) -> &str {
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

    fn value(&mut self) -> Result<Value, Fault> {
        loop {
            let whole = match self.peek() {
                Some(b'[') => self.begin(Open::Array(Vec::new()))?,
                Some(b'{') => self.begin(Open::Object(Object::default()))?,
                _ => Some(self.scalar()?),
            };
            if let Some(value) = whole
                && let Some(outermost) = self.place(value)?
            {
                return Ok(outermost);
            }
        }
    }

    /// An array or object, if it is empty; else its first value is next.
    fn begin(&mut self, open: Open) -> Result<Option<Value>, Fault> {
        if !self.has_room_for(1) {
            return Err(Fault::Unreadable);
        }
        let end = open.end();
        self.open.push(open);
        self.at += 1;
        self.skip_white_space();
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(self.open.pop().map(Open::close));
        }
        self.name()?;
        Ok(None)
    }

    /// Adds a value to what is around it. The outermost value, if that is whole now; else another
    /// value is next.
    fn place(&mut self, mut value: Value) -> Result<Option<Value>, Fault> {
        while let Some(around) = self.open.last_mut() {
            around.add(value);
            let end = around.end();
            if self.another(end)? {
                self.name()?;
                return Ok(None);
            }
            let Some(whole) = self.open.pop() else { return Ok(None) };
            value = whole.close();
        }
        Ok(Some(value))
    }

    /// Behind an item: whether a comma promises another, or `end` closes the list.
    fn another(&mut self, end: u8) -> Result<bool, Fault> {
        self.skip_white_space();
        let next = self.peek();
        if next != Some(b',') && next != Some(end) {
            return Err(self.fault("Expecting ',' delimiter", self.at));
        }
        self.at += 1;
        let more = next == Some(b',');
        if more {
            self.skip_white_space();
        }
        Ok(more)
    }

    /// In an object, the name of the next member and the colon.
    fn name(&mut self) -> Result<(), Fault> {
        if let Some(Open::Array(_)) = self.open.last() {
            return Ok(());
        }
        if self.peek() != Some(b'"') {
            return Err(self.fault("Expecting property name enclosed in double quotes", self.at));
        }
        let read = self.string()?;
        self.skip_white_space();
        if self.peek() != Some(b':') {
            return Err(self.fault("Expecting ':' delimiter", self.at));
        }
        self.at += 1;
        self.skip_white_space();
        if let Some(Open::Object(object)) = self.open.last_mut() {
            object.name = read;
        }
        Ok(())
    }

    fn scalar(&mut self) -> Result<Value, Fault> {
        const WORDS: [(&str, Value); 3] =
            [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
        const CONSTANTS: [(&str, f64); 3] =
            [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];
        if self.peek() == Some(b'"') {
            return self.string().map(Value::Text);
        }
        if let Some((word, value)) = WORDS.into_iter().find(|(word, _)| self.rest().starts_with(word)) {
            self.at += word.len();
            return Ok(value);
        }
        if let Some((name, number)) = CONSTANTS.into_iter().find(|(name, _)| self.rest().starts_with(name)) {
            self.at += name.len();
            // Python calls a function for these.
            return if self.has_room_for(1) { Ok(Value::Float(number)) } else { Err(Fault::Unreadable) };
        }
        self.number()
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = if bytes.get(sign) == Some(&b'0') { 1 } else { digits(sign) };
        if whole == 0 {
            return Err(self.no_value());
        }
        let mut end = sign + whole;
        let integral = end;
        if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + signed);
            if exponent > 0 {
                end += 1 + signed + exponent;
            }
        }
        let text = &self.rest()[..end];
        let value = if end > integral {
            // Rust reads every float that this grammar allows, and as Python does: to the nearest.
            Value::Float(text.parse().map_err(|_| Fault::Unreadable)?)
        } else if whole > MOST_DIGITS {
            return Err(Fault::Unreadable);
        } else {
            Value::Integer(integer::canonical(sign == 1, &text[sign..]))
        };
        self.at += end;
        Ok(value)
    }

    fn string(&mut self) -> Result<String, Fault> {
        let begin = self.at;
        self.at += 1;
        let mut string = String::new();
        loop {
            let plain = self.rest().find(|c| c == '"' || c == '\\' || c < ' ');
            let Some(plain) = plain else {
                return Err(self.fault("Unterminated string starting at", begin));
            };
            string.push_str(&self.rest()[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    let character = self.escape(begin)?;
                    string.push(character);
                }
                _ => return Err(self.fault("Invalid control character at", self.at)),
            }
        }
    }

    fn escape(&mut self, begin: usize) -> Result<char, Fault> {
        let Some(letter) = self.rest()[1..].chars().next() else {
            return Err(self.fault("Unterminated string starting at", begin));
        };
        let character = match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode_escape(),
            _ => return Err(self.fault("Invalid \\escape", self.at)),
        };
        self.at += 2;
        Ok(character)
    }

    /// `\uXXXX`, or two of them that make one character; a lone surrogate becomes U+FFFD.
    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let Some(first) = self.hex_at(self.at + 2) else {
            return Err(self.fault("Invalid \\uXXXX escape", self.at + 1));
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
                None => return Err(self.fault("Invalid \\uXXXX escape", self.at + 1)),
            }
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Four hexadecimal digits that are not the end of the text.
    fn hex_at(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4).filter(|_| at + 4 < self.text.len())?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_pythons_words_and_positions() {
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
            let fault = Fault::Syntax { message, at };
            assert_eq!(read(text.as_bytes()), Err(fault), "{text}");
        }
    }

    #[test]
    fn what_python_gives_up_on_is_unreadable() {
        let deep = "[".repeat(100_000);
        let long = "1".repeat(MOST_DIGITS + 1);
        for body in [b"\"\xff\"".as_slice(), b"{\0}\0", b"\0\0\0{", deep.as_bytes(), long.as_bytes()] {
            assert_eq!(read(body), Err(Fault::Unreadable));
        }
    }

    #[test]
    fn the_depth_of_python_is_exact() {
        for (depth, inner, readable) in [
            (DEEPEST, "1", true),
            (DEEPEST + 1, "1", false),
            (DEEPEST - 1, "NaN", true),
            (DEEPEST, "NaN", false),
        ] {
            let body = format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(read(body.as_bytes()).is_ok(), readable, "{inner} {depth} deep");
        }
        for (depth, inner, told) in
            [(DEEPEST, "x", true), (DEEPEST - 3, "1 1", true), (DEEPEST - 2, "1 1", false)]
        {
            let fault = read(("[".repeat(depth) + inner).as_bytes()).unwrap_err();
            assert_eq!(fault != Fault::Unreadable, told, "{inner} {depth} deep");
        }
    }

    #[test]
    fn an_encoded_surrogate_is_one_character() {
        let fault = Fault::Syntax { message: "Extra data", at: 3 };
        assert_eq!(read(b"\"\xED\xA0\x80\"x"), Err(fault));
    }
}
