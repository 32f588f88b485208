//! Owner, attributes, mode and time of a file just made.
//!
//! In this order, because each undoes something of the next: `chown` clears set-user-ID bits and drops
//! `security.capability` (`setattr_prepare` and `cap_inode_killpriv` of the kernel); setting a POSIX ACL rewrites the
//! group bits of the mode; a mode without write permission forbids `user.*` attributes; and everything the times.

use std::io;

use lithify_tree::{Inode, InodeKind, Timestamp, Xattrs};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, Uid, chmodat, chownat, fchmod,
    fchown, fstat, futimens, openat, statat, utimensat,
};
use rustix::io::Errno;

use super::place::Creation;
use super::work::Workspace;
use super::{MaterialiseOptions, Ownership};
use crate::sidecar::mtime;
use crate::sys;

/// What the host makes of files it creates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// Owner and group of new files.
    uid: u32,
    gid: u32,
    umask: u16,
    /// Owners are to be set.
    set_owners: bool,
    /// Whoever writes is not root, who reads everything, and what cannot be set is recorded: files keep what it takes to
    /// read them back.
    keep_readable: bool,
    /// The filesystem holds nanoseconds, and years past 2038.
    fine_times: bool,
}

/// A file just made: by name in an open directory, or an open directory itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Made<'a> {
    Name(BorrowedFd<'a>, &'a [u8]),
    Directory(BorrowedFd<'a>),
}

/// Why a file cannot be dressed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The host cannot hold something, and whoever decides made that an error.
    Refused {
        what: String,
        source: Option<io::Error>,
    },
    /// Something else is wrong.
    Io {
        operation: &'static str,
        source: io::Error,
    },
}

/// Takes what the host refuses, with the system's answer if it was asked, and decides whether that is an error.
pub(super) type Refused<'r> = dyn FnMut(Refusal<'_>, Option<io::Error>) -> Result<(), Failure> + 'r;

impl Host {
    pub(super) fn probe(work: &Workspace, options: &MaterialiseOptions) -> io::Result<Self> {
        let stat = fstat(&work.root)?;
        let fine = Timestamp {
            seconds: 1 << 32,
            nanoseconds: 123_456_789,
        };
        futimens(&work.root, &timestamps(fine))?;
        let set_owners = match options.ownership {
            Ownership::Auto => rustix::process::geteuid().is_root(),
            Ownership::Exact => true,
            Ownership::Record => false,
        };
        Ok(Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            umask: work.umask,
            set_owners,
            keep_readable: !set_owners && !options.strict,
            fine_times: mtime(&fstat(&work.root)?) == fine,
        })
    }

    /// The mode a file gets when it is made with `mode`.
    pub(super) fn created(&self, mode: u16) -> u16 {
        mode & 0o777 & !self.umask
    }

    /// Sets everything. What the host refuses goes to `refused`.
    pub(super) fn dress(
        &self,
        made: Made<'_>,
        creation: Creation,
        inode: &Inode<'_>,
        xattrs: &Xattrs,
        refused: &mut Refused<'_>,
    ) -> Result<(), Failure> {
        // The mode the file has, where it is known.
        let mut now = Some(creation.mode);
        let is_data = matches!(inode.kind, InodeKind::File { .. }) || creation.stands_for.is_some();
        let mut mode = self.readable(inode, is_data);
        if (inode.uid, inode.gid) != (self.uid, self.gid)
            && let Err(source) = self.chown(made, inode)?
        {
            refused(Refusal::Owner, source)?;
            mode = self.harmless(mode, inode);
        }
        for (name, value) in xattrs.iter() {
            match made.set_xattr(name, value) {
                // An ACL has become part of the mode.
                Ok(()) if name.starts_with(b"system.") => now = None,
                Ok(()) => {}
                Err(e) if is_refusal_of_xattr(&e, made) => {
                    refused(Refusal::Xattr { name, value }, Some(e))?;
                }
                Err(source) => {
                    let operation = "set an extended attribute of";
                    return Err(Failure::Io { operation, source });
                }
            }
        }
        // The mode of a symbolic link cannot be set and means nothing.
        if !matches!(inode.kind, InodeKind::Symlink { .. }) {
            if now != Some(mode) {
                match made.chmod(mode) {
                    Ok(()) => {}
                    Err(e @ Errno::PERM) => {
                        refused(Refusal::Mode, Some(e.into()))?;
                        mode = inode.mode;
                    }
                    Err(e) => return Err(io_failure("set the mode of", e)),
                }
            }
            if mode != inode.mode {
                refused(Refusal::Mode, None)?;
            }
        }
        if !self.set_mtime(made, inode.mtime)? {
            refused(Refusal::Time, None)?;
        }
        Ok(())
    }

    /// Sets the owner; the inner error is a refusal, with the system's answer if it was asked.
    fn chown(
        &self,
        made: Made<'_>,
        inode: &Inode<'_>,
    ) -> Result<Result<(), Option<io::Error>>, Failure> {
        // 2³²-1 is the kernel's word for "leave as it is".
        if !self.set_owners || inode.uid == u32::MAX || inode.gid == u32::MAX {
            return Ok(Err(None));
        }
        let owner = Some(Uid::from_raw(inode.uid));
        let group = Some(Gid::from_raw(inode.gid));
        let outcome = match made {
            Made::Name(directory, name) => {
                chownat(directory, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
            }
            Made::Directory(fd) => fchown(fd, owner, group),
        };
        match outcome {
            Ok(()) => Ok(Ok(())),
            // Not privileged; not mapped in this user namespace; a filesystem without owners, or with 16 bits for them.
            Err(e @ (Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::OVERFLOW)) => {
                Ok(Err(Some(e.into())))
            }
            Err(e) => Err(io_failure("set the owner of", e)),
        }
    }

    /// The mode with which a file can be read back by who writes it, who may not set owners. `is_data` says that it is a
    /// regular file here.
    pub(super) fn readable(&self, inode: &Inode<'_>, is_data: bool) -> u16 {
        match self.keep_readable {
            true if inode.kind.is_directory() => inode.mode | 0o500,
            true if is_data => inode.mode | 0o400,
            _ => inode.mode,
        }
    }

    /// The mode for a file whose owner could not be set: it must not run as someone the image did not mean.
    fn harmless(&self, mut mode: u16, inode: &Inode<'_>) -> u16 {
        if inode.kind.is_directory() {
            return mode;
        }
        if inode.uid != self.uid {
            mode &= !0o4000;
        }
        if inode.gid != self.gid {
            mode &= !0o2000;
        }
        mode
    }

    /// Sets access and modification time; says whether the filesystem could hold it.
    fn set_mtime(&self, made: Made<'_>, time: Timestamp) -> Result<bool, Failure> {
        // What every filesystem with fine times holds: 1901 to 2446, the range of ext4.
        let common = -(1 << 31)..=0x3_7fff_ffff;
        match made.set_times(time) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::OVERFLOW | Errno::RANGE | Errno::OPNOTSUPP) => {
                return Ok(false);
            }
            Err(e) => return Err(io_failure("set the times of", e)),
        }
        if self.fine_times && common.contains(&time.seconds) {
            return Ok(true);
        }
        let stat = made.stat().map_err(|e| io_failure("stat", e))?;
        Ok(mtime(&stat) == time)
    }
}

