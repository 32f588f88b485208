//! The first step of applying a layer: what it removes.
//!
//! A layer's markers speak about the lower layers, all at once: the order of entries in the tar must not matter
//! (image-spec, `layer.md`, "Whiteouts"). So all are looked up before any removes something. Only those on whose way
//! lies a symbolic link wait for the others, because the link may be among what the layer hides:
//!
//! 1. Markers whose directory is reached without a symbolic link.
//! 2. The rest, in what step 1 left. A symbolic link that this layer puts a directory in place of leads nowhere then:
//!    the marker is about that directory, in which nothing of a lower layer is visible. overlayfs marks a directory
//!    that took the place of a symbolic link opaque, and tools that read its upper directories write that marker into
//!    the layer; following the old link would empty the directory it led to.

use std::collections::HashSet;

use super::pass::Pass;
use super::walk::{Place, Walk};
use crate::NodeId;
use crate::inode::Type;
use crate::layer::{Kind, Stored};
use crate::path::split_last;

/// The directory a marker is in, and the name it removes; `None` for all names.
fn parts<'a>(entry: &Stored<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    match entry.kind {
        Kind::Whiteout => split_last(entry.path).map(|(directory, name)| (directory, Some(name))),
        Kind::Opaque => Some((entry.path, None)),
        _ => None,
    }
}

impl Pass<'_, '_> {
    pub(super) fn remove_marked(&mut self) {
        if self.layer.markers() == 0 {
            return;
        }
        if self.remove_round(None) {
            let dead = self.links_to_become_directories();
            self.remove_round(Some(&dead));
        }
    }

    /// Looks all markers up, then removes what they mean. Without `dead`, leaves out those behind a symbolic link and
    /// says whether there are any.
    fn remove_round(&mut self, dead: Option<&HashSet<NodeId>>) -> bool {
        let mut names = Vec::new();
        let mut directories = Vec::new();
        let mut waiting = false;
        // Markers of one directory usually stand together.
        let mut last: Option<(Vec<u8>, Option<NodeId>)> = None;
        let mut entries = self.layer.cursor();
        while let Some(entry) = entries.next() {
            let Some((path, name)) = parts(&entry) else {
                continue;
            };
            let directory = match &last {
                Some((last, directory)) if last == path => *directory,
                _ => {
                    let mut walk = Walk::new(self.tree, self.first_inode);
                    walk.dead = dead;
                    let place = walk.find_directory(path, |_| {});
                    let later = dead.is_none() && walk.links > 0;
                    waiting |= later;
                    let directory = match place {
                        Place::Directory(node) if !later => Some(node),
                        _ => None,
                    };
                    last = Some((path.to_vec(), directory));
                    directory
                }
            };
            match (directory, name) {
                (Some(directory), Some(name)) => names.extend(self.tree.child(directory, name)),
                (Some(directory), None) => directories.push(directory),
                (None, _) => {}
            }
        }
        for node in names {
            let removed = self.tree.detach_into(&mut self.removed, node);
            self.report.removed += u64::from(removed);
        }
        for directory in directories {
            let removed = self.tree.detach_children_into(&mut self.removed, directory);
            self.report.removed += removed;
        }
        waiting
    }

    /// The symbolic links of lower layers that this layer has a directory for, at their own path and not at one that
    /// leads through symbolic links.
    fn links_to_become_directories(&self) -> HashSet<NodeId> {
        let mut links = HashSet::new();
        let mut entries = self.layer.cursor();
        while let Some(entry) = entries.next() {
            let Some((directory, name)) = split_last(entry.path) else {
                continue;
            };
            if entry.kind != Kind::Directory {
                continue;
            }
            let mut walk = Walk::new(self.tree, self.first_inode);
            let Place::Directory(parent) = walk.find_directory(directory, |_| {}) else {
                continue;
            };
            if walk.links > 0 {
                continue;
            }
            let link = self.tree.child(parent, name);
            links.extend(link.filter(|&n| self.tree.kind(n) == Type::Symlink));
        }
        links
    }

    /// Finds out what the markers say about the layer: one that stands in a directory the layer does not describe
    /// needs to know that directory from below.
    pub(super) fn judge_markers(&mut self) {
        if self.layer.markers() == 0 {
            return;
        }
        let mut last: Option<(Vec<u8>, bool)> = None;
        let mut entered = Vec::new();
        let mut entries = self.layer.cursor();
        while let Some(entry) = entries.next() {
            let Some((path, name)) = parts(&entry) else {
                continue;
            };
            self.report.empties_root |= path.is_empty() && name.is_none();
            let stray = match &last {
                Some((last, stray)) if last == path => *stray,
                _ => {
                    let mut walk = Walk::new(self.tree, self.first_inode);
                    let place = walk.find_directory(path, |node| entered.push(node));
                    self.report.followed_symlinks += walk.links as u64 + walk.climbs;
                    for node in entered.drain(..) {
                        self.borrow(node);
                    }
                    let stray = !matches!(place, Place::Directory(_));
                    last = Some((path.to_vec(), stray));
                    stray
                }
            };
            self.report.stray_markers += u64::from(stray);
        }
    }
}
