//! The syntax of a file, checked before a tree is built of it: toml limits the depth of each key and of each
//! value, but not of a tree made of both, and it keeps every error. A deep tree overflows the stack.

use toml_parser::{
    ErrorSink, Expected, ParseError, Source, Span,
    decoder::Encoding,
    parser::{EventReceiver, parse_document},
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
        let (mut depth, mut errors) = (Depth::default(), Self::default());
        parse_document(&tokens, &mut depth, &mut errors);
        Self { too_deep: depth.exceeded_at, ..errors }
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

#[derive(Debug, Default)]
struct Depth {
    open: u32,
    dots: u32,
    exceeded_at: Option<usize>,
}

impl Depth {
    fn open(&mut self, span: Span) -> bool {
        self.dots = 0;
        self.open += 1;
        self.compare(self.open, span)
    }

    fn close(&mut self) {
        self.dots = 0;
        self.open = self.open.saturating_sub(1);
    }

    fn compare(&mut self, depth: u32, span: Span) -> bool {
        if depth > MAX_DEPTH {
            self.exceeded_at.get_or_insert(span.start());
        }
        depth <= MAX_DEPTH
    }
}

impl EventReceiver for Depth {
    fn std_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.dots = 0;
    }
    fn array_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.dots = 0;
    }
    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span)
    }
    fn inline_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }
    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span)
    }
    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }
    fn simple_key(&mut self, _: Span, _: Option<Encoding>, _: &mut dyn ErrorSink) {}
    fn key_sep(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.dots += 1;
        self.compare(self.dots, span);
    }
    fn key_val_sep(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.dots = 0;
    }
    fn value_sep(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.dots = 0;
    }
    fn newline(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.dots = 0;
    }
}
