//! Bodies in named classes: everything that somebody thought of.

use super::integer_literals::{FLOATS, INTEGERS, NUMBERS, OTHERS, TOKENS};

/// A request to /pixel.
#[derive(Debug)]
pub struct Case {
    pub class: &'static str,
    pub content_type: Option<Vec<u8>>,
    pub body: Vec<u8>,
}

impl Case {
    pub fn json(class: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { class, content_type: Some(b"application/json".into()), body: body.into() }
    }

    /// The bytes of the request.
    pub fn request(&self) -> Vec<u8> {
        let mut request = b"POST /pixel HTTP/1.1\r\nhost: pixeld\r\n".to_vec();
        if let Some(value) = &self.content_type {
            request.extend([b"content-type: ", value.as_slice(), b"\r\n"].concat());
        }
        request.extend(format!("content-length: {}\r\n\r\n", self.body.len()).into_bytes());
        request.extend(&self.body);
        request
    }
}

const FIELDS: [(&str, &str); 4] = [("x", "10"), ("y", "20"), ("channel", "\"R\""), ("value", "100")];

/// A good body in which some fields have other values; a field that is empty is left out, and one
/// that is not known stands at the end.
pub fn pixel(changes: &[(&str, &str)]) -> String {
    let is_known = |name: &str| FIELDS.iter().any(|(field, _)| *field == name);
    let fields = FIELDS.map(|(field, good)| {
        let change = changes.iter().find(|(name, _)| *name == field);
        (field, change.map_or(good, |(_, value)| value))
    });
    let extras = changes.iter().copied().filter(|(name, _)| !is_known(name));
    object(fields.into_iter().chain(extras))
}

fn object<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let given = members.filter(|(_, value)| !value.is_empty());
    format!("{{{}}}", given.map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(","))
}

fn text(content: &str) -> String {
    format!("\"{content}\"")
}

/// A value where it is only echoed: deep in the input of a missing field.
fn echoed(value: &str) -> String {
    format!("{{\"e\":[{value}]}}")
}

/// Every class.
pub fn all() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    cases.integers();
    cases.channels();
    cases.combinations();
    cases.ranges();
    cases.members();
    cases.floats();
    cases.lengths();
    cases.strings();
    cases.white_space();
    cases.documents();
    cases.damage();
    cases.encodings();
    cases.nesting();
    cases.content_types();
    cases.0
}

struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, class: &'static str, body: impl Into<Vec<u8>>) {
        self.0.push(Case::json(class, body));
    }

    fn integers(&mut self) {
        for field in ["x", "y", "value"] {
            for number in NUMBERS {
                self.add("numbers for integers", pixel(&[(field, number)]));
            }
            for content in INTEGERS {
                self.add("texts for integers", pixel(&[(field, &text(content))]));
            }
            for value in OTHERS {
                self.add("other types for integers", pixel(&[(field, value)]));
            }
        }
    }

    fn channels(&mut self) {
        let names =
            ["R", "G", "B", "r", "X", "", "RG", "R ", " R", "\\u0052", "R\\u0000", "\u{ff32}", "\\ud800"];
        for name in names {
            self.add("channels", pixel(&[("channel", &text(name))]));
        }
        for value in NUMBERS.iter().chain(OTHERS) {
            self.add("channels", pixel(&[("channel", value)]));
        }
    }

    /// Every combination of good, missing and faulty fields.
    fn combinations(&mut self) {
        let integers = ["1", "", "\"a\"", "1.5", "null"];
        let channels = ["\"G\"", "", "\"r\""];
        for x in integers {
            for y in integers {
                for channel in channels {
                    for value in [integers.as_slice(), &["256"]].concat() {
                        let fields = [("x", x), ("y", y), ("channel", channel), ("value", value)];
                        let is_missing = fields.iter().any(|(_, value)| value.is_empty());
                        let class = if is_missing { "missing fields" } else { "several faults" };
                        self.add(class, pixel(&fields));
                    }
                }
            }
        }
    }

    fn ranges(&mut self) {
        for value in (-300..600).step_by(7).chain([-1, 0, 1, 254, 255, 256, 257]) {
            self.add("the range of value", pixel(&[("value", &value.to_string())]));
            self.add("the range of value", pixel(&[("value", &format!("{value}.0"))]));
            self.add("the range of value", pixel(&[("value", &text(&value.to_string()))]));
        }
    }

    /// Which members an object has, in which order, and how often.
    fn members(&mut self) {
        for order in 0..256 {
            let places = [order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6];
            let members = places.map(|place| FIELDS[place]);
            self.add("order and repetition of keys", object(members.into_iter()));
        }
        for (field, good) in FIELDS {
            for (first, last) in [(good, "null"), ("null", good), ("\"a\"", "[]"), ("7", "7.5")] {
                let changed = pixel(&[(field, last)]);
                let body = format!("{{\"{field}\":{first},{}", &changed[1..]);
                self.add("duplicate keys", body.clone());
                self.add("duplicate keys", body.replace("\"y\"", "\"Y\""));
            }
        }
        for name in
            ["z", "", "X", "x ", "_sa", "_sab", "_s", "_SA", "é", "\\u005fsa", "\\n", "__proto__", "\\ud800"]
        {
            for value in
                ["1", "{\"_sa\":1,\"a\":{\"_sa_\":2}}", "[{\"_sa\":NaN}]", "NaN", "1e309", "\"\\ud800\""]
            {
                self.add("extra keys", pixel(&[(name, value)]));
                self.add("extra keys", pixel(&[(name, value), ("y", "")]));
                self.add("extra keys", pixel(&[("x", &format!("{{\"{name}\":{value}}}"))]));
            }
        }
        for body in
            [r#"{"b":1,"a":2,"b":3}"#, r#"{"\u0078":1,"x":2,"y":3}"#, r#"{"b":1,"a":{"c":1,"c":[]},"b":{}}"#]
        {
            self.add("duplicate keys", body);
        }
    }

    fn floats(&mut self) {
        for mantissa in FLOATS {
            for power in (-340..=320).step_by(20).chain(-8..24) {
                let number = format!("{mantissa}e{power}");
                self.add("floats of all magnitudes", pixel(&[("x", &number)]));
                self.add("floats of all magnitudes", echoed(&number));
            }
        }
        for power in -1074..1024 {
            self.add("powers of two", echoed(&format!("{:e}", 2f64.powi(power))));
        }
    }

    fn lengths(&mut self) {
        for digits in [18, 19, 20, 4299, 4300, 4301, 4302, 5000] {
            let number = "1234567890".repeat(digits / 10 + 1)[..digits].to_string();
            let grouped = number[..digits / 2].chars().map(|c| format!("{c}_")).collect::<String>();
            for literal in [
                number.clone(),
                format!("-{number}"),
                format!("0{number}"),
                format!("+{number}"),
                format!(" {number}"),
                format!("{number} "),
                format!("{number}x"),
                format!("{number}.0"),
                format!("{number}.5"),
                format!("1_{number}"),
                format!("-0{}", &number[1..]),
                format!("{grouped}1"),
                format!("0.{number}"),
                format!("1.{}", "0".repeat(digits)),
                "0".repeat(digits),
                format!("{}7", "0".repeat(digits)),
                format!("1e{number}"),
            ] {
                self.add("long numbers", pixel(&[("x", &literal)]));
                self.add("long numbers", echoed(&literal));
                self.add("long texts for integers", pixel(&[("y", &text(&literal))]));
            }
        }
    }

    fn strings(&mut self) {
        for code in (0..0x180).chain([0x2028, 0x2029, 0xfeff, 0xfffd, 0xfffe, 0xffff, 0x1_f600, 0x10_ffff]) {
            let character = char::from_u32(code).unwrap().to_string();
            self.add("characters", echoed(&text(&character)));
            self.add("characters", pixel(&[(&character, "1"), ("x", "")]));
            self.add("characters", pixel(&[("x", &text(&format!("{character}1{character}")))]));
            self.add("escapes", echoed(&text(&format!("\\{character}"))));
            self.add("escapes", echoed(&text(&format!("é\\u{code:04x}"))));
            self.add("escapes", pixel(&[("channel", &text(&format!("\\u{code:04X}")))]));
        }
        let halves = [
            "\\ud83d", "\\ude00", "\\uD800", "\\udfff", "\\udbff", "a", "\\u", "\\ud83", "\\uzzzz",
            "\\u00e9", "\\",
        ];
        for first in halves {
            for second in halves {
                for body in [format!("{first}{second}"), format!("{first}{second}b")] {
                    self.add("surrogates", text(&body));
                    self.add("surrogates", pixel(&[("z", &text(&body))]));
                    self.add("surrogates", format!("\"{body}"));
                }
            }
        }
    }

    fn white_space(&mut self) {
        let blanks = [
            " ", "\t", "\n", "\r\n", "\u{b}", "\u{c}", "\u{1c}", "\u{85}", "\u{a0}", "\u{2028}", "\u{feff}",
            "\0", "//\n",
        ];
        let parts = [
            "",
            "{",
            "\"x\"",
            ":",
            "1",
            ",",
            "\"y\"",
            ":",
            "-2",
            ",",
            "\"channel\"",
            ":",
            "\"R\"",
            ",\"value\":",
            "3",
            "}",
        ];
        for blank in blanks {
            for gap in 1..=parts.len() {
                let (before, after) = parts.split_at(gap);
                self.add("white space", [before.concat(), after.concat()].join(blank));
            }
            self.add("white space", parts.join(blank));
            self.add("white space", blank);
            self.add("white space", format!("[{blank}]"));
            self.add("white space", format!("{{{blank}}}"));
            self.add("white space", format!("[1{blank},{blank}2"));
        }
    }

    /// All documents of up to three tokens.
    fn documents(&mut self) {
        self.add("no body", "");
        for first in TOKENS {
            for second in TOKENS {
                for third in TOKENS {
                    self.add("documents of three tokens", [*first, *second, *third].concat());
                }
            }
        }
        for begin in [
            "nul",
            "nulll",
            "tru",
            "fals",
            "True",
            "Na",
            "NaN0",
            "Infinit",
            "-Inf",
            "-Infinity1",
            "+1",
            ".5",
            "1.",
            "1.e5",
            "1e",
            "1e+",
            "00",
            "-01",
            "--1",
            "0x1",
            "-a",
            "{'x':1}",
            "{x:1}",
        ] {
            for body in [begin.to_string(), echoed(begin), pixel(&[("x", begin)])] {
                self.add("malformed words and numbers", body);
            }
        }
    }

    /// Good bodies, cut off and changed at every byte.
    fn damage(&mut self) {
        let bodies = [
            pixel(&[]),
            pixel(&[("x", "-1.5e+10"), ("channel", "\"é\""), ("z", "[null,{\"a\":true}]")]),
            " [ { \"😀\" : [ ] , \"\\ud83d\\ude00\\n\" : [ 1 , 2.50 ] } , false , -Infinity ] ".into(),
        ];
        for body in bodies.map(String::into_bytes) {
            for at in 0..=body.len() {
                let (before, after) = body.split_at(at);
                self.add("truncations", before);
                self.add("beginnings cut off", after);
                for byte in b"\"{}[],:\\0-.e a\0\x80\xff" {
                    self.add("bytes inserted", [before, &[*byte], after].concat());
                    if let [_, rest @ ..] = after {
                        self.add("bytes replaced", [before, &[*byte], rest].concat());
                    }
                }
            }
        }
    }

    fn encodings(&mut self) {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        for body in [pixel(&[]), "{".into(), String::new(), "\"é\"x".into(), pixel(&[("z", "\"a\u{feff}\"")])]
        {
            self.add("byte order mark", [MARK, body.as_bytes()].concat());
            self.add("byte order mark", [MARK, MARK, body.as_bytes()].concat());
            self.add("byte order mark", [b" ", MARK, body.as_bytes()].concat());
        }
        for sequence in INVALID_UTF_8 {
            let quoted = [b"\"a", *sequence, b"b\""].concat();
            self.add("invalid UTF-8", *sequence);
            self.add("invalid UTF-8", quoted.clone());
            self.add("invalid UTF-8", [b"[1,", quoted.as_slice(), b" x"].concat());
            self.add("invalid UTF-8", [pixel(&[]).as_bytes(), sequence].concat());
            self.add(
                "invalid UTF-8",
                [b"{", quoted.as_slice(), b":1,", &pixel(&[]).as_bytes()[1..]].concat(),
            );
            self.add("invalid UTF-8", [b"{", quoted.as_slice(), b":1,\"x\":\"a\"}"].concat());
        }
        for body in
            [pixel(&[]), "{}".into(), "1".into(), "{".into(), "é".into(), "\u{feff}{}".into(), String::new()]
        {
            let utf16: Vec<u16> = body.encode_utf16().collect();
            let utf32: Vec<u32> = body.chars().map(u32::from).collect();
            self.add(
                "UTF-16 and UTF-32",
                utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>(),
            );
            self.add(
                "UTF-16 and UTF-32",
                utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(),
            );
            self.add(
                "UTF-16 and UTF-32",
                utf32.iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>(),
            );
            self.add(
                "UTF-16 and UTF-32",
                utf32.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(),
            );
        }
        for pattern in 0..81_usize {
            let bytes = [1, 3, 9, 27].map(|place| [0, b'1', b' '][pattern / place % 3]);
            for length in 1..=4 {
                self.add("UTF-16 and UTF-32", &bytes[..length]);
            }
        }
    }

    fn nesting(&mut self) {
        let inner =
            ["", "1", "NaN", "x", "\"", "\"\\x\"", "1 1", "{\"a\"", "{}", "[1}", "{\"_sa\":1}", "-Infinity"];
        for depth in (1..940).step_by(117).chain(940..970).chain([1000, 5000, 100_000]) {
            for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]"), ("[1,", "]")] {
                let levels = if open.len() > 5 { depth / 2 } else { depth };
                let inner = if (940..970).contains(&depth) { &inner } else { &inner[..2] };
                for inner in inner {
                    let nested = [&open.repeat(levels), *inner, &close.repeat(levels)].concat();
                    self.add("deep nesting", pixel(&[("z", &nested)]));
                    if !(945..=965).contains(&depth) || depth % 5 == 0 {
                        self.add("deep nesting", pixel(&[("x", &nested)]));
                        self.add("deep nesting", [&open.repeat(levels), *inner].concat());
                        self.add("deep nesting", nested);
                    }
                }
            }
        }
    }

    fn content_types(&mut self) {
        let good = pixel(&[]);
        let bodies: [&[u8]; 6] = [good.as_bytes(), b"", b"\xc3\xa9x\"\\\n\x01", b"{", b"\xff", b"[]"];
        for body in bodies {
            self.0.push(Case { class: "content types", content_type: None, body: body.into() });
            for value in CONTENT_TYPES {
                let content_type = Some(value.to_vec());
                self.0.push(Case { class: "content types", content_type, body: body.into() });
            }
        }
    }
}

