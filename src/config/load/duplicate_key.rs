//! What stands in a file twice: toml says only where it stands for the second time.

use toml::de::{DeTable, DeValue};

use super::error::line_after;

/// The key or the section that this error is about, and what to do, if it is about one that stands twice.
pub fn explain(text: &str, document: &DeTable<'_>, error: &toml::de::Error) -> Option<(String, String)> {
    let again = error.span().filter(|_| error.message() == "duplicate key")?;
    let word = text.get(again.clone())?.trim_matches(['"', '\'']);
    let (lines_before, before) = text[..again.start].rsplit_once('\n').unwrap_or(("", &text[..again.start]));
    if before.trim() == "[" {
        let message = match text.lines().position(|line| section(line) == Some(word)) {
            Some(first) if first < line_after(&text.as_bytes()[..again.start]) - 1 => {
                format!("this section begins in line {} already: write its keys there", first + 1)
            }
            _ => "this section is there already: write its keys in one place".into(),
        };
        return Some((word.into(), message));
    }
    let parent = before.trim().strip_suffix('.').or_else(|| lines_before.lines().rev().find_map(section));
    let name = parent.map_or_else(|| word.into(), |parent| format!("{parent}.{word}"));
    let mut firsts: Vec<_> = keys(document).into_iter().filter(|(_, at)| *at < again.start).collect();
    // In a table in braces nothing stands before the key.
    firsts.retain(|(key, _)| *key == name || key.rsplit('.').next() == Some(word));
    let first = firsts.into_iter().max_by_key(|(key, at)| (*key == name, *at));
    Some(match first {
        Some((key, at)) => {
            let line = line_after(&text.as_bytes()[..at]);
            (key, format!("it stands in line {line} already: keep one of them"))
        }
        None => (name, "it stands in this file already: keep one of them".into()),
    })
}

/// The section that begins with this line.
fn section(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim())
}

/// All keys, with their places.
fn keys(document: &DeTable<'_>) -> Vec<(String, usize)> {
    let mut keys = Vec::new();
    for (name, value) in document {
        let parent = name.get_ref();
        match value.get_ref() {
            DeValue::Table(table) => {
                keys.extend(
                    table.keys().map(|key| (format!("{parent}.{}", key.get_ref()), key.span().start)),
                );
            }
            _ => keys.push((parent.to_string(), name.span().start)),
        }
    }
    keys
}
