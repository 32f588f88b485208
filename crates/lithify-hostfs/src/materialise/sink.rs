//! File data on its way: each file's in a numbered file of the staging directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use lithify_tree::{ContentId, ContentSink, DataSegment};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ftruncate, mkdirat, openat};
use rustix::io::{Errno, pwrite, retry_on_intr};

use super::MaterialiseError;
use crate::dirs::DIRECTORY;

/// Files in one shard of the staging directory, a power of two: content ids are shard and number in one.
const SHARD_BITS: u32 = 12;

/// Mode staged files are made with, less the process's umask: the most common one in images, so that most need no
/// `chmod` later.
pub(super) const STAGED_MODE: u16 = 0o644;

/// What the sinks of one target share.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) directory: OwnedFd,
    pub(super) next_shard: AtomicU32,
    /// Whether contents may be those of several inodes.
    pub(super) repeated: AtomicBool,
}

/// Path of a content below the staging directory.
pub(super) fn staged_path(content: ContentId) -> String {
    let (shard, number) = (content.0 >> SHARD_BITS, content.0 & ((1 << SHARD_BITS) - 1));
    format!("{shard:05x}/{number:03x}")
}

/// Takes file data for a [`DirTarget`](super::DirTarget). Each thread that decodes a layer can have its own.
#[derive(Debug)]
pub struct DirSink {
    staging: Arc<Staging>,
    shard: Option<Shard>,
    file: Option<Staged>,
}

/// A directory of staged files that belongs to one sink alone.
#[derive(Debug)]
struct Shard {
    number: u32,
    directory: OwnedFd,
    files: u32,
}

#[derive(Debug)]
struct Staged {
    fd: OwnedFd,
    id: ContentId,
    size: u64,
    /// Where data goes: what is left of the current segment, and the segments after it, last first.
    offset: u64,
    room: u64,
    segments: Vec<DataSegment>,
    expected: u64,
    found: u64,
}

impl DirSink {
    pub(super) fn new(staging: Arc<Staging>) -> Self {
        Self {
            staging,
            shard: None,
            file: None,
        }
    }

    /// Says that contents came once more: files that do not share an inode may have the same number then, and get their data
    /// each.
    pub fn repeat(&mut self) {
        self.staging.repeated.store(true, Ordering::Relaxed);
    }

    /// A new staged file.
    pub(super) fn stage(&mut self) -> Result<(OwnedFd, ContentId), MaterialiseError> {
        let failed = |e: Errno| MaterialiseError::Data {
            operation: "create a file for",
            source: e.into(),
        };
        let shard = match &mut self.shard {
            Some(shard) if shard.files < 1 << SHARD_BITS => shard,
            slot => {
                let number = self.staging.next_shard.fetch_add(1, Ordering::Relaxed);
                // The highest content id stands for "none" in a tree, so its shard is not given out.
                if number >= (1 << (32 - SHARD_BITS)) - 1 {
                    return Err(MaterialiseError::TooManyFiles);
                }
                let name = format!("{number:05x}");
                mkdirat(&self.staging.directory, &name, Mode::RWXU).map_err(failed)?;
                let directory = openat(&self.staging.directory, &name, DIRECTORY, Mode::empty())
                    .map_err(failed)?;
                slot.insert(Shard {
                    number,
                    directory,
                    files: 0,
                })
            }
        };
        let name = format!("{:03x}", shard.files);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(
            &shard.directory,
            name,
            flags,
            Mode::from_raw_mode(STAGED_MODE.into()),
        )
        .map_err(failed)?;
        let id = ContentId(shard.number << SHARD_BITS | shard.files);
        shard.files += 1;
        Ok((fd, id))
    }
}

/// Data bytes of a file, its segments checked.
fn data_length(size: u64, segments: &[DataSegment]) -> Result<u64, MaterialiseError> {
    let mut total = 0;
    let mut end = 0;
    for &DataSegment { offset, length } in segments {
        let fits = offset >= end && offset.checked_add(length).is_some_and(|e| e <= size);
        if !fits {
            return Err(MaterialiseError::Segment {
                offset,
                length,
                size,
            });
        }
        end = offset + length;
        total += length;
    }
    Ok(total)
}

impl ContentSink for DirSink {
    type Error = MaterialiseError;

    fn begin(
        &mut self,
        size: u64,
        segments: Option<&[DataSegment]>,
    ) -> Result<(), MaterialiseError> {
        let whole = [DataSegment {
            offset: 0,
            length: size,
        }];
        let segments = segments.unwrap_or(&whole);
        let expected = data_length(size, segments)?;
        let (fd, id) = self.stage()?;
        self.file = Some(Staged {
            fd,
            id,
            size,
            offset: 0,
            room: 0,
            segments: segments.iter().rev().copied().collect(),
            expected,
            found: 0,
        });
        Ok(())
    }

    fn write(&mut self, mut data: &[u8]) -> Result<(), MaterialiseError> {
        let Some(file) = &mut self.file else {
            return Err(MaterialiseError::NotBegun);
        };
        file.found = file.found.saturating_add(data.len() as u64);
        if file.found > file.expected {
            return Err(MaterialiseError::DataLength {
                expected: file.expected,
                found: file.found,
            });
        }
        while !data.is_empty() {
            while file.room == 0 {
                let Some(next) = file.segments.pop() else {
                    unreachable!("the segments hold as many bytes as are expected");
                };
                (file.offset, file.room) = (next.offset, next.length);
            }
            let piece = file.room.min(data.len() as u64) as usize;
            let written = retry_on_intr(|| pwrite(&file.fd, &data[..piece], file.offset))
                .and_then(|n| if n == 0 { Err(Errno::IO) } else { Ok(n) })
                .map_err(|e| MaterialiseError::Data {
                    operation: "write",
                    source: e.into(),
                })?;
            file.offset += written as u64;
            file.room -= written as u64;
            data = &data[written..];
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, MaterialiseError> {
        let Some(file) = self.file.take() else {
            return Err(MaterialiseError::NotBegun);
        };
        if file.found != file.expected {
            return Err(MaterialiseError::DataLength {
                expected: file.expected,
                found: file.found,
            });
        }
        if file.offset != file.size {
            // A hole at the end, or nothing but a hole.
            ftruncate(&file.fd, file.size).map_err(|e| MaterialiseError::Data {
                operation: "extend",
                source: e.into(),
            })?;
        }
        Ok(file.id)
    }
}
