use super::Pixel;

/// The body of the response to a `value` outside 0..=255.
pub const VALUE_OUT_OF_RANGE: &str = r#"{"error":"value must be between 0 and 255"}"#;

/// The body of the response to what cannot be read at all.
pub const UNREADABLE_BODY: &str = r#"{"detail":"There was an error parsing the body"}"#;

/// Appends the body of the response to an accepted pixel: no spaces, in this order of keys.
pub fn write_accepted(pixel: &Pixel<'_>, out: &mut Vec<u8>) {
    for part in [
        r#"{"status":"ok","received":{"x":"#,
        &pixel.x,
        r#","y":"#,
        &pixel.y,
        r#","channel":""#,
        pixel.channel.name(),
        r#"","value":"#,
        itoa::Buffer::new().format(pixel.value),
        "}}",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// How many bytes [`write_accepted`] appends.
pub fn accepted_len(pixel: &Pixel<'_>) -> usize {
    const FIXED_LEN: usize = r#"{"status":"ok","received":{"x":,"y":,"channel":"R","value":}}"#.len();

    FIXED_LEN + pixel.x.len() + pixel.y.len() + itoa::Buffer::new().format(pixel.value).len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel::Channel;

    #[test]
    fn accepted_body_every_value_is_exact() {
        for value in 0..=u8::MAX {
            let pixel = Pixel { x: "10".into(), y: "-20".into(), channel: Channel::R, value };
            let mut out = Vec::new();
            write_accepted(&pixel, &mut out);
            let expected =
                format!(r#"{{"status":"ok","received":{{"x":10,"y":-20,"channel":"R","value":{value}}}}}"#);
            assert_eq!(accepted_len(&pixel), out.len());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