const INVALID_UTF_8: &[&[u8]] = &[
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc3",
    b"\xc3\xc3",
    b"\xe0\x80\x80",
    b"\xe2\x82",
    b"\xed",
    b"\xed\xa0",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xc3\xed\xa0\x80",
    b"\xed\xa0\x80\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xed\xa0\x80\xff",
];

const CONTENT_TYPES: &[&[u8]] = &[
    b"",
    b"text/plain",
    b"application/json",
    b"APPLICATION/JSON",
    b"application/json; charset=utf-8",
    b"application/json;charset=latin1",
    b"application/json ; x",
    b"application/json\t;x",
    b";application/json",
    b"application/json;",
    b"application/vnd.api+json",
    b"application/+json",
    b"application/x+JSON;v=1",
    b"application/json+xml",
    b"application/jsonx",
    b"application/xjson",
    b"application/a/b+json",
    b"application/json/x",
    b"application//json",
    b"/application/json",
    b"application/ json",
    b"application /json",
    b"application/json x",
    b"application/x +json",
    b"application/x+json y",
    b"application/",
    b"application",
    b"json",
    b"+json",
    b"/json",
    b"text/json",
    b"image/svg+json",
    b"*/*",
    b"application/json,text/plain",
    b"application/json, application/json",
    b"\"application/json\"",
    b"multipart/form-data",
    b"application/x-www-form-urlencoded",
    b"appli cation/json",
    b"application/json\xa0",
    b"\xa0application/json",
    b"application/json\x85;x",
    b"application/\xe9+json",
    b"application/json\xe9",
    b"application/json;\xe9",
];
