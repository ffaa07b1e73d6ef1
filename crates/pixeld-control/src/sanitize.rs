use std::{borrow::Cow, fmt::Write, os::unix::ffi::OsStrExt, path::Path};

use serde_json::Value;

/// The maximum length of a quoted key or value, in characters.
const MAX_QUOTED: usize = 80;
/// The maximum length of a path, in characters; its end is kept.
const MAX_PATH: usize = 512;

/// Escapes control characters and those that reorder or break lines.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

/// As [`escape`], but keeps newlines.
pub fn lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

/// Escapes each string and each field name.
pub fn value(value: &mut Value) {
    match value {
        Value::String(text) => *text = escape(text),
        Value::Array(values) => values.iter_mut().for_each(self::value),
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains(is_unsafe)) {
                *fields =
                    std::mem::take(fields).into_iter().map(|(name, field)| (escape(&name), field)).collect();
            }
            fields.values_mut().for_each(self::value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Escapes unsafe characters in JSON text without a change of meaning. Keeps newlines between values.
pub fn json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_unsafe(c) {
            // All of them are in the Basic Multilingual Plane.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Shortens a text to `max` characters, the last of which is then an ellipsis.
pub fn shorten(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => text.into(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect::<String>().into(),
    }
}

/// Returns a key for a message: escaped and shortened.
pub fn name(text: &str) -> String {
    shorten(&escape(&shorten(text, MAX_QUOTED)), MAX_QUOTED).into_owned()
}

/// Returns a value for a message: in quotes, escaped and shortened.
pub fn quoted(text: &str) -> String {
    format!("{:?}", shorten(text, MAX_QUOTED))
}

/// Returns a path, escaped; with bytes that are not UTF-8 as `\xNN`.
pub fn path(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text += &escape(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    match text.char_indices().rev().nth(MAX_PATH - 2) {
        Some((at, _)) if at > 0 => format!("…{}", &text[at..]),
        _ => text,
    }
}

/// C0, DEL, C1, line and paragraph separators, and the controls of bidirectional text (Unicode Standard
/// Annex 9).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn terminal_control_characters_are_escaped() {
        assert_eq!(escape("ä\x1b[2J\r\n\x7f\u{9b}"), "ä\\u{1b}[2J\\r\\n\\u{7f}\\u{9b}");
        for c in ['\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{200f}'] {
            assert_eq!(escape(&c.to_string()), c.escape_unicode().to_string());
            assert!(!quoted(&c.to_string()).contains(c) && !name(&c.to_string()).contains(c));
        }
    }

    const EVIL: &str = "\x1b]0;title\x07 \u{9b}31m\r\tä\nb\x7f\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}c";

    #[test]
    fn newlines_stay_between_lines() {
        assert_eq!(lines("a\nb\u{202e}"), "a\nb\\u{202e}");
    }

    #[test]
    fn json_value_is_sanitized_recursively() {
        let mut reply = serde_json::json!([{ EVIL: [EVIL] }, 7]);
        value(&mut reply);
        assert_eq!(reply, serde_json::json!([{ escape(EVIL): [escape(EVIL)] }, 7]));
    }

    #[test]
    fn sanitized_json_has_the_same_meaning() {
        let written = json(&serde_json::to_string(EVIL).unwrap());
        assert!(!written.contains(is_unsafe), "{written:?}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), EVIL);
    }

    #[test]
    fn long_text_is_shortened() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äö…");
        let long = "\x1b".repeat(1 << 20);
        assert_eq!(name(&long).chars().count(), MAX_QUOTED);
        assert!(quoted(&long).len() < 1000);
    }

    #[test]
    fn paths_keep_their_end_and_show_every_byte() {
        assert_eq!(path(Path::new(OsStr::from_bytes(b"/a\xff\n/b.toml"))), "/a\\xff\\n/b.toml");
        let long = path(Path::new(&format!("/{}/50.toml", "a/".repeat(2000))));
        assert!(long.starts_with('…') && long.ends_with("/50.toml"), "{long}");
        assert_eq!(long.chars().count(), MAX_PATH);
    }
}
