//! Parses decimal numbers to the nearest float, in bounded time.
//!
//! The standard library needs up to 150,000 instructions for a number of twenty digits that is close to the
//! midpoint of two floats, and a body can contain hundreds of them.

use std::cmp::Ordering;

/// Up to this number of digits, the standard library is always fast.
const MAX_STD_DIGITS: usize = 19;
/// No midpoint of two floats has more digits. Of further digits it matters only whether all are zero.
const MAX_MIDPOINT_DIGITS: usize = 770;

/// Parses a JSON number to the nearest float, and a midpoint to the even one.
pub fn parse(text: &str) -> Option<f64> {
    if text.len() <= MAX_STD_DIGITS {
        return text.parse().ok();
    }
    let Some(decimal) = Decimal::parse(text) else { return text.parse().ok() };
    let nearest = decimal.nearest()?;
    Some(if text.starts_with('-') { -nearest } else { nearest })
}

/// `0.DIGITS` times ten to a power.
struct Decimal<'t> {
    /// More than [`MAX_STD_DIGITS`] digits in two parts. The first digit is not zero.
    digits: (&'t [u8], &'t [u8]),
    power: i64,
}

impl<'t> Decimal<'t> {
    /// Returns `None` if the standard library is fast for this number.
    fn parse(text: &'t str) -> Option<Self> {
        let text = text.as_bytes();
        let text = text.strip_prefix(b"-").unwrap_or(text);
        let (mantissa, exponent) = split_at(text, |byte| matches!(byte, b'e' | b'E'));
        let (whole, fraction) = split_at(mantissa, |byte| byte == b'.');
        let zeros = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
        let (digits, point) = if whole == b"0" {
            let zeros = zeros(fraction);
            ((&[][..], &fraction[zeros..]), -i64::try_from(zeros).ok()?)
        } else {
            ((whole, fraction), i64::try_from(whole.len()).ok()?)
        };
        let is_long = digits.0.len() + digits.1.len() > MAX_STD_DIGITS;
        is_long.then(|| Self { digits, power: point + parse_exponent(exponent) })
    }

    fn nearest(&self) -> Option<f64> {
        let mut begin = 0;
        self.for_each_digit(MAX_STD_DIGITS, |digit| begin = begin * 10 + digit);
        // Keeps what is far out of range there, with an exponent that std can parse.
        let power = (self.power - 19).clamp(-9999, 9999);
        let mut text = String::with_capacity(32);
        let mut parse = |begin: u64| {
            text.clear();
            text.push_str(itoa::Buffer::new().format(begin));
            text.push('e');
            text.push_str(itoa::Buffer::new().format(power));
            text.parse::<f64>().ok()
        };
        let (low, high) = (parse(begin)?, parse(begin + 1)?);
        if low.to_bits() == high.to_bits() {
            return Some(low);
        }
        // They are neighbours.
        let is_even = low.to_bits() & 1 == 0;
        Some(match self.cmp_with_midpoint_above(low) {
            Ordering::Less => low,
            Ordering::Equal if is_even => low,
            Ordering::Equal | Ordering::Greater => high,
        })
    }

    /// Visits the values of the first `most` digits.
    fn for_each_digit(&self, most: usize, mut visit: impl FnMut(u64)) {
        let (first, second) = self.digits;
        let first = &first[..most.min(first.len())];
        let second = &second[..(most - first.len()).min(second.len())];
        for digit in first.iter().chain(second) {
            visit(u64::from(digit - b'0'));
        }
    }

