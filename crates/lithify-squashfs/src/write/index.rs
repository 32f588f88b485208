//! Contents by size and print, to find equal ones.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::contents::Contents;

/// Numbers of contents; of several with the same size and print, the first.
#[derive(Debug, Default)]
pub(crate) struct Index {
    table: HashTable<u32>,
    /// Sizes are hostile. What is found does not depend on it.
    hasher: RandomState,
}

impl Index {
    fn hash(&self, size: u64, print: u32) -> u64 {
        self.hasher.hash_one((size, print))
    }

    pub(crate) fn find(&self, contents: &Contents, size: u64, print: u32) -> Option<u32> {
        let is = |&id: &u32| {
            let c = contents.at(id as usize);
            (c.size, c.print) == (size, print)
        };
        self.table.find(self.hash(size, print), is).copied()
    }

    /// Adds a content unless there is one with the same size and print.
    pub(crate) fn insert(&mut self, contents: &Contents, id: u32) {
        let c = contents.at(id as usize);
        if self.find(contents, c.size, c.print).is_some() {
            return;
        }
        let hash = self.hash(c.size, c.print);
        let Self { table, hasher } = self;
        table.insert_unique(hash, id, |&id| {
            let c = contents.at(id as usize);
            hasher.hash_one((c.size, c.print))
        });
    }
}
