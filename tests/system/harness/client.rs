//! A small HTTP/1.1 client that runs in the test process, on sockets of another network namespace.
//! It tells an answer, whatever its status, from a transport error, and bounds everything in time.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, socket};

use super::load::{Load, LoadHandle};
use super::network::{Namespace, Network};

/// Bounds a connection attempt, and each wait for more of an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Endpoint {
    Tcp(SocketAddr),
    /// A path as this process sees it; see [`super::Host::unix`].
    Unix(PathBuf),
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// A request with a body.
#[derive(Clone, Debug)]
pub struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// A request such as `POST /pixel`.
    pub fn new(method: &str, path: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: pixeld.test\r\ncontent-length: {}\r\n", body.len());
        Self { head, body }
    }

    /// A pixel, the request that most tests are about.
    pub fn pixel(body: impl AsRef<[u8]>) -> Self {
        Self::new("POST", "/pixel", body).header("content-type", "application/json")
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head.extend([name, ": ", value, "\r\n"]);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// In the order they came; names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A place in a network from where requests are sent.
#[derive(Clone, Debug)]
pub struct Client {
    namespace: Arc<Namespace>,
}

impl Client {
    pub(super) const fn new(namespace: Arc<Namespace>) -> Self {
        Self { namespace }
    }

    /// A client with one interface, with an address (`A.B.C.D/N`) in a network.
    pub fn in_network(network: &Network, address: &str) -> Self {
        let namespace = Namespace::new();
        network.attach(&namespace, "net0", address);
        Self::new(Arc::new(namespace))
    }

    /// Sends a body to `/pixel` on a connection of its own; panics on a transport error.
    #[track_caller]
    pub fn post(&self, to: impl Into<Endpoint>, body: impl AsRef<[u8]>) -> Response {
        let to = to.into();
        self.send(to.clone(), &Request::pixel(body)).unwrap_or_else(|error| panic!("POST to {to:?}: {error}"))
    }

    /// Sends a request on a connection of its own.
    ///
    /// # Errors
    ///
    /// Only transport errors, and answers that are not HTTP.
    pub fn send(&self, to: impl Into<Endpoint>, request: &Request) -> io::Result<Response> {
        self.connect(to)?.send(request)
    }

    /// Opens a connection for several requests.
    ///
    /// # Errors
    ///
    /// What connecting fails with.
    pub fn connect(&self, to: impl Into<Endpoint>) -> io::Result<Connection> {
        let to = to.into();
        self.namespace.enter(|| Connection::open(&to))
    }

    /// Runs something that connects by itself.
    pub fn in_its_network<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(run)
    }

    /// Starts constant load in the background.
    pub fn load(&self, load: Load) -> LoadHandle {
        LoadHandle::start(&self.namespace, load)
    }
}

trait Stream: Read + Write + AsRawFd + Send {}
impl<T: Read + Write + AsRawFd + Send> Stream for T {}

/// A connection that stays open between requests.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    closing: bool,
    /// Whether anything of an answer to the last request has come.
    answered: bool,
}

impl Connection {
    /// Connects from the calling thread's network namespace.
    pub fn open(to: &Endpoint) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match to {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, TIMEOUT)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Endpoint::Unix(path) => {
                let flags = SockFlag::SOCK_CLOEXEC;
                let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
                let stream = UnixStream::from(socket);
                stream.set_read_timeout(Some(TIMEOUT))?;
                // Bounds the wait for room in the server's backlog, too.
                stream.set_write_timeout(Some(TIMEOUT))?;
                connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
                Box::new(stream)
            }
        };
        Ok(Self { stream: BufReader::new(stream), closing: false, answered: false })
    }

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    ///
    /// Only transport errors, and answers that are not HTTP.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.answered = false;
        let sent = self.send_raw(&request.bytes());
        // A server may answer, say 413, and close before it has read everything.
        let response = self.receive();
        if response.is_err() {
            sent?;
        }
        response
    }

    /// Sends any bytes, such as half a request.
    ///
    /// # Errors
    ///
    /// What writing fails with.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Waits for an answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnexpectedEof`] when the server closes before the answer is complete,
    /// [`ErrorKind::WouldBlock`] after 10 s of silence, and [`ErrorKind::InvalidData`] for what is
    /// not HTTP.
    pub fn receive(&mut self) -> io::Result<Response> {
        let status_line = self.line()?;
        self.answered = true;
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1)?.parse().ok())
            .ok_or_else(|| invalid(&status_line))?;
        let mut response = Response { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            response.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if status == 100 {
            return self.receive();
        }
        self.closing = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));

        if response.header("transfer-encoding").is_some() {
            loop {
                let line = self.line()?;
                let length = usize::from_str_radix(&line, 16).map_err(|_| invalid(&line))?;
                self.append(length, &mut response.body)?;
                self.line()?;
                if length == 0 {
                    break;
                }
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| invalid(length))?;
            self.append(length, &mut response.body)?;
        } else if !matches!(status, 100..200 | 204 | 304) {
            self.closing = true;
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// Whether the server has said that it closes the connection, or has done so.
    pub fn is_closed(&self) -> bool {
        let peek = || {
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            recv(self.stream.get_ref().as_raw_fd(), &mut [0], flags)
        };
        self.closing || self.stream.buffer().is_empty() && peek() != Err(Errno::EAGAIN)
    }

    /// Whether the server has closed the connection without a word to the last request.
    pub fn is_closed_unanswered(&self) -> bool {
        self.is_closed() && !self.answered
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.trim_end_matches('\r').to_owned()),
            None => Err(io::Error::new(ErrorKind::UnexpectedEof, "closed before the answer was complete")),
        }
    }

    fn append(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let start = body.len();
        body.resize(start + length, 0);
        self.stream.read_exact(&mut body[start..])
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}
