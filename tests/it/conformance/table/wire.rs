use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::Linger};

/// Longer than any answer takes on a busy machine; no deadline of the server is as short.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the server is.
#[derive(Debug, Clone)]
pub enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// One answer, taken apart but not judged.
#[derive(Debug)]
pub struct Answer {
    pub version: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub fn says_close(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection that sends what it is told to, and reports what is wrong instead of panicking.
pub struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    /// Everything that came, for the report.
    heard: String,
}

impl Wire {
    pub fn connect(peer: &Peer) -> Result<Self, String> {
        let stream = match peer {
            Peer::Tcp(address) => TcpStream::connect_timeout(address, PATIENCE).and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(stream)
            }),
            // What is used of a TcpStream below are plain socket calls, the same for both.
            Peer::Unix(path) => UnixStream::connect(path).map(|stream| OwnedFd::from(stream).into()),
        };
        let stream = stream.map_err(|error| format!("no connection: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        Ok(Self { stream, received: Vec::new(), heard: String::new() })
    }

    /// That the server has closed meanwhile is no fault; what can be read afterwards tells.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes so that the server sees a reset.
    pub fn reset(self) {
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        let _ = setsockopt(&self.stream, Linger, &at_once);
    }

    /// The next answer, or `None` when the server has closed in good order instead.
    pub fn answer(&mut self, has_body: bool) -> Result<Option<Answer>, String> {
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if !self.receive()? {
                return if self.received.is_empty() { Ok(None) } else { Err(self.report("half an answer")) };
            }
        };
        let head: Vec<u8> = self.received.drain(..end + 4).collect();
        let mut answer = parse(&head).map_err(|fault| self.report(&fault))?;
        let length = answer.field("content-length").map(str::parse::<usize>);
        let length = match length {
            _ if answer.status < 200 || !has_body => 0,
            Some(Ok(length)) => length,
            _ => return Err(self.report("an answer without a valid content-length")),
        };
        while self.received.len() < length {
            if !self.receive()? {
                return Err(self.report("the body is shorter than content-length says"));
            }
        }
        let body = self.received.drain(..length).collect();
        answer.body = String::from_utf8(body).map_err(|_| self.report("the body is not text"))?;
        Ok(Some(answer))
    }

    /// Waits until the server closes, which it does in good order and without another byte.
    pub fn expect_end(&mut self) -> Result<(), String> {
        if self.received.is_empty() && !self.receive()? {
            return Ok(());
        }
        Err(self.report("something stands behind the last answer"))
    }

    /// Whether there was more.
    fn receive(&mut self) -> Result<bool, String> {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.receive(),
            Ok(length) => {
                self.received.extend_from_slice(&bytes[..length]);
                self.heard += &String::from_utf8_lossy(&bytes[..length]);
                Ok(length > 0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(self.report("the server neither answers nor closes"))
            }
            Err(error) => Err(self.report(&error.to_string())),
        }
    }

    fn report(&self, fault: &str) -> String {
        format!("{fault}; received {:?}", self.heard)
    }
}

/// A head as RFC 9112 §4 has it, and nothing laxer.
fn parse(head: &[u8]) -> Result<Answer, String> {
    let head = str::from_utf8(head).map_err(|_| "a head that is not ASCII")?;
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let mut parts = status_line.splitn(3, ' ');
    let (Some(version @ ("HTTP/1.1" | "HTTP/1.0")), Some(status), Some(_reason)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return Err(format!("no status line: {status_line:?}"));
    };
    let status = status.parse().ok().filter(|status| (100..600).contains(status));
    let status = status.ok_or_else(|| format!("no status: {status_line:?}"))?;
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no field: {line:?}"))?;
        let is_token = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if name.is_empty() || !is_token(name) || value.contains(['\r', '\n', '\0']) {
            return Err(format!("no field: {line:?}"));
        }
        let name = name.to_lowercase();
        if fields.iter().any(|(other, _)| *other == name) {
            return Err(format!("{name} stands there twice"));
        }
        fields.push((name, value.trim().into()));
    }
    Ok(Answer { version: version.into(), status, fields, body: String::new() })
}
