//! Parses keys as terminals send them.

/// The action of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAction {
    Quit,
    Escape,
    Pause,
    Longer,
    Shorter,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Sort,
    Help,
}

/// Turns bytes of a terminal into key actions.
#[derive(Debug, Default)]
pub struct KeyParser {
    /// The incomplete sequence.
    begun: Vec<u8>,
}

const ESCAPE: u8 = 0x1b;
const CTRL_C: u8 = 0x03;
/// The longest sequence of a key.
const LONGEST: usize = 16;

impl KeyParser {
    /// Returns the keys that these bytes complete.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<KeyAction> {
        bytes.iter().filter_map(|byte| self.receive_one(*byte)).collect()
    }

    /// Whether a sequence is incomplete.
    pub fn is_waiting(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Ends an incomplete sequence after a timeout: a lone escape was the key Esc.
    pub fn give_up_waiting(&mut self) -> Option<KeyAction> {
        let begun = std::mem::take(&mut self.begun);
        (begun == [ESCAPE]).then_some(KeyAction::Escape)
    }

    fn receive_one(&mut self, byte: u8) -> Option<KeyAction> {
        // Works even in an incomplete sequence.
        if byte == CTRL_C {
            self.begun.clear();
            return Some(KeyAction::Quit);
        }
        match (self.begun.as_slice(), byte) {
            ([], ESCAPE) => self.begun.push(byte),
            ([], _) => return plain(byte),
            // Esc pressed twice.
            ([ESCAPE], ESCAPE) => return Some(KeyAction::Escape),
            ([ESCAPE], b'[' | b'O') => self.begun.push(byte),
            // A key with Alt.
            ([ESCAPE], _) => self.begun.clear(),
            (begun, b'@'..=b'~') => {
                let key = sequence(&begun[2..], byte);
                self.begun.clear();
                return key;
            }
            (begun, _) if begun.len() == LONGEST => self.begun.clear(),
            _ => self.begun.push(byte),
        }
        None
    }
}

fn plain(byte: u8) -> Option<KeyAction> {
    Some(match byte {
        b'q' | b'Q' => KeyAction::Quit,
        b'p' | b' ' => KeyAction::Pause,
        // The same keys with and without shift.
        b'+' | b'=' => KeyAction::Longer,
        b'-' | b'_' => KeyAction::Shorter,
        b'k' => KeyAction::Up,
        b'j' => KeyAction::Down,
        b'g' => KeyAction::First,
        b'G' => KeyAction::Last,
        b's' => KeyAction::Sort,
        b'?' | b'h' => KeyAction::Help,
        _ => return None,
    })
}

/// Decodes the bytes after `ESC [` or `ESC O`.
fn sequence(parameters: &[u8], last: u8) -> Option<KeyAction> {
    Some(match (parameters, last) {
        (_, b'A') => KeyAction::Up,
        (_, b'B') => KeyAction::Down,
        (_, b'H') | (b"1" | b"7", b'~') => KeyAction::First,
        (_, b'F') | (b"4" | b"8", b'~') => KeyAction::Last,
        (b"5", b'~') => KeyAction::PageUp,
        (b"6", b'~') => KeyAction::PageDown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(parts: &[&str]) -> Vec<KeyAction> {
        let mut keys = KeyParser::default();
        parts.iter().flat_map(|part| keys.receive(part.as_bytes())).collect()
    }

    #[test]
    fn key_sequences_are_decoded() {
        assert_eq!(typed(&["q \x03"]), [KeyAction::Quit, KeyAction::Pause, KeyAction::Quit]);
        assert_eq!(
            typed(&["+=-_"]),
            [KeyAction::Longer, KeyAction::Longer, KeyAction::Shorter, KeyAction::Shorter]
        );
        assert_eq!(
            typed(&["\x1b[A\x1bOB\x1b[5~\x1b[F"]),
            [KeyAction::Up, KeyAction::Down, KeyAction::PageUp, KeyAction::Last]
        );
    }

    #[test]
    fn split_key_sequence_is_one_key() {
        assert_eq!(typed(&["\x1b", "[", "6", "~", "j"]), [KeyAction::PageDown, KeyAction::Down]);
    }

    #[test]
    fn unknown_keys_are_ignored() {
        // F5, Alt-q, a mouse, a letter of UTF-8.
        assert_eq!(typed(&["\x1b[15~", "\x1bq", "\x1b[<0;10;10M", "ä", "s"]), [KeyAction::Sort]);
        assert_eq!(typed(&["\x1b[1111111111111111111111111111", "\x03"]), [KeyAction::Quit]);
    }

    #[test]
    fn lone_escape_is_a_key() {
        let mut keys = KeyParser::default();
        assert_eq!(keys.receive(b"\x1b"), []);
        assert!(keys.is_waiting());
        assert_eq!(keys.give_up_waiting(), Some(KeyAction::Escape));
        assert!(!keys.is_waiting());
        assert_eq!(keys.receive(b"\x1b\x1b"), [KeyAction::Escape]);
        assert!(keys.is_waiting(), "the second one may begin a sequence");
    }
}
