//! Finding a directory inside the root, symbolic links followed.

use std::collections::HashSet;

use crate::builder::{Builder, Removed};
use crate::inode::Type;
use crate::{NodeId, PATH_MAX, SYMLINK_MAX};

/// Where a walk ends.
#[derive(Debug)]
pub(super) enum Place {
    /// At a directory.
    Directory(NodeId),
    /// Below a directory, at names that do not exist there.
    Missing {
        /// The deepest directory that exists.
        above: NodeId,
        /// The missing names, joined by slashes.
        names: Vec<u8>,
    },
    /// At or below something that is not a directory.
    Blocked {
        /// Its name.
        component: Vec<u8>,
        /// What it is.
        kind: Type,
    },
    /// Nowhere: too many symbolic links, or too long ones.
    Loop,
}

/// How a walk looks at the tree, and what it notices on its way.
#[derive(Debug)]
pub(super) struct Walk<'t> {
    pub(super) tree: &'t Builder,
    /// Names this layer removed, looked at before those that exist.
    pub(super) removed: Option<&'t Removed>,
    /// Symbolic links that lead nowhere.
    pub(super) dead: Option<&'t HashSet<NodeId>>,
    /// Inodes from this one on belong to the layer being applied.
    pub(super) first_inode: usize,
    /// Symbolic links followed.
    pub(super) links: usize,
    /// Those of lower layers.
    pub(super) foreign_links: u64,
    /// Times a `..` climbed out of something that does not exist. A name added later can change where that leads.
    pub(super) climbs: u64,
}

impl<'t> Walk<'t> {
    pub(super) fn new(tree: &'t Builder, first_inode: usize) -> Self {
        Self {
            tree,
            removed: None,
            dead: None,
            first_inode,
            links: 0,
            foreign_links: 0,
            climbs: 0,
        }
    }

    /// The name in a directory.
    pub(super) fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.removed
            .and_then(|removed| self.tree.removed_child(removed, directory, name))
            .or_else(|| self.tree.child(directory, name))
    }

    /// Follows a path to the directory it names, telling `enter` every directory that it goes down into.
    ///
    /// What a missing name or a non-directory is followed by is taken by its letters, so `missing/../etc` is `etc`:
    /// no target of a symbolic link can make a directory that the entry is not in. (The kernel would find nothing
    /// there; umoci and containerd resolve it like this.)
    pub(super) fn find_directory(&mut self, path: &[u8], mut enter: impl FnMut(NodeId)) -> Place {
        let tree = self.tree;
        let mut at = NodeId::ROOT;
        let mut missing: Vec<u8> = Vec::new();
        let mut blocked = None;
        let mut expanded = 0;
        let mut rest = path;
        // What is left of the paths that symbolic links interrupted, the innermost last.
        let mut outer: Vec<&[u8]> = Vec::new();
        loop {
            let Some((name, tail)) = next_component(rest) else {
                match outer.pop() {
                    Some(path) => rest = path,
                    None => break,
                }
                continue;
            };
            rest = tail;
            match name {
                b"." => continue,
                b".." if missing.is_empty() => {
                    at = tree.parent(at);
                    continue;
                }
                b".." => {
                    let slash = missing.iter().rposition(|&b| b == b'/').unwrap_or(0);
                    missing.truncate(slash);
                    self.climbs += 1;
                    if missing.is_empty() {
                        blocked = None;
                    }
                    continue;
                }
                _ => {}
            }
            if !missing.is_empty() {
                missing.push(b'/');
                missing.extend_from_slice(name);
                continue;
            }
            let child = self.child(at, name);
            match child.map(|c| (c, tree.kind(c))) {
                Some((child, Type::Directory)) => {
                    at = child;
                    enter(at);
                }
                Some((child, Type::Symlink)) if !self.is_dead(child) => {
                    let target = tree.target(child);
                    self.links += 1;
                    self.foreign_links +=
                        u64::from(tree.inode_id(child).index() < self.first_inode);
                    expanded += target.len();
                    if self.links > SYMLINK_MAX || expanded > PATH_MAX {
                        return Place::Loop;
                    }
                    if target.starts_with(b"/") {
                        at = NodeId::ROOT;
                    }
                    outer.push(std::mem::replace(&mut rest, target));
                }
                Some((_, Type::Symlink)) | None => missing.extend_from_slice(name),
                Some((_, kind)) => {
                    missing.extend_from_slice(name);
                    blocked = Some((name, kind));
                }
            }
        }
        match blocked {
            Some((component, kind)) => Place::Blocked {
                component: component.to_vec(),
                kind,
            },
            None if missing.is_empty() => Place::Directory(at),
            None => Place::Missing {
                above: at,
                names: missing,
            },
        }
    }

    fn is_dead(&self, link: NodeId) -> bool {
        self.dead.is_some_and(|dead| dead.contains(&link))
    }
}

/// The first component of a path and what follows it; `None` when there is none.
fn next_component(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|&b| b != b'/')?;
    let path = &path[start..];
    let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    Some(path.split_at(end))
}
