//! Hard links: other names of what this layer or a lower one has.

use super::MergeError;
use super::pass::Pass;
use super::walk::{Place, Walk};
use crate::builder::Slot;
use crate::inode::{Payload, Record};
use crate::layer::{Stored, TargetRange};
use crate::path::split_last;
use crate::{InodeId, NodeId, Timestamp, XattrSetId};

/// A hard link whose target did not exist when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingLink {
    /// The entry, and its target as the layer has it: what an error names.
    entry: u32,
    target: TargetRange,
    /// What it waits for: its target, or what its target itself waits for.
    awaited: TargetRange,
    node: NodeId,
    placeholder: InodeId,
    /// Being resolved right now: meeting it again is a cycle.
    visiting: bool,
}

impl Pass<'_, '_> {
    pub(super) fn link(
        &mut self,
        parent: NodeId,
        name: &[u8],
        slot: Slot,
        entry: &Stored<'_>,
    ) -> Result<(), MergeError> {
        if let Some(inode) = self.aufs_file(entry.target) {
            let node = self.place(parent, name, slot, inode, entry.path)?;
            self.tree.note_link(inode, None, node);
            return Ok(());
        }
        let mut awaited = entry.target_range;
        if let Some(target) = self.link_target(entry.target, false) {
            match self.tree.record(target).payload() {
                Payload::PendingLink { index } => awaited = self.pending[index as usize].awaited,
                Payload::Directory => {
                    return Err(MergeError::LinkTargetIsDirectory {
                        path: entry.path.to_vec(),
                        target: entry.target.to_vec(),
                    });
                }
                _ => {
                    let inode = self.share(target);
                    if slot.node != Some(target) {
                        let node = self.place(parent, name, slot, inode, entry.path)?;
                        self.tree.note_link(inode, Some(target), node);
                    }
                    return Ok(());
                }
            }
            if slot.node == Some(target) {
                return Ok(());
            }
        }
        self.report.forward_links += 1;
        let index = u32::try_from(self.pending.len()).map_err(|_| MergeError::Full)?;
        let placeholder = Record::new(
            Payload::PendingLink { index },
            0,
            0,
            0,
            Timestamp::default(),
            XattrSetId::EMPTY,
        );
        let placeholder = self
            .tree
            .add_inode(placeholder)
            .map_err(self.full(entry.path))?;
        let node = self.place(parent, name, slot, placeholder, entry.path)?;
        self.pending.push(PendingLink {
            entry: entry.index,
            target: entry.target_range,
            awaited,
            node,
            placeholder,
            visiting: false,
        });
        Ok(())
    }

    /// The inode of a name, for another name.
    fn share(&mut self, target: NodeId) -> InodeId {
        let inode = self.tree.inode_id(target);
        self.report.links_to_lower += u64::from(inode.index() < self.first_inode);
        inode
    }

    /// The name a hard link's target is; its last component is not followed. With `as_before`, names that this
    /// layer's markers removed come before those that exist.
    fn link_target(&mut self, target: &[u8], as_before: bool) -> Option<NodeId> {
        let Some((directory, name)) = split_last(target) else {
            return Some(NodeId::ROOT);
        };
        let mut walk = Walk::new(self.tree, self.first_inode);
        if as_before {
            walk.removed = Some(&self.removed);
        }
        let Place::Directory(parent) = walk.find_directory(directory, |_| {}) else {
            return None;
        };
        let found = walk.child(parent, name);
        self.report.followed_symlinks += walk.foreign_links + walk.climbs;
        found
    }

    /// Resolves the links that pointed forward, following chains of them.
    pub(super) fn resolve_links(&mut self) -> Result<(), MergeError> {
        let layer = self.layer;
        let mut chain = Vec::new();
        for start in 0..self.pending.len() {
            chain.push(start);
            while let Some(&at) = chain.last() {
                let link = self.pending[at];
                if !self.is_waiting(&link) {
                    chain.pop();
                    continue;
                }
                let awaited = layer.target(link.awaited);
                let found = match self.link_target(awaited, false) {
                    None => self.link_target(awaited, true),
                    found => found,
                };
                let Some(found) = found else {
                    return Err(self.missing(&link));
                };
                match self.tree.record(found).payload() {
                    Payload::PendingLink { index } => {
                        let next = index as usize;
                        self.pending[at].visiting = true;
                        if self.pending[next].visiting {
                            return Err(self.missing(&link));
                        }
                        chain.push(next);
                    }
                    Payload::Directory => {
                        return Err(MergeError::LinkTargetIsDirectory {
                            path: layer.path_of(link.entry),
                            target: layer.target(link.target).to_vec(),
                        });
                    }
                    _ => {
                        let inode = self.share(found);
                        self.tree.set_inode(link.node, inode);
                        self.tree.note_link(inode, Some(found), link.node);
                        self.pending[at].visiting = false;
                        chain.pop();
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a link is still there and unresolved: a later entry may have replaced it, or something above it.
    fn is_waiting(&self, link: &PendingLink) -> bool {
        self.tree.inode_id(link.node) == link.placeholder
            && (!self.replaced_directory || self.tree.is_reachable(link.node))
    }

    fn missing(&self, link: &PendingLink) -> MergeError {
        MergeError::LinkTargetMissing {
            path: self.layer.path_of(link.entry),
            target: self.layer.target(link.target).to_vec(),
        }
    }
}
