//! Texts of daemons and other hosts, as a terminal may show them: no character of theirs controls the
//! terminal, begins a line or changes the direction of what follows.

use serde_json::Value;

/// Whether a character must not reach a terminal: control characters (C0, DEL, C1), line and paragraph
/// separators, and what sets the direction of text (Unicode Standard Annex 9).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

fn escaped(text: &str, is_to_escape: impl Fn(char) -> bool, escape: impl Fn(&mut String, char)) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if is_to_escape(c) {
            escape(&mut escaped, c);
        } else {
            escaped.push(c);
        }
        escaped
    })
}

/// A text of one line with all unsafe characters written out, as in `\u{1b}`.
pub fn line(text: &str) -> String {
    escaped(text, is_unsafe, |line, c| line.extend(c.escape_default()))
}

/// As [`line()`], but newlines stay.
pub fn lines(text: &str) -> String {
    escaped(text, |c| c != '\n' && is_unsafe(c), |lines, c| lines.extend(c.escape_default()))
}

/// Makes each string, and each name of a field, what [`line()`] makes of it.
pub fn value(value: &mut Value) {
    match value {
        Value::String(text) => *text = line(text),
        Value::Array(values) => values.iter_mut().for_each(self::value),
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains(is_unsafe)) {
                *fields =
                    std::mem::take(fields).into_iter().map(|(name, field)| (line(&name), field)).collect();
            }
            fields.values_mut().for_each(self::value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// JSON that means the same without unsafe characters, which JSON itself allows in strings. Newlines
/// between its values stay.
pub fn json(json: &str) -> String {
    escaped(
        json,
        |c| c != '\n' && is_unsafe(c),
        // All of them are in the Basic Multilingual Plane.
        |json, c| *json += &format!("\\u{:04x}", u32::from(c)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "\x1b]0;title\x07 \u{9b}31m\r\tä\nb\x7f\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}c";

    #[test]
    fn unsafe_characters_are_escaped_and_others_stay() {
        let escaped =
            "\\u{1b}]0;title\\u{7} \\u{9b}31m\\r\\tä\\nb\\u{7f}\\u{202e}\\u{2066}\\u{200f}\\u{61c}\\u{2028}c";
        assert_eq!(line(EVIL), escaped);
        assert_eq!(lines("a\nb\u{202e}"), "a\nb\\u{202e}");
    }

    #[test]
    fn value_is_sanitized_with_all_that_it_contains() {
        let mut reply = serde_json::json!([{ EVIL: [EVIL] }, 7]);
        value(&mut reply);
        assert_eq!(reply, serde_json::json!([{ line(EVIL): [line(EVIL)] }, 7]));
    }

    #[test]
    fn json_without_unsafe_characters_means_the_same() {
        let written = json(&serde_json::to_string(EVIL).unwrap());
        assert!(!written.contains(is_unsafe), "{written:?}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), EVIL);
    }
}
