use std::collections::VecDeque;

/// The last samples of a value, for a sparkline.
#[derive(Debug, Default)]
pub struct History(VecDeque<Option<u64>>);

impl History {
    /// More than the columns of a terminal.
    const MOST: usize = 1000;

    /// Adds a sample; `None` for a time without a measurement.
    pub fn push(&mut self, sample: Option<u64>) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// Returns up to `count` samples, the newest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = Option<u64>> {
        self.0.iter().rev().take(count).copied()
    }

    /// Returns the highest of the newest `count` samples.
    pub fn highest(&self, count: usize) -> u64 {
        self.newest(count).flatten().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_length_is_bounded() {
        let mut history = History::default();
        for sample in 0..5000 {
            history.push(Some(sample));
        }
        history.push(None);
        assert_eq!(history.newest(usize::MAX).count(), History::MOST);
        assert_eq!(history.newest(3).collect::<Vec<_>>(), [None, Some(4999), Some(4998)]);
        assert_eq!((history.highest(3), history.highest(1)), (4999, 0));
    }
}
