//! Suggests a key for an unknown name.

use strsim::levenshtein;

use crate::config::keys::KEYS;

/// Returns the key with the spelling closest to `name`, or with the same last word.
pub fn closest_key(name: &str) -> Option<&'static str> {
    /// Maximum length of a compared name, in bytes; the longest key has 30.
    const MAX_COMPARED: usize = 80;

    if name.len() > MAX_COMPARED {
        return None;
    }
    let normal = name.replace('_', "-").to_lowercase();
    let last_word = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    KEYS.iter()
        .map(|key| {
            let whole = levenshtein(&normal, key.name);
            let word = levenshtein(&last_word(&normal), &last_word(key.name)) + 1;
            (whole.min(word), key.name)
        })
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .map(|(_, known)| known)
}
