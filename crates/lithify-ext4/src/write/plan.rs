//! What is decided before anything but data is written: numbers of inodes, attributes, identifiers and times.

use lithify_digest::{Algorithm, Hasher};
use lithify_tree::{InodeId, InodeKind, NodeId, Timestamp, Tree};

use super::attributes::{Place, Values, place};
use super::options::ImageOptions;
use crate::WriteError;
use crate::format::inode::clamp;
use crate::format::superblock::Superblock;
use crate::format::{FIRST_INODE, ROOT_INODE};

/// The directory `e2fsck` puts into what it found without a name.
pub(super) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// The most names of one file.
const LINKS_MAX: u32 = 65_000;

/// What is decided before anything but data is written.
#[derive(Debug)]
pub(super) struct Plan {
    /// The first name of each inode.
    pub(super) first_names: Vec<NodeId>,
    /// The image's own `lost+found`, if it has one.
    pub(super) lost_and_found: Option<InodeId>,
    /// For each set of attributes.
    pub(super) places: Vec<Place>,
    /// How many inodes have each set.
    pub(super) uses: Vec<u32>,
    /// Values that have inodes of their own.
    pub(super) values: Values,
    pub(super) uuid: [u8; 16],
    pub(super) hash_seed: [u32; 4],
    /// The sum all checksums begin with.
    pub(super) seed: u32,
    pub(super) time: Timestamp,
    pub(super) clamped_times: u64,
}

impl Plan {
    pub(super) fn new(
        tree: &Tree,
        options: &ImageOptions,
        block_size: u32,
    ) -> Result<Self, WriteError> {
        options.check_label()?;
        let inodes = u64::from(FIRST_INODE) + tree.inode_count() as u64;
        if inodes >= u64::from(u32::MAX) {
            return Err(WriteError::TooManyInodes { found: inodes });
        }
        let (first_names, median, clamped_times) = look_over(tree)?;
        let path = |id: InodeId| tree.path(first_names[id.index()]);
        let mut places = vec![None; tree.xattr_set_count()];
        let mut uses = vec![0; tree.xattr_set_count()];
        for id in tree.inode_ids() {
            let set = tree.inode(id).xattrs;
            uses[set.index()] += 1;
            if places[set.index()].is_none() {
                places[set.index()] = Some(place(tree.xattrs(set), block_size, || path(id))?);
            }
        }
        let places: Vec<Place> = places
            .into_iter()
            .map(|place| place.unwrap_or(Place::Nowhere))
            .collect();
        let (uuid, hash_seed) = identify(tree, options);
        let lost = tree.child(NodeId::ROOT, LOST_AND_FOUND);
        if lost.is_some_and(|node| !matches!(tree.node_inode(node).kind, InodeKind::Directory)) {
            return Err(WriteError::LostAndFound);
        }
        let seed = Superblock::seed(uuid);
        let behind = inodes - u64::from(lost.is_some());
        let values = Values::collect(tree, &places, &uses, behind, seed);
        let found = behind + values.all.len() as u64;
        if found >= u64::from(u32::MAX) {
            return Err(WriteError::TooManyInodes { found });
        }
        Ok(Self {
            lost_and_found: lost.map(|node| tree.inode_id(node)),
            places,
            uses,
            values,
            first_names,
            uuid,
            hash_seed,
            seed,
            time: clamp(options.time.unwrap_or(median)).0,
            clamped_times,
        })
    }

    /// Returns the number of an inode: the root and `lost+found` have their own, the others come behind them.
    pub(super) fn number(&self, id: InodeId) -> u32 {
        let index = id.index() as u32;
        match self.lost_and_found {
            _ if index == 0 => ROOT_INODE,
            Some(lost) if lost == id => FIRST_INODE,
            Some(lost) if lost < id => FIRST_INODE + index - 1,
            _ => FIRST_INODE + index,
        }
    }

    /// Returns the highest number of an inode that is used.
    pub(super) fn last_inode(&self) -> u32 {
        let others = self.first_names.len() as u32 - 1;
        FIRST_INODE + others - u32::from(self.lost_and_found.is_some())
            + self.values.all.len() as u32
    }
}

/// Finds the first names of inodes and the median of times, and refuses what no inode can say.
fn look_over(tree: &Tree) -> Result<(Vec<NodeId>, Timestamp, u64), WriteError> {
    // The root is only the first name of inode 0.
    let mut first_names = vec![NodeId::ROOT; tree.inode_count()];
    let mut times = Vec::with_capacity(tree.inode_count());
    let mut clamped = 0;
    for node in tree.walk() {
        let id = tree.inode_id(node);
        if first_names[id.index()] != NodeId::ROOT {
            continue;
        }
        first_names[id.index()] = node;
        let inode = tree.inode(id);
        let (time, is_clamped) = clamp(inode.mtime);
        clamped += u64::from(is_clamped);
        times.push(time.seconds);
        if !matches!(inode.kind, InodeKind::Directory) && inode.nlink > LINKS_MAX {
            return Err(WriteError::Links {
                path: tree.path(node),
                found: inode.nlink,
            });
        }
        if let InodeKind::CharDevice(device) | InodeKind::BlockDevice(device) = inode.kind
            && (device.major > 0xfff || device.minor > 0xf_ffff)
        {
            return Err(WriteError::Device {
                path: tree.path(node),
                major: device.major,
                minor: device.minor,
            });
        }
    }
    let half = times.len() / 2;
    let seconds = match half < times.len() {
        true => *times.select_nth_unstable(half).1,
        false => 0,
    };
    let median = Timestamp {
        seconds,
        nanoseconds: 0,
    };
    Ok((first_names, median, clamped))
}

/// Derives identifiers from what is in the filesystem.
fn identify(tree: &Tree, options: &ImageOptions) -> ([u8; 16], [u32; 4]) {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut put = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    put(b"ext4");
    put(&options.uuid_seed);
    put(&options.label);
    for node in tree.walk() {
        let inode = tree.node_inode(node);
        put(tree.name(node));
        let size = match inode.kind {
            InodeKind::File { size, .. } => size,
            _ => 0,
        };
        let mut facts = [0; 2 + 4 + 4 + 8 + 8];
        facts[..2].copy_from_slice(&inode.mode.to_le_bytes());
        facts[2..6].copy_from_slice(&inode.uid.to_le_bytes());
        facts[6..10].copy_from_slice(&inode.gid.to_le_bytes());
        facts[10..18].copy_from_slice(&inode.mtime.seconds.to_le_bytes());
        facts[18..].copy_from_slice(&size.to_le_bytes());
        put(&facts);
    }
    let digest = hasher.finish();
    let bytes = digest.as_bytes();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&bytes[..16]);
    // Version 8: of one's own making (RFC 9562).
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let mut seed = [0; 4];
    for (word, four) in seed.iter_mut().zip(bytes[16..32].chunks_exact(4)) {
        *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    }
    (uuid, seed)
}
