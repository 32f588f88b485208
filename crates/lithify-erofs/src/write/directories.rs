//! Directories as blocks of entries and names.

use lithify_tree::{NodeId, Tree};

use crate::FileType;
use crate::format::BLOCK_SIZE;
use crate::format::dirent::{DIRENT_LEN, Dirent};

/// The entries of a directory, `.` and `..` among them, sorted bytewise: Linux searches them by bisection, first for
/// the block, then inside it.
pub(crate) fn entries(tree: &Tree, directory: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
    let mut dots = [(&b"."[..], directory), (&b".."[..], tree.parent(directory))]
        .into_iter()
        .peekable();
    let mut children = tree
        .children(directory)
        .map(|c| (tree.name(c), c))
        .peekable();
    std::iter::from_fn(move || match (dots.peek(), children.peek()) {
        (Some((dot, _)), Some((name, _))) if dot > name => children.next(),
        (Some(_), _) => dots.next(),
        (None, _) => children.next(),
    })
}

/// Size of a directory in bytes: every block but the last counts whole.
pub(crate) fn size(tree: &Tree, directory: NodeId) -> u64 {
    let mut blocks = 0;
    let mut used = 0;
    for (name, _) in entries(tree, directory) {
        let length = DIRENT_LEN + name.len();
        if used + length > BLOCK_SIZE {
            blocks += 1;
            used = 0;
        }
        used += length;
    }
    blocks * BLOCK_SIZE as u64 + used as u64
}

/// Hands the directory to `sink` block by block; the last one is as long as it is.
pub(crate) fn encode<E>(
    tree: &Tree,
    directory: NodeId,
    nid: impl Fn(NodeId) -> u64,
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut block = Block::default();
    for (name, node) in entries(tree, directory) {
        if block.used + DIRENT_LEN + name.len() > BLOCK_SIZE {
            sink(block.encode(&nid, tree, true))?;
            block.clear();
        }
        block.used += DIRENT_LEN + name.len();
        block.entries.push((name, node));
    }
    sink(block.encode(&nid, tree, false))
}

/// A block being filled.
#[derive(Default)]
struct Block<'a> {
    entries: Vec<(&'a [u8], NodeId)>,
    used: usize,
    bytes: Vec<u8>,
}

impl Block<'_> {
    fn clear(&mut self) {
        self.entries.clear();
        self.used = 0;
    }

    fn encode(&mut self, nid: impl Fn(NodeId) -> u64, tree: &Tree, whole: bool) -> &[u8] {
        self.bytes.clear();
        self.bytes.resize(self.entries.len() * DIRENT_LEN, 0);
        for (i, &(name, node)) in self.entries.iter().enumerate() {
            // Tree guarantees the type bits; FileType knows all of them.
            let file_type = FileType::from_mode(tree.node_inode(node).kind.type_bits())
                .map_or(0, FileType::code);
            // At most BLOCK_SIZE.
            let name_offset = self.bytes.len() as u16;
            Dirent {
                nid: nid(node),
                name_offset,
                file_type,
            }
            .encode(&mut self.bytes, i * DIRENT_LEN);
            self.bytes.extend_from_slice(name);
        }
        if whole {
            // Zeros end the last name.
            self.bytes.resize(BLOCK_SIZE, 0);
        }
        &self.bytes
    }
}
