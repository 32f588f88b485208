//! Reading no more than the images hold.
//!
//! Directories that are reached twice, or share their blocks, and records that overlap, let a few kilobytes stand for any
//! number of names. `build` refuses such an image, having looked at all of it. Here the same is refused as far as it is
//! met: what was looked at of each image never adds up to more than the image.

use std::collections::HashSet;

use lithify_erofs::{Inode, ProblemKind, ReadAt, ReadError};
use lithify_tree::Escaped;

use super::lookup::Node;
use super::stack::{LayerName, Stack};
use crate::Error;
use crate::error::LayerError;
use crate::error::NativeLayerError;

/// What has been met of a stack's images.
pub(super) struct Guard<'a, R> {
    stack: &'a Stack<R>,
    /// Inodes, by layer.
    met: HashSet<(usize, u64)>,
    left: Vec<Left>,
}

/// What is left of an image, in bytes.
struct Left {
    /// For inodes and what stands behind them.
    records: u64,
    /// For names in directories.
    directories: u64,
}

impl<'a, R: ReadAt> Guard<'a, R> {
    pub(super) fn new(stack: &'a Stack<R>) -> Self {
        let left = stack.layers.iter().map(|image| Left {
            records: image.size(),
            directories: image.size(),
        });
        Self {
            stack,
            met: HashSet::new(),
            left: left.collect(),
        }
    }

    /// Notes what a path leads to, which has not been met by this path before.
    pub(super) fn enter(&mut self, path: &[u8], node: &Node) -> Result<(), Error> {
        match node {
            Node::Directory(merged) => merged.iter().try_for_each(|(layer, inode)| {
                let nid = inode.nid();
                if !self.met.insert((*layer, nid)) {
                    return Err(self.damaged(*layer, path, &ProblemKind::SecondName { nid }));
                }
                let left = &mut self.left[*layer].directories;
                match left.checked_sub(inode.size()) {
                    Some(rest) => *left = rest,
                    None => return Err(self.overlap(*layer)),
                }
                self.record(*layer, inode)
            }),
            Node::Other(layer, inode) => {
                let (nid, stated) = (inode.nid(), inode.nlink());
                match self.met.insert((*layer, nid)) {
                    true => self.record(*layer, inode),
                    // Another name, which is a hard link.
                    false if stated > 1 => Ok(()),
                    false => {
                        let found = 2;
                        let kind = ProblemKind::LinkCount { nid, stated, found };
                        Err(self.damaged(*layer, path, &kind))
                    }
                }
            }
        }
    }

    fn record(&mut self, layer: usize, inode: &Inode) -> Result<(), Error> {
        let length = self.stack.layers[layer].record_len(inode)?;
        let left = &mut self.left[layer].records;
        match left.checked_sub(length) {
            Some(rest) => *left = rest,
            None => return Err(self.overlap(layer)),
        }
        Ok(())
    }

    fn overlap(&self, layer: usize) -> Error {
        self.failed(layer, ReadError::MetadataOverlaps.into())
    }

    fn damaged(&self, layer: usize, path: &[u8], kind: &ProblemKind) -> Error {
        let first = format!("/{}: {kind}", Escaped(path));
        self.failed(layer, NativeLayerError::Damaged { first, more: 0 })
    }

    fn failed(&self, layer: usize, source: NativeLayerError) -> Error {
        let LayerName { index, name } = self.stack.names[layer].clone();
        Error::from(LayerError::NativeLayer {
            index,
            name,
            source: Box::new(source),
        })
    }
}
