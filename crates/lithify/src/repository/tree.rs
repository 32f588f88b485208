//! The filesystem of a composefs image, with its files out of the repository.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::CancelToken;
use lithify_composefs::repository::{ObjectError, Repository};
use lithify_composefs::{Content, Filesystem, Source, image};
use lithify_tree::{InodeId, InodeKind, NodeId};
use lithify_verity::file::{FileDigest, FileHasher, FileOptions};

use crate::Error;
use crate::error::ComposefsError;
use crate::image::{EachPlaced, OpenedFile, SparseRead, TreeImage};

/// An image of a repository, whose files are compared with their digests as they are read.
#[derive(Clone, Debug)]
pub(crate) struct TreeInRepository {
    repository: Arc<Repository>,
    path: PathBuf,
    filesystem: Arc<Filesystem>,
}

impl TreeInRepository {
    /// Opens an image by its id, and compares it with that.
    pub(crate) fn open(
        repository: Arc<Repository>,
        id: FileDigest,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let path = repository.path().join("images").join(id.hex());
        let failed = |e| Error::in_repository(repository.path(), e);
        let file = repository.open_checked_image(&id).map_err(failed)?;
        let filesystem = image::read(file, cancel).map_err(|source| ComposefsError::Image {
            path: path.clone(),
            source: Box::new(source),
        })?;
        Ok(Self {
            repository,
            path,
            filesystem: Arc::new(filesystem),
        })
    }

    fn content(&self, inode: InodeId) -> (u64, Option<Content<'_>>) {
        match self.filesystem.tree().inode(inode).kind {
            InodeKind::File { size, content } => {
                let content = content.map(|id| self.filesystem.content(id));
                (size, content.filter(|_| size > 0))
            }
            _ => (0, None),
        }
    }

    /// Opens an object of so many bytes.
    fn object(&self, id: FileDigest, size: u64) -> Result<OpenedFile<'_>, Error> {
        let failed = |e: ObjectError| Error::in_repository(self.repository.path(), e);
        let file = self.repository.open_object(&id).map_err(failed)?;
        let found = file.metadata().map_err(|e| failed(e.into()))?.len();
        let options = FileOptions::new(id.algorithm());
        let hasher = FileHasher::new(&options).map_err(|e| failed(e.into()))?;
        if found != size {
            return Err(ComposefsError::ObjectSize {
                path: self.repository.path().to_path_buf(),
                id: Box::new(id),
                expected: size,
                found,
            }
            .into());
        }
        let segments = lithify_hostfs::segments(file.as_fd(), size, self.repository.cancel());
        let segments = segments.map_err(|e| failed(e.into()))?;
        let data_end = match &segments {
            Some(segments) => segments.last().map_or(0, |s| s.offset + s.length),
            None => size,
        };
        let mut reader = ObjectReader {
            file,
            id,
            size,
            data_end,
            at: 0,
            hasher: Some(hasher),
        };
        if data_end == 0 {
            reader.verify().map_err(|e| failed(ObjectError::Io(e)))?;
        }
        Ok(OpenedFile {
            size,
            segments,
            reader: Box::new(reader),
        })
    }
}

impl TreeImage for TreeInRepository {
    fn path(&self) -> &Path {
        &self.path
    }

    fn kind_name(&self) -> &'static str {
        "composefs"
    }

    fn leaves_lost_and_found_out(&self) -> bool {
        false
    }

    fn same_until(&self, _: &CancelToken) -> Result<Box<dyn TreeImage>, Error> {
        // All of the metadata was read; whoever reads data asks.
        Ok(Box::new(self.clone()))
    }

    fn give_entries(&self, each: &mut EachPlaced<'_>) -> Result<(), Error> {
        let tree = self.filesystem.tree();
        let mut firsts: HashMap<InodeId, NodeId> = HashMap::new();
        for node in tree.walk() {
            let id = tree.inode_id(node);
            let inode = tree.inode(id);
            let first = firsts.get(&id).copied();
            if inode.nlink > 1 && !inode.kind.is_directory() {
                firsts.entry(id).or_insert(node);
            }
            let entry = tree.entry(node, first).map_err(Error::tar_path)?;
            each(entry, id.index() as u64)?;
        }
        Ok(())
    }

    fn open_place(&self, place: u64) -> Result<OpenedFile<'_>, Error> {
        let inode = usize::try_from(place).ok();
        let inode = inode.and_then(|index| self.filesystem.tree().inode_at(index));
        let (size, content) = inode.map_or((0, None), |inode| self.content(inode));
        match content {
            Some(Content::Object(id)) => self.object(id, size),
            Some(Content::Inline(bytes)) => Ok(OpenedFile {
                size,
                segments: None,
                reader: Box::new(Cursor::new(bytes.into_owned())),
            }),
            None => Ok(OpenedFile {
                size: 0,
                segments: None,
                reader: Box::new(Cursor::new(Vec::new())),
            }),
            Some(_) => Err(ComposefsError::NoObject {
                path: self.path.clone(),
            }
            .into()),
        }
    }
}

impl SparseRead for Cursor<Vec<u8>> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.set_position(self.position().saturating_add(bytes));
        Ok(())
    }
}

/// An object that is read: at the end of its data it is compared with its name.
struct ObjectReader {
    file: File,
    id: FileDigest,
    size: u64,
    data_end: u64,
    at: u64,
    /// Until it was compared.
    hasher: Option<FileHasher>,
}

impl ObjectReader {
    fn verify(&mut self) -> io::Result<()> {
        let Some(mut hasher) = self.hasher.take() else {
            return Ok(());
        };
        hasher.zeros(self.size - self.at);
        let found = hasher.finish();
        match found == self.id {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                ObjectError::Damaged {
                    expected: Box::new(self.id),
                    found: Box::new(found),
                },
            )),
        }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.data_end - self.at).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        self.at += read as u64;
        if self.at == self.data_end {
            self.verify()?;
        }
        Ok(read)
    }
}

impl SparseRead for ObjectReader {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.zeros(bytes);
        }
        self.at += bytes;
        Ok(())
    }
}
