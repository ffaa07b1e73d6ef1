use std::borrow::Cow;

use super::{Channel, Fields, OutOfRange, Pixel, integer};

/// Reads a body that is an object of plain integers and a channel: any order, any white space,
/// nothing escaped, no other keys. `None` means that it is not one of those and [`validate`] has
/// to look; it says nothing about whether the body is right.
///
/// [`validate`]: super::validate()
pub fn fast_decode(body: &[u8]) -> Option<Result<Pixel<'_>, OutOfRange>> {
    let mut cursor = Cursor { rest: body };
    let (mut x, mut y, mut channel, mut value) = (None, None, None, None);
    cursor.expect(b'{')?;
    loop {
        match cursor.key()? {
            b"x" => x = Some(cursor.integer()?),
            b"y" => y = Some(cursor.integer()?),
            b"channel" => channel = Some(Channel::from_name(cursor.string()?)?),
            b"value" => value = Some(cursor.integer()?),
            _ => return None,
        }
        match cursor.next_token()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    cursor.end()?;
    let fields = Fields {
        x: Cow::Borrowed(x?),
        y: Cow::Borrowed(y?),
        channel: channel?,
        value: Cow::Borrowed(value?),
    };
    Some(fields.into_pixel())
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn skip_white_space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn next_token(&mut self) -> Option<u8> {
        self.skip_white_space();
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn expect(&mut self, token: u8) -> Option<()> {
        (self.next_token()? == token).then_some(())
    }

    fn end(&mut self) -> Option<()> {
        self.skip_white_space();
        self.rest.is_empty().then_some(())
    }

    /// A key with the colon behind it.
    fn key(&mut self) -> Option<&'a [u8]> {
        let key = self.string()?;
        self.expect(b':')?;
        Some(key)
    }

    /// A short string of letters.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let length = self.rest.iter().position(|byte| !byte.is_ascii_alphabetic())?;
        let (key, rest) = self.rest.split_at(length);
        self.rest = rest.strip_prefix(b"\"")?;
        Some(key)
    }

    /// An integer that needs no rewriting: no leading zeros, no `-0`, no fraction, no exponent.
    fn integer(&mut self) -> Option<&'a str> {
        self.skip_white_space();
        let sign = usize::from(self.rest.first() == Some(&b'-'));
        let digits = self.rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(sign + digits);
        let canonical = match &number[sign..] {
            [] => false,
            [b'0'] => sign == 0,
            [b'0', ..] => false,
            _ => digits <= integer::MAX_DIGITS,
        };
        let ends_here = !matches!(rest.first(), Some(b'.' | b'e' | b'E'));
        self.rest = rest;
        if canonical && ends_here { std::str::from_utf8(number).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel<'a>(x: &'a str, y: &'a str, channel: Channel, value: u8) -> Pixel<'a> {
        Pixel { x: x.into(), y: y.into(), channel, value }
    }

    #[test]
    fn plain_bodies_are_decoded_in_any_order_and_spacing() {
        for body in [
            r#"{"x":10,"y":-20,"channel":"R","value":255}"#,
            r#"{"value":255,"channel":"R","y":-20,"x":10}"#,
            " {\t\"x\" : 10 ,\r\n\"y\":-20, \"channel\" : \"R\" , \"value\": 255 }\n",
            r#"{"x":1,"x":10,"y":-20,"channel":"B","channel":"R","value":255}"#,
        ] {
            assert_eq!(fast_decode(body.as_bytes()), Some(Ok(pixel("10", "-20", Channel::R, 255))), "{body}");
        }
    }

    #[test]
    fn big_integers_keep_every_digit() {
        let x = "9".repeat(integer::MAX_DIGITS);
        let body = format!(r#"{{"x":{x},"y":0,"channel":"G","value":0}}"#);
        assert_eq!(fast_decode(body.as_bytes()), Some(Ok(pixel(&x, "0", Channel::G, 0))));
    }

    #[test]
    fn value_range_is_checked() {
        for value in ["256", "-1", "99999999999999999999"] {
            let body = format!(r#"{{"x":1,"y":2,"channel":"B","value":{value}}}"#);
            assert_eq!(fast_decode(body.as_bytes()), Some(Err(OutOfRange)), "{value}");
        }
    }

    #[test]
    fn other_body_is_none() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"x":1,"y":2,"channel":"R"}"#,
            r#"{"x":1,"y":2,"channel":"r","value":1}"#,
            r#"{"x":1,"y":2,"channel":"R","value":1,"z":0}"#,
            r#"{"x":1,"y":2,"channel":"R","value":1,}"#,
            r#"{"x":1,"y":2,"channel":"R","value":1}}"#,
            r#"{"x":1,"y":2,"channel":"R","value":1"#,
            r#"{"x":01,"y":2,"channel":"R","value":1}"#,
            r#"{"x":-0,"y":2,"channel":"R","value":1}"#,
            r#"{"x":-,"y":2,"channel":"R","value":1}"#,
            r#"{"x":1.0,"y":2,"channel":"R","value":1}"#,
            r#"{"x":1e3,"y":2,"channel":"R","value":1}"#,
            r#"{"x":"1","y":2,"channel":"R","value":1}"#,
            r#"{"\u0078":1,"y":2,"channel":"R","value":1}"#,
        ] {
            assert_eq!(fast_decode(body.as_bytes()), None, "{body}");
        }
    }
}
