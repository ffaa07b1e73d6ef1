//! Collects the members of an object. Of equal names, the last value replaces the first.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use super::document::{Member, Value};

/// An object that is being parsed.
pub struct ObjectBuilder<'a> {
    /// The index of its first member among the open members.
    pub begin: usize,
    /// The name of the next member.
    pub name: Cow<'a, str>,
    index: Option<Box<NameIndex>>,
}

impl<'a> ObjectBuilder<'a> {
    /// Up to this number of members, a comparison of all names is faster than the index.
    const MAX_LINEAR_SEARCH: usize = 8;

    /// Begins an object whose members follow the first `begin` open ones.
    pub fn new(begin: usize) -> Self {
        Self { begin, name: Cow::Borrowed(""), index: None }
    }

    /// Adds the member with the name that was read last.
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

/// Finds members by name. It does not own the names, because a copy would double their cost.
#[derive(Default)]
struct NameIndex {
    hasher: RandomState,
    /// Open addressing by hash: the position of a member plus one, or zero. At most half of them are in use.
    slots: Vec<usize>,
}

impl NameIndex {
    /// Returns the position of a member, or `None` if the name is new. The caller then appends that member.
    fn find_or_insert(&mut self, name: &str, members: &[Member<'_>]) -> Option<usize> {
        if self.slots.len() < 2 * (members.len() + 1) {
            self.slots = vec![0; (4 * (members.len() + 1)).next_power_of_two()];
            for (place, (other, _)) in members.iter().enumerate() {
                self.find_or_insert_slot(other, place, &members[..place]);
            }
        }
        self.find_or_insert_slot(name, members.len(), members)
    }

    #[allow(clippy::cast_possible_truncation)] // the low bits are enough
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
