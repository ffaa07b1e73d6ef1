//! The members of an object: of equal names, the last value wins at the place of the first.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use super::json::{Member, Value};

/// An object that is being read.
pub struct ObjectBuilder<'a> {
    /// From which of the open members on.
    pub begin: usize,
    /// Of the member that is read next.
    pub name: Cow<'a, str>,
    index: Option<Box<NameIndex>>,
}

impl<'a> ObjectBuilder<'a> {
    /// Up to so many names are compared one by one.
    const MAX_LINEAR_SEARCH: usize = 8;

    /// One whose members follow the first `begin` open ones.
    pub fn new(begin: usize) -> Self {
        Self { begin, name: Cow::Borrowed(""), index: None }
    }

    /// Adds the member whose name was read last; of equal names, the last value wins at the place of the first.
    pub fn add(&mut self, value: Value<'a>, open_members: &mut Vec<Member<'a>>) {
        let name = std::mem::take(&mut self.name);
        let members = &open_members[self.begin..];
        let known = if members.len() <= Self::MAX_LINEAR_SEARCH {
            members.iter().position(|(other, _)| *other == name)
        } else {
            self.index.get_or_insert_default().find_or_insert(&name, members)
        };
        match known {
            Some(place) => open_members[self.begin + place].1 = value,
            None => open_members.push((name, value)),
        }
    }
}

/// Finds members by name. The names stay where they are: to own them here too would double their cost.
#[derive(Default)]
struct NameIndex {
    hasher: RandomState,
    /// By hash, from there on: the place of a member plus one, or zero. At most half of them are taken.
    slots: Vec<usize>,
}

impl NameIndex {
    /// The place of a name among the members; one that is new is to be added behind them.
    fn find_or_insert(&mut self, name: &str, members: &[Member<'_>]) -> Option<usize> {
        if self.slots.len() < 2 * (members.len() + 1) {
            self.slots = vec![0; (4 * (members.len() + 1)).next_power_of_two()];
            for (place, (other, _)) in members.iter().enumerate() {
                self.find_or_insert_slot(other, place, &members[..place]);
            }
        }
        self.find_or_insert_slot(name, members.len(), members)
    }

    #[allow(clippy::cast_possible_truncation)] // the low bits are as good as the others
    fn find_or_insert_slot(&mut self, name: &str, next: usize, members: &[Member<'_>]) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = self.hasher.hash_one(name) as usize & mask;
        loop {
            match self.slots[at] {
                0 => {
                    self.slots[at] = next + 1;
                    return None;
                }
                taken if members[taken - 1].0 == name => return Some(taken - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }
}
