//! Which zones or rules of a name a VPC is bound to, in an import of many.

use crate::account::row::Binding;
use std::collections::HashMap;
use std::hash::Hash;

/// Of each name and VPC, two of the rows that are bound so: one of them is another than any row in question.
pub(super) struct BoundNames<'r, N, R>(HashMap<(N, &'r str), Vec<&'r R>>);

impl<'r, N: Hash + Eq + Clone, R> BoundNames<'r, N, R> {
    /// Of rows, each with its name and its bindings.
    pub fn of(rows: impl Iterator<Item = (&'r R, N, &'r [Binding])>) -> Self {
        let mut bound: HashMap<_, Vec<&R>> = HashMap::new();
        for (row, name, bindings) in rows {
            for binding in bindings {
                let known = bound.entry((name.clone(), binding.vpc.as_str())).or_default();
                if known.len() < 2 {
                    known.push(row);
                }
            }
        }
        Self(bound)
    }

    /// The rows of a name, and perhaps the row in question, that have one of its bindings.
    pub fn beside<'b>(&'b self, name: &N, bindings: &'b [Binding]) -> impl Iterator<Item = &'r R> + 'b
    where
        'r: 'b,
        N: 'b,
    {
        let name = name.clone();
        let found = bindings.iter().filter_map(move |binding| self.0.get(&(name.clone(), &binding.vpc)));
        found.flatten().copied()
    }
}
