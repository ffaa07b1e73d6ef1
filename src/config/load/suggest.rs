//! Suggests a key for an unknown name.

use strsim::{jaro, levenshtein};

use crate::config::keys::KEYS;

/// Returns the key with the spelling closest to `name`, or with the same last word.
pub fn closest_key(name: &str) -> Option<&'static str> {
    /// Maximum length of a compared name, in bytes; the longest key has 30.
    const MAX_COMPARED: usize = 80;
    /// Minimum similarity of the last words, from 0 to 1; clap's bound.
    const MIN_SIMILARITY: f64 = 0.7;

    if name.len() > MAX_COMPARED {
        return None;
    }
    let normal = name.replace('_', "-").to_lowercase();
    let word = last_word(&normal);
    KEYS.iter()
        .map(|key| key.name)
        .filter(|known| jaro(word, last_word(known)) > MIN_SIMILARITY)
        .map(|known| {
            let distance = levenshtein(word, last_word(known)) + 1;
            (distance.min(levenshtein(&normal, known)), known)
        })
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .map(|(_, known)| known)
}

fn last_word(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_key_is_suggested() {
        for (name, key) in [
            ("limits.bodi", Some("limits.body")),
            ("wrokers", Some("workers")),
            ("timeouts.workers", Some("workers")),
            ("limit.head", Some("limits.header")),
            ("timeouts.keep_alive", Some("timeouts.keep-alive")),
            ("timeouts.x", None),
            ("log.to", None),
            ("nothing", None),
        ] {
            assert_eq!(closest_key(name), key, "{name}");
        }
    }
}
