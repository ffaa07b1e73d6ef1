/// Parses a JSON number to the nearest float, and a midpoint to the even one, in bounded time.
///
/// The standard library needs up to 150,000 instructions for a number of twenty digits that is close to the
/// midpoint of two floats, and a body can contain hundreds of them.
pub fn parse(text: &str) -> f64 {
    /// Up to this number of digits, the standard library is always fast.
    const MAX_STD_DIGITS: usize = 19;

    let number =
        if text.len() <= MAX_STD_DIGITS { text.parse().ok() } else { serde_json::from_str(text).ok() };
    // The only error is a number out of range.
    number.unwrap_or(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_equals_std(text: &str) {
        let expected: f64 = text.parse().unwrap();
        assert_eq!(parse(text).to_bits(), expected.to_bits(), "{text}");
    }

    #[test]
    fn ties_round_to_even_and_others_to_nearest() {
        let integer = |float: f64| format!("{float:.0}").parse::<u128>().unwrap();
        // From 2^53 on, the next float is an even number away.
        for low in (1..120).map(|n| 9_007_199_254_740_992.0 * f64::from(n).powi(6)) {
            let midpoint = (integer(low) + integer((low.next_up() - low) / 2.0)).to_string();
            for text in [
                format!("{midpoint}.0"),
                format!("{midpoint}.{}", "0".repeat(900)),
                format!("{midpoint}.{}1", "0".repeat(900)),
                format!("-{midpoint}.5"),
                format!("0.{midpoint}e{}", midpoint.len()),
                format!("0.000{midpoint}1e+{}", midpoint.len() + 3),
            ] {
                assert_equals_std(&text);
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
            assert_eq!(parse(&text).to_bits(), expected.to_bits(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn float_equals_that_of_the_standard_library(
            (sign, whole, fraction) in ("-?", "0|[1-9][0-9]{0,40}", "(\\.[0-9]{1,60})?"),
            exponent in "([eE][+-]?[0-9]{1,3})?",
        ) {
            assert_equals_std(&format!("{sign}{whole}{fraction}{exponent}"));
        }

        #[test]
        fn long_floats_equal_those_of_std(
            float in any::<f64>(), digits in 16_usize..60, last in "[0-9]{0,30}",
        ) {
            if float.is_finite() {
                let text = format!("{float:.digits$e}");
                assert_equals_std(&text.replacen('e', &format!("{last}e"), 1));
            }
        }
    }
}