    /// Compares exactly with the midpoint of a float and the next greater one.
    fn cmp_with_midpoint_above(&self, low: f64) -> Ordering {
        const FRACTION: u32 = f64::MANTISSA_DIGITS - 1;

        let bits = low.to_bits();
        let (exponent, fraction) = (bits >> FRACTION, bits & ((1 << FRACTION) - 1));
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << FRACTION };
        // The midpoint is (2 * mantissa + 1) * 2^twos.
        let twos = exponent.max(1).cast_signed() - 1076;
        let (mut this, digits, is_more) = self.to_biguint();
        let tens = self.power - i64::from(digits);
        let mut midpoint = BigUint::new(2 * mantissa + 1);
        if tens < 0 { &mut midpoint } else { &mut this }.multiply_by_power_of_5(tens.unsigned_abs());
        // 10^tens is 5^tens * 2^tens, and the powers of two are compared as a shift.
        if tens < twos { &mut midpoint } else { &mut this }.shift((twos - tens).unsigned_abs());
        this.cmp(&midpoint).then(if is_more { Ordering::Greater } else { Ordering::Equal })
    }

    /// Returns the first digits as one number, how many they are, and whether a further digit is not zero.
    fn to_biguint(&self) -> (BigUint, u32, bool) {
        let mut number = BigUint::new(0);
        let (mut count, mut value, mut power) = (0, 0, 1);
        self.for_each_digit(MAX_MIDPOINT_DIGITS, |digit| {
            (count, value, power) = (count + 1, value * 10 + digit, power * 10);
            if power == MAX_POWER_OF_10 {
                number.multiply_and_add(power, value);
                (value, power) = (0, 1);
            }
        });
        number.multiply_and_add(power, value);
        let (first, second) = self.digits;
        let rest = first.iter().chain(second).skip(MAX_MIDPOINT_DIGITS);
        let is_more =
            first.len() + second.len() > MAX_MIDPOINT_DIGITS && rest.into_iter().any(|digit| *digit > b'0');
        (number, count, is_more)
    }
}

/// Splits at the first matching byte, which is in neither part.
fn split_at(text: &[u8], is_split: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| is_split(*byte)) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// Parses an exponent. Saturates far beyond the range of floats.
fn parse_exponent(text: &[u8]) -> i64 {
    const SATURATED_EXPONENT: i64 = 1 << 40;

    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let size =
        digits.iter().fold(0, |size, digit| (size * 10 + i64::from(digit - b'0')).min(SATURATED_EXPONENT));
    if is_negative { -size } else { size }
}

/// The greatest power of 10 in 64 bits.
const MAX_POWER_OF_10: u64 = 10_000_000_000_000_000_000;

/// A natural number of any size: little-endian, 64 bits in each item, the last one not zero.
struct BigUint(Vec<u64>);

impl BigUint {
    fn new(number: u64) -> Self {
        // Exceeds the size of all numbers that are compared here.
        let mut items = Vec::with_capacity(48);
        items.push(number);
        Self(items)
    }

    #[allow(clippy::cast_possible_truncation)] // a remainder below MAX_EXPONENT
    fn multiply_by_power_of_5(&mut self, power: u64) {
        /// The greatest power of 5 in 64 bits.
        const MAX_EXPONENT: u32 = 27;
        const MAX_POWER_OF_5: u64 = 5_u64.pow(MAX_EXPONENT);

        for _ in 0..power / u64::from(MAX_EXPONENT) {
            self.multiply_and_add(MAX_POWER_OF_5, 0);
        }
        self.multiply_and_add(5_u64.pow((power % u64::from(MAX_EXPONENT)) as u32), 0);
    }

