//! JSON as FastAPI answers with it.

use std::fmt::{self, Write};

use super::json::Value;

/// Writes a value that a client sent: Python's `json.dumps` without spaces and without escaping what
/// is not ASCII. What that cannot write (NaN, infinities) is null; members whose name begins with
/// `_sa` are left out, because FastAPI takes them for SQLAlchemy's.
pub fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Integer(digits) => out.push_str(digits),
        Value::Float(number) => write_float(*number, out),
        Value::Text(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            let shown = members.iter().filter(|(name, _)| !name.starts_with("_sa"));
            for (i, (name, member)) in shown.enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
    }
}

/// Writes a string with its quotes.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// As `repr(float)`: the shortest digits, an exponent below 1e-4 and from 1e16 on.
fn write_float(number: f64, out: &mut String) {
    if !number.is_finite() {
        return out.push_str("null");
    }
    if number.is_sign_negative() {
        out.push('-');
    }
    let scientific = shortest(number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let _ = match usize::try_from(exponent) {
        Ok(exponent @ ..16) => write_plain(&mantissa.replace('.', ""), exponent + 1, out),
        Err(_) if exponent >= -4 => {
            let zeros = "0".repeat(exponent.unsigned_abs() as usize);
            write_plain(&(zeros + &mantissa.replace('.', "")), 1, out)
        }
        _ => write!(out, "{mantissa}e{exponent:+03}"),
    };
}

/// Digits with a point after the first `whole` of them.
fn write_plain(digits: &str, whole: usize, out: &mut String) -> fmt::Result {
    if digits.len() > whole {
        write!(out, "{}.{}", &digits[..whole], &digits[whole..])
    } else {
        write!(out, "{digits:0<whole$}.0")
    }
}

/// In scientific notation, the fewest digits that are read back as this number. Where two are
/// equally near, Rust takes the greater and Python the even one.
fn shortest(number: f64) -> String {
    let greater = format!("{number:e}");
    let digits = greater.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let even = format!("{number:.*e}", digits - 1);
    if even.parse() == Ok(number) { even } else { greater }
}

#[cfg(test)]
mod tests {
    use super::{super::json::read, *};

    fn rewritten(text: &str) -> String {
        let mut out = String::new();
        write(&read(text.as_bytes()).unwrap(), &mut out);
        out
    }

    #[test]
    fn documents_are_written_as_python_would() {
        for (text, python) in [
            (" [ ] ", "[]"),
            (r#"{"b" : 1, "a": [true, false, null], "b": 2}"#, r#"{"b":2,"a":[true,false,null]}"#),
            (r#"{"_sa": 1, "_s": {"_sab": 2}}"#, r#"{"_s":{}}"#),
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
        ] {
            assert_eq!(rewritten(text), python, "{text}");
        }
        assert_eq!(rewritten("\u{feff}7"), "7");
    }
}
