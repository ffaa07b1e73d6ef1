//! A second judge of bodies, written from CONTRACT.md and from what Python's `json` and pydantic
//! do, in the most obvious way. It shares no code with `pixeld::pixel` and is slow.

/// How a body is answered.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// 200 with this body.
    Accepted(String),
    /// The status that is configured for a `value` outside 0..=255.
    OutOfRange,
    /// 422 with these entries.
    Invalid(Vec<Fault>),
    /// 400.
    Unreadable,
}

/// One entry of `detail`, without its texts for people.
#[derive(Debug, PartialEq)]
pub struct Fault {
    pub kind: String,
    pub loc: Vec<Json>,
    pub input: Json,
}

/// An integer is its digits, a lone surrogate U+FFFD, and of equal keys the last one holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Integer(String),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How deep the reference nests, and how many digits it takes for one number.
const MAX_DEPTH: usize = 960;
const MAX_DIGITS: usize = 4300;

/// Judges what was sent as JSON.
pub fn judge(body: &[u8]) -> Verdict {
    if body.is_empty() {
        return Verdict::Invalid(vec![Fault::new("missing", None, &Json::Null)]);
    }
    if is_guessed_to_be_wide(body) {
        return Verdict::Unreadable;
    }
    let Some(text) = decode(body) else { return Verdict::Unreadable };
    match Reader::new(text.strip_prefix('\u{feff}').unwrap_or(&text), Dialect::Python).document() {
        Ok(document) => judge_document(&document),
        Err(Stop::GaveUp) => Verdict::Unreadable,
        Err(Stop::Syntax(at)) => {
            let mut fault = Fault::new("json_invalid", None, &Json::Object(vec![]));
            fault.loc.push(Json::Integer(at.to_string()));
            Verdict::Invalid(vec![fault])
        }
    }
}

/// Judges what was not sent as JSON.
pub fn judge_text(body: &[u8]) -> Verdict {
    if body.is_empty() {
        return judge(body);
    }
    let text = Json::Text(String::from_utf8_lossy(body).into_owned());
    Verdict::Invalid(vec![Fault::new("model_attributes_type", None, &text)])
}

/// Reads JSON as RFC 8259 has it: no `NaN`, however deep.
pub fn strict_json(text: &str) -> Option<Json> {
    Reader::new(text, Dialect::Strict).document().ok()
}

/// Python takes bodies with NUL bytes in these places for UTF-16 or UTF-32 (`json.detect_encoding`);
/// those with a byte order mark are no UTF-8 anyway.
fn is_guessed_to_be_wide(body: &[u8]) -> bool {
    match body {
        [first, second] | [first, second, _, _, ..] => *first == 0 || *second == 0,
        _ => false,
    }
}

/// UTF-8 in which surrogates are characters too (`surrogatepass`).
fn decode(mut body: &[u8]) -> Option<String> {
    let mut text = String::new();
    loop {
        let valid = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
        text.push_str(std::str::from_utf8(&body[..valid]).expect("this much is valid"));
        body = match &body[valid..] {
            [] => return Some(text),
            [0xED, 0xA0..=0xBF, 0x80..=0xBF, rest @ ..] => rest,
            _ => return None,
        };
        text.push('\u{fffd}');
    }
}

fn judge_document(document: &Json) -> Verdict {
    if !matches!(document, Json::Object(_)) {
        return Verdict::Invalid(vec![Fault::new("model_attributes_type", None, document)]);
    }
    let field = |name| match document.member(name) {
        None => Err(Fault::new("missing", Some(name), document)),
        Some(sent) if name == "channel" => match sent {
            Json::Text(letter) if ["R", "G", "B"].contains(&letter.as_str()) => Ok(letter.clone()),
            _ => Err(Fault::new("literal_error", Some(name), sent)),
        },
        Some(sent) => lax_integer(sent).map_err(|kind| Fault::new(kind, Some(name), sent)),
    };
    match [field("x"), field("y"), field("channel"), field("value")] {
        [Ok(_), Ok(_), Ok(_), Ok(value)] if value.parse::<u8>().is_err() => Verdict::OutOfRange,
        [Ok(x), Ok(y), Ok(channel), Ok(value)] => Verdict::Accepted(format!(
            r#"{{"status":"ok","received":{{"x":{x},"y":{y},"channel":"{channel}","value":{value}}}}}"#
        )),
        fields => Verdict::Invalid(fields.into_iter().filter_map(Result::err).collect()),
    }
}

impl Fault {
    fn new(kind: &str, field: Option<&str>, input: &Json) -> Self {
        let loc = ["body"].into_iter().chain(field).map(|part| Json::Text(part.into())).collect();
        Self { kind: kind.into(), loc, input: input.echoed() }
    }
}

