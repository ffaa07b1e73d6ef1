//! What others have said, as it may be shown: nothing of it steers the terminal.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::failure::Failure;

/// A text with all control characters written out, except newlines.
pub fn text(said: &str) -> String {
    said.chars().fold(String::with_capacity(said.len()), |mut text, c| {
        if c.is_control() && c != '\n' {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
        text
    })
}

/// A reply whose texts are all as [`text`] makes them.
///
/// # Errors
/// Never, unless a type has a form that it does not read itself.
pub fn reply<R: Serialize + DeserializeOwned>(said: &R) -> Result<R, Failure> {
    let is_json = |error: serde_json::Error| Failure::Output(error.into());
    let mut value = serde_json::to_value(said).map_err(is_json)?;
    write_out(&mut value);
    serde_json::from_value(value).map_err(is_json)
}

fn write_out(value: &mut Value) {
    match value {
        Value::String(said) => *said = text(said),
        Value::Array(values) => values.iter_mut().for_each(write_out),
        Value::Object(fields) => fields.values_mut().for_each(write_out),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// JSON that means the same. Of control characters, JSON itself lets some stand in strings.
pub fn json(written: &str) -> String {
    written.chars().fold(String::with_capacity(written.len()), |mut json, c| {
        if c.is_control() && c != '\n' {
            json += &format!("\\u{:04x}", u32::from(c));
        } else {
            json.push(c);
        }
        json
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Act;

    const EVIL: &str = "\x1b]0;title\x07 \u{9b}31m\r\tä\nb\x7f";

    #[test]
    fn control_characters_are_written_out_and_all_else_stays() {
        assert_eq!(text(EVIL), "\\u{1b}]0;title\\u{7} \\u{9b}31m\\r\\tä\nb\\u{7f}");
    }

    #[test]
    fn a_reply_is_made_legible_with_all_that_is_in_it() {
        let act = vec![Act { by: EVIL.into(), at_unix_ms: 7 }];
        assert_eq!(reply(&act).unwrap(), [Act { by: text(EVIL), at_unix_ms: 7 }]);
    }

    #[test]
    fn json_says_the_same_without_control_characters() {
        let written = json(&serde_json::to_string(EVIL).unwrap());
        assert!(!written.contains(char::is_control), "{written:?}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), EVIL);
    }
}
