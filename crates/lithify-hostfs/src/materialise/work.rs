//! The private directory a target grows in.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use lithify_cancel::{CancelToken, Cancelled};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RawMode, fchmod, flock, fstat, mkdirat,
    openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::MaterialiseError;
use super::attributes::permissions;
use super::remove::remove_tree;
use crate::dirs::{DIRECTORY, FileId};
use crate::scan::Listing;
use crate::sys;

/// Names of what is inside.
const ROOT: &str = "root";
pub(super) const STAGING: &str = "staging";
/// In the staging directory, for files without data that have several names; shards have five digits.
pub(super) const LINKS: &str = "links";

/// Longest part of the target's name that goes into the name of the work directory.
const NAME_PART: usize = 200;

/// `.OUT.lithify-XXXXXXXXXXXX` next to the target: `root/` becomes the target, `staging/` holds file data until the
/// tree is known. Removed with everything in it when dropped, or, if the process was killed before it could, when the
/// next one for the same target is made: it is locked (`flock`) as long as its process lives.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) target: PathBuf,
    /// The directory the target is in, and the target's name there.
    pub(super) parent: OwnedFd,
    pub(super) name: OsString,
    /// Name of the work directory in `parent`.
    work_name: OsString,
    pub(super) work: OwnedFd,
    pub(super) root: OwnedFd,
    pub(super) staging: OwnedFd,
    /// Mode bits new files do not get.
    pub(super) umask: u16,
}

impl Workspace {
    pub(super) fn create(target: &Path, cancel: &CancelToken) -> Result<Self, MaterialiseError> {
        let Some(name) = target.file_name().map(OsStr::to_os_string) else {
            let path = target.to_path_buf();
            return Err(MaterialiseError::TargetName { path });
        };
        let at = |operation: &'static str, path: &Path| {
            let path = path.to_path_buf();
            move |e: Errno| MaterialiseError::Target {
                operation,
                path,
                source: e.into(),
            }
        };
        let directory = match target.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat(CWD, directory, flags, Mode::empty()).map_err(at("open", directory))?;
        check_target(parent.as_fd(), &name, target)?;
        check_sidecar(parent.as_fd(), target)?;
        remove_stale(parent.as_fd(), &name, cancel);
        cancel.check()?;

        let (work_name, work) = make_private(parent.as_fd(), &name)
            .map_err(at("create a work directory next to", target))?;
        // From here on dropping cleans up.
        let made = (|| {
            prepare(work.as_fd())?;
            mkdirat(&work, STAGING, Mode::RWXU)?;
            let staging = openat(&work, STAGING, DIRECTORY, Mode::empty())?;
            mkdirat(&staging, LINKS, Mode::RWXU)?;
            // The bits missing afterwards are those of the umask.
            mkdirat(&work, ROOT, Mode::from_raw_mode(0o777))?;
            let root = openat(&work, ROOT, DIRECTORY, Mode::empty())?;
            let umask = !permissions(&fstat(&root)?) & 0o777;
            if umask & 0o700 != 0 {
                // It would take from its owner everything that is made in here.
                return Err(Errno::ACCESS);
            }
            fchmod(&root, Mode::RWXU)?;
            Ok((root, staging, umask))
        })();
        match made {
            Ok((root, staging, umask)) => Ok(Self {
                target: target.to_path_buf(),
                parent,
                name,
                work_name,
                work,
                root,
                staging,
                umask,
            }),
            Err(e) => {
                // The first error is the one to report.
                remove_tree(parent.as_fd(), work_name.as_bytes(), &CancelToken::new()).ok();
                Err(at("prepare the work directory next to", target)(e))
            }
        }
    }

    pub(super) fn error(&self, operation: &'static str, source: io::Error) -> MaterialiseError {
        if source.get_ref().is_some_and(|e| e.is::<Cancelled>()) {
            return Cancelled.into();
        }
        MaterialiseError::Target {
            operation,
            path: self.target.clone(),
            source,
        }
    }

    /// Makes `root/` the target.
    pub(super) fn publish(&self) -> Result<(), MaterialiseError> {
        match renameat(&self.work, ROOT, &self.parent, &self.name) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let path = self.target.clone();
                return Err(MaterialiseError::TargetNotEmpty { path });
            }
            Err(Errno::NOTDIR) => {
                let path = self.target.clone();
                return Err(MaterialiseError::TargetNotDirectory { path });
            }
            Err(Errno::BUSY) => {
                let path = self.target.clone();
                return Err(MaterialiseError::TargetMountPoint { path });
            }
            Err(e) => return Err(self.error("rename the finished tree to", e.into())),
        }
        Ok(())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Work that was stopped leaves nothing either. Nothing can be reported from here; what is left has a name that says
        // whose it is.
        let to_the_end = CancelToken::new();
        remove_tree(self.parent.as_fd(), self.work_name.as_bytes(), &to_the_end).ok();
    }
}

