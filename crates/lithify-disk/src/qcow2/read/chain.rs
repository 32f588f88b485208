//! Files on top of each other.

use lithify_storage::ReadAt;

use super::error::ReadError;
use super::inflate::{Failure, Inflated, Source};
use super::member::{Member, Place};
use super::pages::Pages;

/// An image and the files below it, itself first.
#[derive(Debug)]
pub(super) struct Chain<R> {
    pub(super) members: Vec<Member<R>>,
    pub(super) pages: Pages,
    pub(super) inflated: Inflated,
}

/// The place of a stretch of a disk in a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    /// The depth of the file that has it, if one does.
    pub(super) depth: Option<usize>,
    pub(super) place: Place,
    /// Its length in bytes, never 0.
    pub(super) length: u64,
}

impl<R: ReadAt> Chain<R> {
    /// Returns the storage with the data of a file of the chain, and its size in bytes.
    pub(super) fn data(&self, depth: usize) -> (&R, u64) {
        self.members[depth].data()
    }

    /// Finds the first file above a depth that has `at`, and at most `limit` bytes from there on
    /// that are there too.
    pub(super) fn locate(&self, above: usize, at: u64, limit: u64) -> Result<Located, ReadError> {
        let mut length = limit;
        for (depth, member) in self.members.iter().enumerate().take(above) {
            let Some(rest) = member.virtual_size().checked_sub(at).filter(|&n| n > 0) else {
                // What is behind the end of a file is zeros, whatever is below.
                return Ok(Located {
                    depth: Some(depth),
                    place: Place::Zero,
                    length,
                });
            };
            let span = member.map(&self.pages, at, length.min(rest))?;
            length = span.length;
            if span.place != Place::Unallocated {
                return Ok(Located {
                    depth: Some(depth),
                    place: span.place,
                    length,
                });
            }
        }
        Ok(Located {
            depth: None,
            place: Place::Unallocated,
            length,
        })
    }

    /// Fills `out` from `offset` on, which has to be on the disk.
    pub(super) fn read(&self, mut out: &mut [u8], mut offset: u64) -> Result<(), ReadError> {
        while !out.is_empty() {
            let found = self.locate(self.members.len(), offset, out.len() as u64)?;
            let (here, rest) = out.split_at_mut(found.length as usize);
            match found.depth {
                Some(depth) => self.read_place(depth, found.place, here)?,
                None => here.fill(0),
            }
            offset += found.length;
            out = rest;
        }
        Ok(())
    }

    fn read_place(&self, depth: usize, place: Place, out: &mut [u8]) -> Result<(), ReadError> {
        let (storage, size) = self.data(depth);
        let io = |offset| {
            move |source| ReadError::Io {
                depth,
                offset,
                source,
            }
        };
        match place {
            Place::Unallocated | Place::Zero => {
                out.fill(0);
                Ok(())
            }
            Place::Data { host } => storage.read_exact_at(out, host).map_err(io(host)),
            Place::Compressed {
                host,
                length,
                within,
            } => {
                let Member::Qcow2(image) = &self.members[depth] else {
                    unreachable!("raw disks have no compressed clusters");
                };
                let source = Source {
                    depth,
                    host,
                    // The last sector need not be there whole.
                    length: length.min(size - host),
                    compression: image.header.compression,
                    cluster: image.header.cluster_size.length(),
                };
                let read = |input: &mut [u8]| storage.read_exact_at(input, host);
                let done = self.inflated.read(source, within, out, read);
                done.map_err(|failure| match failure {
                    Failure::Read(source) => io(host)(source),
                    Failure::Damaged(source) => ReadError::Compressed {
                        depth,
                        host,
                        source,
                    },
                })
            }
        }
    }
}
