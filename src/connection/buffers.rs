use bytes::{Buf, Bytes};

use crate::http::BufList;

/// What the connections of a worker use one after the other. A connection that waits has none of it.
#[derive(Debug)]
pub struct Buffers {
    pub input: Box<[u8]>,
    pub output: Output,
}

impl Buffers {
    /// As much as is read at once: some hundred requests. Those that are not answered wait in memory
    /// of their own, so more would be a gift to attackers.
    const INPUT: usize = 16 << 10;
}

impl Default for Buffers {
    fn default() -> Self {
        Self { input: vec![0; Self::INPUT].into(), output: Output::default() }
    }
}

/// Responses to requests that are answered together.
#[derive(Debug, Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    /// The body of the only response, behind its head, if it is long. It is sent from where it is.
    long_body: BufList,
}

impl Output {
    /// When there are so many bytes of responses, they are sent before there are more. What the client does not
    /// take waits in memory of its own, and a rejection may be many times as long as its request.
    pub const MAX: usize = 32 << 10;
    /// A body of so many bytes is copied: sending it from where it is would take longer.
    const SHORT: usize = 4 << 10;

    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > 2 * Self::MAX {
            self.bytes.shrink_to(2 * Self::MAX);
        }
        // Of a connection that has broken.
        if self.long_body.has_remaining() {
            self.long_body = BufList::default();
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len() + self.long_body.remaining()
    }

    /// Adds a body behind its head, the first one or another.
    pub fn push_body(&mut self, body: BufList, is_first: bool) {
        if is_first && body.remaining() > Self::SHORT {
            self.long_body = body;
        } else {
            body.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        }
    }

    /// Takes what is left behind the first `sent` bytes. What is short is copied, because the next connection uses
    /// the buffer.
    pub fn take_rest(&mut self, sent: usize) -> BufList {
        let mut rest = BufList::from(Bytes::copy_from_slice(&self.bytes[sent..]));
        rest.append(std::mem::take(&mut self.long_body));
        rest.shrink();
        rest
    }
}
