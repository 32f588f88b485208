//! Builds images for tests and compares them with what was asked for: through this crate's reader, through
//! `fsck.erofs`, and through a kernel mount.
#![allow(unreachable_pub, reason = "shared by test programs")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lithify_erofs::{
    DataOptions, FileType, FinishReport, Image, ImageOptions, Inode, ReadAt, Storage, Writer,
};
use lithify_testkit::{Mount, require, run};
use lithify_tree::{
    ContentId, ContentSink, DataSegment, Device, Entry, EntryKind, InodeId, InodeKind,
    LayerEntries, Merge, Metadata, Timestamp, Tree, TreePath, Xattrs,
};

/// Data of a file: its stretches, and zeros between them.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub size: u64,
    pub parts: Vec<(u64, Vec<u8>)>,
}

impl Content {
    pub fn plain(data: &[u8]) -> Self {
        Self {
            size: data.len() as u64,
            parts: vec![(0, data.to_vec())],
        }
    }

    /// The bytes from `offset`, at most `length`.
    pub fn slice(&self, offset: u64, length: usize) -> Vec<u8> {
        let end = self.size.min(offset + length as u64);
        let mut out = vec![0; (end - offset) as usize];
        for (at, data) in &self.parts {
            let (from, to) = ((*at).max(offset), (at + data.len() as u64).min(end));
            if from < to {
                out[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&data[(from - at) as usize..(to - at) as usize]);
            }
        }
        out
    }
}

/// An image being described, layer by layer from the bottom.
pub struct Builder<S> {
    pub writer: Writer<S>,
    layers: Vec<LayerEntries>,
    pub contents: HashMap<ContentId, Content>,
}

/// Bytes that differ between files and offsets.
pub fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8).wrapping_mul(7) ^ seed.wrapping_mul(131)) as u8 | 1)
        .collect()
}

pub fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        mtime: Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        },
        ..Metadata::default()
    }
}

pub fn xattrs(pairs: &[(&str, &[u8])]) -> Xattrs {
    let mut x = Xattrs::new();
    for (name, value) in pairs {
        x.set(name.as_bytes(), value).unwrap();
    }
    x
}

pub fn with_xattrs(pairs: &[(&str, &[u8])]) -> Metadata {
    Metadata {
        xattrs: xattrs(pairs),
        ..metadata(0o644)
    }
}

/// An ACL as `setxattr` takes it: tag, permissions, id.
pub fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

impl<S: Storage> Builder<S> {
    pub fn new(storage: S) -> Self {
        Self::with(storage, DataOptions::default())
    }

    pub fn with(storage: S, options: DataOptions) -> Self {
        Self {
            writer: Writer::new(storage, options),
            layers: vec![LayerEntries::new()],
            contents: HashMap::new(),
        }
    }

    pub fn next_layer(&mut self) {
        self.layers.push(LayerEntries::new());
    }

    pub fn entry(
        &mut self,
        path: impl AsRef<[u8]>,
        metadata: Metadata,
        kind: EntryKind,
        content: Option<ContentId>,
    ) {
        let path = TreePath::clean(path.as_ref()).unwrap();
        self.layers
            .last_mut()
            .unwrap()
            .push(
                &Entry {
                    path,
                    metadata,
                    kind,
                },
                content,
            )
            .unwrap();
    }

    pub fn file(&mut self, path: impl AsRef<[u8]>, metadata: Metadata, data: &[u8]) -> ContentId {
        self.writer.begin(data.len() as u64, None).unwrap();
        self.writer.write(data).unwrap();
        let id = self.writer.finish().unwrap();
        self.contents.insert(id, Content::plain(data));
        let kind = EntryKind::File {
            size: data.len() as u64,
            segments: None,
        };
        self.entry(path, metadata, kind, Some(id));
        id
    }

