//! Of members with equal names, the last one takes the place of the first.
//!
//! Their objects may be in each other, so the bytes of the document are moved once, when it ends.

use std::{
    mem::take,
    ops::{Bound, Range},
};

use super::{super::json_document::Field, Container, MergedObject, Parser};

impl Parser<'_> {
    /// Finds the members that later ones replace in the object that ends.
    pub(super) fn merge_equal_names(&mut self, object: Container) {
        let members = &self.members[object.first_member..];
        if members.len() < 2 {
            return;
        }
        let name = |at: usize| &self.echo[members[at].name.clone()];
        let mut by_name: Vec<_> = (0..members.len()).collect();
        // Equal names keep their order.
        by_name.sort_by_key(|at| (name(*at).len(), name(*at)));
        if by_name.is_sorted_by(|one, next| name(*one) != name(*next)) {
            return;
        }
        let equal = by_name.chunk_by(|one, next| name(*one) == name(*next));
        let mut kept: Vec<_> = equal.filter_map(|equal| Some((*equal.first()?, *equal.last()?))).collect();
        kept.sort_unstable();
        let part = |(first, last): (usize, usize)| {
            let begin = members[last].name.start;
            // Only the first member has no comma before it.
            (if first == 0 { begin } else { begin - 1 })..members[last].value_at.end
        };
        let kept = kept.into_iter().map(part).collect();
        self.merged.insert(object.begin, MergedObject { end: self.echo.len(), kept });
    }

    /// Takes the echo, and corrects the places of these fields in it.
    pub(super) fn echo_without_replaced(&mut self, fields: &mut [Option<Field<'_>>]) -> Vec<u8> {
        let old = take(&mut self.echo);
        if self.merged.is_empty() {
            return old;
        }
        let mut kept = Vec::new();
        self.push_kept(0..old.len(), &mut kept);
        let mut new = Vec::with_capacity(old.len());
        let mut fields: Vec<_> =
            fields.iter_mut().flatten().map(|field| (field.place.clone(), field)).collect();
        for part in kept {
            for (place, field) in &mut fields {
                if part.contains(&place.start) {
                    field.place.start = new.len() + place.start - part.start;
                }
                if part.contains(&(place.end - 1)) {
                    field.place.end = new.len() + place.end - part.start;
                }
            }
            new.extend_from_slice(&old[part]);
        }
        new
    }

    /// Lists what stays of a part of the echo.
    fn push_kept(&self, part: Range<usize>, list: &mut Vec<Range<usize>>) {
        let mut at = part.start;
        // If the part is the first member of an object, the contents of that object begin at the same place.
        let next = |at| self.merged.range((Bound::Excluded(at), Bound::Unbounded)).next();
        while let Some((begin, object)) = next(at).filter(|(begin, _)| **begin < part.end) {
            list.push(at..*begin);
            for member in &object.kept {
                self.push_kept(member.clone(), list);
            }
            at = object.end;
        }
        list.push(at..part.end);
    }
}
