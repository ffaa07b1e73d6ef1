use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::buf_list::BufList;

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
    /// Long bodies, each with its place in `bytes`. They are sent from where they are.
    long: Vec<(usize, Bytes)>,
}

impl Output {
    /// When there are so many bytes of responses, they are sent before there are more. What the client
    /// does not take waits in memory of its own, too, and a refusal may be many times as long as its
    /// request. The responses to as many plain requests as are read at once are fewer.
    pub const MAX: usize = 32 << 10;
    /// A body of so many bytes is copied: sending it from where it is would take longer.
    const SHORT: usize = 4 << 10;

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * Self::MAX);
        self.release();
    }

    /// Frees what is large.
    pub fn release(&mut self) {
        if !self.long.is_empty() {
            self.long.clear();
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len() + self.long.iter().map(|(_, piece)| piece.len()).sum::<usize>()
    }

    pub fn is_in_one_piece(&self) -> bool {
        self.long.is_empty()
    }

    pub fn push_body(&mut self, body: &BufList) {
        if body.remaining() <= Self::SHORT {
            self.bytes.extend(body.iter().flatten());
        } else {
            let place = self.bytes.len();
            self.long.extend(body.iter().map(|piece| (place, piece.clone())));
        }
    }

    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(2 * self.long.len() + 1);
        self.each_section(|section, _| slices.push(IoSlice::new(section)));
        slices
    }

    /// What is left behind the first `sent` bytes; the short ones are copied, for the next connection uses
    /// the buffer.
    pub fn rest(&self, sent: usize) -> BufList {
        let (mut rest, mut passed) = (BufList::default(), sent);
        self.each_section(|section, shared| {
            let begin = passed.min(section.len());
            passed -= begin;
            rest.push(match shared {
                Some(piece) => piece.slice(begin..),
                None => Bytes::copy_from_slice(&section[begin..]),
            });
        });
        rest.shrink();
        rest
    }

    /// In the order in which they are sent.
    fn each_section<'o>(&'o self, mut visit: impl FnMut(&'o [u8], Option<&'o Bytes>)) {
        let mut begin = 0;
        for (place, piece) in &self.long {
            if begin < *place {
                visit(&self.bytes[begin..*place], None);
            }
            visit(piece, Some(piece));
            begin = *place;
        }
        visit(&self.bytes[begin..], None);
    }
}
