//! Directory blocks: entries one behind the other while they fit one block, else sorted by hash, with a tree over the blocks.

use crate::WriteError;
use crate::format::dirent::{self, FileType, Index, Leaf, entry_len};
use crate::format::hash::{HALF_MD4, half_md4};

/// One entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) inode: u32,
    pub(super) kind: FileType,
    pub(super) name: &'a [u8],
}

/// The entries of a directory, but for `.` and `..`.
pub(super) trait Names {
    /// Returns their number.
    fn count(&self) -> usize;

    /// Returns one of them.
    fn name(&self, index: usize) -> Name<'_>;
}

/// What a directory's blocks depend on besides its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) block_size: usize,
    pub(super) own: u32,
    pub(super) parent: u32,
    /// The sum with which those of its blocks begin.
    pub(super) inode_seed: u32,
    pub(super) hash_seed: [u32; 4],
}

/// Gives the blocks of a directory to `put`, in order. Returns whether they have a tree of hashes; `None` for more names than
/// two levels lead to.
pub(super) fn write(
    frame: &Frame,
    names: &impl Names,
    mut put: impl FnMut(&[u8]) -> Result<(), WriteError>,
) -> Result<Option<bool>, WriteError> {
    let mut left = frame.block_size - dirent::TAIL_LEN - entry_len(1) - entry_len(2);
    let fits = (0..names.count()).all(|index| {
        let length = entry_len(names.name(index).name.len());
        let fits = length <= left;
        left = left.saturating_sub(length);
        fits
    });
    if fits {
        put(&linear(frame, names))?;
        return Ok(Some(false));
    }
    // Eight bytes for each name: a directory may have millions. Names are numbered in 32 bits, as inodes are.
    let mut hashed: Vec<(u32, u32)> = (0..names.count())
        .map(|index| {
            let hash = half_md4(frame.hash_seed, names.name(index).name);
            (hash, index as u32)
        })
        .collect();
    // Where hashes are equal, the order of names decides, in which they are numbered.
    hashed.sort_unstable();
    let leaves = split(frame.block_size, names, &hashed);
    let node_limit = dirent::node_limit(frame.block_size);
    let root_limit = dirent::root_limit(frame.block_size);
    let nodes = match leaves.len() {
        count if count <= root_limit => 0,
        count => count.div_ceil(node_limit),
    };
    if nodes > root_limit {
        return Ok(None);
    }
    let first_leaf = 1 + nodes as u32;
    let index = |(number, leaf): (usize, &(u32, usize))| Index {
        hash: leaf.0,
        block: first_leaf + number as u32,
    };
    let over_leaves: Vec<Index> = leaves.iter().enumerate().map(index).collect();
    let over_nodes: Vec<Index> = over_leaves
        .chunks(node_limit)
        .enumerate()
        .map(|(number, chunk)| Index {
            hash: chunk[0].hash,
            block: 1 + number as u32,
        })
        .collect();
    let top = if nodes == 0 {
        &over_leaves
    } else {
        &over_nodes
    };
    let seed = frame.inode_seed;
    let (own, levels) = ((frame.own, frame.parent), u8::from(nodes > 0));
    put(&dirent::root(
        frame.block_size,
        own,
        HALF_MD4,
        levels,
        top,
        seed,
    ))?;
    if nodes > 0 {
        for chunk in over_leaves.chunks(node_limit) {
            put(&dirent::node(frame.block_size, chunk, seed))?;
        }
    }
    let ends = leaves
        .iter()
        .skip(1)
        .map(|leaf| leaf.1)
        .chain([hashed.len()]);
    let mut block = Leaf::new(frame.block_size);
    for (leaf, end) in leaves.iter().zip(ends) {
        for (_, index) in &hashed[leaf.1..end] {
            let name = names.name(*index as usize);
            block.push(name.inode, name.kind, name.name);
        }
        put(block.finish(seed))?;
        block.clear();
    }
    Ok(Some(true))
}

fn linear(frame: &Frame, names: &impl Names) -> Vec<u8> {
    let mut block = Leaf::new(frame.block_size);
    block.push(frame.own, FileType::Directory, b".");
    block.push(frame.parent, FileType::Directory, b"..");
    for index in 0..names.count() {
        let name = names.name(index);
        block.push(name.inode, name.kind, name.name);
    }
    block.finish(frame.inode_seed).to_vec()
}

/// No entries but `.` and `..`.
struct Nothing;

impl Names for Nothing {
    fn count(&self) -> usize {
        0
    }

    fn name(&self, _: usize) -> Name<'_> {
        Name {
            inode: 0,
            kind: FileType::Regular,
            name: b"",
        }
    }
}

