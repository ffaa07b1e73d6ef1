use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use tokio::io::AsyncWrite;

use crate::{http::BufList, net::Stream};

/// Buffers that the connections of a worker use one after the other. A waiting connection occupies none of them.
#[derive(Debug)]
pub struct Buffers {
    pub input: Box<[u8]>,
    pub output: Output,
}

impl Buffers {
    /// The most bytes that one read returns: about a hundred requests. A connection copies the bytes that it cannot
    /// handle yet, so a larger buffer would let an attacker occupy more memory.
    const INPUT: usize = 16 << 10;
}

impl Default for Buffers {
    fn default() -> Self {
        Self { input: vec![0; Self::INPUT].into(), output: Output::default() }
    }
}

/// The responses to a batch of requests. One write sends them.
#[derive(Debug, Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    /// The body of the only response if it is long. It follows `bytes`, and is not copied.
    long_body: Option<BufList>,
}

impl Output {
    /// From this number of bytes on, responses are sent before the next request is handled. This bounds the bytes
    /// that are copied if the client does not take them: a rejection may be many times as long as its request.
    const MAX: usize = 32 << 10;
    /// Up to this number of bytes, a copy takes less time than a vectored write.
    const SHORT: usize = 4 << 10;

    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > 2 * Self::MAX {
            self.bytes.shrink_to(2 * Self::MAX);
        }
        // Left over if the previous connection failed.
        self.long_body = None;
    }

    pub fn len(&self) -> usize {
        self.bytes.len() + self.long_body.as_ref().map_or(0, Buf::remaining)
    }

    /// Whether these responses must be sent before the next request is handled. No response can follow a long body.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= Self::MAX || self.long_body.is_some()
    }

    /// Appends the body of a response. `is_first` says whether it is the first response of the batch.
    pub fn push_body(&mut self, body: BufList, is_first: bool) {
        if is_first && body.remaining() > Self::SHORT {
            self.long_body = Some(body);
        } else {
            body.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        }
    }

    /// Sends all bytes, or as many as the socket takes. Returns their number.
    pub fn poll_send(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &self.long_body {
            Some(long_body) => poll_send_pieces(stream, cx, &self.bytes, long_body),
            None => Pin::new(stream).poll_write(cx, &self.bytes),
        }
    }

    /// Takes the bytes that follow the first `sent` ones. Copies those in `bytes`, because the next connection uses
    /// that buffer.
    pub fn take_rest(&mut self, sent: usize) -> BufList {
        let mut rest = BufList::copy_of(self.bytes.get(sent..).unwrap_or_default());
        if let Some(mut long_body) = self.long_body.take() {
            long_body.advance(sent.saturating_sub(self.bytes.len()));
            rest.append(long_body);
            rest.shrink();
        }
        rest
    }
}

/// Sends `first` and then `rest`, or as many bytes as the socket takes. Returns their number.
pub fn poll_send_pieces(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    first: &[u8],
    rest: &BufList,
) -> Poll<io::Result<usize>> {
    const MAX_SLICES: usize = 64;

    let mut slices = [IoSlice::new(first); MAX_SLICES];
    let filled = 1 + rest.chunks_vectored(&mut slices[1..]);
    Pin::new(stream).poll_write_vectored(cx, &slices[..filled])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn output() -> Output {
        let mut output = Output::default();
        output.bytes.extend_from_slice(b"head ");
        output.push_body(Bytes::from(vec![b'b'; Output::SHORT + 1]).into(), true);
        output
    }

    fn bytes(mut list: BufList) -> Bytes {
        list.copy_to_bytes(list.remaining())
    }

    #[test]
    fn rest_begins_after_the_sent_bytes() {
        let all = bytes(output().take_rest(0));
        assert!(all.starts_with(b"head bb") && all.len() == output().len());
        for sent in [1, 4, 5, 6, all.len() - 1, all.len()] {
            assert_eq!(bytes(output().take_rest(sent)), all[sent..], "{sent}");
        }
    }

    #[test]
    fn rest_of_short_responses_is_copied_once() {
        let mut output = Output::default();
        output.bytes.extend_from_slice(b"response");
        let mut rest = output.take_rest(1);
        let copy = rest.chunk().as_ptr();
        assert_ne!(copy, output.bytes[1..].as_ptr(), "the next connection uses the buffer");
        rest.shrink();
        assert_eq!((rest.chunk(), rest.chunk().as_ptr()), (&b"esponse"[..], copy));
    }
}
