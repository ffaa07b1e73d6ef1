use bytes::{Buf, Bytes};

use crate::http::BufList;

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

/// The responses to a batch of requests. One write sends `bytes`; the next one sends `long_body`.
#[derive(Debug, Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    /// The body of the only response if it is long. It follows `bytes`, and is not copied.
    long_body: BufList,
}

impl Output {
    /// From this number of bytes on, responses are sent before the next request is handled. This bounds the bytes
    /// that are copied if the client does not take them: a rejection may be many times as long as its request.
    const MAX: usize = 32 << 10;
    /// Up to this number of bytes, a copy takes less time than a second write.
    const SHORT: usize = 4 << 10;

    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > 2 * Self::MAX {
            self.bytes.shrink_to(2 * Self::MAX);
        }
        // Left over if the previous connection failed.
        if self.long_body.has_remaining() {
            self.long_body = BufList::default();
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len() + self.long_body.remaining()
    }

    /// Whether these responses must be sent before the next request is handled. No response can follow a long body.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= Self::MAX || self.long_body.has_remaining()
    }

    /// Appends the body of a response. `is_first` says whether it is the first response of the batch.
    pub fn push_body(&mut self, body: BufList, is_first: bool) {
        if is_first && body.remaining() > Self::SHORT {
            self.long_body = body;
        } else {
            body.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        }
    }

    /// Takes the bytes that follow the first `sent` ones. Copies those in `bytes`, because the next connection uses
    /// that buffer.
    pub fn take_rest(&mut self, sent: usize) -> BufList {
        let mut rest = BufList::from(Bytes::copy_from_slice(&self.bytes[sent..]));
        rest.append(std::mem::take(&mut self.long_body));
        rest.shrink();
        rest
    }
}
