use super::Pixel;

/// The body of the answer to a `value` outside 0..=255.
pub const OUT_OF_RANGE: &str = r#"{"error":"value must be between 0 and 255"}"#;

/// The body of the answer to what cannot be read at all.
pub const BAD_BODY: &str = r#"{"detail":"There was an error parsing the body"}"#;

/// Appends the body of the answer to an accepted pixel: no spaces, in this order of keys.
pub fn write_accepted(pixel: &Pixel<'_>, out: &mut Vec<u8>) {
    let mut value = [0; 3];
    for part in [
        r#"{"status":"ok","received":{"x":"#,
        &pixel.x,
        r#","y":"#,
        &pixel.y,
        r#","channel":""#,
        pixel.channel.name(),
        r#"","value":"#,
        decimal(pixel.value, &mut value),
        "}}",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// How many bytes [`write_accepted`] appends.
pub fn accepted_length(pixel: &Pixel<'_>) -> usize {
    const AROUND: usize = r#"{"status":"ok","received":{"x":,"y":,"channel":"R","value":}}"#.len();

    AROUND + pixel.x.len() + pixel.y.len() + decimal(pixel.value, &mut [0; 3]).len()
}

fn decimal(number: u8, digits: &mut [u8; 3]) -> &str {
    *digits = [b'0' + number / 100, b'0' + number / 10 % 10, b'0' + number % 10];
    let leading_zeros = if number < 10 { 2 } else { usize::from(number < 100) };
    std::str::from_utf8(&digits[leading_zeros..]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel::Channel;

    #[test]
    fn the_answer_is_exact_for_every_value() {
        for value in 0..=u8::MAX {
            let pixel = Pixel { x: "10".into(), y: "-20".into(), channel: Channel::R, value };
            let mut out = Vec::new();
            write_accepted(&pixel, &mut out);
            let expected =
                format!(r#"{{"status":"ok","received":{{"x":10,"y":-20,"channel":"R","value":{value}}}}}"#);
            assert_eq!(accepted_length(&pixel), out.len());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
