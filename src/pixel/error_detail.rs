//! The body of the response to an invalid pixel.
//!
//! It repeats the document of the request for each missing field. The document is kept in memory once.

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;

/// `{"detail":[…]}` in pieces that share their memory.
#[derive(Debug, Clone)]
pub struct Detail {
    pieces: Vec<Bytes>,
}

impl Detail {
    /// Takes a complete body.
    pub(super) fn from_text(text: Vec<u8>) -> Self {
        Self { pieces: vec![text.into()] }
    }

    /// Returns the number of bytes.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Returns the pieces in their order.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.pieces.into_iter()
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| f.write_str(&String::from_utf8_lossy(piece)))
    }
}

impl PartialEq for Detail {
    fn eq(&self, other: &Self) -> bool {
        self.pieces.iter().flatten().eq(other.pieces.iter().flatten())
    }
}

impl Eq for Detail {}

/// Builds a [`Detail`] with an entry for each error.
#[derive(Debug)]
pub struct DetailBuilder<'d> {
    document: Cow<'d, [u8]>,
    /// The entries without their inputs.
    text: Vec<u8>,
    /// The place of each input in `text`, and its part of `document`.
    inputs: Vec<(usize, Range<usize>)>,
}

impl<'d> DetailBuilder<'d> {
    /// Exceeds the length of four entries without their inputs.
    const ENTRIES_LEN: usize = 640;

    /// Starts without an entry.
    pub fn new(document: Cow<'d, [u8]>) -> Self {
        Self { document, text: Vec::new(), inputs: Vec::new() }
    }

    /// Adds an entry about a field, or about the body as a whole. Its input is a part of the document.
    pub fn push(
        &mut self,
        kind: &str,
        field: Option<&str>,
        message: &str,
        input: Range<usize>,
        context: Option<&str>,
    ) {
        let start = if self.text.is_empty() {
            self.text.reserve(Self::ENTRIES_LEN);
            r#"{"detail":[{"type":""#
        } else {
            r#",{"type":""#
        };
        let [before, field, behind] = field.map_or(["", "", ""], |field| [",\"", field, "\""]);
        let location = r#"","loc":["body""#;
        self.write(&[start, kind, location, before, field, behind, r#"],"msg":""#, message, r#"","input":"#]);
        self.inputs.push((self.text.len(), input));
        if let Some(context) = context {
            self.write(&[r#","ctx":"#, context]);
        }
        self.write(&["}"]);
    }

    /// Ends the list and returns the body.
    pub fn finish(mut self) -> Detail {
        self.write(&["]}"]);
        let Self { document, mut text, inputs } = self;
        let length = text.len() + inputs.iter().map(|(_, input)| input.len()).sum::<usize>();
        // A client that does not read the response keeps it in memory, so it takes the shorter of two forms.
        if length < text.len() + document.len() {
            let (mut piece, mut begin) = (Vec::with_capacity(length), 0);
            for (end, input) in inputs {
                piece.extend_from_slice(&text[begin..end]);
                piece.extend_from_slice(&document[input]);
                begin = end;
            }
            piece.extend_from_slice(&text[begin..]);
            return Detail::from_text(piece);
        }
        let mut document = document.into_owned();
        document.shrink_to_fit();
        text.shrink_to_fit();
        let (document, mut text) = (Bytes::from(document), Bytes::from(text));
        let (mut pieces, mut begin) = (Vec::new(), 0);
        for (end, input) in inputs {
            pieces.extend([text.split_to(end - begin), document.slice(input)]);
            begin = end;
        }
        pieces.push(text);
        Detail { pieces }
    }

    fn write(&mut self, texts: &[&str]) {
        for text in texts {
            self.text.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BodyRejection, reject_text, validate};

    use super::*;

    fn detail(body: &[u8]) -> Detail {
        match validate(body) {
            Err(BodyRejection::Invalid(detail)) => detail,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the number of different bytes in memory.
    fn memory_len(detail: &Detail) -> usize {
        let mut places: Vec<_> = detail.pieces.iter().map(|piece| piece.as_ptr_range()).collect();
        places.sort_by_key(|place| place.start);
        let (mut bytes, mut counted) = (0, 0);
        for place in places.into_iter().map(|place| place.start.addr()..place.end.addr()) {
            bytes += place.end.saturating_sub(place.start.max(counted));
            counted = counted.max(place.end);
        }
        bytes
    }

    #[test]
    fn document_missing_four_fields_is_kept_once() {
        let body = format!(r#"{{"a":[{}1e15]}}"#, "1e15,".repeat(3274));
        let detail = detail(body.as_bytes());
        let document = r#"{"a":[]}"#.len() + 3275 * "1000000000000000.0,".len() - 1;
        assert_eq!(detail.len(), detail.to_string().len());
        assert!(detail.len() > 4 * document, "{} bytes", detail.len());
        assert!(
            memory_len(&detail) < document + DetailBuilder::ENTRIES_LEN,
            "{} bytes are kept",
            memory_len(&detail)
        );
        assert!(detail.pieces.len() <= 9, "{} pieces", detail.pieces.len());
    }

    #[test]
    fn faulty_field_beside_a_missing_one_is_kept_once() {
        let body = format!(r#"{{"x":[{0}1e15],"y":"{0}","channel":null,"_sa":"{0}"}}"#, "1e15,".repeat(800));
        let detail = detail(body.as_bytes());
        let text = detail.to_string();
        assert_eq!(text.matches("1000000000000000.0,").count(), 2 * 800, "the value alone and the document");
        assert_eq!(text.matches("1e15,").count(), 2 * 800);
        assert!(
            memory_len(&detail) < 800 * 24 + 100 + DetailBuilder::ENTRIES_LEN,
            "{} bytes are kept",
            memory_len(&detail)
        );
    }

    #[test]
    fn entries_without_a_missing_field_are_one_piece() {
        let body = br#"{"x":"a","y":1.5,"channel":"r","value":[1,{"a":2.50}],"z":"not shown"}"#;
        let detail = detail(body);
        assert_eq!(detail.pieces.len(), 1);
        assert!(!detail.to_string().contains("not shown"));
        assert!(detail.to_string().ends_with(r#""input":[1,{"a":2.5}]}]}"#), "{detail}");
    }

    #[test]
    fn inputs_are_those_of_the_last_equal_names() {
        let body =
            br#"{"a":0,"x":{"b":1,"b":2},"a":[0],"value":"v","x":{"c":3,"c":{"d":4,"d":5}},"y":null,"a":7}"#;
        let text = detail(body).to_string();
        for (field, input) in [("x", r#"{"c":{"d":5}}"#), ("y", "null"), ("value", r#""v""#)] {
            let entry =
                text.split(r#"{"type""#).find(|entry| entry.contains(&format!(r#""body","{field}""#)));
            assert!(entry.is_some_and(|entry| entry.contains(&format!(r#""input":{input}}}"#))), "{text}");
        }
        assert!(text.contains(r#""input":{"a":7,"x":{"c":{"d":5}},"value":"v","y":null}}"#), "{text}");
    }

    #[test]
    fn control_characters_grow_sixfold_at_most() {
        let BodyRejection::Invalid(detail) = reject_text(&[1; 1000]) else { panic!("it is accepted") };
        assert!((6002..6200).contains(&detail.len()), "{} bytes", detail.len());
        assert_eq!(memory_len(&detail), detail.len());
    }
}
