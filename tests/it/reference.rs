//! pixeld against the application that it replaces: the same answer to every body, byte for byte,
//! but for the differences of [`expected`].

mod application;
mod cases;
mod integer_literals;
mod random;

use std::{collections::BTreeMap, env, thread};

use serde::de::IgnoredAny;

use self::{
    application::Application,
    cases::Case,
    random::{Random, mutation},
};
use crate::support::{Client, Daemon, Response};

const MUTATIONS: usize = 20_000;
const SEED: u64 = 20_261_122;

#[test]
fn responses_equal_the_reference_application() {
    let seed = env::var("PIXELD_SEED").map_or(SEED, |seed| seed.parse().expect("PIXELD_SEED is a number"));
    let mut random = Random(seed);
    let mut cases = cases::all();
    let named = cases.len();
    assert!(named >= 1000, "{named} cases");
    for _ in 0..MUTATIONS {
        let case = mutation(&cases[..named], &mut random);
        cases.push(case);
    }
    println!("{}", counted(cases.iter().map(|case| case.class)));

    // Every other case to another pair of servers, because Python uses one CPU.
    let (even, odd) = (cases.iter().step_by(2), cases.iter().skip(1).step_by(2));
    let differences = thread::scope(|scope| {
        let even = scope.spawn(|| differences(&even.collect::<Vec<_>>()));
        let odd = differences(&odd.collect::<Vec<_>>());
        [even.join().unwrap(), odd].concat()
    });
    assert!(differences.is_empty(), "PIXELD_SEED={seed}\n{}", report(&differences));
}

fn differences(cases: &[&Case]) -> Vec<Difference> {
    let application = Application::start();
    let mut connection = Connection::new(|| application.client());
    let references: Vec<_> = cases.iter().map(|case| connection.ask(case)).collect();
    let mut found = Vec::new();
    for range_error_status in [422, 400, 200] {
        let settings = format!(
            "limits.body = \"16MiB\"\npixel.range-error-status = {range_error_status}\nlog.level = \"error\"\n"
        );
        let daemon = Daemon::start(&settings);
        let mut connection = Connection::new(|| daemon.unix_client());
        for (case, reference) in cases.iter().zip(&references) {
            // The setting matters only to what the application answers with 200.
            if range_error_status == 422 || reference.status == 200 {
                let ours = connection.ask(case);
                if !expected(reference, case, range_error_status).is_met_by(&ours) {
                    found.push(Difference::new(case, reference, &ours));
                }
            }
        }
    }
    found
}

/// A connection to a server, for as long as that keeps it open; then another.
struct Connection<F> {
    connect: F,
    client: Client,
}

impl<F: Fn() -> Client> Connection<F> {
    fn new(connect: F) -> Self {
        Self { client: connect(), connect }
    }

    fn ask(&mut self, case: &Case) -> Response {
        let answer = self.client.ask(case.request());
        // After a 500 uvicorn closes without saying so.
        if answer.status == 500 || answer.field("connection") == Some("close") {
            self.client = (self.connect)();
        }
        answer
    }
}

/// What pixeld has to answer.
enum Expectation<'r> {
    Exactly(u16, &'r str),
    /// 422 with entries that the application never got to write.
    Unprocessable,
}

/// The deliberate differences, and nothing else.
fn expected<'r>(reference: &'r Response, case: &Case, range_error_status: u16) -> Expectation<'r> {
    let is_json = case.content_type.as_deref() == Some(b"application/json");
    match (reference.status, reference.body.as_str()) {
        _ if is_json && is_guessed_as_utf16_or_utf32(&case.body) => {
            Expectation::Exactly(400, r#"{"detail":"There was an error parsing the body"}"#)
        }
        (500, _) => Expectation::Unprocessable,
        (200, body @ r#"{"error":"value must be between 0 and 255"}"#) => {
            Expectation::Exactly(range_error_status, body)
        }
        (status, body) => Expectation::Exactly(status, body),
    }
}

/// `json.detect_encoding`, as far as it is not UTF-8.
fn is_guessed_as_utf16_or_utf32(body: &[u8]) -> bool {
    let has_mark = body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff");
    has_mark || body.starts_with(b"\0\0\xfe\xff") || matches!(body.len(), 2 | 4..) && body[..2].contains(&0)
}

impl Expectation<'_> {
    fn is_met_by(&self, answer: &Response) -> bool {
        match self {
            Self::Exactly(status, body) => answer.status == *status && answer.body == *body,
            Self::Unprocessable => {
                // Not a Value, which does not nest as deep as Python's.
                let is_json = serde_json::from_str::<IgnoredAny>(&answer.body).is_ok();
                answer.status == 422 && is_json && answer.body.starts_with(r#"{"detail":[{"type":""#)
            }
        }
    }
}

/// An answer that is not as expected.
#[derive(Clone)]
struct Difference {
    class: &'static str,
    /// The request and both answers.
    text: String,
}

impl Difference {
    fn new(case: &Case, reference: &Response, ours: &Response) -> Self {
        let content_type = case.content_type.as_ref().map(|value| value.escape_ascii().to_string());
        let shown = |answer: &Response| format!("{} {}", answer.status, shortened(answer.body.as_bytes()));
        let text = format!(
            "{} ({content_type:?}): {}\n  reference: {}\n  pixeld:    {}\n",
            case.class,
            shortened(&case.body),
            shown(reference),
            shown(ours),
        );
        Self { class: case.class, text }
    }
}

fn report(differences: &[Difference]) -> String {
    let counts = counted(differences.iter().map(|difference| difference.class));
    let first: Vec<_> = differences.iter().take(10).map(|difference| difference.text.as_str()).collect();
    format!("these differ:\n{counts}\n{}", first.join("\n"))
}

/// Printable, without the middle of what is long.
fn shortened(bytes: &[u8]) -> String {
    match bytes {
        [begin @ .., _] if bytes.len() > 600 => {
            let (begin, end) = (&begin[..300], &bytes[bytes.len() - 100..]);
            format!("{} …{} bytes… {}", begin.escape_ascii(), bytes.len() - 400, end.escape_ascii())
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

fn counted<'c>(classes: impl Iterator<Item = &'c str>) -> String {
    let mut counts = BTreeMap::new();
    for class in classes {
        *counts.entry(class).or_insert(0) += 1;
    }
    counts.iter().map(|(class, count)| format!("{count:>7} {class}\n")).collect()
}
