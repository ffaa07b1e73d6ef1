use super::counter;
use crate::control::Outcome;

/// A count for each [`Outcome`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes([u64; Outcome::ALL.len()]);

impl Outcomes {
    /// Asks `count` for each outcome.
    pub fn new(count: impl Fn(Outcome) -> u64) -> Self {
        Self(Outcome::ALL.map(count))
    }

    /// The count of one outcome.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }

    pub fn total(&self) -> u64 {
        counter::sum(self.0)
    }
}

impl std::ops::AddAssign for Outcomes {
    fn add_assign(&mut self, other: Self) {
        for (mine, its) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(its);
        }
    }
}
