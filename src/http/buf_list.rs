use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

use crate::pixel::Detail;

/// Bytes to send, in pieces. Pieces may be parts of the same memory: a rejection may repeat the JSON document of the
/// request several times, but the document is in memory once.
#[derive(Debug, Default)]
pub struct BufList {
    /// None of them is empty.
    pieces: VecDeque<Bytes>,
    remaining: usize,
    /// The size of the last piece when it was copied.
    copied: Option<usize>,
}

impl BufList {
    /// Copies bytes into a list of its own.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self { copied: Some(bytes.len()), ..Bytes::copy_from_slice(bytes).into() }
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.remaining += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Appends the pieces of another list.
    pub fn append(&mut self, mut other: Self) {
        if other.has_remaining() {
            self.copied = other.copied;
        }
        self.remaining += other.remaining;
        self.pieces.append(&mut other.pieces);
    }

    /// Frees the memory of sent bytes, if only one piece is left; before that, pieces may share memory. Copies the
    /// piece unless it is a copy, and each time that its length has halved. All copies together are at most twice as
    /// long as the piece.
    pub fn shrink(&mut self) {
        if let [piece] = self.pieces.make_contiguous()
            && 2 * piece.len() <= self.copied.unwrap_or(usize::MAX)
        {
            *piece = Bytes::copy_from_slice(piece);
            self.copied = Some(piece.len());
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }
}

impl From<Bytes> for BufList {
    fn from(piece: Bytes) -> Self {
        let mut list = Self::default();
        list.push(piece);
        list
    }
}

impl From<Detail> for BufList {
    fn from(detail: Detail) -> Self {
        // No piece of a detail is empty.
        Self { remaining: detail.len(), pieces: detail.into_pieces().collect(), copied: None }
    }
}

impl Buf for BufList {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining, "{count} of {} bytes", self.remaining);
        self.remaining -= count;
        let mut count = count;
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                first.advance(count);
                break;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.pieces);
        filled.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> BufList {
        let mut list = BufList::from(Bytes::from_static(b"ab"));
        list.push(Bytes::new());
        list.push(Bytes::from_static(b"cde"));
        list
    }

    #[test]
    fn pieces_are_read_in_order_for_steps_of_any_length() {
        for step in 1..=5 {
            let (mut list, mut read) = (list(), Vec::new());
            while list.has_remaining() {
                let count = step.min(list.remaining());
                let mut slices = [IoSlice::new(&[]); 4];
                let filled = list.chunks_vectored(&mut slices);
                read.extend(slices[..filled].iter().flat_map(|slice| slice.iter()).take(count).copied());
                list.advance(count);
            }
            assert_eq!(read, b"abcde");
        }
    }

    #[test]
    fn last_piece_is_copied_once_alone_and_again_when_half_sent() {
        let mut list = BufList::from(Bytes::from(vec![7; 100]));
        list.push(Bytes::from(vec![8; 100]));
        let last = list.pieces[1].as_ptr();
        list.shrink();
        list.advance(100);
        assert_eq!(list.chunk().as_ptr(), last, "another piece is left");
        list.shrink();
        let copy = list.chunk().as_ptr();
        list.advance(40);
        list.shrink();
        assert_eq!(list.chunk().as_ptr().addr(), copy.addr() + 40, "more than half of the copy is left");
        list.advance(20);
        list.shrink();
        assert_ne!(list.chunk().as_ptr().addr(), copy.addr() + 60);
        assert_eq!((list.chunk(), list.remaining()), (&[8; 40][..], 40));
    }

    #[test]
    fn slices_are_filled_if_there_are_more_pieces() {
        let list = list();
        let mut slices = [IoSlice::new(&[]); 1];
        assert_eq!(list.chunks_vectored(&mut slices), 1);
        assert_eq!(*slices[0], *b"ab");
        assert_eq!((list.remaining(), list.chunk()), (5, &b"ab"[..]));
    }
}