impl Json {
    pub fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// As FastAPI shows it in `input`: JSON has no infinities, and `_sa` is SQLAlchemy's.
    fn echoed(&self) -> Self {
        match self {
            Self::Float(number) if !number.is_finite() => Self::Null,
            Self::Array(items) => Self::Array(items.iter().map(Self::echoed).collect()),
            Self::Object(members) => {
                let shown = members.iter().filter(|(name, _)| !name.starts_with("_sa"));
                Self::Object(shown.map(|(name, value)| (name.clone(), value.echoed())).collect())
            }
            other => other.clone(),
        }
    }
}

/// pydantic's lax mode: the digits, or the type of the fault.
fn lax_integer(sent: &Json) -> Result<String, &'static str> {
    match sent {
        Json::Integer(digits) => Ok(digits.clone()),
        Json::Bool(flag) => Ok(u8::from(*flag).to_string()),
        Json::Float(number) if !number.is_finite() => Err("finite_number"),
        Json::Float(number) if number.fract() != 0.0 => Err("int_from_float"),
        Json::Float(number) if number.abs() >= 2f64.powi(63) => Err("int_parsing_size"),
        // Plus zero, so that there is no minus zero.
        Json::Float(number) => Ok(format!("{:.0}", number + 0.0)),
        Json::Text(text) if is_too_long(text) => Err("int_parsing_size"),
        Json::Text(text) => integer_text(text).ok_or("int_parsing"),
        Json::Null | Json::Array(_) | Json::Object(_) => Err("int_type"),
    }
}

/// pydantic counts digits before it tidies the text up, and whatever stands behind them.
fn is_too_long(text: &str) -> bool {
    let number = text.strip_prefix('-').unwrap_or(text);
    !number.starts_with('0') && number.chars().take_while(char::is_ascii_digit).count() > MAX_DIGITS
}

/// pydantic-core's `clean_int_str`, step by step.
fn integer_text(text: &str) -> Option<String> {
    let text = text.trim();
    let (signed, text) = strip(text, '+');
    let (negative, text) = strip(text, '-');
    if negative && (signed || text.starts_with(['-', '+'])) {
        return None;
    }
    let mut digits = without_leading_zeros(text)?;
    if let Some((whole, fraction)) = digits.split_once('.')
        && !fraction.is_empty()
        && fraction.chars().all(|digit| digit == '0')
    {
        digits = whole;
    }
    let digits = if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    } else {
        digits.replace('_', "")
    };
    json_integer(&format!("{}{digits}", if negative { "-" } else { "" }))
}

fn strip(text: &str, sign: char) -> (bool, &str) {
    text.strip_prefix(sign).map_or((false, text), |rest| (true, rest))
}

/// A zero may be followed by more zeros and underscores, and (so it is) by a minus sign.
fn without_leading_zeros(text: &str) -> Option<&str> {
    if text.starts_with(|c: char| c == '-' || ('1'..='9').contains(&c)) {
        return Some(text);
    }
    if !text.starts_with('0') {
        return None;
    }
    let zeros = text.chars().take_while(|c| ['0', '_'].contains(c)).count();
    match text[zeros..].chars().next() {
        Some('-' | '1'..='9') => Some(&text[zeros..]),
        Some('.') | None => Some(&text[zeros - 1..]),
        Some(_) => None,
    }
}

/// `-?(0|[1-9][0-9]*)`, not too long; without the sign of `-0`.
fn json_integer(text: &str) -> Option<String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    if !is_number || digits.len() > MAX_DIGITS || (digits.starts_with('0') && digits != "0") {
        return None;
    }
    Some(if digits == "0" { "0".into() } else { text.into() })
}

#[derive(PartialEq)]
enum Dialect {
    /// CPython 3.11's `json.loads`.
    Python,
    /// RFC 8259.
    Strict,
}

enum Stop {
    /// At this character.
    Syntax(usize),
    /// Too deep or too long.
    GaveUp,
}

/// Walks over characters; its positions are those that Python tells.
struct Reader {
    text: Vec<char>,
    at: usize,
    depth: usize,
    dialect: Dialect,
}

impl Reader {
    fn new(text: &str, dialect: Dialect) -> Self {
        Self { text: text.chars().collect(), at: 0, depth: 0, dialect }
    }

    fn document(mut self) -> Result<Json, Stop> {
        self.blanks();
        let value = self.value()?;
        self.blanks();
        if self.at < self.text.len() { self.stop() } else { Ok(value) }
    }

    fn stop<T>(&self) -> Result<T, Stop> {
        self.stop_at(self.at)
    }

    /// Python calls three functions to make this exception, and they count as nesting.
    fn stop_at<T>(&self, at: usize) -> Result<T, Stop> {
        self.nest(3)?;
        Err(Stop::Syntax(at))
    }