    pub fn sparse(&mut self, path: impl AsRef<[u8]>, metadata: Metadata, content: Content) {
        let segments: Vec<_> = content
            .parts
            .iter()
            .map(|(offset, d)| DataSegment {
                offset: *offset,
                length: d.len() as u64,
            })
            .collect();
        self.writer.begin(content.size, Some(&segments)).unwrap();
        // In pieces that have nothing to do with the segments.
        let data: Vec<u8> = content.parts.iter().flat_map(|(_, d)| d).copied().collect();
        data.chunks(1000)
            .for_each(|piece| self.writer.write(piece).unwrap());
        let id = self.writer.finish().unwrap();
        let kind = EntryKind::File {
            size: content.size,
            segments: Some(segments),
        };
        self.contents.insert(id, content);
        self.entry(path, metadata, kind, Some(id));
    }

    pub fn directory(&mut self, path: impl AsRef<[u8]>, metadata: Metadata) {
        self.entry(path, metadata, EntryKind::Directory, None);
    }

    pub fn symlink(&mut self, path: impl AsRef<[u8]>, target: &[u8]) {
        self.entry(
            path,
            metadata(0o777),
            EntryKind::Symlink {
                target: target.to_vec(),
            },
            None,
        );
    }

    pub fn link(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) {
        let target = TreePath::clean(target.as_ref()).unwrap();
        self.entry(
            path,
            Metadata::default(),
            EntryKind::HardLink { target },
            None,
        );
    }

    pub fn tree(&mut self) -> Tree {
        let mut merge = Merge::new();
        for layer in std::mem::take(&mut self.layers) {
            merge.apply(layer).unwrap();
        }
        merge.finish()
    }

    pub fn finish(mut self) -> (S, FinishReport, Expected) {
        let tree = self.tree();
        let (storage, report) = self
            .writer
            .finish_image(&tree, &ImageOptions::default())
            .unwrap();
        (
            storage,
            report,
            Expected {
                tree,
                contents: self.contents,
            },
        )
    }
}

/// What an image should be.
pub struct Expected {
    pub tree: Tree,
    pub contents: HashMap<ContentId, Content>,
}

/// An image in a file.
pub struct Built {
    pub directory: tempfile::TempDir,
    pub path: PathBuf,
    pub report: FinishReport,
    pub expected: Expected,
}

/// Builds an image in a temporary file and has everyone check it.
pub fn build(describe: impl FnOnce(&mut Builder<File>)) -> Built {
    build_with(DataOptions::default(), describe)
}

pub fn build_with(options: DataOptions, describe: impl FnOnce(&mut Builder<File>)) -> Built {
    let built = build_unchecked(options, describe);
    built.check();
    built
}

/// Builds an image in a temporary file.
pub fn build_unchecked(options: DataOptions, describe: impl FnOnce(&mut Builder<File>)) -> Built {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.erofs");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let mut builder = Builder::with(file, options);
    describe(&mut builder);
    let (file, report, expected) = builder.finish();
    assert_eq!(file.metadata().unwrap().len(), report.size);
    Built {
        directory,
        path,
        report,
        expected,
    }
}

impl Built {
    pub fn check(&self) {
        fsck(&self.path);
        self.check_without_fsck();
    }

    pub fn check_without_fsck(&self) {
        check_with_reader(File::open(&self.path).unwrap(), &self.expected);
        mount_and_check(&self.path, &self.expected);
    }

    pub fn image(&self) -> Image<File> {
        Image::open(File::open(&self.path).unwrap()).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }
}

/// Has `fsck.erofs` check an image.
pub fn fsck(path: &Path) {
    if require::tool("fsck.erofs") {
        run::ok(run::command("fsck.erofs").arg(path));
    }
}

/// Has the kernel mount an image and compares everything it shows.
pub fn mount_and_check(path: &Path, expected: &Expected) {
    if require::kernel_erofs() {
        check_mounted(Mount::erofs(path).path(), expected);
    }
}

/// Compares what this crate reads with what should be there.
pub fn check_with_reader<R: ReadAt>(source: R, expected: &Expected) {
    check_image(&Image::open(source).unwrap(), expected);
}

