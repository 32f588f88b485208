//! The old image, as files.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lithify_delta::apply::{SourceError, Sources};
use lithify_delta::create::{OldFile, OldFiles};
use lithify_oci::source::Source;
use lithify_storage::{Beneath, BeneathError, ReadAt};
use lithify_tree::{ContentId, InodeKind, NodeId, TreePath};

use crate::Error;
use crate::image::{Image, Merged};
use crate::session::Session;

/// The files of an old image, for who applies a delta.
pub(super) enum Base {
    /// A directory. No symbolic link in it is followed.
    Directory(Beneath),
    /// The merged layers of an image.
    Merged(Arc<Merged>),
}

impl Base {
    /// Opens an image or a file tree.
    pub(super) fn open(name: &OsStr, session: &Session) -> Result<Self, Error> {
        if let Ok(Source::Rootfs(path)) = Source::parse(name) {
            let opened = Beneath::open(&path).map_err(|e| Error::input(&path, e))?;
            return Ok(Self::Directory(opened));
        }
        Ok(Self::Merged(merged(name, session)?))
    }
}

/// Reads an image, with its data in a scratch file.
pub(super) fn merged(name: &OsStr, session: &Session) -> Result<Arc<Merged>, Error> {
    let image = Image::open(name, session)?;
    Ok(Arc::new(Merged::of(&image, None, session)?))
}

impl Sources for Base {
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        match self {
            Self::Directory(directory) => {
                let path =
                    std::str::from_utf8(path.as_bytes()).map_err(|_| SourceError::Missing)?;
                match directory.file(Path::new(path)) {
                    Ok(file) => Ok(Box::new(file)),
                    Err(e) if e.is_not_found() => Err(SourceError::Missing),
                    Err(BeneathError::Io(e)) => Err(e.into()),
                    Err(_) => Err(SourceError::NotAFile),
                }
            }
            Self::Merged(merged) => {
                let node = merged.tree.lookup(path).ok_or(SourceError::Missing)?;
                let InodeKind::File { size, content } = merged.tree.node_inode(node).kind else {
                    return Err(SourceError::NotAFile);
                };
                let merged = Arc::clone(merged);
                Ok(Box::new(MergedFile {
                    merged,
                    content,
                    size,
                }))
            }
        }
    }
}

/// A file of an image's merged layers.
struct MergedFile {
    merged: Arc<Merged>,
    /// Its content; an empty file has none.
    content: Option<ContentId>,
    size: u64,
}

impl ReadAt for MergedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.content {
            Some(content) => {
                let spooled = &self.merged.spooled;
                spooled.read_exact_at(spooled.content(content), buffer, offset)
            }
            None if buffer.is_empty() => Ok(()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

/// The files of an old image, for who creates a delta.
pub(super) struct Old {
    merged: Arc<Merged>,
    nodes: Vec<NodeId>,
}

impl Old {
    /// Takes the files that whoever applies the delta may read: regular ones, without holes, which everybody may read. Of a file with
    /// several names it takes the first.
    pub(super) fn of(merged: &Arc<Merged>) -> Result<(Self, Vec<OldFile>), Error> {
        let tree = &merged.tree;
        let mut seen = vec![false; tree.inode_count()];
        let (mut nodes, mut files) = (Vec::new(), Vec::new());
        for node in tree.walk() {
            let id = tree.inode_id(node);
            if std::mem::replace(&mut seen[id.index()], true) {
                continue;
            }
            let inode = tree.inode(id);
            let InodeKind::File {
                size,
                content: Some(content),
            } = inode.kind
            else {
                continue;
            };
            let has_holes = merged.spooled.content(content).segments.is_some();
            if has_holes || inode.mode & READ_BY_ALL == 0 {
                continue;
            }
            let path = TreePath::clean(&tree.path(node)).map_err(Error::tar_path)?;
            files.push(OldFile { path, size });
            nodes.push(node);
        }
        let merged = Arc::clone(merged);
        Ok((Self { merged, nodes }, files))
    }
}

/// The bit of a mode that lets everybody read.
const READ_BY_ALL: u16 = 0o004;

impl OldFiles for Old {
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let InodeKind::File {
            content: Some(content),
            ..
        } = self.merged.tree.node_inode(self.nodes[file]).kind
        else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let spooled = &self.merged.spooled;
        spooled.read_exact_at(spooled.content(content), buffer, offset)
    }
}
