//! HTTP/1.1 as a client needs it: the text of a request, and the response to it.

use std::io::{self, BufRead, Error, ErrorKind};

/// Returns a request with these fields, given as whole lines, and the length of its body.
pub fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: pixeld\r\n{fields}content-length: {length}\r\n\r\n{body}")
}

/// Returns `POST /pixel` with a JSON body.
pub fn post(body: &str) -> String {
    request("POST", "/pixel", "content-type: application/json\r\n", body)
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// In the order they came; names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// Returns the value of a field, whose name is given in lower case; panics if there are two of it.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// Reads a response, also an interim one.
    ///
    /// Fails with [`ErrorKind::UnexpectedEof`] if the server closes before the response is complete, and with
    /// [`ErrorKind::InvalidData`] if it is not HTTP/1.1.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let mut response = Self::read_head(stream)?;
        let mut body = Vec::new();
        if response.field("transfer-encoding").is_some() {
            loop {
                let line = read_line(stream)?;
                let length = usize::from_str_radix(&line, 16).map_err(|_| invalid(&line))?;
                read_body(stream, length, &mut body)?;
                read_line(stream)?;
                if length == 0 {
                    break;
                }
            }
        } else if let Some(length) = response.field("content-length") {
            read_body(stream, length.parse().map_err(|_| invalid(length))?, &mut body)?;
        } else if !matches!(response.status, 100..200 | 204 | 304) {
            stream.read_to_end(&mut body)?;
        }
        response.body = String::from_utf8(body).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        Ok(response)
    }

    /// Reads the status line and the header section, and leaves what follows.
    pub fn read_head(stream: &mut impl BufRead) -> io::Result<Self> {
        let line = read_line(stream)?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| invalid(&line))?;
        let mut fields = Vec::new();
        loop {
            let line = read_line(stream)?;
            if line.is_empty() {
                return Ok(Self { status, fields, body: String::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None if line.ends_with('\n') => Err(invalid(&line)),
        None => Err(Error::new(ErrorKind::UnexpectedEof, format!("closed after {line:?}"))),
    }
}

fn read_body(stream: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let start = body.len();
    body.resize(start + length, 0);
    stream.read_exact(&mut body[start..])
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("not HTTP/1.1: {what:?}"))
}