/// Compares what this crate reads of an opened image with what should be there.
pub fn check_image<R: ReadAt>(image: &Image<R>, expected: &Expected) {
    let verification = image.verify().unwrap();
    let shown: Vec<String> = verification
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, [""; 0]);
    assert_eq!(verification.inodes, expected.tree.inode_count() as u64);
    assert_eq!(verification.own.shared_data_bytes, 0);

    let tree = &expected.tree;
    let mut nids: HashMap<InodeId, u64> = HashMap::new();
    let mut walked = image.walk();
    for node in tree.walk() {
        let found = walked.next().expect("a name is missing").unwrap();
        let path = tree.path(node);
        assert_eq!(
            found.path.escape_ascii().to_string(),
            path.escape_ascii().to_string()
        );
        let id = tree.inode_id(node);
        assert_eq!(
            *nids.entry(id).or_insert(found.inode.nid()),
            found.inode.nid(),
            "hard link"
        );
        compare_inode(image, &found.inode, expected, id, &path);
    }
    assert!(walked.next().is_none(), "a name too many");
    let distinct: std::collections::HashSet<_> = nids.values().collect();
    assert_eq!(distinct.len(), tree.inode_count());
    // A sample of look-ups by bisection.
    for node in tree.walk().step_by(tree.len().div_ceil(500)) {
        let path = tree.path(node);
        let found = image.lookup(&path).unwrap().expect("look-up");
        assert_eq!(found.nid(), nids[&tree.inode_id(node)]);
    }
}

fn compare_inode<R: ReadAt>(
    image: &Image<R>,
    found: &Inode,
    expected: &Expected,
    id: InodeId,
    path: &[u8],
) {
    let shown = path.escape_ascii();
    let inode = expected.tree.inode(id);
    assert_eq!(found.mode(), inode.mode, "mode of {shown}");
    assert_eq!(
        (found.uid(), found.gid()),
        (inode.uid, inode.gid),
        "owner of {shown}"
    );
    assert_eq!(found.mtime(), inode.mtime, "time of {shown}");
    assert_eq!(found.nlink(), inode.nlink, "links of {shown}");
    assert_eq!(
        &image.xattrs(found).unwrap(),
        expected.tree.xattrs(inode.xattrs),
        "attributes of {shown}"
    );
    match inode.kind {
        InodeKind::File { size, content } => {
            assert_eq!(
                (found.file_type(), found.size()),
                (FileType::File, size),
                "{shown}"
            );
            let Some(content) = content.map(|c| &expected.contents[&c]) else {
                return;
            };
            for_each_window(content, |offset, data| {
                let mut bytes = vec![0; data.len()];
                assert_eq!(image.read(found, offset, &mut bytes).unwrap(), data.len());
                assert!(bytes == data, "content of {shown} at {offset}");
            });
        }
        InodeKind::Directory => assert_eq!(found.file_type(), FileType::Directory),
        InodeKind::Symlink { target } => assert_eq!(image.read_link(found).unwrap(), target),
        InodeKind::CharDevice(d) => assert_eq!(
            (found.file_type(), found.device()),
            (FileType::CharDevice, d)
        ),
        InodeKind::BlockDevice(d) => assert_eq!(
            (found.file_type(), found.device()),
            (FileType::BlockDevice, d)
        ),
        InodeKind::Fifo => assert_eq!(found.file_type(), FileType::Fifo),
        InodeKind::Socket => assert_eq!(found.file_type(), FileType::Socket),
        _ => panic!("a new kind"),
    }
}

/// All of a small file; of a large one what is around its data, and its ends.
fn for_each_window(content: &Content, mut check: impl FnMut(u64, &[u8])) {
    if content.size <= 64 << 20 {
        return check(0, &content.slice(0, content.size as usize));
    }
    let ends = [0, content.size - 10_000];
    let around = content.parts.iter().map(|(at, _)| at.saturating_sub(5000));
    for offset in ends.into_iter().chain(around) {
        check(offset, &content.slice(offset, 1 << 20));
    }
}