    #[allow(clippy::cast_possible_truncation)] // the halves of 128 bits
    fn multiply_and_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for item in &mut self.0 {
            let product = u128::from(*item) * u128::from(factor) + u128::from(carry);
            (*item, carry) = (product as u64, (product >> 64) as u64);
        }
        if carry > 0 {
            self.0.push(carry);
        }
    }

    fn shift(&mut self, bits: u64) {
        self.multiply_and_add(1 << (bits % 64), 0);
        let whole = usize::try_from(bits / 64).unwrap_or_default();
        self.0.splice(..0, std::iter::repeat_n(0, whole));
    }

    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the exact digits of the midpoint above a float of at least 2^53, which is an integer.
    fn midpoint_above(low: f64) -> String {
        let next = low.next_up();
        let [low, next] = [low, next].map(|float| format!("{float:.0}"));
        half_of_sum(&low, &next)
    }

    fn half_of_sum(a: &str, b: &str) -> String {
        let width = a.len().max(b.len());
        let (a, b) = (format!("{a:0>width$}"), format!("{b:0>width$}"));
        let (mut carry, mut sum) = (0, Vec::new());
        for (a, b) in a.bytes().rev().zip(b.bytes().rev()) {
            let digits = a - b'0' + b - b'0' + carry;
            sum.push(digits % 10);
            carry = digits / 10;
        }
        sum.push(carry);
        let (mut half, mut rest) = (String::new(), 0);
        for digit in sum.into_iter().rev() {
            let value = rest * 10 + digit;
            half.push(char::from(b'0' + value / 2));
            rest = value % 2;
        }
        assert_eq!(rest, 0);
        half.trim_start_matches('0').to_owned()
    }

    #[test]
    fn ties_round_to_even_and_others_to_nearest() {
        for power in (60..1023).step_by(7) {
            for fraction in [0, 1, 2, 0xF_FFFF_FFFF_FFFF] {
                let low = f64::from_bits((power + 1023) << 52 | fraction);
                let midpoint = midpoint_above(low);
                let even = if fraction % 2 == 0 { low } else { low.next_up() };
                for (text, expected) in [
                    (midpoint.clone(), even),
                    (format!("{midpoint}.{}", "0".repeat(900)), even),
                    (format!("{midpoint}.{}1", "0".repeat(900)), low.next_up()),
                    (format!("-{midpoint}.5"), -low.next_up()),
                    (format!("0.{midpoint}e{}", midpoint.len()), even),
                    (format!("0.000{midpoint}1e+{}", midpoint.len() + 3), low.next_up()),
                ] {
                    assert_eq!(parse(&text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
                }
            }
        }
    }

    #[test]
    fn out_of_range_is_infinite_or_zero() {
        let ones = "1".repeat(40);
        for (text, expected) in [
            (format!("{ones}e99999999999999999999999"), f64::INFINITY),
            (format!("-{ones}e9999"), f64::NEG_INFINITY),
            (format!("{ones}e-99999999999999999999999"), 0.0),
            (format!("-{ones}e-9999"), -0.0),
            (format!("0.{}1", "0".repeat(400)), 0.0),
            (format!("0.{}1e401", "0".repeat(400)), 1.0),
            (format!("1{}e-400", "0".repeat(400)), 1.0),
            (format!("0.{}", "0".repeat(4000)), 0.0),
            ("17976931348623158079372897140530342e274".into(), f64::INFINITY),
            ("179769313486231580793e288".into(), f64::MAX),
            ("2.47032822920623272088284396434110686e-324".into(), 0.0),
            ("2.470328229206232720882843964341106866e-324".into(), f64::from_bits(1)),
        ] {
            assert_eq!(parse(&text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn float_equals_that_of_the_standard_library(
            (sign, whole, fraction) in ("-?", "0|[1-9][0-9]{0,40}", "(\\.[0-9]{1,60})?"),
            exponent in "([eE][+-]?[0-9]{1,3})?",
        ) {
            let text = format!("{sign}{whole}{fraction}{exponent}");
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(parse(&text).map(f64::to_bits), Some(expected.to_bits()));
        }

        #[test]
        fn long_floats_equal_those_of_std(
            float in any::<f64>(), digits in 16_usize..60, last in "[0-9]{0,30}",
        ) {
            if float.is_finite() {
                let text = format!("{float:.digits$e}");
                let text = text.replacen('e', &format!("{last}e"), 1);
                let expected: f64 = text.parse().unwrap();
                prop_assert_eq!(parse(&text).map(f64::to_bits), Some(expected.to_bits()), "{}", text);
            }
        }
    }
}
