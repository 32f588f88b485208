//! Interned sets of extended attributes: most inodes have none, most others share one of a few sets.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{XattrSetId, Xattrs};

/// Bytes a set takes besides its names and values, about: those of its lists and of its place here.
const SET_LEN: usize = 192;

/// The distinct attribute sets of a tree.
#[derive(Clone, Debug)]
pub(crate) struct XattrTable {
    sets: Vec<Arc<Xattrs>>,
    ids: HashMap<Arc<Xattrs>, XattrSetId>,
    /// Bytes of names and values.
    bytes: usize,
}

impl XattrTable {
    pub(crate) fn new() -> Self {
        Self {
            sets: vec![Arc::new(Xattrs::new())],
            ids: HashMap::new(),
            bytes: 0,
        }
    }

    pub(crate) fn intern(&mut self, set: &Xattrs) -> XattrSetId {
        if set.is_empty() {
            return XattrSetId::EMPTY;
        }
        if let Some(&id) = self.ids.get(set) {
            return id;
        }
        self.add(Arc::new(set.clone()))
    }

    /// Like [`intern`](Self::intern), without copying a new set.
    pub(crate) fn intern_shared(&mut self, set: &Arc<Xattrs>) -> XattrSetId {
        if set.is_empty() {
            return XattrSetId::EMPTY;
        }
        if let Some(&id) = self.ids.get(set) {
            return id;
        }
        self.add(Arc::clone(set))
    }

    fn add(&mut self, set: Arc<Xattrs>) -> XattrSetId {
        // One id per set, and every set takes more than 32 bytes of memory: 2³² of them cannot exist.
        let id = XattrSetId(self.sets.len() as u32);
        self.bytes += set.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        self.sets.push(Arc::clone(&set));
        self.ids.insert(set, id);
        id
    }

    /// The table with the sets replaced that `map` has something else for, and the new id of each; `None` if nothing changes.
    pub(crate) fn mapped<E>(
        &self,
        mut map: impl FnMut(XattrSetId, &Xattrs) -> Result<Option<Xattrs>, E>,
    ) -> Result<Option<(Self, Vec<XattrSetId>)>, E> {
        let mut changed = false;
        let mut places = Vec::with_capacity(self.sets.len());
        let mut mapped = Self::new();
        for (number, set) in self.sets.iter().enumerate() {
            places.push(match map(XattrSetId(number as u32), set)? {
                None => mapped.intern_shared(set),
                Some(other) => {
                    changed = true;
                    mapped.intern(&other)
                }
            });
        }
        Ok(changed.then_some((mapped, places)))
    }

    pub(crate) fn get(&self, id: XattrSetId) -> &Xattrs {
        &self.sets[id.index()]
    }

    pub(crate) fn shared(&self, id: XattrSetId) -> &Arc<Xattrs> {
        &self.sets[id.index()]
    }

    /// Bytes of memory the sets take, about.
    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.sets.len() * SET_LEN
    }

    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }
}
