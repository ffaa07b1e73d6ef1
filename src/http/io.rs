use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::track::{Stage, Track};
use crate::net::Stream;

/// A socket that tells its [`Track`] what goes over it, and can be given bytes back that were
/// read and not used.
#[derive(Debug)]
pub struct Io {
    pub stream: Stream,
    unread: Bytes,
    track: Rc<Track>,
    /// hyper reads nothing between two requests when there were so many; in the last turn there is no
    /// such number.
    requests_at_end_of_turn: Option<usize>,
}

/// Some clients send one behind a body; between two requests it means nothing (RFC 9112, section 2.2).
const EMPTY_LINE: &[u8] = b"\r\n";

impl Io {
    pub fn new(stream: Stream, unread: Bytes, track: Rc<Track>) -> Self {
        Self { stream, unread, track, requests_at_end_of_turn: None }
    }

    /// Gives back what was read last and is not part of a request that was answered; the next read
    /// returns it first.
    pub fn unread(&mut self, bytes: Bytes) {
        if bytes.is_empty() || bytes == EMPTY_LINE {
            return;
        }
        self.unread = if self.unread.is_empty() {
            bytes
        } else {
            [bytes, std::mem::take(&mut self.unread)].concat().into()
        };
    }

    /// Lets hyper have one request, and those that came with it, or else all that come.
    pub fn begin_turn(&mut self, is_last: bool) {
        self.requests_at_end_of_turn = (!is_last).then(|| self.track.requests() + 1);
    }

    /// Whether there are bytes that were given back.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether a read would return bytes at once.
    pub fn has_input(&self) -> bool {
        self.has_unread() || self.stream.has_input()
    }

    pub fn track(&self) -> &Track {
        &self.track
    }

    pub fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.unread)
    }
}

impl Io {
    /// Reads without telling the track; an end of the input is nothing read.
    pub fn poll_input(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            self.track.registry.stats.received(buf.filled().len() - before);
        } else {
            let n = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..n]);
            self.unread.advance(n);
            if self.unread.is_empty() {
                // Its memory is free then.
                self.unread = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The same, and what has come since follows on what was given back.
    pub fn poll_all_input(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let is_from_before = self.has_unread();
        ready!(self.poll_input(cx, buf))?;
        if is_from_before && !self.has_unread() && buf.remaining() > 0 {
            // When there is nothing, or the end, the next read says so.
            if let Poll::Ready(Err(error)) = self.poll_input(cx, buf) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_idle = this.track.stage() == Stage::Idle;
        if is_idle && this.requests_at_end_of_turn.is_some_and(|end| this.track.requests() >= end) {
            // Nobody need be woken: whoever has begun the turn sees that it is over.
            return Poll::Pending;
        }
        if this.track.unsent_since().is_some() {
            // Or a client that sends and does not read would have its requests kept in memory.
            this.track.wakes_when_flushed();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if let Some(left) = this.track.body_left() {
            // What is behind the body would be kept while its response is sent.
            let room = buf.initialize_unfilled_to(left.min(buf.remaining()));
            let mut body = ReadBuf::new(room);
            ready!(this.poll_all_input(cx, &mut body))?;
            let read = body.filled().len();
            buf.advance(read);
        } else {
            ready!(this.poll_all_input(cx, buf))?;
        }
        while is_idle && &buf.filled()[before..] == EMPTY_LINE {
            buf.set_filled(before);
            if this.requests_at_end_of_turn.is_none() {
                // Nothing has come that is to be answered, so it is the end.
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_input(cx, buf))?;
        }
        if buf.filled().len() > before {
            this.track.received();
        } else {
            this.track.peer_ended();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    /// What hyper writes before a request has reached the service is its own refusal of a head that
    /// it cannot read. It is dropped: a better one is sent when hyper has given up. Behind an answer
    /// that waits to be sent, the two cannot be told apart, and hyper's stands.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.track.stage() {
            Stage::Idle | Stage::Head => {
                self.track.drop_own_refusal();
                Poll::Ready(Ok(buf.len()))
            }
            Stage::Body | Stage::Answer => {
                let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
                self.track.registry.stats.sent(sent);
                Poll::Ready(Ok(sent))
            }
        }
    }

    /// hyper calls this when its own buffer is empty, and only then.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.track.hyper_flushed();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Whoever lent it to hyper closes it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
