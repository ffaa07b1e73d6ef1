//! The body of the response to an invalid pixel.
//!
//! It repeats the document of the request for each missing field. The document is kept in memory once.

use std::{fmt, ops::Range};

use bytes::Bytes;

use super::{
    document::{Document, Value},
    json_writer,
};

/// The fields of a pixel, in the order in which errors are reported.
pub const FIELDS: [&str; 4] = ["x", "y", "channel", "value"];

/// `{"detail":[…]}` in pieces that share their memory.
#[derive(Debug, Clone)]
pub struct Detail {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Detail {
    /// Takes a complete body.
    pub(super) fn from_text(text: Vec<u8>) -> Self {
        let mut builder = DetailBuilder { text, ..DetailBuilder::default() };
        builder.push_written(0);
        builder.build()
    }

    /// Builds a single entry about the body as a whole, which has `length` bytes.
    pub(super) fn for_body(kind: &str, message: &str, input: &Document<'_>, length: usize) -> Self {
        let mut builder = DetailBuilder::default();
        builder.text.reserve(length + DetailBuilder::FIXED_CAPACITY);
        builder.begin_entry(kind, None, message);
        builder.write_input(&input.root, input);
        builder.end_entry(None);
        builder.finish()
    }

    /// Returns the number of bytes.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.length
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
#[derive(Debug, Default)]
pub struct DetailBuilder {
    /// The bytes of all parts. Parts may overlap.
    text: Vec<u8>,
    /// The parts of `text`, in the order of the response.
    parts: Vec<Range<usize>>,
    /// Set if a field is missing.
    document: Option<WrittenDocument>,
}

/// Where the document and its fields are in `text`.
#[derive(Debug)]
struct WrittenDocument {
    range: Range<usize>,
    fields: Vec<(&'static str, Range<usize>)>,
}

impl DetailBuilder {
    /// Exceeds the length of four entries without their inputs.
    const FIXED_CAPACITY: usize = 640;

    /// Starts without an entry. The root of `document` is an object with these members.
    pub fn new(members: &Range<usize>, document: &Document<'_>) -> Self {
        let mut builder = Self::default();
        let has = |field: &&str| document.members(members).iter().any(|(name, _)| name == field);
        if !FIELDS.iter().all(has) {
            let Self { text, .. } = &mut builder;
            let mut fields = Vec::new();
            json_writer::write_object(members, document, text, |name, range| {
                if let Some(field) = FIELDS.into_iter().find(|field| *field == name) {
                    fields.push((field, range));
                }
            });
            builder.document = Some(WrittenDocument { range: 0..text.len(), fields });
        }
        builder
    }

    /// Adds an entry for a missing field, with the whole document as its input.
    pub fn push_missing(&mut self, field: &'static str) {
        self.begin_entry("missing", Some(field), "Field required");
        if let Some(document) = &self.document {
            let range = document.range.clone();
            self.push_part(range);
        }
        self.end_entry(None);
    }

    /// Adds an entry for an invalid field.
    pub fn push_error(
        &mut self,
        kind: &str,
        field: &'static str,
        message: &str,
        (input, document): (&Value<'_>, &Document<'_>),
        context: Option<&str>,
    ) {
        self.begin_entry(kind, Some(field), message);
        let fields = self.document.as_ref().map_or(&[][..], |document| &document.fields);
        match fields.iter().find(|(name, _)| *name == field).map(|(_, range)| range.clone()) {
            Some(range) => self.push_part(range),
            None => self.write_input(input, document),
        }
        self.end_entry(context);
    }

    /// Ends the list and returns the body.
    pub fn finish(mut self) -> Detail {
        self.write(&["]}"]);
        self.build()
    }

    fn begin_entry(&mut self, kind: &str, field: Option<&str>, message: &str) {
        let start = if self.parts.is_empty() {
            self.text.reserve(Self::FIXED_CAPACITY);
            r#"{"detail":[{"type":""#
        } else {
            r#",{"type":""#
        };
        let [before, field, behind] = field.map_or(["", "", ""], |field| [",\"", field, "\""]);
        let location = r#"","loc":["body""#;
        self.write(&[start, kind, location, before, field, behind, r#"],"msg":""#, message, r#"","input":"#]);
    }

    fn write_input(&mut self, input: &Value<'_>, document: &Document<'_>) {
        let begin = self.text.len();
        json_writer::write(input, document, &mut self.text);
        self.push_written(begin);
    }

    fn end_entry(&mut self, context: Option<&str>) {
        if let Some(context) = context {
            self.write(&[r#","ctx":"#, context]);
        }
        self.write(&["}"]);
    }

    fn write(&mut self, texts: &[&str]) {
        let begin = self.text.len();
        for text in texts {
            self.text.extend_from_slice(text.as_bytes());
        }
        self.push_written(begin);
    }

    fn push_written(&mut self, begin: usize) {
        self.push_part(begin..self.text.len());
    }

    /// Appends a range of `text` to the body. Adjacent ranges are merged.
    fn push_part(&mut self, part: Range<usize>) {
        match self.parts.last_mut() {
            Some(last) if last.end == part.start => last.end = part.end,
            _ => self.parts.push(part),
        }
    }

    fn build(self) -> Detail {
        let Self { mut text, parts, .. } = self;
        // A client that does not read keeps it in memory.
        text.shrink_to_fit();
        let text = Bytes::from(text);
        let length = parts.iter().map(ExactSizeIterator::len).sum();
        let is_one_piece = matches!(&parts[..], [part] if part.len() == text.len());
        let pieces =
            if is_one_piece { vec![text] } else { parts.into_iter().map(|part| text.slice(part)).collect() };
        Detail { pieces, length }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rejection, reject_text, validate};

    use super::*;

    fn detail(body: &[u8]) -> Detail {
        match validate(body) {
            Err(Rejection::Invalid(detail)) => detail,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the bytes of memory from the first to the last piece.
    fn memory_len(detail: &Detail) -> usize {
        let ends = detail.pieces.iter().map(|piece| piece.as_ptr_range());
        let (begin, end) =
            ends.map(|range| (range.start, range.end)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap();
        end.addr() - begin.addr()
    }

    #[test]
    fn document_missing_four_fields_is_kept_once() {
        let body = format!(r#"{{"a":[{}1e15]}}"#, "1e15,".repeat(3274));
        let detail = detail(body.as_bytes());
        let document = r#"{"a":[]}"#.len() + 3275 * "1000000000000000.0,".len() - 1;
        assert_eq!(detail.len(), detail.to_string().len());
        assert!(detail.len() > 4 * document, "{} bytes", detail.len());
        assert!(
            memory_len(&detail) < document + DetailBuilder::FIXED_CAPACITY,
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
            memory_len(&detail) < 800 * 24 + 100 + DetailBuilder::FIXED_CAPACITY,
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
    fn control_characters_grow_sixfold_at_most() {
        let Rejection::Invalid(detail) = reject_text(&[1; 1000]) else { panic!("it is accepted") };
        assert!((6002..6200).contains(&detail.len()), "{} bytes", detail.len());
        assert_eq!(memory_len(&detail), detail.len());
    }
}
