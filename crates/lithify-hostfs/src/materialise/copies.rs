//! Data that several files have: of a layer that an image names twice, where both times something is left of it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lithify_cancel::CancelToken;
use lithify_tree::{ContentId, DataSegment, InodeId, InodeKind, Tree};
use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::fs::{Mode, OFlags, fstat, ftruncate, openat};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::MaterialiseError;
use super::sink::{DirSink, Staging, staged_path};
use crate::scan::segments::segments;

/// Bytes copied at once.
const BUFFER: usize = 1 << 20;

/// Copies the data of contents that more than one inode has; says which inodes have which copies.
pub(super) fn of(
    staging: &Arc<Staging>,
    tree: &Tree,
    cancel: &CancelToken,
) -> Result<HashMap<InodeId, ContentId>, MaterialiseError> {
    let mut copies = HashMap::new();
    if !staging.repeated.load(Ordering::Relaxed) {
        return Ok(copies);
    }
    let mut sink = DirSink::new(Arc::clone(staging));
    let mut taken = HashSet::new();
    for id in tree.inode_ids() {
        let InodeKind::File {
            content: Some(content),
            ..
        } = tree.inode(id).kind
        else {
            continue;
        };
        if taken.insert(content) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |source: io::Error| MaterialiseError::Data {
            operation: "copy",
            source,
        };
        let from = openat(
            &staging.directory,
            staged_path(content),
            flags,
            Mode::empty(),
        )
        .map_err(|e| failed(e.into()))?;
        let (to, copy) = sink.stage()?;
        copy_data(from.as_fd(), to.as_fd(), cancel).map_err(|e| match cancel.check() {
            Err(cancelled) => cancelled.into(),
            Ok(()) => failed(e),
        })?;
        copies.insert(id, copy);
    }
    Ok(copies)
}

/// Copies a file into an empty one, holes as holes.
fn copy_data(from: BorrowedFd<'_>, to: BorrowedFd<'_>, cancel: &CancelToken) -> io::Result<()> {
    let size = fstat(from)?.st_size as u64;
    ftruncate(to, size)?;
    let whole = vec![DataSegment {
        offset: 0,
        length: size,
    }];
    let mut buffer = vec![0; BUFFER];
    for DataSegment { offset, length } in segments(from, size, cancel)?.unwrap_or(whole) {
        let (mut at, end) = (offset, offset + length);
        while at < end {
            cancel.check()?;
            let n = (end - at).min(BUFFER as u64) as usize;
            let read = retry_on_intr(|| pread(from, &mut buffer[..n], at))?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut data = &buffer[..read];
            while !data.is_empty() {
                match retry_on_intr(|| pwrite(to, data, at))? {
                    0 => return Err(Errno::IO.into()),
                    written => {
                        data = &data[written..];
                        at += written as u64;
                    }
                }
            }
        }
    }
    Ok(())
}
