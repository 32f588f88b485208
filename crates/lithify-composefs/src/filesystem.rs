//! A tree with the contents of its files: what images and dumpfiles say.

use std::collections::HashMap;
use std::ops::Range;

use lithify_cancel::CancelToken;
use lithify_tree::{
    ContentId, Entry, EntryKind, InodeId, LayerEntries, LayerFull, Merge, MergeError, NodeId,
    Timestamp, Tree, TreePath,
};
use lithify_verity::file::FileDigest;

use crate::source::{Content, Source};

/// A tree, the contents of its files, and what images can say that other trees cannot: numbers of links nobody counted, files
/// under any path, digests that are missing.
#[derive(Debug)]
pub struct Filesystem {
    tree: Tree,
    contents: Contents,
    /// Where that is not what the tree counts.
    link_counts: HashMap<InodeId, u32>,
    /// The names of files with several, under which they are numbered.
    homes: HashMap<InodeId, NodeId>,
}

impl Filesystem {
    /// Returns the tree alone.
    #[must_use]
    pub fn into_tree(self) -> Tree {
        self.tree
    }

    /// Joins a tree and the contents its files name.
    #[must_use]
    pub fn new(tree: Tree, contents: Contents) -> Self {
        Self {
            tree,
            contents,
            link_counts: HashMap::new(),
            homes: HashMap::new(),
        }
    }
}

impl Source for Filesystem {
    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn content(&self, id: ContentId) -> Content<'_> {
        self.contents.get(id)
    }

    fn link_count(&self, id: InodeId) -> Option<u32> {
        self.link_counts.get(&id).copied()
    }

    fn home(&self, id: InodeId) -> Option<NodeId> {
        self.homes.get(&id).copied()
    }
}

/// The contents of files, by numbers given out in order.
///
/// One that is an object takes about 60 bytes with SHA-256.
#[derive(Debug, Default)]
pub struct Contents {
    records: Vec<Record>,
    /// Contents, paths and digests.
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Record {
    Inline(Range<usize>),
    Object(DigestAt),
    External {
        path: Option<Range<usize>>,
        digest: Option<DigestAt>,
    },
}

/// A digest and where its bytes are.
#[derive(Clone, Copy, Debug)]
struct DigestAt {
    algorithm: lithify_verity::file::FileAlgorithm,
    at: usize,
}

impl Contents {
    /// Adds a content.
    ///
    /// # Errors
    /// [`LayerFull`] past 2³² − 1.
    pub fn push(&mut self, content: &Content<'_>) -> Result<ContentId, LayerFull> {
        let id = u32::try_from(self.records.len()).ok();
        let id = id.filter(|&id| id != u32::MAX).ok_or(LayerFull)?;
        let record = match content {
            Content::Inline(data) => Record::Inline(self.store(data)),
            Content::Object(digest) => Record::Object(self.store_digest(digest)),
            Content::External { path, digest } => Record::External {
                path: path.as_ref().map(|path| self.store(path)),
                digest: digest.as_ref().map(|digest| self.store_digest(digest)),
            },
        };
        self.records.push(record);
        Ok(ContentId(id))
    }

    /// Returns a content; one that is nowhere for a number that was not given out.
    #[must_use]
    pub fn get(&self, id: ContentId) -> Content<'_> {
        match self.records.get(id.0 as usize) {
            Some(Record::Inline(data)) => Content::Inline(self.bytes[data.clone()].into()),
            Some(Record::Object(digest)) => match self.digest(*digest) {
                Some(digest) => Content::Object(digest),
                None => Content::NOWHERE,
            },
            Some(Record::External { path, digest }) => Content::External {
                path: path.as_ref().map(|path| self.bytes[path.clone()].into()),
                digest: digest.and_then(|digest| self.digest(digest)),
            },
            None => Content::NOWHERE,
        }
    }

    /// Returns the number of contents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn store_digest(&mut self, digest: &FileDigest) -> DigestAt {
        DigestAt {
            algorithm: digest.algorithm(),
            at: self.store(digest.as_bytes()).start,
        }
    }

    /// Returns a digest that was stored.
    fn digest(&self, digest: DigestAt) -> Option<FileDigest> {
        let bytes = &self.bytes[digest.at..][..digest.algorithm.digest_size()];
        FileDigest::from_bytes(digest.algorithm, bytes).ok()
    }
}

/// Collects the entries of an image or a dumpfile.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    layer: LayerEntries,
    contents: Contents,
    /// The paths of files that others are links to, or that say another number of links than one; and that number.
    linked: HashMap<TreePath, u32>,
    /// Links, and the files they are links to.
    links: HashMap<TreePath, TreePath>,
    /// Whether files are numbered under the name that is no link, wherever it is: as in dumpfiles.
    pub(crate) keeps_homes: bool,
}

impl Collector {
    /// Adds an entry. Of a regular file that is not empty there is a content.
    pub(crate) fn push(
        &mut self,
        entry: &Entry,
        link_count: u32,
        content: Option<&Content<'_>>,
    ) -> Result<(), LayerFull> {
        match &entry.kind {
            EntryKind::Directory => {}
            EntryKind::HardLink { target } => {
                let target = self.links.get(target).unwrap_or(target).clone();
                self.linked.entry(target.clone()).or_insert(1);
                self.links.insert(entry.path.clone(), target);
            }
            _ if link_count != 1 => {
                self.linked.insert(entry.path.clone(), link_count);
            }
            _ => {}
        }
        let content = content.map(|content| self.contents.push(content));
        self.layer.push(entry, content.transpose()?)
    }

    pub(crate) fn finish(self, cancel: &CancelToken) -> Result<Filesystem, MergeError> {
        let mut merge = Merge::with_implicit_mtime(Timestamp::default()).until(cancel);
        merge.apply(self.layer)?;
        let mut filesystem = Filesystem::new(merge.finish(), self.contents);
        let tree = &filesystem.tree;
        for (path, count) in &self.linked {
            let Some(node) = tree.lookup(path) else {
                continue;
            };
            let id = tree.inode_id(node);
            if self.keeps_homes {
                filesystem.homes.insert(id, node);
            }
            if tree.inode(id).nlink != *count {
                filesystem.link_counts.insert(id, *count);
            }
        }
        Ok(filesystem)
    }
}
