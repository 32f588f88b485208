//! A file tree as data.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use crate::escape;

/// Everything a tree says about itself, by path.
///
/// Paths are relative bytes without leading or trailing `/`; the root directory is the empty path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The tree's names.
    pub nodes: BTreeMap<Vec<u8>, Node>,
}

/// What one name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Type, and what belongs to the type.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (`mode & 0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970 (may be negative) and nanoseconds.
    pub mtime: (i64, u32),
    /// The number of links, of anything but a directory (1 there: file systems disagree on what to count).
    pub links: u64,
    /// For a name that shares its inode with other names of the tree, the first of them in byte order.
    pub same_as: Option<Vec<u8>>,
    /// Extended attributes, all namespaces the caller may see.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The type of a [`Node`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Bytes, holes included.
        size: u64,
        /// SHA-256 of the data, as `sha256sum` prints it.
        sha256: String,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Snapshot {
    /// Reads the tree below a directory, itself included. Names are opened one level at a time, so that paths may be
    /// longer than the host's limit.
    ///
    /// # Panics
    /// When anything cannot be read; run it as the owner of all (root).
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, root, flags, Mode::empty())
            .unwrap_or_else(|e| panic!("cannot open {}: {e}", root.display()));
        let mut reader = Reader {
            nodes: BTreeMap::new(),
            inodes: BTreeMap::new(),
        };
        reader.visit(dir.as_fd(), b".", Vec::new());
        reader.finish()
    }

    /// The node at a path.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn at(&self, path: impl AsRef<[u8]>) -> &Node {
        let path = path.as_ref();
        self.nodes
            .get(path)
            .unwrap_or_else(|| panic!("nothing at `{}`; the tree is\n{self}", escape(path)))
    }

    /// Whether a name exists.
    #[must_use]
    pub fn has(&self, path: impl AsRef<[u8]>) -> bool {
        self.nodes.contains_key(path.as_ref())
    }
}

/// One line for each name; stable, so that it can be compared with a stored text.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, node) in &self.nodes {
            writeln!(f, "/{} {node}", escape(path))?;
        }
        Ok(())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, uid, gid, .. } = self;
        let (seconds, nanos) = self.mtime;
        write!(
            f,
            "{} {mode:04o} {uid}:{gid} {seconds}.{nanos:09}",
            self.kind
        )?;
        if !matches!(self.kind, Kind::Directory) {
            write!(f, " links={}", self.links)?;
        }
        if let Some(first) = &self.same_as {
            write!(f, " inode-of=/{}", escape(first))?;
        }
        for (name, value) in &self.xattrs {
            write!(f, " {}=0x{}", escape(name), hex(value))?;
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { size, sha256 } => write!(f, "file size={size} sha256={sha256}"),
            Self::Directory => f.write_str("directory"),
            Self::Symlink(target) => write!(f, "symlink -> {}", escape(target)),
            Self::CharDevice(major, minor) => write!(f, "char {major}:{minor}"),
            Self::BlockDevice(major, minor) => write!(f, "block {major}:{minor}"),
            Self::Fifo => f.write_str("fifo"),
            Self::Socket => f.write_str("socket"),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

struct Reader {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Names of each inode that has several.
    inodes: BTreeMap<(u64, u64), Vec<Vec<u8>>>,
}

impl Reader {
    fn visit(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) {
        let stat = check(
            rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW),
            "stat",
            &path,
        );
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let kind = kind(parent, name, &path, &stat, file_type);
        let is_directory = file_type == FileType::Directory;
        if !is_directory && stat.st_nlink > 1 {
            let inode = self.inodes.entry((stat.st_dev, stat.st_ino)).or_default();
            inode.push(path.clone());
        }
        let node = Node {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).expect("nanoseconds are below 10^9"),
            ),
            links: if is_directory { 1 } else { stat.st_nlink },
            same_as: None,
            xattrs: xattrs(parent, name, &path),
        };
        self.nodes.insert(path.clone(), node);
        if is_directory {
            self.children(open(parent, name, &path, OFlags::DIRECTORY), &path);
        }
    }

    fn children(&mut self, dir: OwnedFd, path: &[u8]) {
        // Names first: a deep tree then holds one descriptor a level, not two.
        let names: Vec<Vec<u8>> = check(Dir::read_from(&dir), "read", path)
            .map(|entry| check(entry, "read", path).file_name().to_bytes().to_vec())
            .filter(|name| name != b"." && name != b"..")
            .collect();
        for name in names {
            let mut child = path.to_vec();
            if !child.is_empty() {
                child.push(b'/');
            }
            child.extend_from_slice(&name);
            self.visit(dir.as_fd(), &name, child);
        }
    }

    fn finish(mut self) -> Snapshot {
        for mut names in self.inodes.into_values() {
            names.sort();
            for name in &names {
                if names.len() > 1
                    && let Some(node) = self.nodes.get_mut(name)
                {
                    node.same_as = Some(names[0].clone());
                }
            }
        }
        Snapshot { nodes: self.nodes }
    }
}

fn kind(parent: BorrowedFd<'_>, name: &[u8], path: &[u8], stat: &Stat, ty: FileType) -> Kind {
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    match ty {
        FileType::RegularFile => Kind::File {
            size: u64::try_from(stat.st_size).expect("a size is not negative"),
            sha256: data_sha256(open(parent, name, path, OFlags::empty()), path),
        },
        FileType::Directory => Kind::Directory,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(parent, OsStr::from_bytes(name), Vec::new());
            Kind::Symlink(check(target, "readlink", path).into_bytes())
        }
        FileType::CharacterDevice => Kind::CharDevice(major, minor),
        FileType::BlockDevice => Kind::BlockDevice(major, minor),
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::Unknown => panic!("/{} is of no known type", escape(path)),
    }
}

fn open(parent: BorrowedFd<'_>, name: &[u8], path: &[u8], extra: OFlags) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | extra;
    let file = rustix::fs::openat(parent, OsStr::from_bytes(name), flags, Mode::empty());
    check(file, "open", path)
}

fn data_sha256(file: OwnedFd, path: &[u8]) -> String {
    let mut file = std::fs::File::from(file);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match check(file.read(&mut buffer), "read", path) {
            0 => return hex(&hasher.finalize()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Attributes through `/proc/self/fd`: there is no `getxattrat` on kernels before 6.13, and the open descriptor of a
/// symbolic link (`O_PATH`) has no attributes to ask for.
fn xattrs(parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut host = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    host.extend_from_slice(name);
    let host = OsStr::from_bytes(&host);
    let mut names = vec![0; 64 * 1024]; // XATTR_LIST_MAX
    let size = match rustix::fs::llistxattr(host, &mut names) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        result => check(result, "list attributes of", path),
    };
    names[..size]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let key = OsStr::from_bytes(name);
            let mut value = vec![0; 64 * 1024]; // XATTR_SIZE_MAX
            let len = check(
                rustix::fs::lgetxattr(host, key, &mut value),
                "read an attribute of",
                path,
            );
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}

fn check<T, E: fmt::Display>(result: Result<T, E>, what: &str, path: &[u8]) -> T {
    result.unwrap_or_else(|e| panic!("cannot {what} /{}: {e}", escape(path)))
}
