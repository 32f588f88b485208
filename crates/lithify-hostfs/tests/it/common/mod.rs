//! What several tests need.
#![allow(unreachable_pub, reason = "shared by the tests")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lithify_digest::{Algorithm, Digest};
use lithify_hostfs::{DirSink, DirTarget, MaterialiseError, MaterialiseOptions, MaterialiseReport};
use lithify_testkit::program;
use lithify_tree::{
    ContentId, ContentSink, DataSegment, Entry, EntryKind, InodeKind, LayerEntries, Merge,
    Metadata, Timestamp, Tree, TreePath, Xattrs,
};

/// Directories on different filesystems to run a test in: the temporary one (ext4 as a rule) and a tmpfs.
pub fn filesystems() -> Vec<tempfile::TempDir> {
    let mut found = vec![tempfile::tempdir().unwrap()];
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        found.push(tempfile::tempdir_in(shm).unwrap());
    } else {
        eprintln!("skipped: needs a tmpfs at /dev/shm");
    }
    found
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test is skipped; true if it is.
pub fn skip_unless(has: bool, needs: &str) -> bool {
    if !has {
        eprintln!("skipped: needs {needs}");
    }
    !has
}

pub fn path(text: &str) -> TreePath {
    TreePath::clean(text.as_bytes()).unwrap()
}

pub fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp {
        seconds,
        nanoseconds,
    }
}

/// Mode, owner root, a time that is not the present.
pub fn meta(mode: u16) -> Metadata {
    Metadata {
        mode,
        mtime: time(1_000_000_000, 123_456_789),
        ..Metadata::default()
    }
}

pub fn xattrs(list: &[(&str, &[u8])]) -> Xattrs {
    let mut set = Xattrs::new();
    for (name, value) in list {
        set.set(name.as_bytes(), value).unwrap();
    }
    set
}

/// An entry and its file's data.
pub type Item = (Entry, Vec<u8>);

pub fn item(name: &str, metadata: Metadata, kind: EntryKind) -> Item {
    let path = path(name);
    (
        Entry {
            path,
            metadata,
            kind,
        },
        Vec::new(),
    )
}

pub fn file(name: &str, metadata: Metadata, data: &[u8]) -> Item {
    let kind = EntryKind::File {
        size: data.len() as u64,
        segments: None,
    };
    let mut item = item(name, metadata, kind);
    item.1 = data.to_vec();
    item
}

pub fn dir(name: &str, mode: u16) -> Item {
    item(name, meta(mode), EntryKind::Directory)
}

pub fn symlink(name: &str, target: &str) -> Item {
    let target = target.as_bytes().to_vec();
    item(name, meta(0o777), EntryKind::Symlink { target })
}

pub fn hard_link(name: &str, target: &str) -> Item {
    let target = path(target);
    item(name, meta(0), EntryKind::HardLink { target })
}

/// The data bytes of a file: what is not in a hole.
pub fn data_of<'a>(kind: &EntryKind, whole: &'a [u8]) -> Vec<&'a [u8]> {
    match kind {
        EntryKind::File {
            segments: Some(segments),
            ..
        } => segments
            .iter()
            .map(|s| &whole[s.offset as usize..][..s.length as usize])
            .collect(),
        _ => vec![whole],
    }
}

pub fn store(sink: &mut DirSink, entry: &Entry, whole: &[u8]) -> Option<ContentId> {
    let EntryKind::File { size, segments } = &entry.kind else {
        return None;
    };
    sink.begin(*size, segments.as_deref()).unwrap();
    for data in data_of(&entry.kind, whole) {
        // In uneven pieces, as a decoder would.
        for piece in data.chunks(7001) {
            sink.write(piece).unwrap();
        }
    }
    Some(sink.finish().unwrap())
}

/// A tree of one layer with these entries, its data in the target.
pub fn build(target: &DirTarget, items: &[Item]) -> (Tree, HashMap<ContentId, Vec<u8>>) {
    let mut sink = target.sink();
    let mut layer = LayerEntries::new();
    let mut contents = HashMap::new();
    for (entry, data) in items {
        let content = store(&mut sink, entry, data);
        layer.push(entry, content).unwrap();
        if let Some(content) = content {
            contents.insert(content, data.clone());
        }
    }
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    (merge.finish(), contents)
}

pub fn materialise_with(
    out: &Path,
    items: &[Item],
    options: MaterialiseOptions,
) -> Result<MaterialiseReport, MaterialiseError> {
    let target = DirTarget::create(out, options)?;
    let (tree, _) = build(&target, items);
    target.finish(&tree)
}