/// Whether this means "not on this file, not here, not you", as against "something is wrong".
fn is_refusal_of_xattr(error: &io::Error, made: Made<'_>) -> bool {
    match Errno::from_io_error(error) {
        Some(
            Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::TOOBIG
            | Errno::RANGE
            | Errno::NAMETOOLONG,
        ) => true,
        // ext4 says "no space" of attributes that do not fit into the one block it has for them.
        Some(Errno::NOSPC) => {
            let (Made::Name(directory, _) | Made::Directory(directory)) = made;
            sys::free_bytes(directory).is_ok_and(|free| free > 1 << 20)
        }
        _ => false,
    }
}

/// What a host refuses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal<'a> {
    Owner,
    Mode,
    Time,
    Xattr { name: &'a [u8], value: &'a [u8] },
}

fn io_failure(operation: &'static str, e: Errno) -> Failure {
    Failure::Io {
        operation,
        source: e.into(),
    }
}

impl Made<'_> {
    pub(super) fn chmod(self, mode: u16) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(RawMode::from(mode));
        match self {
            Self::Name(directory, name) => chmodat(directory, name, mode, AtFlags::empty()),
            Self::Directory(fd) => fchmod(fd, mode),
        }
    }

    pub(super) fn set_times(self, time: Timestamp) -> Result<(), Errno> {
        let times = timestamps(time);
        match self {
            Self::Name(directory, name) => {
                utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
            Self::Directory(fd) => futimens(fd, &times),
        }
    }

    fn set_xattr(self, name: &[u8], value: &[u8]) -> io::Result<()> {
        match self {
            Self::Name(directory, file) => sys::set_xattr(directory, file, name, value),
            Self::Directory(fd) => sys::set_xattr(fd.as_fd(), b"", name, value),
        }
    }

    /// Opens a regular file for reading.
    pub(super) fn open(self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match self {
            Self::Name(directory, name) => openat(directory, name, flags, Mode::empty()),
            Self::Directory(_) => Err(Errno::ISDIR),
        }
    }

    pub(super) fn stat(self) -> Result<Stat, Errno> {
        match self {
            Self::Name(directory, name) => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW),
            Self::Directory(fd) => fstat(fd),
        }
    }
}

/// The same time for access and modification: an image knows only one.
fn timestamps(time: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        #[allow(clippy::useless_conversion, reason = "32 bits on some systems")]
        tv_nsec: i64::from(time.nanoseconds).into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the fields' types differ between systems"
)]
pub(super) fn permissions(stat: &Stat) -> u16 {
    (stat.st_mode & 0o7777) as u16
}
