use super::{
    BodyRejection, Channel, Digits, Pixel, integer,
    json_document::{Document, Field, Value},
    validate::{validate, validate_document},
};

/// Reads a body that was sent as JSON.
///
/// # Errors
/// As [`validate`].
pub fn parse(body: &[u8]) -> Result<Pixel<'_>, BodyRejection> {
    match fast_decode(body) {
        Some(decoded) => decoded,
        None => validate(body),
    }
}

/// Reads a body that is an object of the four fields whose values are canonical integers and strings without
/// escapes.
///
/// `None` does not mean that the body is invalid: [`validate`] decides about it. Otherwise the result is that
/// of [`validate`].
pub fn fast_decode(body: &[u8]) -> Option<Result<Pixel<'_>, BodyRejection>> {
    let is_spaced = body.get(br#"{"x":"#.len()) == Some(&b' ');
    match if is_spaced { ordered::<true>(body) } else { ordered::<false>(body) } {
        // In one place, so that it is inlined.
        Some(([x, y, value], channel)) => {
            Some(Pixel::new(Digits::borrowed(x), Digits::borrowed(y), channel, value))
        }
        None => unordered(body),
    }
}

/// Decodes x, y, channel, value in this order: without white space or, if `SPACED`, with that of `json.dumps`. Returns
/// the digits of x, y and value. Most bodies are of this kind. To compare them with constants takes half the
/// instructions of [`unordered`].
fn ordered<const SPACED: bool>(body: &[u8]) -> Option<([&[u8]; 3], Channel)> {
    let mut cursor = Cursor { rest: body };
    cursor.text(if SPACED { br#"{"x": "# } else { br#"{"x":"# })?;
    let x = cursor.integer()?;
    cursor.text(if SPACED { br#", "y": "# } else { br#","y":"# })?;
    let y = cursor.integer()?;
    cursor.text(if SPACED { br#", "channel": ""# } else { br#","channel":""# })?;
    let channel = cursor.channel()?;
    cursor.text(if SPACED { br#"", "value": "# } else { br#"","value":"# })?;
    let value = cursor.integer()?;
    (cursor.rest == b"}").then_some(([x, y, value], channel))
}

/// Reads fields in any order with any white space, also invalid ones. Of equal keys, the last one is used.
#[inline(never)] // it would slow down what is inlined beside it
fn unordered(body: &[u8]) -> Option<Result<Pixel<'_>, BodyRejection>> {
    let mut cursor = Cursor { rest: body };
    let mut fields = [const { None }; Document::FIELDS.len()];
    cursor.expect(b'{')?;
    loop {
        let field = cursor.key()?;
        let begin = body.len() - cursor.rest.len();
        let value = cursor.scalar()?;
        fields[field] = Some(Field { value, place: begin..body.len() - cursor.rest.len() });
        match cursor.token()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    cursor.skip_white_space();
    if !cursor.rest.is_empty() || fields.iter().any(Option::is_none) {
        return None;
    }
    // FastAPI writes these values as they are, and no error repeats the whole document.
    Some(validate_document(Document { echo: body.into(), fields: Some(fields) }))
}

/// The rest of a body. Each method takes what it is named after off the front, or returns `None`.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn text(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// The first byte behind white space.
    fn token(&mut self) -> Option<u8> {
        self.skip_white_space();
        let (&token, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(token)
    }

    fn expect(&mut self, token: u8) -> Option<()> {
        (self.token()? == token).then_some(())
    }

    fn skip_white_space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// A key with its colon, and the white space around them. Returns its index in [`Document::FIELDS`].
    fn key(&mut self) -> Option<usize> {
        self.expect(b'"')?;
        let (key, rest) = match self.rest {
            [b'x', b'"', rest @ ..] => (0, rest),
            [b'y', b'"', rest @ ..] => (1, rest),
            [b'c', b'h', b'a', b'n', b'n', b'e', b'l', b'"', rest @ ..] => (2, rest),
            [b'v', b'a', b'l', b'u', b'e', b'"', rest @ ..] => (3, rest),
            _ => return None,
        };
        self.rest = rest;
        self.expect(b':')?;
        self.skip_white_space();
        Some(key)
    }

    /// An integer, or a string without escapes.
    fn scalar(&mut self) -> Option<Value<'a>> {
        let Some(string) = self.rest.strip_prefix(b"\"") else {
            return Some(Value::Integer(str::from_utf8(self.integer()?).ok()?));
        };
        let length = string.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        self.rest = string[length..].strip_prefix(b"\"")?;
        Some(Value::Text(str::from_utf8(&string[..length]).ok()?.into()))
    }

    fn channel(&mut self) -> Option<Channel> {
        let (letter, rest) = self.rest.split_first()?;
        self.rest = rest;
        Channel::from_letter(*letter)
    }

    /// An integer without leading zeros that is not `-0`. The fraction or exponent of a float remains, and
    /// cannot follow an integer.
    #[allow(clippy::inline_always)] // saves a tenth of the instructions
    #[inline(always)]
    fn integer(&mut self) -> Option<&'a [u8]> {
        let (sign_len, unsigned) = match self.rest {
            [b'-', unsigned @ ..] => (1, unsigned),
            unsigned => (0, unsigned),
        };
        let digits = match unsigned {
            [b'0', ..] if sign_len == 0 => 1,
            [b'1'..=b'9', ..] => unsigned.iter().position(|byte| !byte.is_ascii_digit())?,
            _ => return None,
        };
        let (integer, rest) = self.rest.split_at(sign_len + digits);
        self.rest = rest;
        (digits <= integer::MAX_DIGITS).then_some(integer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    fn pixel<'a>(x: &'a str, y: &'a str, channel: Channel, value: u8) -> Pixel<'a> {
        Pixel { x: Digits::borrowed(x.as_bytes()), y: Digits::borrowed(y.as_bytes()), channel, value }
    }

    #[test]
    fn any_order_and_white_space_is_decoded() {
        for body in [
            r#"{"x":10,"y":-20,"channel":"R","value":255}"#,
            r#"{"x": 10, "y": -20, "channel": "R", "value": 255}"#,
            r#"{"value":255,"channel":"R","y":-20,"x":10}"#,
            " {\t\"x\" : 10 ,\r\n\"y\":-20, \"channel\" : \"R\" , \"value\": 255 }\n",
            r#"{"x":1,"x":10,"y":-20,"channel":"B","channel":"R","value":255}"#,
        ] {
            assert_eq!(fast_decode(body.as_bytes()), Some(Ok(pixel("10", "-20", Channel::R, 255))), "{body}");
        }
    }

    #[test]
    fn long_integer_keeps_every_digit() {
        let x = "9".repeat(integer::MAX_DIGITS);
        let body = format!(r#"{{"x":{x},"y":0,"channel":"G","value":0}}"#);
        assert_eq!(fast_decode(body.as_bytes()), Some(Ok(pixel(&x, "0", Channel::G, 0))));
        let body = format!(r#"{{"x":{x}9,"y":0,"channel":"G","value":0}}"#);
        assert_eq!(fast_decode(body.as_bytes()), None);
    }

    #[test]
    fn value_out_of_range_is_an_error() {
        for value in ["256", "-1", "-10", "999", "1000", "99999999999999999999"] {
            let body = format!(r#"{{"x":1,"y":2,"channel":"B","value":{value}}}"#);
            assert_eq!(fast_decode(body.as_bytes()), Some(Err(BodyRejection::OutOfRange)), "{value}");
        }
    }

    #[test]
    fn every_other_body_is_left_to_validate() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"x":1,"y":2,"channel":"R"}"#,
            r#"{"x":1,"y":2,"channel":null,"value":1}"#,
            r#"{"x":1,"y":2,"channel":"\u0052","value":1}"#,
            "{\"x\":1,\"y\":2,\"channel\":\"\t\",\"value\":1}",
            "{\"x\":1,\"y\":2,\"channel\":\"R,\"value\":1}",
            r#"{"x":1,"y":2,"channel":"R","value":1,"z":0}"#,
            r#"{"x":1,"y":2,"channel":"R","value":1,}"#,
            r#"{"x":1,"y":2,"channel":"R","value":1}}"#,
            r#"{"x":1,"y":2,"channel":"R","value":1"#,
            r#"{"x":1,"y":2,"channel":"R","value":"#,
            r#"{"x":01,"y":2,"channel":"R","value":1}"#,
            r#"{"x":-0,"y":2,"channel":"R","value":1}"#,
            r#"{"x":-,"y":2,"channel":"R","value":1}"#,
            r#"{"x":1.0,"y":2,"channel":"R","value":1}"#,
            r#"{"x":1e3,"y":2,"channel":"R","value":1}"#,
            r#"{"x":"1,"y":2,"channel":"R","value":1}"#,
            r#"{"\u0078":1,"y":2,"channel":"R","value":1}"#,
        ] {
            assert_eq!(fast_decode(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn invalid_strings_and_integers_are_rejected_at_once() {
        for body in [
            r#"{"x":1,"y":2,"channel":"r","value":1}"#,
            r#"{"x":1,"y":"é","channel":"RG","value":256}"#,
            r#"{"x":"","y":2,"channel":7,"value":"9"}"#,
        ] {
            let Some(Err(rejection)) = fast_decode(body.as_bytes()) else {
                panic!("{body} is left to validate")
            };
            assert_eq!(Err(rejection), validate(body.as_bytes()), "{body}");
        }
    }

    /// The text of a value that is an integer, or nearly.
    fn integer_text() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => any::<u8>().prop_map(|number| number.to_string()),
            2 => any::<i128>().prop_map(|number| number.to_string()),
            2 => (-300..300_i32).prop_map(|number| number.to_string()),
            1 => "-?0?[0-9]{1,4}(\\.[0-9])?([eE][0-9])?",
            1 => select(&["-", "", "-0", "true", "null", "NaN"][..]).prop_map(str::to_owned),
            1 => "\"[ -~é]{0,3}\"|\"[+-]?[0-9_.]{0,4}\"",
        ]
    }

    fn member(key: &'static str) -> BoxedStrategy<String> {
        let value = if key == "channel" {
            "\"[RGBRGBrX]{1,2}\"|\"[RGB]\"|R|\"[ -~é]{0,3}\"".boxed()
        } else {
            integer_text().boxed()
        };
        (value, "[ \n]?", "[ \t]?")
            .prop_map(move |(value, before, after)| format!("\"{key}\"{before}:{after}{value}"))
            .boxed()
    }

    /// An object with the four fields in any order, and some of them twice or not at all.
    fn shuffled_body() -> impl Strategy<Value = String> {
        let members = ["x", "y", "channel", "value"].map(member).to_vec();
        let extra = select(&["x", "y", "channel", "value", "z"][..]).prop_flat_map(member);
        (members.prop_shuffle(), proptest::option::weighted(0.3, extra), "[ \r]?", "[ \n]{0,2}").prop_map(
            |(mut members, extra, white_space, end)| {
                members.extend(extra);
                format!("{{{white_space}{}}}{end}", members.join(&format!("{white_space},{white_space}")))
            },
        )
    }

    /// A body as [`ordered`] knows it.
    fn ordered_body() -> impl Strategy<Value = String> {
        let integers = [integer_text(), integer_text(), integer_text()];
        (integers, "[RGB]", any::<bool>()).prop_map(|([x, y, value], channel, is_spaced)| {
            let body = format!(r#"{{"x":{x},"y":{y},"channel":"{channel}","value":{value}}}"#);
            if is_spaced { body.replace("\":", "\": ").replace(',', ", ") } else { body }
        })
    }

    fn assert_agrees_with_validate(body: &[u8]) -> Result<(), TestCaseError> {
        if let Some(decoded) = fast_decode(body) {
            prop_assert_eq!(decoded, validate(body), "{}", body.escape_ascii());
        }
        if let Some(decoded) = unordered(body) {
            prop_assert_eq!(decoded, validate(body), "{}", body.escape_ascii());
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn any_pixel_written_by_a_client_is_decoded(
            (x, y, value) in (any::<i128>(), any::<i64>(), any::<u8>()), is_spaced in any::<bool>(),
        ) {
            let mut body = format!(r#"{{"x":{x},"y":{y},"channel":"G","value":{value}}}"#);
            if is_spaced {
                body = body.replace(':', ": ").replace(',', ", ");
            }
            let (x, y) = (x.to_string(), y.to_string());
            prop_assert_eq!(ordered::<true>(body.as_bytes()).is_some(), is_spaced);
            prop_assert_eq!(fast_decode(body.as_bytes()), Some(Ok(pixel(&x, &y, Channel::G, value))));
        }

        #[test]
        fn any_body_agrees_with_validate(body in prop_oneof![ordered_body(), shuffled_body()]) {
            assert_agrees_with_validate(body.as_bytes())?;
        }

        #[test]
        fn changed_body_agrees_with_validate(
            body in prop_oneof![ordered_body(), shuffled_body()],
            (place, length) in (any::<prop::sample::Index>(), 0_usize..3),
            bytes in proptest::collection::vec(select(b"{}[]\":,0123456789-+.eE xyRGB\\u\n\0\xff".as_slice()), 0..3),
        ) {
            let mut body = body.into_bytes();
            let begin = place.index(body.len());
            let end = (begin + length).min(body.len());
            body.splice(begin..end, bytes);
            assert_agrees_with_validate(&body)?;
        }
    }
}
