//! What pydantic takes for an integer in its lax mode.

/// Python converts no longer number between text and int (`sys.int_info.default_max_str_digits`).
pub const MOST_DIGITS: usize = 4300;

/// Why a number or a text is no integer; each has pydantic's type and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAnInteger {
    /// Neither a number, nor a text, nor a truth value.
    OtherType,
    /// A text that does not read as one.
    Parsing,
    /// More than fits.
    ParsingSize,
    /// A number with a fractional part.
    FromFloat,
    /// NaN or an infinity.
    NotFinite,
}

/// An integral float is taken for the integer, as long as that fits 64 bits.
pub fn from_float(number: f64) -> Result<String, NotAnInteger> {
    /// 2^63, the first float that an i64 cannot hold.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;

    if !number.is_finite() {
        Err(NotAnInteger::NotFinite)
    } else if number.fract() != 0.0 {
        Err(NotAnInteger::FromFloat)
    } else if -LIMIT < number && number < LIMIT {
        #[allow(clippy::cast_possible_truncation)] // integral and in range, as just checked
        let integer = number as i64;
        Ok(integer.to_string())
    } else {
        Err(NotAnInteger::ParsingSize)
    }
}

/// A text is taken for the integer that it spells: blanks around it, a sign, leading zeros,
/// single underscores between digits and a fraction of zeros do not matter.
pub fn from_text(text: &str) -> Result<String, NotAnInteger> {
    // pydantic looks at the length of plain numbers only; what it has to clean up just fails.
    if plain_digits(text) > MOST_DIGITS {
        return Err(NotAnInteger::ParsingSize);
    }
    spelled(text.trim()).ok_or(NotAnInteger::Parsing)
}

/// How many digits a text begins with, if they begin as JSON's do.
fn plain_digits(text: &str) -> usize {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.starts_with('0') { 1 } else { digits.bytes().take_while(u8::is_ascii_digit).count() }
}

/// The steps of pydantic (`clean_int_str`), because their order shows: `0__1` and `0-1` are
/// integers, `1__0` and `1-0` are not.
fn spelled(text: &str) -> Option<String> {
    let (negative, text) = match text.strip_prefix('+') {
        Some(unsigned) => (false, unsigned),
        None => signed(text),
    };
    let (inner_sign, text) = signed(without_leading_zeros(text)?);
    let text = without_fraction(text);
    let well_formed = text.starts_with(|c: char| c.is_ascii_digit())
        && text.split('_').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    let digits = text.replace('_', "");
    let is_json = digits == "0" || !digits.starts_with('0') && digits.len() <= MOST_DIGITS;
    (well_formed && is_json && !(negative && inner_sign)).then(|| canonical(negative || inner_sign, &digits))
}
/// The one way to write the integer with these decimal digits: no leading zeros, no `-0`.
pub fn canonical(negative: bool, digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "" => "0".into(),
        digits if negative => format!("-{digits}"),
        digits => digits.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_spell_an_integer() {
        for (text, integer) in [
            ("10", "10"),
            (" 7 ", "7"),
            ("\n-7\t", "-7"),
            ("+7", "7"),
            ("1_000", "1000"),
            ("0255", "255"),
            ("-0", "0"),
            ("20.0", "20"),
            ("20.000", "20"),
        ] {
            assert_eq!(from_text(text).as_deref(), Ok(integer), "{text:?}");
        }
    }

    #[test]
    fn texts_that_do_not() {
        for text in
            ["", " ", "a", "1a", "+-1", "--1", "1__0", "_1", "1_", "1.5", "1.", ".0", "1e3", "0x10", "1 0"]
        {
            assert_eq!(from_text(text), Err(NotAnInteger::Parsing), "{text:?}");
        }
        assert_eq!(from_text(&"1".repeat(4301)), Err(NotAnInteger::ParsingSize));
    }

    #[test]
    fn floats() {
        assert_eq!(from_float(20.0).as_deref(), Ok("20"));
        assert_eq!(from_float(-0.0).as_deref(), Ok("0"));
        assert_eq!(from_float(1e18).as_deref(), Ok("1000000000000000000"));
        assert_eq!(from_float(10.5), Err(NotAnInteger::FromFloat));
        assert_eq!(from_float(1e19), Err(NotAnInteger::ParsingSize));
        assert_eq!(from_float(f64::NAN), Err(NotAnInteger::NotFinite));
        assert_eq!(from_float(f64::INFINITY), Err(NotAnInteger::NotFinite));
    }
}