/// Returns the number of blocks of a `lost+found` of the filesystem's own.
pub(super) const fn lost_and_found_blocks(block_size: u32) -> u32 {
    (16 << 10) / block_size
}

/// Returns the blocks of `lost+found`, which has room before anything is lost.
pub(super) fn lost_and_found(frame: &Frame) -> Vec<Vec<u8>> {
    // A block has 32 bits of bytes.
    let blocks = lost_and_found_blocks(frame.block_size as u32);
    let mut all = vec![linear(frame, &Nothing)];
    all.resize_with(blocks as usize, || {
        Leaf::new(frame.block_size)
            .finish(frame.inode_seed)
            .to_vec()
    });
    all
}

/// Splits names sorted by hash into blocks: the hash each begins with, and its first name. A hash that goes on from the block
/// before has its lowest bit set, so that a search looks into both.
fn split(block_size: usize, names: &impl Names, hashed: &[(u32, u32)]) -> Vec<(u32, usize)> {
    let room = block_size - dirent::TAIL_LEN;
    let mut leaves = vec![(0, 0)];
    let mut taken = 0;
    for (number, (hash, index)) in hashed.iter().enumerate() {
        let length = entry_len(names.name(*index as usize).name.len());
        if taken + length > room {
            let goes_on = number > 0 && hashed[number - 1].0 == *hash;
            leaves.push((*hash | u32::from(goes_on), number));
            taken = 0;
        }
        taken += length;
    }
    leaves
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::ffi::OsStr;
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt as _;

    use lithify_testkit::{Mount, require, run};
    use lithify_tree::{Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};

    use super::*;
    use crate::write::plan::Plan;
    use crate::{BlockSize, DataOptions, ImageOptions, Writer};

    const SEED: [u32; 4] = [1, 2, 3, 4];

    /// Pairs of names with equal hashes, of which 15 fit a block of 1 KiB: every second block ends between two.
    fn collisions() -> Vec<Vec<u8>> {
        let mut known: HashMap<u32, u32> = HashMap::new();
        let mut found = Vec::new();
        let name = |number: u32| format!("{number:056}").into_bytes();
        for number in 0..1_000_000 {
            if let Some(other) = known.insert(half_md4(SEED, &name(number)), number) {
                found.extend([name(other), name(number)]);
            }
        }
        found
    }

    struct Given(Vec<Vec<u8>>);

    impl Names for Given {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn name(&self, index: usize) -> Name<'_> {
            Name {
                inode: 12,
                kind: FileType::Regular,
                name: &self.0[index],
            }
        }
    }

    /// A search that comes to the second of two blocks with one hash goes on in the first.
    #[test]
    fn equal_hashes_in_two_blocks_are_found() {
        let mut names = collisions();
        names.sort_unstable();
        assert!(names.len() > 300, "{}", names.len());
        let given = Given(names.clone());
        let mut hashed: Vec<(u32, u32)> = (0..given.count())
            .map(|index| (half_md4(SEED, given.name(index).name), index as u32))
            .collect();
        hashed.sort_unstable();
        let leaves = split(1024, &given, &hashed);
        let gone_on = leaves.iter().filter(|leaf| leaf.0 & 1 == 1).count();
        assert!(gone_on > 8, "{gone_on}");

        let mut layer = LayerEntries::new();
        for name in &names {
            let entry = Entry {
                path: TreePath::clean(&[b"d/", &name[..]].concat()).unwrap(),
                metadata: Metadata::default(),
                kind: EntryKind::Fifo,
            };
            layer.push(&entry, None).unwrap();
        }
        let mut merge = Merge::new();
        merge.apply(layer).unwrap();
        let tree = merge.finish();
        let dir = lithify_testkit::temp_dir();
        let path = dir.path().join("image.ext4");
        let options = DataOptions {
            block_size: BlockSize::Small,
            ..DataOptions::default()
        };
        let file = File::create_new(&path).unwrap();
        let writer = Writer::new(file, options).unwrap();
        let options = ImageOptions::default();
        let mut plan = Plan::new(&tree, &options, 1024).unwrap();
        plan.hash_seed = SEED;
        writer.finish_planned(&tree, &options, &plan).unwrap();
        if !require::tool("e2fsck") || !require::kernel_filesystem("ext4") {
            return;
        }
        run::ok(run::command("e2fsck").arg("-fn").arg(&path));
        let mount = Mount::image("ext4", &path);
        for name in &names {
            let path = mount.path().join("d").join(OsStr::from_bytes(name));
            path.symlink_metadata().unwrap();
        }
    }
}
