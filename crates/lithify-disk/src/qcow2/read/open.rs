//! Opening an image and what it builds on.

use std::io;

use lithify_storage::ReadAt;

use super::chain::Chain;
use super::error::OpenError;
use super::inflate::Inflated;
use super::member::{Member, Qcow2Member};
use super::pages::Pages;
use crate::qcow2::format::{Format, Header};

/// The permissions and limits of opening an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Most files of a chain, the image itself included. Default 256.
    pub files_max: usize,
    /// The largest disk in bytes. Default: no limit below 2⁶³.
    pub size_max: u64,
    /// Images that are open somewhere, or were not closed, are read. Their tables are good; but
    /// what changes while it is read is read in part.
    pub allow_dirty: bool,
    /// Images that were found to be damaged are read.
    pub allow_corrupt: bool,
    /// Images with a data file are read.
    pub allow_data_file: bool,
    /// The format of backing files whose image does not say it. Default: none, an error.
    pub backing_format: Option<Format>,
    /// Bytes of tables kept in memory, for all files of the chain together. Default 4 MiB.
    pub table_memory: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            files_max: 256,
            size_max: u64::MAX,
            allow_dirty: false,
            allow_corrupt: false,
            allow_data_file: false,
            backing_format: None,
            table_memory: 4 << 20,
        }
    }
}

/// A file that an image needs, as the image names it.
///
/// The name is the image's word, and images come from anywhere: it is for looking up in what
/// belongs to the image, not for opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reference<'a> {
    /// The file that has what an image does not.
    Backing {
        /// The depth of the image that names it: 0 for the one that is opened.
        depth: usize,
        /// The name.
        name: &'a [u8],
        /// The format.
        format: Format,
    },
    /// The file that has an image's data.
    DataFile {
        /// The depth of the image that names it: 0 for the one that is opened.
        depth: usize,
        /// The name, if the image has one.
        name: Option<&'a [u8]>,
    },
}

impl<'a> Reference<'a> {
    fn name(self) -> Option<&'a [u8]> {
        match self {
            Self::Backing { name, .. } => Some(name),
            Self::DataFile { name, .. } => name,
        }
    }

    fn depth(self) -> usize {
        match self {
            Self::Backing { depth, .. } | Self::DataFile { depth, .. } => depth,
        }
    }

    /// Asks for the file.
    fn resolve<R>(
        self,
        resolve: &mut impl FnMut(Reference<'_>) -> io::Result<Option<R>>,
    ) -> Result<R, OpenError> {
        let (depth, name) = (self.depth(), self.name());
        match resolve(self) {
            Ok(Some(storage)) => Ok(storage),
            Ok(None) => Err(OpenError::NotGiven {
                depth,
                name: name.map(<[u8]>::to_vec),
            }),
            Err(source) => Err(OpenError::Resolve {
                depth,
                name: name.map(<[u8]>::to_vec),
                source,
            }),
        }
    }
}

impl OpenOptions {
    /// Opens an image and its chain.
    pub(super) fn chain<R: ReadAt>(
        &self,
        image: R,
        mut resolve: impl FnMut(Reference<'_>) -> io::Result<Option<R>>,
    ) -> Result<Chain<R>, OpenError> {
        let mut members = Vec::new();
        let mut next = Some((image, Format::Qcow2));
        while let Some((storage, format)) = next {
            let depth = members.len();
            if depth >= self.files_max {
                return Err(OpenError::TooDeep {
                    max: self.files_max,
                });
            }
            let member = match format {
                Format::Raw => {
                    next = None;
                    raw(depth, storage)?
                }
                Format::Qcow2 => {
                    let member = self.qcow2(depth, storage, &mut resolve)?;
                    let backing = self.backing(depth, &member.header)?;
                    next = match backing {
                        Some((format, reference)) => {
                            Some((reference.resolve(&mut resolve)?, format))
                        }
                        None => None,
                    };
                    Member::Qcow2(Box::new(member))
                }
            };
            members.push(member);
        }
        Ok(Chain {
            members,
            pages: Pages::new(self.table_memory),
            inflated: Inflated::default(),
        })
    }

    fn qcow2<R: ReadAt>(
        &self,
        depth: usize,
        storage: R,
        resolve: &mut impl FnMut(Reference<'_>) -> io::Result<Option<R>>,
    ) -> Result<Qcow2Member<R>, OpenError> {
        let header =
            Header::read(&storage).map_err(|source| OpenError::Header { depth, source })?;
        if header.is_corrupt && !self.allow_corrupt {
            return Err(OpenError::Corrupt { depth });
        }
        if header.is_dirty && !self.allow_dirty {
            return Err(OpenError::Dirty { depth });
        }
        if header.virtual_size > self.size_max {
            return Err(OpenError::TooLarge {
                depth,
                found: header.virtual_size,
                max: self.size_max,
            });
        }
        let data = match &header.data_file {
            None => None,
            Some(file) if !self.allow_data_file => {
                return Err(OpenError::DataFile {
                    depth,
                    name: file.name.clone(),
                });
            }
            Some(file) => {
                let name = file.name.as_deref();
                Some(Reference::DataFile { depth, name }.resolve(resolve)?)
            }
        };
        Qcow2Member::open(depth, header, storage, data)
    }

    fn backing<'a>(
        &self,
        depth: usize,
        header: &'a Header,
    ) -> Result<Option<(Format, Reference<'a>)>, OpenError> {
        let Some(backing) = &header.backing else {
            return Ok(None);
        };
        let name = &backing.name[..];
        let format = match &backing.format {
            Some(format) => Format::from_name(format).ok_or_else(|| OpenError::BackingFormat {
                depth,
                name: name.to_vec(),
                format: format.clone(),
            })?,
            None => self
                .backing_format
                .ok_or_else(|| OpenError::NoBackingFormat {
                    depth,
                    name: name.to_vec(),
                })?,
        };
        let reference = Reference::Backing {
            depth,
            name,
            format,
        };
        Ok(Some((format, reference)))
    }
}

fn raw<R: ReadAt>(depth: usize, storage: R) -> Result<Member<R>, OpenError> {
    let size = storage.size().map_err(|source| OpenError::Io {
        depth,
        offset: 0,
        source,
    })?;
    Ok(Member::Raw { storage, size })
}