/// Compares what the kernel shows with what should be there.
pub fn check_mounted(root: &Path, expected: &Expected) {
    let tree = &expected.tree;
    let mut inos: HashMap<InodeId, u64> = HashMap::new();
    for node in tree.walk() {
        let bytes = tree.path(node);
        // Long paths are longer still below the mount point, but never by name.
        let path = root.join(OsStr::from_bytes(&bytes));
        let shown = bytes.escape_ascii().to_string();
        let m = std::fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let inode = tree.node_inode(node);
        assert_eq!(m.mode() & 0o7777, u32::from(inode.mode), "mode of {shown}");
        assert_eq!(
            (m.uid(), m.gid()),
            (inode.uid, inode.gid),
            "owner of {shown}"
        );
        let time = (m.mtime(), m.mtime_nsec());
        assert_eq!(
            time,
            (inode.mtime.seconds, i64::from(inode.mtime.nanoseconds)),
            "time of {shown}"
        );
        assert_eq!(m.nlink(), u64::from(inode.nlink), "links of {shown}");
        assert_eq!(
            *inos.entry(tree.inode_id(node)).or_insert(m.ino()),
            m.ino(),
            "hard link {shown}"
        );
        check_mounted_xattrs(&path, &m, tree.xattrs(inode.xattrs), &shown);
        let t = m.file_type();
        match inode.kind {
            InodeKind::File { size, content } => {
                assert!(t.is_file() && m.len() == size, "{shown}");
                let Some(content) = content.map(|c| &expected.contents[&c]) else {
                    continue;
                };
                let file = File::open(&path).unwrap();
                for_each_window(content, |offset, data| {
                    let mut bytes = vec![0; data.len()];
                    ReadAt::read_exact_at(&file, &mut bytes, offset).unwrap();
                    assert!(bytes == data, "content of {shown} at {offset}");
                });
            }
            InodeKind::Directory => {
                assert!(t.is_dir());
                let mut names: Vec<Vec<u8>> = std::fs::read_dir(&path)
                    .unwrap()
                    .map(|e| e.unwrap().file_name().as_bytes().to_vec())
                    .collect();
                names.sort();
                let wanted: Vec<&[u8]> = tree.children(node).map(|c| tree.name(c)).collect();
                assert!(names == wanted, "names in {shown}");
            }
            InodeKind::Symlink { target } => {
                assert_eq!(
                    std::fs::read_link(&path).unwrap().as_os_str().as_bytes(),
                    target,
                    "{shown}"
                );
            }
            InodeKind::CharDevice(d) => assert!(t.is_char_device() && device(&m) == d, "{shown}"),
            InodeKind::BlockDevice(d) => assert!(t.is_block_device() && device(&m) == d, "{shown}"),
            InodeKind::Fifo => assert!(t.is_fifo(), "{shown}"),
            InodeKind::Socket => assert!(t.is_socket(), "{shown}"),
            _ => panic!("a new kind"),
        }
    }
    let distinct: std::collections::HashSet<_> = inos.values().collect();
    assert_eq!(distinct.len(), tree.inode_count(), "inode numbers");
}

fn device(m: &std::fs::Metadata) -> Device {
    Device {
        major: rustix::fs::major(m.rdev()),
        minor: rustix::fs::minor(m.rdev()),
    }
}

fn check_mounted_xattrs(path: &Path, m: &std::fs::Metadata, wanted: &Xattrs, shown: &str) {
    let mut list = vec![0_u8; 1 << 17];
    let length = rustix::fs::llistxattr(path, &mut list[..])
        .unwrap_or_else(|e| panic!("listxattr {shown}: {e}"));
    let mut names: Vec<&[u8]> = list[..length]
        .split(|&b| b == 0)
        .filter(|n| !n.is_empty())
        .collect();
    names.sort_unstable();
    // Linux has no handler for Lustre's prefix.
    let visible = || {
        wanted
            .iter()
            .filter(|(name, _)| !name.starts_with(b"lustre."))
    };
    let wanted_names: Vec<&[u8]> = visible().map(|(name, _)| name).collect();
    assert!(names == wanted_names, "attributes of {shown}: {names:?}");
    for (name, value) in visible() {
        // Linux does not let anyone read these, wherever they are stored.
        if name.starts_with(b"user.") && !m.is_file() && !m.is_dir() {
            continue;
        }
        let mut bytes = vec![0_u8; 1 << 17];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut bytes[..]);
        let length =
            length.unwrap_or_else(|e| panic!("getxattr {shown} {}: {e}", name.escape_ascii()));
        assert!(
            &bytes[..length] == value,
            "value of {} of {shown}",
            name.escape_ascii()
        );
    }
}