/// The target must be absent or an empty directory.
fn check_target(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    target: &Path,
) -> Result<(), MaterialiseError> {
    let path = || target.to_path_buf();
    let failed = |e: io::Error| MaterialiseError::Target {
        operation: "look at",
        path: path(),
        source: e,
    };
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(failed(e.into())),
    };
    if FileType::from_raw_mode(stat.st_mode as RawMode) != FileType::Directory {
        return Err(MaterialiseError::TargetNotDirectory { path: path() });
    }
    let around = fstat(parent).map_err(|e| failed(e.into()))?;
    if !FileId::of(&stat).is_on(FileId::of(&around).device()) {
        return Err(MaterialiseError::TargetMountPoint { path: path() });
    }
    let directory = openat(parent, name, DIRECTORY, Mode::empty()).map_err(|e| failed(e.into()))?;
    let listing = Listing::read(directory.as_fd(), &CancelToken::new()).map_err(failed)?;
    if listing.is_empty() {
        Ok(())
    } else {
        Err(MaterialiseError::TargetNotEmpty { path: path() })
    }
}

/// What has the name of the target's metadata file must be one.
fn check_sidecar(parent: BorrowedFd<'_>, target: &Path) -> Result<(), MaterialiseError> {
    let mut path = OsString::from(target);
    path.push(crate::SIDECAR_SUFFIX);
    let path = PathBuf::from(path);
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    match crate::sidecar::is_one(parent, name) {
        Ok(true) => Ok(()),
        Ok(false) => Err(MaterialiseError::SidecarTaken { path }),
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(()),
        Err(e) => Err(MaterialiseError::Target {
            operation: "look at the metadata file of",
            path: target.to_path_buf(),
            source: e.into(),
        }),
    }
}

/// A new directory that only its owner can enter.
fn make_private(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(OsString, OwnedFd), Errno> {
    let prefix = work_prefix(name);
    for _ in 0..64 {
        let random = RandomState::new().build_hasher().finish();
        let mut work_name = prefix.clone();
        work_name.extend_from_slice(format!("{:012x}", random >> 16).as_bytes());
        let work_name = OsString::from_vec(work_name);
        match mkdirat(parent, &work_name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(e) => return Err(e),
        }
        let opened = openat(parent, &work_name, DIRECTORY, Mode::empty());
        if let Ok(work) = &opened
            && !claim(parent, &work_name, work)?
        {
            continue;
        }
        return match opened {
            Ok(work) => Ok((work_name, work)),
            Err(e) => {
                unlinkat(parent, &work_name, AtFlags::REMOVEDIR).ok();
                Err(e)
            }
        };
    }
    Err(Errno::EXIST)
}

/// What the name of a target's work directory starts with; twelve hexadecimal digits follow.
fn work_prefix(name: &OsStr) -> Vec<u8> {
    let part = &name.as_bytes()[..name.len().min(NAME_PART)];
    [b".", part, b".lithify-"].concat()
}

/// Locks a work directory just made. Another process may have taken it for stale before that, and be about to remove
/// it or done so: false then.
fn claim(parent: BorrowedFd<'_>, name: &OsStr, work: &OwnedFd) -> Result<bool, Errno> {
    // Some filesystems have no locks; work directories on them are never taken for stale.
    if flock(work, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return Ok(false);
    }
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileId::of(&stat) == FileId::of(&fstat(work)?)),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Removes what processes that were killed left behind: our own directories of that name which nobody has locked.
fn remove_stale(parent: BorrowedFd<'_>, name: &OsStr, cancel: &CancelToken) {
    let prefix = work_prefix(name);
    let Ok(mut listing) = Listing::read(parent, cancel) else {
        return;
    };
    while let Some(found) = listing.next() {
        let is_work_name = found
            .strip_prefix(&prefix[..])
            .is_some_and(|rest| rest.len() == 12 && rest.iter().all(u8::is_ascii_hexdigit));
        if !is_work_name {
            continue;
        }
        let Ok(fd) = openat(parent, found, DIRECTORY, Mode::empty()) else {
            continue;
        };
        let ours = fstat(&fd).is_ok_and(|s| s.st_uid == rustix::process::geteuid().as_raw());
        if ours && flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // It is only in the way of nobody; the target at hand matters more.
            remove_tree(parent, found, cancel).ok();
        }
    }
}

/// Rids the work directory of what its parent passes on: a default ACL would add to the mode and attributes of
/// everything made inside, a set-group-ID bit would choose its group.
fn prepare(work: BorrowedFd<'_>) -> Result<(), Errno> {
    for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
        sys::remove_xattr(work, acl.as_bytes())
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    }
    fchmod(work, Mode::RWXU)
}
