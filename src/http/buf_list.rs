use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

use crate::pixel::Detail;

/// Bytes to send, in pieces. Several pieces may share memory, as those of a [`Detail`] do. That is the body of the response
/// to an invalid pixel.
#[derive(Debug, Default)]
pub struct BufList {
    /// None of them is empty.
    pieces: VecDeque<Bytes>,
    remaining: usize,
    /// The length that the last piece had when it was copied. `None` if it is no copy.
    copied_length: Option<usize>,
}

impl BufList {
    pub fn copy_of(bytes: &[u8]) -> Self {
        let list = Self::from(Bytes::copy_from_slice(bytes));
        Self { copied_length: Some(bytes.len()), ..list }
    }

    /// Appends the pieces of another list.
    pub fn append(&mut self, mut other: Self) {
        if other.has_remaining() {
            self.copied_length = other.copied_length;
        }
        self.remaining += other.remaining;
        self.pieces.append(&mut other.pieces);
    }

    /// Frees the memory of sent bytes if only one piece is left.
    ///
    /// Replaces that piece by a copy of its unsent bytes. A later call copies again only if at least half of the last
    /// copy has been sent, so all copies together are at most twice as long as the original piece. While several pieces
    /// are left, does nothing, because they may share memory.
    pub fn shrink(&mut self) {
        if let [piece] = self.pieces.make_contiguous()
            && self.copied_length.is_none_or(|length| 2 * piece.len() <= length)
        {
            *piece = Bytes::copy_from_slice(piece);
            self.copied_length = Some(piece.len());
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }
}

impl From<Bytes> for BufList {
    fn from(piece: Bytes) -> Self {
        let mut list = Self::default();
        if !piece.is_empty() {
            list.remaining = piece.len();
            list.pieces.push_back(piece);
        }
        list
    }
}

impl From<Detail> for BufList {
    fn from(detail: Detail) -> Self {
        // No piece of a detail is empty.
        Self { remaining: detail.len(), pieces: detail.into_pieces().collect(), copied_length: None }
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
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
        }
        slices.len().min(self.pieces.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> BufList {
        let mut list = BufList::from(Bytes::from_static(b"ab"));
        list.append(Bytes::new().into());
        list.append(Bytes::from_static(b"cde").into());
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
    fn last_piece_is_copied_and_again_when_half_sent() {
        let mut list = BufList::from(Bytes::from(vec![7; 100]));
        list.append(Bytes::from(vec![8; 100]).into());
        let last = list.pieces[1].as_ptr();
        list.shrink();
        list.advance(100);
        assert_eq!(list.chunk().as_ptr(), last, "copied although two pieces were left");
        list.shrink();
        let copy = list.chunk().as_ptr();
        list.advance(40);
        list.shrink();
        assert_eq!(list.chunk().as_ptr().addr(), copy.addr() + 40, "copied although more than half was left");
        list.advance(20);
        list.shrink();
        assert_ne!(list.chunk().as_ptr().addr(), copy.addr() + 60);
        assert_eq!((list.chunk(), list.remaining()), (&[8; 40][..], 40));
    }

    #[test]
    fn fewer_slices_than_pieces_are_all_filled() {
        let list = list();
        let mut slices = [IoSlice::new(&[]); 1];
        assert_eq!(list.chunks_vectored(&mut slices), 1);
        assert_eq!(*slices[0], *b"ab");
        assert_eq!((list.remaining(), list.chunk()), (5, &b"ab"[..]));
    }
}
