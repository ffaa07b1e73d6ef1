//! Integers as pydantic accepts them in its lax mode.

/// Python converts no longer integers from or to text (`sys.int_info.default_max_str_digits`).
pub const MAX_DIGITS: usize = 4300;

/// Why a value is not an integer, by pydantic's error types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerError {
    /// Neither a number, nor a string, nor a boolean.
    Type,
    /// A string that is not an integer.
    Parsing,
    /// A string that is too long, or a float beyond 64 bits.
    ParsingSize,
    /// A number with a fractional part.
    FromFloat,
    /// NaN or an infinity.
    NotFinite,
}

/// Converts an integral float of less than 2^63 to canonical digits.
pub fn from_float(number: f64) -> Result<String, IntegerError> {
    /// 2^63, the first float that an i64 cannot hold.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;

    if !number.is_finite() {
        Err(IntegerError::NotFinite)
    } else if number.fract() != 0.0 {
        Err(IntegerError::FromFloat)
    } else if -LIMIT < number && number < LIMIT {
        #[allow(clippy::cast_possible_truncation)] // integral and in range, as just checked
        let integer = number as i64;
        Ok(integer.to_string())
    } else {
        Err(IntegerError::ParsingSize)
    }
}

/// Converts a string to canonical digits. White space around them, a sign, leading zeros, single underscores
/// between digits and a fraction of zeros are accepted.
pub fn from_text(text: &str) -> Result<String, IntegerError> {
    // pydantic checks the length before it cleans the string. If only the cleaned string is too long, it is no integer.
    if json_digits(text) > MAX_DIGITS {
        return Err(IntegerError::ParsingSize);
    }
    clean_int_str(text.trim()).ok_or(IntegerError::Parsing)
}

/// Returns the number of digits of the JSON integer that `text` begins with.
fn json_digits(text: &str) -> usize {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.starts_with('0') { 1 } else { digits.bytes().take_while(u8::is_ascii_digit).count() }
}

/// Follows the steps of pydantic-core's `clean_int_str`, because their order has an effect: `0__1` and `0-1`
/// are integers, `1__0` and `1-0` are not.
fn clean_int_str(text: &str) -> Option<String> {
    let (negative, text) = match text.strip_prefix('+') {
        Some(unsigned) => (false, unsigned),
        None => split_sign(text),
    };
    let text = strip_zero_fraction(strip_leading_zeros(text)?);
    let text = strip_underscores(text)?;
    let (negative_behind_zeros, digits) = split_sign(&text);
    let is_integer = match digits.as_bytes() {
        [] => false,
        [b'0', more @ ..] => more.is_empty(),
        all => all.len() <= MAX_DIGITS && all.iter().all(u8::is_ascii_digit),
    };
    let signed_once = !(negative && negative_behind_zeros);
    let sign = if (negative || negative_behind_zeros) && digits != "0" { "-" } else { "" };
    (is_integer && signed_once).then(|| format!("{sign}{digits}"))
}

fn split_sign(text: &str) -> (bool, &str) {
    text.strip_prefix('-').map_or((false, text), |unsigned| (true, unsigned))
}

/// Strips zeros and the underscores among them, but not the only digit.
fn strip_leading_zeros(text: &str) -> Option<&str> {
    if !text.starts_with('0') {
        return text.starts_with(|c: char| c.is_ascii_digit()).then_some(text);
    }
    let Some(end) = text.find(|c| c != '0' && c != '_') else {
        return Some(&text[text.len() - 1..]);
    };
    match text.as_bytes()[end] {
        b'1'..=b'9' | b'-' => Some(&text[end..]),
        b'.' => Some(&text[end - 1..]),
        _ => None,
    }
}

fn strip_zero_fraction(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    }
}

fn strip_underscores(text: &str) -> Option<String> {
    let misplaced = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    (!misplaced).then(|| text.replace('_', ""))
}

