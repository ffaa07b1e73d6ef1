//! Writes JSON as FastAPI does in a response: as Python's `json.dumps` without spaces and with
//! `ensure_ascii=False`.

/// Writes a string with its quotes.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";

    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|b| *b < b' ' || matches!(b, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..plain]);
        match rest[plain] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control @ ..b' ' => {
                let digits = [HEX[usize::from(control >> 4)], HEX[usize::from(control & 0xf)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
            other => out.extend_from_slice(&[b'\\', other]),
        }
        rest = &rest[plain + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Writes a float as `repr(float)` does: the shortest digits, the even ones of two equally near, and an
/// exponent below 1e-4 and from 1e16 on. NaN and the infinities are null.
pub fn write_float(number: f64, out: &mut Vec<u8>) {
    if !number.is_finite() {
        return out.extend_from_slice(b"null");
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(number).as_bytes();
    if number == 0.0 || number.abs() >= 1e-4 {
        out.extend_from_slice(text);
    } else {
        write_tiny(text, out);
    }
}

/// Converts what zmij writes below 1e-4: no exponent down to 1e-5, and one digit in the exponent down to 1e-9.
fn write_tiny(text: &[u8], out: &mut Vec<u8>) {
    let (sign, digits) = text.split_at(usize::from(text[0] == b'-'));
    out.extend_from_slice(sign);
    if let Some([first, more @ ..]) = digits.strip_prefix(b"0.0000") {
        out.push(*first);
        if !more.is_empty() {
            out.push(b'.');
            out.extend_from_slice(more);
        }
        out.extend_from_slice(b"e-05");
    } else if let [mantissa @ .., b'-', exponent] = digits {
        out.extend_from_slice(mantissa);
        out.extend_from_slice(&[b'-', b'0', *exponent]);
    } else {
        out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::super::json_parser::{decode_utf8, parse};

    fn rewritten(text: &str) -> String {
        let text = decode_utf8(text.as_bytes()).unwrap();
        String::from_utf8(parse(&text).unwrap().echo.into()).unwrap()
    }

    #[test]
    fn documents_are_serialized_as_by_python() {
        for (text, python) in [
            (" [ ] ", "[]"),
            (r#"{"b" : 1, "a": [true, false, null], "b": 2}"#, r#"{"b":2,"a":[true,false,null]}"#),
            (r#"{"_sa": 1, "_s": {"_sab": 2}}"#, r#"{"_s":{}}"#),
            (
                r#"{"a": 0, "b": {"c": 1, "d": 2, "c": [{"e": 3, "e": {"f": 4, "f": 5}}]}, "a": {"g": 6, "g": 7}}"#,
                r#"{"a":{"g":7},"b":{"c":[{"e":{"f":5}}],"d":2}}"#,
            ),
            (r#"{"_sa": {"a": 1, "a": 2}, "b": [{"c": 3, "d": 4}]}"#, r#"{"b":[{"c":3,"d":4}]}"#),
            (r#"[{"": 1, "a": 2, "a": 3}, {"b": 4, "b": 5, "": {}}]"#, r#"[{"":1,"a":3},{"b":5,"":{}}]"#),
            (r#""\u00e9\ud83d\ude00\n\u0001/""#, "\"é😀\\n\\u0001/\""),
            ("-0", "0"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("10.5", "10.5"),
            ("1e2", "100.0"),
            ("1e16", "1e+16"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e300", "1.5e+300"),
            ("-0.0", "-0.0"),
            ("1234.5", "1234.5"),
            ("0.00123", "0.00123"),
            ("9007199254740993.0", "9007199254740992.0"),
            ("1907957593336336.25", "1907957593336336.2"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("0.00009999999999999999", "9.999999999999999e-05"),
            ("-0.0000123", "-1.23e-05"),
            ("-1.5e-9", "-1.5e-09"),
            ("1e-10", "1e-10"),
            ("5e-324", "5e-324"),
            ("\"\\u0000\\u001f\\\\\u{7f}\"", "\"\\u0000\\u001f\\\\\u{7f}\""),
        ] {
            assert_eq!(rewritten(text), python, "{text}");
        }
        assert_eq!(rewritten("\u{feff}7"), "7");
    }
}