    fn nest(&self, levels: usize) -> Result<(), Stop> {
        let is_too_deep = self.depth + levels > MAX_DEPTH && self.dialect == Dialect::Python;
        if is_too_deep { Err(Stop::GaveUp) } else { Ok(()) }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, expected: &str) -> bool {
        let found = self.text[self.at..].iter().copied().take(expected.len()).eq(expected.chars());
        if found {
            self.at += expected.len();
        }
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Json, Stop> {
        match self.peek() {
            Some('"') => self.string().map(Json::Text),
            Some('{') => self.nested(Self::object),
            Some('[') => self.nested(Self::array),
            _ if self.take("null") => Ok(Json::Null),
            _ if self.take("true") => Ok(Json::Bool(true)),
            _ if self.take("false") => Ok(Json::Bool(false)),
            _ if self.dialect == Dialect::Strict => self.number(),
            _ if self.take("NaN") => self.constant(f64::NAN),
            _ if self.take("Infinity") => self.constant(f64::INFINITY),
            _ if self.take("-Infinity") => self.constant(f64::NEG_INFINITY),
            _ => self.number(),
        }
    }

    /// Python calls a function for it.
    fn constant(&self, number: f64) -> Result<Json, Stop> {
        self.nest(1).map(|()| Json::Float(number))
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Stop>) -> Result<Json, Stop> {
        self.nest(1)?;
        self.depth += 1;
        self.at += 1;
        self.blanks();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Json, Stop> {
        let mut items = Vec::new();
        if self.take("]") {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.blanks();
            if self.take("]") {
                return Ok(Json::Array(items));
            }
            if !self.take(",") {
                return self.stop();
            }
            self.blanks();
        }
    }

    fn object(&mut self) -> Result<Json, Stop> {
        let mut members: Vec<(String, Json)> = Vec::new();
        if self.take("}") {
            return Ok(Json::Object(members));
        }
        loop {
            if self.peek() != Some('"') {
                return self.stop();
            }
            let name = self.string()?;
            self.blanks();
            if !self.take(":") {
                return self.stop();
            }
            self.blanks();
            let value = self.value()?;
            match members.iter().position(|(known, _)| *known == name) {
                Some(place) => members[place].1 = value,
                None => members.push((name, value)),
            }
            self.blanks();
            if self.take("}") {
                return Ok(Json::Object(members));
            }
            if !self.take(",") {
                return self.stop();
            }
            self.blanks();
        }
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while matches!(self.peek(), Some('0'..='9')) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Result<Json, Stop> {
        let begin = self.at;
        self.take("-");
        let whole = if self.take("0") { 1 } else { self.digits() };
        if whole == 0 {
            // "Expecting value" is told at the outermost level.
            return Err(Stop::Syntax(begin));
        }
        let mut is_float = self.optional(|reader| reader.take(".") && reader.digits() > 0);
        is_float |= self.optional(|reader| {
            let begins = reader.take("e") || reader.take("E");
            let _sign = reader.take("+") || reader.take("-");
            begins && reader.digits() > 0
        });
        let text: String = self.text[begin..self.at].iter().collect();
        if is_float {
            return Ok(Json::Float(text.parse().expect("Rust reads every JSON number")));
        }
        json_integer(&text).map(Json::Integer).ok_or(Stop::GaveUp)
    }

    /// Reads this part, or goes back to where it would have begun.
    fn optional(&mut self, part: impl Fn(&mut Self) -> bool) -> bool {
        let begin = self.at;
        let found = part(self);
        if !found {
            self.at = begin;
        }
        found
    }

    /// As `scanstring` in CPython's `_json.c`.
    fn string(&mut self) -> Result<String, Stop> {
        let begin = self.at;
        self.at += 1;
        let mut units = Vec::new();
        loop {
            match self.peek() {
                None => return self.stop_at(begin),
                Some('"') => break,
                Some('\\') => units.push(self.escape(begin)?),
                Some(control) if control < ' ' => return self.stop(),
                Some(plain) => {
                    units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(String::from_utf16_lossy(&units))
    }

    fn escape(&mut self, begin: usize) -> Result<u16, Stop> {
        let plain = match self.text.get(self.at + 1) {
            None => return self.stop_at(begin),
            Some('u') => return self.unicode_escape(),
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(quoted @ ('"' | '\\' | '/')) => *quoted,
            Some(_) => return self.stop(),
        };
        self.at += 2;
        Ok(plain as u16)
    }

    /// Four digits, and something behind them; a fault is told at the `u`.
    fn unicode_escape(&mut self) -> Result<u16, Stop> {
        self.at += 1;
        let digits: String = self.text[self.at..].iter().skip(1).take(4).collect();
        let is_hex = digits.len() == 4 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || self.text.len() <= self.at + 5 {
            return self.stop();
        }
        self.at += 5;
        Ok(u16::from_str_radix(&digits, 16).expect("four hexadecimal digits"))
    }
}
