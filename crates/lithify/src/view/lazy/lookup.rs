//! Names in a stack of layers, found as overlayfs finds them.

use std::collections::BTreeMap;

use lithify_erofs::{FileType, Inode, ReadAt};
use lithify_tree::{Device, TreePath};

use super::stack::Stack;
use crate::Error;

/// What a name stands for in the merged filesystem.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A directory: those that are merged, by layer, topmost first; never none.
    Directory(Vec<(usize, Inode)>),
    /// Anything else, in a layer.
    Other(usize, Inode),
}

impl Node {
    /// The inode that is shown.
    pub(super) fn shown(&self) -> Option<(usize, &Inode)> {
        match self {
            Self::Directory(merged) => merged.first().map(|(layer, inode)| (*layer, inode)),
            Self::Other(layer, inode) => Some((*layer, inode)),
        }
    }
}

/// What a layer says about a name.
enum Said {
    /// Nothing is there, whatever lower layers have.
    Removed,
    /// A directory; lower ones are merged with it unless it is opaque.
    Directory {
        opaque: bool,
    },
    Other,
}

impl<R: ReadAt> Stack<R> {
    fn said(&self, layer: usize, inode: &Inode) -> Result<Said, Error> {
        let is_whiteout = || inode.device() == Device::default();
        match inode.file_type() {
            FileType::CharDevice if is_whiteout() => Ok(Said::Removed),
            FileType::Directory => {
                // The path is for nobody.
                let found = self.layers[layer].overlay_entry(TreePath::root(), inode)?;
                Ok(Said::Directory {
                    opaque: found.opaque,
                })
            }
            // What it is in detail is read where it is shown.
            _ => Ok(Said::Other),
        }
    }

    /// The merged root directory.
    pub(super) fn root(&self) -> Result<Node, Error> {
        let mut merged = Vec::new();
        for (layer, image) in self.layers.iter().enumerate() {
            let root = image.root()?;
            let said = self.said(layer, &root)?;
            merged.push((layer, root));
            if matches!(said, Said::Directory { opaque: true }) {
                break;
            }
        }
        Ok(Node::Directory(merged))
    }

    /// The node of a name in a merged directory.
    pub(super) fn child(
        &self,
        directory: &[(usize, Inode)],
        name: &[u8],
    ) -> Result<Option<Node>, Error> {
        let mut merged = Vec::new();
        for (layer, inode) in directory {
            let Some(found) = self.layers[*layer].child(inode, name)? else {
                continue;
            };
            match self.said(*layer, &found)? {
                Said::Removed => break,
                // What is below a directory and is none is hidden by it.
                Said::Other if !merged.is_empty() => break,
                Said::Other => return Ok(Some(Node::Other(*layer, found))),
                Said::Directory { opaque } => {
                    merged.push((*layer, found));
                    if opaque {
                        break;
                    }
                }
            }
        }
        Ok((!merged.is_empty()).then_some(Node::Directory(merged)))
    }

    /// All nodes in a merged directory, by name.
    pub(super) fn children(
        &self,
        directory: &[(usize, Inode)],
    ) -> Result<BTreeMap<Vec<u8>, Node>, Error> {
        /// What is known of a name after some layers.
        enum Known {
            /// Lower layers have no say.
            Settled(Option<Node>),
            /// Directories, with which lower ones are merged.
            Open(Vec<(usize, Inode)>),
        }
        let mut names: BTreeMap<Vec<u8>, Known> = BTreeMap::new();
        for (layer, inode) in directory {
            let image = &self.layers[*layer];
            for entry in image.read_dir(inode)? {
                let entry = entry?;
                let known = names
                    .entry(entry.name)
                    .or_insert_with(|| Known::Open(Vec::new()));
                let Known::Open(merged) = known else {
                    continue;
                };
                let found = image.inode(entry.nid)?;
                let said = self.said(*layer, &found)?;
                if let Said::Directory { .. } = said {
                    merged.push((*layer, found));
                }
                let merged_so_far = std::mem::take(merged);
                *known = match said {
                    Said::Directory { opaque: false } => Known::Open(merged_so_far),
                    Said::Other if merged_so_far.is_empty() => {
                        Known::Settled(Some(Node::Other(*layer, found)))
                    }
                    _ if merged_so_far.is_empty() => Known::Settled(None),
                    _ => Known::Settled(Some(Node::Directory(merged_so_far))),
                };
            }
        }
        let nodes = names.into_iter().filter_map(|(name, known)| {
            let node = match known {
                Known::Settled(node) => node,
                Known::Open(merged) => (!merged.is_empty()).then_some(Node::Directory(merged)),
            };
            Some((name, node?))
        });
        Ok(nodes.collect())
    }

    /// The target of a symbolic link; `None` for anything else.
    pub(super) fn target(&self, node: &Node) -> Result<Option<Vec<u8>>, Error> {
        match node {
            Node::Other(layer, inode) if inode.file_type() == FileType::Symlink => {
                Ok(Some(self.layers[*layer].read_link(inode)?))
            }
            _ => Ok(None),
        }
    }
}
