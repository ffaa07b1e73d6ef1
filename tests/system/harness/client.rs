//! A small HTTP/1.1 client that runs in the test process, on sockets of another network namespace.
//! It distinguishes a response of any status from a transport error, and each wait has a timeout.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, socket};

use super::http::{Response, request};
use super::load::{Load, LoadHandle};
use super::network::{Namespace, Network};
use super::shared::has_more;

/// Timeout of a connection attempt, and of each wait for more of a response.
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
    method: String,
    path: String,
    /// Whole lines.
    fields: String,
    body: String,
}

impl Request {
    /// A request such as `POST /pixel`.
    pub fn new(method: &str, path: &str, body: impl Into<String>) -> Self {
        Self { method: method.into(), path: path.into(), fields: String::new(), body: body.into() }
    }

    /// A pixel, the request that most tests are about.
    pub fn pixel(body: impl Into<String>) -> Self {
        Self::new("POST", "/pixel", body).field("content-type", "application/json")
    }

    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.extend([name, ": ", value, "\r\n"]);
        self
    }

    fn text(&self) -> String {
        request(&self.method, &self.path, &self.fields, &self.body)
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
    pub fn post(&self, to: impl Into<Endpoint>, body: impl Into<String>) -> Response {
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
    /// Why connecting failed.
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
    /// Whether a part of the response to the last request has arrived.
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
                // Also bounds the wait for a place in the server's backlog.
                stream.set_write_timeout(Some(TIMEOUT))?;
                let address = UnixAddr::new(path)?;
                while let Err(error) = connect(stream.as_raw_fd(), &address) {
                    if error != Errno::EINTR {
                        return Err(error.into());
                    }
                }
                Box::new(stream)
            }
        };
        Ok(Self { stream: BufReader::new(stream), closing: false, answered: false })
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    ///
    /// Only transport errors, and answers that are not HTTP.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.answered = false;
        let sent = self.send_raw(request.text().as_bytes());
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
    /// Why writing failed.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Waits for a final response.
    ///
    /// # Errors
    ///
    /// Those of [`Response::read`], and [`ErrorKind::WouldBlock`] after 10 s of silence.
    pub fn receive(&mut self) -> io::Result<Response> {
        self.answered |= has_more(&mut self.stream)?;
        let response = Response::read(&mut self.stream)?;
        if response.status == 100 {
            return self.receive();
        }
        self.closing = response.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
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
}
