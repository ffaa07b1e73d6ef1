//! Checks the syntax of a file before toml builds a tree of it. toml limits the depth of keys and of values, but not
//! of both together, and a deep tree overflows the stack. It also keeps every error.

use toml_parser::{
    ErrorSink, Expected, ParseError, Source,
    parser::{Event, EventKind, RecursionGuard, parse_document},
};

use super::error::ConfigErrors;

/// Tables and lists in each other, and dots in a key. The keys of pixeld need two.
const MAX_DEPTH: u32 = 8;

/// The keys of a text, and its syntax errors.
#[derive(Debug, Default)]
pub struct Syntax<'t> {
    keys: Vec<Key<'t>>,
    /// Where it is nested too deeply.
    pub too_deep: Option<usize>,
    pub errors: Errors,
}

/// A part of a dotted key or of a section header.
#[derive(Debug)]
struct Key<'t> {
    at: usize,
    word: &'t str,
    /// The index of the part before it, or of the table that it is in.
    parent: Option<usize>,
    is_section: bool,
}

#[derive(Debug, Default)]
pub struct Errors {
    /// The first errors: their places and their messages.
    pub first: Vec<(usize, String)>,
    pub total: usize,
}

impl<'t> Syntax<'t> {
    pub fn check(text: &'t str) -> Self {
        let tokens = Source::new(text).lex().into_vec();
        let (mut syntax, mut errors) = (Self::default(), Errors::default());
        let (mut open, mut dots, mut is_section) = (0_u32, 0, false);
        // The tables around the next key, innermost last, and the key that is being read.
        let (mut tables, mut key) = (vec![None], None);
        let mut on_event = |event: Event| {
            let at = event.span().start();
            match event.kind() {
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                    (tables, key, is_section) = (vec![None], None, true);
                }
                EventKind::StdTableClose | EventKind::ArrayTableClose => {
                    (tables, is_section) = (vec![key.take()], false);
                }
                EventKind::SimpleKey => {
                    let word = text.get(at..event.span().end()).unwrap_or_default();
                    let parent = key.or(tables.last().copied().flatten());
                    syntax.keys.push(Key { at, word: word.trim_matches(['"', '\'']), parent, is_section });
                    key = Some(syntax.keys.len() - 1);
                }
                EventKind::InlineTableOpen => {
                    open += 1;
                    tables.push(key.take());
                }
                EventKind::InlineTableClose => {
                    open = open.saturating_sub(1);
                    tables.pop();
                }
                EventKind::ArrayOpen => open += 1,
                EventKind::ArrayClose => open = open.saturating_sub(1),
                EventKind::KeySep => dots += 1,
                EventKind::Scalar | EventKind::ValueSep | EventKind::Newline => key = None,
                _ => {}
            }
            if !matches!(event.kind(), EventKind::KeySep | EventKind::SimpleKey | EventKind::Whitespace) {
                dots = 0;
            }
            if open.max(dots) > MAX_DEPTH {
                syntax.too_deep.get_or_insert(at);
            }
        };
        parse_document(&tokens, &mut RecursionGuard::new(&mut on_event, MAX_DEPTH), &mut errors);
        Self { errors, ..syntax }
    }

    /// Explains a duplicate key, which toml reports without its first place: returns its dotted name, the first
    /// place, and whether both are headers of a section.
    pub fn duplicate(&self, at: usize) -> Option<(String, usize, bool)> {
        let again = self.keys.iter().find(|key| key.at == at)?;
        let name = self.words(again);
        let first = self.keys.iter().find(|key| self.words(key) == name).filter(|first| first.at < at)?;
        Some((name.join("."), first.at, first.is_section && again.is_section))
    }

    fn words(&self, key: &Key<'t>) -> Vec<&'t str> {
        let parents = std::iter::successors(Some(key), |key| key.parent.map(|parent| &self.keys[parent]));
        let mut words: Vec<_> = parents.map(|key| key.word).collect();
        words.reverse();
        words
    }
}

impl ErrorSink for Errors {
    fn report_error(&mut self, error: ParseError) {
        self.total += 1;
        if self.total <= ConfigErrors::MAX_LISTED {
            let at = error.unexpected().map_or(0, |span| span.start());
            self.first.push((at, message(&error)));
        }
    }
}

/// Returns the words of toml.
fn message(error: &ParseError) -> String {
    let mut message = error.description().to_owned();
    for (i, expected) in error.expected().unwrap_or_default().iter().enumerate() {
        message += if i == 0 { ", expected " } else { ", " };
        match expected {
            Expected::Literal("\n") => message += "newline",
            Expected::Literal(literal) => message += &format!("`{literal}`"),
            Expected::Description(description) => message += description,
            _ => message += "something else",
        }
    }
    message
}
