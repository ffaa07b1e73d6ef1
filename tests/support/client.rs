use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketType};

use super::{PATIENCE, PIXEL};

/// A request with these fields, and the length of its body. `fields` are whole lines.
pub fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: pixeld\r\n{fields}content-length: {length}\r\n\r\n{body}")
}

/// `POST /pixel` with a JSON body.
pub fn post(body: &str) -> String {
    request("POST", "/pixel", "content-type: application/json\r\n", body)
}

/// A valid request in two parts: the first ends in the middle of the body.
pub fn post_in_two() -> (String, &'static str) {
    let (begin, end) = PIXEL.split_at(10);
    let whole = post(PIXEL);
    (whole[..whole.len() - PIXEL.len()].to_owned() + begin, end)
}

/// An HTTP client that sends exactly what it is told to.
pub struct Client {
    stream: Stream,
    received: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a field that stands there once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands there twice: {self:?}");
        value
    }
}

impl Client {
    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(Stream::Tcp(stream))
    }

    /// From a certain address of this machine.
    pub fn tcp_from(from: IpAddr, address: SocketAddr) -> Self {
        let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        Self::new(Stream::Tcp(stream))
    }

    pub fn unix(path: &Path) -> Self {
        Self::new(Stream::Unix(UnixStream::connect(path).unwrap()))
    }

    /// One over a socket that is connected already.
    pub fn connected(stream: UnixStream) -> Self {
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        stream.set_timeouts(PATIENCE).unwrap();
        Self { stream, received: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the request can be sent");
    }

    /// Sends `byte` every now and then until something comes back.
    pub fn trickle(&mut self, byte: u8) {
        let deadline = Instant::now() + PATIENCE;
        self.stream.set_timeouts(Duration::from_millis(50)).unwrap();
        while let Err(error) = self.receive_some() {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert!(Instant::now() < deadline, "a client that never finishes is served for ever");
            self.send([byte]);
        }
        self.stream.set_timeouts(PATIENCE).unwrap();
    }

    /// Sends the same again and again, and reads nothing, until nothing more is taken.
    pub fn send_until_full(&mut self, bytes: &[u8]) {
        const MOST: usize = 64 << 20;
        self.stream.set_timeouts(Duration::from_millis(500)).unwrap();
        let many = bytes.repeat(100);
        let mut sent = 0;
        while let Ok(length) = self.stream.write(&many[sent % bytes.len()..]) {
            sent += length;
            assert!(sent < MOST, "somebody takes everything");
        }
        self.stream.set_timeouts(PATIENCE).unwrap();
    }

    /// Takes what was sent, and waits until the daemon closes the connection, in whatever way.
    pub fn expect_end_after_responses(mut self) {
        while matches!(self.receive_some(), Ok(true)) {}
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends a request and takes its answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    /// Whether a request is answered; otherwise the daemon has closed the connection.
    pub fn is_answered(&mut self, request: impl AsRef<[u8]>) -> bool {
        let is_sent = self.stream.write_all(request.as_ref()).is_ok();
        match self.receive_some() {
            Ok(is_more) => is_sent && is_more,
            Err(error) => {
                let is_closed =
                    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
                assert!(is_closed, "it hangs: {error}");
                false
            }
        }
    }

    /// Has a request begin, and returns what it ends with. A whole one is sent together with it, so the answer
    /// to that shows that the daemon has both.
    pub fn begin_request(&mut self) -> &'static str {
        let (begin, rest) = post_in_two();
        assert_eq!(self.ask(post(PIXEL) + &begin).status, 200);
        rest
    }

    /// The next answer, as long as its head says that it is.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.field("content-length").map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            self.receive();
        }
        let body = self.received.drain(..length).collect();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// The head of the next answer; nothing is taken that stands behind it.
    pub fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            self.receive();
        };
        let head: Vec<_> = self.received.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let (status, fields) = head.split_once("\r\n").unwrap();
        let status = status.strip_prefix("HTTP/1.1 ").expect("an HTTP/1.1 answer");
        let fields = fields.lines().filter_map(|line| line.split_once(": "));
        Answer {
            status: status[..3].parse().unwrap(),
            fields: fields.map(|(name, value)| (name.to_lowercase(), value.into())).collect(),
            body: String::new(),
        }
    }

    /// Waits until the daemon closes the connection, in good order and without another byte.
    pub fn expect_end(mut self) {
        let ended = !self.receive_some().expect("the connection is closed in time and in good order");
        assert!(ended && self.received.is_empty(), "{}", String::from_utf8_lossy(&self.received));
    }

    /// Waits until the daemon closes the connection, in whatever way.
    pub fn expect_cut(mut self) {
        match self.receive_some() {
            Ok(more) => assert!(!more, "{}", String::from_utf8_lossy(&self.received)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }

    fn receive(&mut self) {
        let so_far = |received: &[u8]| String::from_utf8_lossy(received).into_owned();
        match self.receive_some() {
            Ok(true) => {}
            Ok(false) => panic!("the connection ended after {:?}", so_far(&self.received)),
            Err(error) => panic!("{error} after {:?}", so_far(&self.received)),
        }
    }

    /// Whether there was more to be received.
    fn receive_some(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let length = self.stream.read(&mut bytes)?;
        self.received.extend_from_slice(&bytes[..length]);
        Ok(length > 0)
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_timeouts(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(limit);
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(limit).and(stream.set_write_timeout(limit)),
            Self::Unix(stream) => stream.set_read_timeout(limit).and(stream.set_write_timeout(limit)),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
