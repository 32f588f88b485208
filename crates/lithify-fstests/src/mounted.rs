//! What the kernel shows, compared with what was asked for.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use lithify_storage::ReadAt;
use lithify_testkit::{Mount, require};
use lithify_tree::{ContentId, Device, InodeId, InodeKind, Xattrs};

use crate::check::for_each_window;
use crate::{Expected, Filesystem};

/// Has the kernel mount an image and compares everything it shows.
pub fn mount_and_check<F: Filesystem>(path: &Path, expected: &Expected) {
    if require::kernel_filesystem(F::NAME) {
        check_mounted::<F>(Mount::image(F::NAME, path).path(), expected);
    }
}

/// Compares what the kernel shows with what should be there.
pub fn check_mounted<F: Filesystem>(root: &Path, expected: &Expected) {
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
        let time = F::time(inode.mtime);
        assert_eq!(
            (m.mtime(), m.mtime_nsec()),
            (time.seconds, i64::from(time.nanoseconds)),
            "time of {shown}"
        );
        let links = F::links(inode.nlink, m.is_dir());
        assert_eq!(m.nlink(), u64::from(links), "links of {shown}");
        assert_eq!(
            *inos.entry(tree.inode_id(node)).or_insert(m.ino()),
            m.ino(),
            "hard link {shown}"
        );
        check_mounted_xattrs(&path, &m, &F::shown(tree.xattrs(inode.xattrs)), &shown);
        let t = m.file_type();
        match inode.kind {
            InodeKind::File { size, content } => {
                assert!(t.is_file() && m.len() == size, "{shown}");
                check_content(&path, content, expected, &shown);
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
            InodeKind::Symlink { target } => check_target(&path, target, &shown),
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

/// Compares files, directories and links that another program took out of an image with what should be there.
pub fn check_extracted(root: &Path, expected: &Expected) {
    let tree = &expected.tree;
    for node in tree.walk() {
        let bytes = tree.path(node);
        let path = root.join(OsStr::from_bytes(&bytes));
        let shown = bytes.escape_ascii().to_string();
        match tree.node_inode(node).kind {
            InodeKind::File { size, content } => {
                let m = std::fs::symlink_metadata(&path)
                    .unwrap_or_else(|e| panic!("extracted {shown}: {e}"));
                assert!(m.is_file() && m.len() == size, "extracted {shown}");
                check_content(&path, content, expected, &shown);
            }
            InodeKind::Directory => assert!(path.is_dir(), "extracted {shown}"),
            InodeKind::Symlink { target } => check_target(&path, target, &shown),
            _ => {}
        }
    }
}

fn check_content(path: &Path, content: Option<ContentId>, expected: &Expected, shown: &str) {
    let Some(content) = content.map(|c| &expected.contents[&c]) else {
        return;
    };
    let file = File::open(path).unwrap();
    for_each_window(content, |offset, data| {
        let mut bytes = vec![0; data.len()];
        ReadAt::read_exact_at(&file, &mut bytes, offset).unwrap();
        assert!(bytes == data, "content of {shown} at {offset}");
    });
}

fn check_target(path: &Path, target: &[u8], shown: &str) {
    let found = std::fs::read_link(path).unwrap();
    assert_eq!(found.as_os_str().as_bytes(), target, "{shown}");
}

fn device(m: &std::fs::Metadata) -> Device {
    Device {
        major: rustix::fs::major(m.rdev()),
        minor: rustix::fs::minor(m.rdev()),
    }
}

fn check_mounted_xattrs(path: &Path, m: &std::fs::Metadata, wanted: &Xattrs, shown: &str) {
    let mut list = vec![0_u8; 1 << 17];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        // What some say of a file that has none.
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        result => result.unwrap_or_else(|e| panic!("listxattr {shown}: {e}")),
    };
    let mut names: Vec<&[u8]> = list[..length]
        .split(|&b| b == 0)
        .filter(|n| !n.is_empty())
        .collect();
    names.sort_unstable();
    let wanted_names: Vec<&[u8]> = wanted.iter().map(|(name, _)| name).collect();
    assert!(names == wanted_names, "attributes of {shown}: {names:?}");
    for (name, value) in wanted.iter() {
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
