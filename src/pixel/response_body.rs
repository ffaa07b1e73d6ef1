use super::{Channel, Pixel};

/// The body of the response to a `value` outside 0..=255.
pub const VALUE_OUT_OF_RANGE: &str = r#"{"error":"value must be between 0 and 255"}"#;

/// The body of the response to a body that cannot be parsed.
pub const UNREADABLE_BODY: &str = r#"{"detail":"There was an error parsing the body"}"#;

/// Appends the body of the response to an accepted pixel.
pub fn write_accepted(pixel: &Pixel<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"status":"ok","received":{"x":"#);
    out.extend_from_slice(pixel.x.as_bytes());
    out.extend_from_slice(br#","y":"#);
    out.extend_from_slice(pixel.y.as_bytes());
    out.extend_from_slice(match pixel.channel {
        Channel::R => br#","channel":"R","value":"#,
        Channel::G => br#","channel":"G","value":"#,
        Channel::B => br#","channel":"B","value":"#,
    });
    // Arrays of constant length are copied without a call of memcpy.
    let [hundreds, tens, ones] =
        [pixel.value / 100, pixel.value / 10 % 10, pixel.value % 10].map(|n| b'0' + n);
    match value_len(pixel.value) {
        1 => out.extend_from_slice(&[ones, b'}', b'}']),
        2 => out.extend_from_slice(&[tens, ones, b'}', b'}']),
        _ => out.extend_from_slice(&[hundreds, tens, ones, b'}', b'}']),
    }
}

/// Returns the number of bytes that [`write_accepted`] appends.
pub fn accepted_len(pixel: &Pixel<'_>) -> usize {
    const FIXED_LEN: usize = r#"{"status":"ok","received":{"x":,"y":,"channel":"R","value":}}"#.len();

    FIXED_LEN + pixel.x.as_bytes().len() + pixel.y.as_bytes().len() + value_len(pixel.value)
}

fn value_len(value: u8) -> usize {
    match value {
        ..10 => 1,
        10..100 => 2,
        100.. => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel::Digits;

    #[test]
    fn accepted_body_every_value_is_exact() {
        for value in 0..=u8::MAX {
            let pixel =
                Pixel { x: Digits::borrowed(b"10"), y: Digits::borrowed(b"-20"), channel: Channel::R, value };
            let mut out = Vec::new();
            write_accepted(&pixel, &mut out);
            let expected =
                format!(r#"{{"status":"ok","received":{{"x":10,"y":-20,"channel":"R","value":{value}}}}}"#);
            assert_eq!(accepted_len(&pixel), out.len());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