pub fn materialise(out: &Path, items: &[Item]) -> MaterialiseReport {
    materialise_with(out, items, MaterialiseOptions::default()).unwrap()
}

/// A tree in the words of a manifest, written independently of the crate's own.
pub fn describe(tree: &Tree, contents: &HashMap<ContentId, Vec<u8>>) -> Vec<String> {
    let mut first_names: HashMap<_, Vec<u8>> = HashMap::new();
    let mut lines = Vec::new();
    for node in tree.walk() {
        let inode = tree.node_inode(node);
        let path = tree.path(node);
        let shown: &[u8] = if path.is_empty() { b"." } else { &path };
        let mode = match inode.kind {
            InodeKind::Symlink { .. } => 0o777,
            _ => inode.mode,
        };
        let mut line = percent(shown);
        let kind = match inode.kind {
            InodeKind::File { .. } => "file",
            InodeKind::Directory => "dir",
            InodeKind::Symlink { .. } => "link",
            InodeKind::CharDevice(_) => "char",
            InodeKind::BlockDevice(_) => "block",
            InodeKind::Fifo => "fifo",
            InodeKind::Socket => "socket",
            _ => unreachable!(),
        };
        let (uid, gid, t) = (inode.uid, inode.gid, inode.mtime);
        write!(line, " type={kind} mode={mode:04o} uid={uid} gid={gid}").unwrap();
        write!(line, " time={}.{:09}", t.seconds, t.nanoseconds).unwrap();
        for (name, value) in tree.xattrs(inode.xattrs).iter() {
            let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
            write!(line, " xattr.{}={hex}", percent(name)).unwrap();
        }
        match inode.kind {
            InodeKind::File { size, content } => {
                let digest = match content {
                    Some(content) => Digest::of(Algorithm::Sha256, &contents[&content]),
                    None => Digest::of(Algorithm::Sha256, b""),
                };
                write!(line, " size={size} sha256={}", digest.hex()).unwrap();
            }
            InodeKind::Symlink { target } => write!(line, " target={}", percent(target)).unwrap(),
            InodeKind::CharDevice(d) | InodeKind::BlockDevice(d) => {
                write!(line, " device={}:{}", d.major, d.minor).unwrap();
            }
            _ => {}
        }
        if inode.nlink > 1 && !inode.kind.is_directory() {
            let first = first_names.entry(tree.inode_id(node)).or_insert(path);
            write!(line, " hardlink={}", percent(first)).unwrap();
        }
        lines.push(line);
    }
    lines
}

fn percent(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&b| match b {
            b'"' | b'\\' | b'%' | b'=' => format!("%{b:02X}"),
            b'!'..=b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// The manifest of a directory as text.
pub fn manifest(dir: &Path) -> Vec<String> {
    lithify_hostfs::snapshot(dir)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Names in a directory, hidden ones too.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A whole file's bytes with data only in the segments.
pub fn sparse(name: &str, size: u64, segments: &[(u64, u64)]) -> Item {
    let mut whole = vec![0; size as usize];
    let segments: Vec<DataSegment> = segments
        .iter()
        .map(|&(offset, length)| DataSegment { offset, length })
        .collect();
    for s in &segments {
        whole[s.offset as usize..][..s.length as usize].fill(b'x');
    }
    let kind = EntryKind::File {
        size,
        segments: Some(segments),
    };
    let mut item = item(name, meta(0o644), kind);
    item.1 = whole;
    item
}

/// Runs one test of this very test binary again as an unprivileged user, with `dir` handed over to that user.
/// False when that is not possible here. The test finds `dir` in `LITHIFY_TEST_DIR`.
pub fn rerun_unprivileged(test: &str, dir: &Path) -> bool {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::process::Command;
    const NOBODY: u32 = 65534;
    let has = Command::new("setpriv").arg("--version").output().is_ok();
    if skip_unless(is_root() && has, "root and setpriv") {
        return false;
    }
    // The binary may lie where the user cannot reach it.
    let program = tempfile::Builder::new()
        .prefix("rootless")
        .tempdir()
        .unwrap();
    std::fs::set_permissions(program.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy: PathBuf = program.path().join("test");
    program::copy_self(&copy);
    chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700)).unwrap();
    let status = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&copy)
        .args(program::arguments(test))
        .env("LITHIFY_TEST_DIR", dir)
        .current_dir("/")
        .status()
        .unwrap();
    assert!(status.success(), "as user {NOBODY}: {status}");
    true
}
