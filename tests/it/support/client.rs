use std::{
    io::{self, BufReader, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketType};

use super::{
    PATIENCE, PIXEL,
    http::{Response, post},
    shared::has_more,
};

/// A valid request in two parts: the first ends in the middle of the body.
pub fn post_in_two() -> (String, &'static str) {
    let (begin, end) = PIXEL.split_at(10);
    let whole = post(PIXEL);
    (whole[..whole.len() - PIXEL.len()].to_owned() + begin, end)
}

/// An HTTP client that sends exactly what it is told to.
pub struct Client {
    stream: BufReader<Stream>,
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
        Self { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the request can be sent");
    }

    /// Sends `byte` every now and then until something comes back.
    pub fn trickle(&mut self, byte: u8) {
        let deadline = Instant::now() + PATIENCE;
        self.stream.get_ref().set_timeouts(Duration::from_millis(50)).unwrap();
        while let Err(error) = has_more(&mut self.stream) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(Instant::now() < deadline, "a client that never finishes is served for ever");
            self.send([byte]);
        }
        self.stream.get_ref().set_timeouts(PATIENCE).unwrap();
    }

    /// Sends the same again and again, and reads nothing, until nothing more is taken.
    pub fn send_until_full(&mut self, bytes: &[u8]) {
        const MOST: usize = 64 << 20;
        self.stream.get_ref().set_timeouts(Duration::from_millis(500)).unwrap();
        let many = bytes.repeat(100);
        let mut sent = 0;
        while let Ok(length) = self.stream.get_mut().write(&many[sent % bytes.len()..]) {
            sent += length;
            assert!(sent < MOST, "somebody takes everything");
        }
        self.stream.get_ref().set_timeouts(PATIENCE).unwrap();
    }

    /// Takes what was sent, and waits until the daemon closes the connection, in whatever way.
    pub fn expect_end_after_responses(mut self) {
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// Sends a request and takes its answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.answer()
    }

    /// Whether a request is answered; otherwise the daemon has closed the connection.
    pub fn is_answered(&mut self, request: impl AsRef<[u8]>) -> bool {
        let is_sent = self.stream.get_mut().write_all(request.as_ref()).is_ok();
        match Response::read(&mut self.stream) {
            Ok(_) => is_sent,
            Err(error) => {
                let closed = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(closed.contains(&error.kind()), "it hangs: {error}");
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

    /// The next answer, interim ones included.
    #[track_caller]
    pub fn answer(&mut self) -> Response {
        Response::read(&mut self.stream).expect("a whole answer")
    }

    /// The head of the next answer; nothing is taken that stands behind it.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        Response::read_head(&mut self.stream).expect("a whole head")
    }

    /// Waits until the daemon closes the connection, in good order and without another byte.
    #[track_caller]
    pub fn expect_end(mut self) {
        let more = has_more(&mut self.stream).expect("the connection is closed in time and in good order");
        assert!(!more, "{}", String::from_utf8_lossy(self.stream.buffer()));
    }

    /// Waits until the daemon closes the connection, in whatever way.
    #[track_caller]
    pub fn expect_cut(mut self) {
        match has_more(&mut self.stream) {
            Ok(more) => assert!(!more, "{}", String::from_utf8_lossy(self.stream.buffer())),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
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
