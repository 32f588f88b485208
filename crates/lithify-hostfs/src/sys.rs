//! What differs between Linux and other systems.
//!
//! On Linux a name is opened once with `O_PATH`, which touches nothing but the name, and everything else happens
//! through that handle: the type is known before anything is opened for reading, so no device or pipe ever is.
//! `/proc/self/fd` turns a handle into a readable file and lets attributes of any file type be reached.

use std::io;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, Stat, openat};

use crate::dirs::DIRECTORY;

/// One file, held so that it cannot turn into another.
#[derive(Debug)]
pub(crate) struct Handle {
    #[cfg(target_os = "linux")]
    fd: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    id: crate::dirs::FileId,
}

#[cfg(target_os = "linux")]
impl Handle {
    /// Takes hold of `name` in an open directory. A symbolic link is held itself.
    pub(crate) fn open(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<(Self, Stat)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(directory, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok((Self { fd }, stat))
    }

    /// Opens the directory for listing.
    pub(crate) fn directory(&self, _: BorrowedFd<'_>, _: &[u8]) -> io::Result<OwnedFd> {
        Ok(openat(&self.fd, c".", DIRECTORY, Mode::empty())?)
    }

    /// Opens the regular file for reading.
    pub(crate) fn file(&self, _: BorrowedFd<'_>, _: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let path = proc_path(self.fd.as_fd());
        Ok(openat(rustix::fs::CWD, path, flags, Mode::empty())?)
    }

    /// The target of the symbolic link.
    pub(crate) fn link_target(&self, _: BorrowedFd<'_>, _: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, c"", Vec::new())?.into_bytes())
    }

    /// Names of the extended attributes, each ended by a NUL.
    pub(crate) fn list_xattrs(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        let path = proc_path(self.fd.as_fd());
        rustix::fs::listxattr(path, rustix::buffer::spare_capacity(buffer))?;
        Ok(())
    }

    /// The value of an extended attribute.
    pub(crate) fn xattr(&self, name: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        let path = proc_path(self.fd.as_fd());
        rustix::fs::getxattr(path, name, rustix::buffer::spare_capacity(buffer))?;
        Ok(())
    }
}

/// The magic link to an open file.
#[cfg(target_os = "linux")]
fn proc_path(fd: BorrowedFd<'_>) -> String {
    use rustix::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(not(target_os = "linux"))]
impl Handle {
    pub(crate) fn open(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<(Self, Stat)> {
        let stat = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let id = crate::dirs::FileId::of(&stat);
        Ok((Self { id }, stat))
    }

    fn checked(&self, fd: OwnedFd) -> io::Result<OwnedFd> {
        if crate::dirs::FileId::of(&rustix::fs::fstat(&fd)?) == self.id {
            Ok(fd)
        } else {
            Err(rustix::io::Errno::STALE.into())
        }
    }

    pub(crate) fn directory(&self, parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        self.checked(openat(parent, name, DIRECTORY, Mode::empty())?)
    }

    pub(crate) fn file(&self, parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        let flags =
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        self.checked(openat(parent, name, flags, Mode::empty())?)
    }

    pub(crate) fn link_target(&self, parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes())
    }

    pub(crate) fn list_xattrs(&self, _: &mut Vec<u8>) -> io::Result<()> {
        Err(rustix::io::Errno::OPNOTSUPP.into())
    }

    pub(crate) fn xattr(&self, _: &[u8], _: &mut Vec<u8>) -> io::Result<()> {
        Err(rustix::io::Errno::OPNOTSUPP.into())
    }
}

/// Whether `/proc` is there and is the kernel's (`PROC_SUPER_MAGIC` of `linux/magic.h`).
#[cfg(target_os = "linux")]
pub(crate) fn has_proc() -> bool {
    rustix::fs::statfs("/proc/self/fd").is_ok_and(|s| s.f_type == 0x9fa0)
}

/// Nothing here needs it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn has_proc() -> bool {
    true
}

/// Whether this process sees attributes in `trusted.`: without `CAP_SYS_ADMIN` in the system's own user namespace, Linux
/// leaves them out of every list (`fs/xattr.c`, `xattr_permission`).
#[cfg(target_os = "linux")]
pub(crate) fn sees_trusted_xattrs() -> bool {
    const SYS_ADMIN: u32 = 21;
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let status = read("/proc/self/status");
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or_default();
    // The initial namespace maps all users to themselves; one that is made can do so only if its maker could.
    let map = read("/proc/self/uid_map");
    let all = map.split_whitespace().eq(["0", "0", "4294967295"]);
    effective >> SYS_ADMIN & 1 == 1 && all
}

/// There are none.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sees_trusted_xattrs() -> bool {
    false
}

/// Sets an extended attribute of `name` in an open directory; of the directory itself when `name` is empty.
#[cfg(target_os = "linux")]
pub(crate) fn set_xattr(
    directory: BorrowedFd<'_>,
    name: &[u8],
    attribute: &[u8],
    value: &[u8],
) -> io::Result<()> {
    let flags = rustix::fs::XattrFlags::empty();
    if name.is_empty() {
        return Ok(rustix::fs::fsetxattr(directory, attribute, value, flags)?);
    }
    let mut path = proc_path(directory).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name);
    Ok(rustix::fs::lsetxattr(path, attribute, value, flags)?)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn set_xattr(_: BorrowedFd<'_>, _: &[u8], _: &[u8], _: &[u8]) -> io::Result<()> {
    Err(rustix::io::Errno::OPNOTSUPP.into())
}

/// Removes an extended attribute of an open directory; one that is not there is no error.
#[cfg(target_os = "linux")]
pub(crate) fn remove_xattr(directory: BorrowedFd<'_>, attribute: &[u8]) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fremovexattr(directory, attribute) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn remove_xattr(_: BorrowedFd<'_>, _: &[u8]) -> io::Result<()> {
    Ok(())
}

/// Makes a device, pipe or socket.
#[cfg(target_os = "linux")]
pub(crate) fn make_node(
    directory: BorrowedFd<'_>,
    name: &[u8],
    node: Node,
    mode: Mode,
) -> rustix::io::Result<()> {
    use rustix::fs::{FileType, makedev};
    let (kind, device) = match node {
        Node::CharDevice(d) => (FileType::CharacterDevice, makedev(d.major, d.minor)),
        Node::BlockDevice(d) => (FileType::BlockDevice, makedev(d.major, d.minor)),
        Node::Fifo => (FileType::Fifo, 0),
        Node::Socket => (FileType::Socket, 0),
    };
    rustix::fs::mknodat(directory, name, kind, mode, device)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn make_node(_: BorrowedFd<'_>, _: &[u8], _: Node, _: Mode) -> rustix::io::Result<()> {
    Err(rustix::io::Errno::PERM)
}

/// A file without content that is neither directory nor symbolic link.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code))]
pub(crate) enum Node {
    CharDevice(lithify_tree::Device),
    BlockDevice(lithify_tree::Device),
    Fifo,
    Socket,
}

/// Writes the filesystem of an open directory to its disk.
#[cfg(target_os = "linux")]
pub(crate) fn sync_filesystem(directory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| rustix::fs::syncfs(directory))?)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_filesystem(_: BorrowedFd<'_>) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Free bytes for an unprivileged writer.
pub(crate) fn free_bytes(directory: BorrowedFd<'_>) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A handle on the directory itself.
pub(crate) fn duplicate(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    directory.as_fd().try_clone_to_owned()
}
