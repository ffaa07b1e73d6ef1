//! The syntax of a file, checked before a tree is built of it: toml limits the depth of each key and of each
//! value, but not of a tree made of both, and it keeps every error. A deep tree overflows the stack.

use toml_parser::{
    ErrorSink, Expected, ParseError, Source,
    parser::{Event, EventKind, RecursionGuard, parse_document},
};

use super::error::ConfigErrors;

/// Tables and lists in each other, and dots in a key. The keys of pixeld need two.
const MAX_DEPTH: u32 = 8;

/// What is wrong with the syntax of a text.
#[derive(Debug, Default)]
pub struct Syntax {
    /// Where it is nested too deeply.
    pub too_deep: Option<usize>,
    /// The first errors: their places and their messages.
    pub first: Vec<(usize, String)>,
    /// The number of all errors.
    pub total: usize,
}

impl Syntax {
    pub fn check(text: &str) -> Self {
        let tokens = Source::new(text).lex().into_vec();
        let (mut open, mut dots, mut too_deep, mut errors) = (0_u32, 0, None, Self::default());
        let mut measure = |event: Event| {
            match event.kind() {
                EventKind::KeySep => dots += 1,
                EventKind::SimpleKey | EventKind::Whitespace => {}
                kind => {
                    dots = 0;
                    match kind {
                        EventKind::InlineTableOpen | EventKind::ArrayOpen => open += 1,
                        EventKind::InlineTableClose | EventKind::ArrayClose => open = open.saturating_sub(1),
                        _ => {}
                    }
                }
            }
            if open.max(dots) > MAX_DEPTH {
                too_deep.get_or_insert(event.span().start());
            }
        };
        parse_document(&tokens, &mut RecursionGuard::new(&mut measure, MAX_DEPTH), &mut errors);
        Self { too_deep, ..errors }
    }
}

impl ErrorSink for Syntax {
    fn report_error(&mut self, error: ParseError) {
        self.total += 1;
        if self.total <= ConfigErrors::MAX_LISTED {
            let at = error.unexpected().map_or(0, |span| span.start());
            self.first.push((at, message(&error)));
        }
    }
}

/// As toml words it.
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
