//! What hyper has read of the request under way, as it came in: hyper has the header section parsed and the
//! body decoded, but the next process has to read them from their begin.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use httparse::{EMPTY_HEADER, Request, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{io::Io, plain::length_of};

/// The bytes of the requests that hyper was given in one turn; none beyond a limit, for they are kept beside
/// what hyper keeps.
#[derive(Debug)]
pub struct Replay {
    bytes: RefCell<Vec<u8>>,
    limit: usize,
    /// Requests of this turn that are no longer in the bytes.
    forgotten: Cell<usize>,
    /// More has come than is kept.
    is_over_limit: Cell<bool>,
    /// What hyper sends before the response (100 Continue) was sent in part.
    is_interim_torn: Cell<bool>,
}

impl Replay {
    /// As many fields as hyper takes.
    const MAX_FIELDS: usize = 100;

    pub fn new(limit: usize) -> Self {
        Self {
            bytes: RefCell::default(),
            limit,
            forgotten: Cell::new(0),
            is_over_limit: Cell::new(false),
            is_interim_torn: Cell::new(false),
        }
    }

    fn append(&self, bytes: &[u8], answered: usize) {
        if self.bytes.borrow().len() + bytes.len() > self.limit {
            self.forget(answered);
        }
        let mut kept = self.bytes.borrow_mut();
        if self.is_over_limit.get() || kept.len() + bytes.len() > self.limit {
            self.is_over_limit.set(true);
            *kept = Vec::new();
        } else {
            kept.extend_from_slice(bytes);
        }
    }

    /// Removes the first requests of the turn, which are answered. It does not know where a chunked one ends,
    /// nor need it: that one is the last on its connection.
    fn forget(&self, answered: usize) {
        let mut kept = self.bytes.borrow_mut();
        while self.forgotten.get() < answered && !self.is_over_limit.get() {
            match length_of_request(&kept).filter(|length| *length <= kept.len()) {
                Some(length) => drop(kept.drain(..length)),
                None => self.is_over_limit.set(true),
            }
            self.forgotten.set(self.forgotten.get() + 1);
        }
    }

    /// Everything that was read behind the first `answered` requests of the turn; `None` if it is not known
    /// whole, or its client has got a part of something that the next process would send again.
    pub fn take(&self, answered: usize) -> Option<Vec<u8>> {
        self.forget(answered);
        let is_whole = !self.is_over_limit.get() && !self.is_interim_torn.get();
        is_whole.then(|| self.bytes.take())
    }
}

/// How long the first request is, if its Content-Length says so.
fn length_of_request(bytes: &[u8]) -> Option<usize> {
    let mut fields = [EMPTY_HEADER; Replay::MAX_FIELDS];
    let mut head = Request::new(&mut fields);
    let Ok(Status::Complete(length)) = head.parse(bytes) else { return None };
    let is = |name: &'static str| move |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
    if head.headers.iter().any(|field| is("transfer-encoding")(&field)) {
        return None;
    }
    let mut lengths = head.headers.iter().filter(is("content-length"));
    let body = lengths.next().map_or(Some(0), |field| length_of(field.value))?;
    lengths.next().is_none().then_some(length + body)
}

/// Lends a connection to hyper and keeps what hyper reads from it.
#[derive(Debug)]
pub struct Recorder<'c> {
    io: &'c mut Io,
    replay: &'c Replay,
    requests_before: usize,
}

impl<'c> Recorder<'c> {
    pub fn new(io: &'c mut Io, replay: &'c Replay) -> Self {
        Self { requests_before: io.track().requests(), io, replay }
    }

    pub fn into_inner(self) -> &'c mut Io {
        self.io
    }
}

impl AsyncRead for Recorder<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut *this.io).poll_read(cx, buf))?;
        // The last one may be under way.
        let answered = this.io.track().requests().saturating_sub(this.requests_before + 1);
        this.replay.append(&buf.filled()[before..], answered);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorder<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(Pin::new(&mut *self.io).poll_write(cx, buf))?;
        self.replay.is_interim_torn.set(sent < buf.len());
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    const PUT: &[u8] = b"\r\nPUT / HTTP/1.1\nhost: h\nContent-Length: 3\n\nabc";
    const BEGIN: &[u8] = b"POST /pixel HTTP/1.1\r\ncontent-length: 9\r\n\r\n{\"x\"";

    fn replay(limit: usize, pieces: &[&[u8]]) -> Replay {
        let replay = Replay::new(limit);
        for piece in pieces {
            replay.append(piece, 0);
        }
        replay
    }

    #[test]
    fn answered_requests_are_not_replayed() {
        let all = replay(1000, &[GET, PUT, BEGIN]);
        assert_eq!(all.take(2).unwrap(), BEGIN);
        assert_eq!(replay(1000, &[BEGIN]).take(0).unwrap(), BEGIN);
    }

    #[test]
    fn answered_requests_give_way_at_the_limit() {
        let limit = GET.len() + BEGIN.len();
        let kept = replay(limit, &[GET, BEGIN]);
        kept.append(b"8", 1);
        assert_eq!(kept.take(1).unwrap(), [BEGIN, b"8"].concat());
    }

    #[test]
    fn requests_above_the_limit_are_not_kept() {
        let over = replay(BEGIN.len(), &[BEGIN, b"8"]);
        assert!(over.bytes.borrow().capacity() == 0 && over.take(0).is_none());
        over.append(b"9", 0);
        assert!(over.take(0).is_none());
    }

    #[test]
    fn answered_request_of_unknown_length_is_not_replayed() {
        for fields in
            ["transfer-encoding: chunked", "content-length: 1\r\ncontent-length: 1", "content-length: +1"]
        {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
            assert_eq!(replay(1000, &[head.as_bytes(), BEGIN]).take(1), None, "{fields}");
        }
    }
}
