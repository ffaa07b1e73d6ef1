//! What an operator may have meant.

use strsim::levenshtein;

use crate::config::keys::KEYS;

/// The known key that is spelled most like `name`, or that has the same last word.
pub fn closest_key(name: &str) -> Option<&'static str> {
    /// Bytes of a name that is compared; the longest key has 30.
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