/// Converts canonical decimal digits to a number, if that is in 0..=255.
pub fn to_u8(digits: &[u8]) -> Option<u8> {
    let number = |digit: u8| u16::from(digit & 0xf);
    match *digits {
        [b'-', ..] => None,
        [ones] => u8::try_from(number(ones)).ok(),
        [tens, ones] => u8::try_from(number(tens) * 10 + number(ones)).ok(),
        [hundreds, tens, ones] => {
            u8::try_from(number(hundreds) * 100 + number(tens) * 10 + number(ones)).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integer_strings_are_accepted() {
        for (text, integer) in [
            ("10", "10"),
            (" 7 ", "7"),
            ("\n-7\t", "-7"),
            ("\u{2003}7\u{a0}", "7"),
            ("+7", "7"),
            ("1_000", "1000"),
            ("0255", "255"),
            ("-0", "0"),
            ("20.0", "20"),
            ("-20.000", "-20"),
            ("0_0.0", "0"),
            ("0__1", "1"),
            ("0-1", "-1"),
            ("00-1_0.0", "-10"),
        ] {
            assert_eq!(from_text(text).as_deref(), Ok(integer), "{text:?}");
        }
    }

    #[test]
    fn other_strings_are_rejected() {
        for text in [
            "",
            " ",
            "a",
            "1a",
            "+-1",
            "-+1",
            "--1",
            "++1",
            "-0-1",
            "0--1",
            "1-0",
            "1__0",
            "_1",
            "1_",
            "0_",
            "1.5",
            "1.",
            ".0",
            "0.",
            "1_.0",
            "1.0_0",
            "1e3",
            "0x10",
            "1 0",
            "\u{feff}1",
            "\u{661}",
        ] {
            assert_eq!(from_text(text), Err(IntegerError::Parsing), "{text:?}");
        }
    }

    #[test]
    fn digit_limit_is_that_of_python() {
        let longest = "1".repeat(MAX_DIGITS);
        for accepted in [longest.clone(), format!(" +{longest}.0"), format!("00{longest}")] {
            assert_eq!(from_text(&accepted).as_ref(), Ok(&longest));
        }
        for (too_long, reason) in [
            (format!("{longest}1"), IntegerError::ParsingSize),
            (format!("-{longest}1"), IntegerError::ParsingSize),
            (format!("{longest}1x"), IntegerError::ParsingSize),
            (format!("+{longest}1"), IntegerError::Parsing),
            (format!(" {longest}1"), IntegerError::Parsing),
            (format!("0{longest}1"), IntegerError::Parsing),
        ] {
            assert_eq!(from_text(&too_long), Err(reason));
        }
    }

    #[test]
    fn float_is_an_integer_or_rejected() {
        assert_eq!(from_float(20.0).as_deref(), Ok("20"));
        assert_eq!(from_float(-0.0).as_deref(), Ok("0"));
        assert_eq!(from_float(1e18).as_deref(), Ok("1000000000000000000"));
        assert_eq!(from_float(10.5), Err(IntegerError::FromFloat));
        assert_eq!(from_float(1e19), Err(IntegerError::ParsingSize));
        assert_eq!(from_float(f64::NAN), Err(IntegerError::NotFinite));
        assert_eq!(from_float(f64::INFINITY), Err(IntegerError::NotFinite));
    }

    /// Returns the digits of a number with single underscores between some of them.
    fn grouped(number: u128, underscores: &[bool]) -> String {
        let mut text = String::new();
        for (i, digit) in number.to_string().chars().enumerate() {
            if i > 0 && underscores.get(i).copied().unwrap_or_default() {
                text.push('_');
            }
            text.push(digit);
        }
        text
    }

    proptest! {
        #[test]
        fn every_integer_spelling_is_accepted(
            number in any::<i128>(),
            underscores in proptest::collection::vec(any::<bool>(), 39),
            (before, after) in ("[ \t\r\n\u{a0}\u{2003}]{0,3}", "[ \t\r\n\u{a0}\u{2003}]{0,3}"),
            (zeros, fraction, plus) in ("0{0,9}", "(\\.0{1,9})?", any::<bool>()),
        ) {
            let sign = if number < 0 { "-" } else if plus { "+" } else { "" };
            let digits = grouped(number.unsigned_abs(), &underscores);
            let text = format!("{before}{sign}{zeros}{digits}{fraction}{after}");
            prop_assert_eq!(from_text(&text), Ok(number.to_string()));
        }

        #[test]
        fn accepted_string_keeps_its_digits(text in "[ +-]?[0-9_.+-]{1,8}") {
            if let Ok(integer) = from_text(&text) {
                let whole = text.split('.').next().unwrap();
                let digits: String = whole.chars().filter(char::is_ascii_digit).collect();
                let negative = whole.contains('-');
                let number: i64 = digits.parse().unwrap();
                prop_assert_eq!(integer, if negative { -number } else { number }.to_string());
            }
        }

        #[test]
        fn any_string_agrees_with_the_standard_library(text in any::<String>()) {
            let plain = text.trim().parse::<i128>().ok().map(|number| number.to_string());
            if let Some(plain) = plain {
                prop_assert_eq!(from_text(&text), Ok(plain));
            } else if let Ok(integer) = from_text(&text) {
                prop_assert!(text.contains(['0', '_', '.']) || integer.len() > 38);
            }
        }

        #[test]
        fn integral_float_equals_its_integer(number in any::<i64>()) {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            let (float, equal) = (number as f64, number as f64 as i128);
            let fits = -(1 << 63) < equal && equal < 1 << 63;
            let expected = if fits { Ok(equal.to_string()) } else { Err(IntegerError::ParsingSize) };
            prop_assert_eq!(from_float(float), expected);
        }

        #[test]
        fn fractional_or_huge_float_is_rejected(number in any::<f64>()) {
            let expected = match number {
                _ if !number.is_finite() => Some(IntegerError::NotFinite),
                _ if number % 1.0 != 0.0 => Some(IntegerError::FromFloat),
                _ if number.abs() >= 2f64.powi(63) => Some(IntegerError::ParsingSize),
                _ => None,
            };
            prop_assert_eq!(from_float(number).err(), expected);
        }
    }
}
