/// Any of these sequences of statuses, in the order of the answers.
pub type Expect = &'static [&'static [u16]];

pub const OK: Expect = &[&[200]];
pub const BAD: Expect = &[&[400]];
pub const NOT_FOUND: Expect = &[&[404]];
pub const NOT_ALLOWED: Expect = &[&[405]];
pub const TOO_LARGE: Expect = &[&[413]];
/// The RFC leaves it to the server.
pub const OK_OR_BAD: Expect = &[&[200], &[400]];

/// What a client does.
#[derive(Debug)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits for one more answer.
    Await,
    /// Says that nothing more will be sent.
    Finish,
    /// Closes, without looking at the answer.
    Leave,
    /// Closes with a reset.
    Reset,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// A refusal that puts the framing in doubt closes it; after anything else it can be used on.
    Usual,
    /// It is closed.
    Closed,
    /// It can be used on.
    Kept,
    /// It is closed when the answer says so, and else can be used on.
    AsSaid,
}

/// What a client does, and what it sees.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    /// The section of an RFC, or the reason.
    pub why: &'static str,
    pub steps: Vec<Step>,
    pub expect: Expect,
    pub after: After,
    /// The first answer is one to HEAD.
    pub is_head: bool,
    /// What a client of the proxy sees; `None` where it tells nothing about pixeld or its site.
    pub through_nginx: Option<Expect>,
}

/// A client that sends these bytes in one piece.
pub fn case(name: impl Into<String>, why: &'static str, bytes: impl AsRef<[u8]>, expect: Expect) -> Case {
    Case {
        name: name.into(),
        why,
        steps: vec![Step::Send(bytes.as_ref().to_vec())],
        expect,
        after: After::Usual,
        is_head: false,
        through_nginx: None,
    }
}

impl Case {
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Each byte in a piece of its own.
    pub fn byte_by_byte(mut self) -> Self {
        let cut = |step| match step {
            Step::Send(bytes) => bytes.into_iter().map(|byte| Step::Send(vec![byte])).collect(),
            other => vec![other],
        };
        self.steps = self.steps.into_iter().flat_map(cut).collect();
        self
    }

    pub fn expect(self, expect: Expect) -> Self {
        Self { expect, ..self }
    }

    pub fn closed(self) -> Self {
        Self { after: After::Closed, ..self }
    }

    pub fn kept(self) -> Self {
        Self { after: After::Kept, ..self }
    }

    pub fn closed_if_said(self) -> Self {
        Self { after: After::AsSaid, ..self }
    }

    pub fn head(self) -> Self {
        Self { is_head: true, ..self }
    }

    pub fn nginx(self, expect: Expect) -> Self {
        Self { through_nginx: Some(expect), ..self }
    }

    /// The proxy makes no difference.
    pub fn nginx_too(self) -> Self {
        Self { through_nginx: Some(self.expect), ..self }
    }

    /// Whether the client closes its writing side or the whole connection itself.
    pub fn ends_itself(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Finish | Step::Leave | Step::Reset))
    }
}

pub const PIXEL: &str = r#"{"x":10,"y":20,"channel":"R","value":255}"#;
pub const ECHO: &str = r#"{"status":"ok","received":{"x":10,"y":20,"channel":"R","value":255}}"#;

pub const HOST: &str = "host: h";
pub const JSON: &str = "content-type: application/json";
pub const CHUNKED: &str = "transfer-encoding: chunked";
/// Of [`PIXEL`].
pub const LENGTH: &str = "content-length: 41";
pub const POST: &str = "POST /pixel HTTP/1.1";

/// [`PIXEL`] in two chunks.
pub const CHUNKS: &str = "a\r\n{\"x\":10,\"y\r\n1f\r\n\":20,\"channel\":\"R\",\"value\":255}\r\n0\r\n\r\n";

/// A request that is only ever seen by a server that takes something else for its end.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";

/// A request of just these lines, and what stands behind its head.
pub fn lines(lines: &[&str], body: &str) -> Vec<u8> {
    (lines.join("\r\n") + "\r\n\r\n" + body).into_bytes()
}

/// A good request but for these lines, which stand behind its Host.
pub fn with(fields: &[&str]) -> Vec<u8> {
    lines(&[&[POST, HOST, JSON, LENGTH], fields].concat(), PIXEL)
}

/// A good request but for its first line.
pub fn starting(line: &str) -> Vec<u8> {
    lines(&[line, HOST, JSON, LENGTH], PIXEL)
}

/// A request with these lines instead of Content-Length.
pub fn framed(fields: &[&str], body: &str) -> Vec<u8> {
    lines(&[&[POST, HOST, JSON], fields].concat(), body)
}

/// A good request in chunks, which are given as they stand on the wire.
pub fn chunked(chunks: &str) -> Vec<u8> {
    framed(&[CHUNKED], chunks)
}

/// Pieces one behind the other.
pub fn all(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}
