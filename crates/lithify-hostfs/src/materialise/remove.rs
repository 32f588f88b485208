//! Removing a directory tree.

use std::io;

use lithify_cancel::CancelToken;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, chmodat, fchmod, openat, unlinkat};
use rustix::io::Errno;

use crate::dirs::{DIRECTORY, DirStack, PopError};
use crate::scan::Listing;
use crate::sys;

/// Removes a directory and everything in it, following nothing, as long as the work goes on.
pub(super) fn remove_tree(
    parent: BorrowedFd<'_>,
    name: &[u8],
    cancel: &CancelToken,
) -> io::Result<()> {
    let Some(top) = open_for_removal(parent, name)? else {
        return Ok(());
    };
    let mut levels = vec![(name.to_vec(), Listing::read(top.as_fd(), cancel)?)];
    let mut dirs = DirStack::new(sys::duplicate(parent)?);
    dirs.push(top)?;
    while let Some((_, listing)) = levels.last_mut() {
        cancel.check()?;
        if let Some(child) = listing.next() {
            let child = child.to_vec();
            match unlinkat(dirs.top(), &child[..], AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                // A directory: EISDIR on Linux, EPERM by POSIX.
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(e) => return Err(e.into()),
            }
            if let Some(fd) = open_for_removal(dirs.top(), &child)? {
                levels.push((child, Listing::read(fd.as_fd(), cancel)?));
                dirs.push(fd)?;
            }
            continue;
        }
        let Some((done, _)) = levels.pop() else { break };
        dirs.pop().map_err(|e| match e {
            PopError::Moved => Errno::STALE.into(),
            PopError::Io(e) => e,
        })?;
        unlinkat(dirs.top(), &done[..], AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Opens a directory so that its content can be removed, whatever its mode; `None` when there is none.
fn open_for_removal(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    let fd = match openat(parent, name, DIRECTORY, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::ACCESS) => {
            // Only inside our own work directory, where nobody else puts symbolic links for chmod to follow.
            chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, DIRECTORY, Mode::empty())?
        }
        Err(e) => return Err(e.into()),
    };
    fchmod(&fd, Mode::RWXU)?;
    Ok(Some(fd))
}
