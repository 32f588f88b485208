//! A filesystem image being read, of whichever kind.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::Checked;
use lithify_tree::{
    ContentId, ContentSink, DataSegment, Entry, EntryKind, LayerEntries, Merge, Metadata, Tree,
};

use super::kind::Kind;
use crate::error::{ArtifactError, LayerError};
use crate::fs::disk::Extents;
use crate::image::SparseRead;
use crate::image::copy_data;
use crate::name::shown_path;
use crate::{CancelToken, Error};

/// What an image is read from, as long as the work goes on.
pub(crate) type Source = Checked<Arc<Extents>>;

/// An opened image file.
#[derive(Debug)]
pub(crate) struct FsImage {
    pub(crate) path: PathBuf,
    pub(crate) opened: Opened,
    kind: Kind,
    bytes: Bytes,
    /// Stops whatever is read.
    cancel: CancelToken,
}

/// Where the bytes of an image are.
#[derive(Clone, Debug)]
struct Bytes {
    image: Arc<Extents>,
    /// The images it refers to, if they are not behind it.
    devices: Option<Vec<Arc<Extents>>>,
}

#[derive(Debug)]
pub(crate) enum Opened {
    Erofs(Box<lithify_erofs::Image<Source>>),
    Squashfs(Box<lithify_squashfs::Image<Source>>),
}

impl FsImage {
    /// Opens an image file of either filesystem, told by its first bytes, to be read as long as the work goes on.
    pub(crate) fn open_any(path: &Path, file: File, cancel: &CancelToken) -> Result<Self, Error> {
        let mut magic = [0; 4];
        let kind = match file.read_exact_at(&mut magic, 0) {
            Ok(()) if &magic == b"hsqs" => Kind::Squashfs,
            Ok(()) => Kind::Erofs,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Kind::Erofs,
            Err(e) => return Err(Error::input(path, e)),
        };
        Self::open(path, file, kind, cancel)
    }

    /// Opens an image that is read as long as the work goes on.
    pub(crate) fn open(
        path: &Path,
        file: impl Into<Extents>,
        kind: Kind,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let bytes = Bytes {
            image: Arc::new(file.into()),
            devices: None,
        };
        Self::of_bytes(path, bytes, kind, cancel)
    }

    /// Opens an EROFS image and the images it refers to, which are read as long as the work goes on.
    pub(crate) fn open_with_devices(
        path: &Path,
        image: Extents,
        devices: Vec<Extents>,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let bytes = Bytes {
            image: Arc::new(image),
            devices: Some(devices.into_iter().map(Arc::new).collect()),
        };
        Self::of_bytes(path, bytes, Kind::Erofs, cancel)
    }

    /// The same image, read as long as other work goes on.
    pub(crate) fn until(&self, cancel: &CancelToken) -> Result<Self, Error> {
        Self::of_bytes(&self.path, self.bytes.clone(), self.kind, cancel)
    }

    fn of_bytes(
        path: &Path,
        bytes: Bytes,
        kind: Kind,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let checked = |bytes: &Arc<Extents>| Checked::new(Arc::clone(bytes), cancel);
        let source = checked(&bytes.image);
        let erofs = |image| Opened::Erofs(Box::new(image));
        let opened = match (kind, &bytes.devices) {
            (Kind::Erofs, None) => lithify_erofs::Image::open(source)
                .map(erofs)
                .map_err(Error::from),
            (Kind::Erofs, Some(devices)) => {
                let devices = devices.iter().map(checked).collect();
                lithify_erofs::Image::open_with_devices(source, devices)
                    .map(erofs)
                    .map_err(Error::from)
            }
            (Kind::Squashfs, _) => lithify_squashfs::Image::open(source)
                .map(|image| Opened::Squashfs(Box::new(image)))
                .map_err(Error::from),
        };
        Ok(Self {
            path: path.to_path_buf(),
            opened: opened.map_err(|e| e.in_file(path))?,
            kind,
            bytes,
            cancel: cancel.clone(),
        })
    }

    /// All names with their metadata, depth first.
    pub(crate) fn for_each_entry(
        &self,
        mut each: impl FnMut(Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match &self.opened {
            Opened::Erofs(image) => {
                for entry in image.entries() {
                    each(entry.map_err(|e| self.failed(e))?.0)?;
                }
            }
            Opened::Squashfs(image) => {
                for entry in image.entries() {
                    each(entry.map_err(|e| self.failed(e))?.0)?;
                }
            }
        }
        Ok(())
    }

    /// An error of a reader, with the file it is about.
    pub(crate) fn failed(&self, error: impl Into<Error>) -> Error {
        error.into().in_file(&self.path)
    }

    /// The names and metadata as a tree.
    pub(crate) fn tree(&self) -> Result<Tree, Error> {
        let mut layer = LayerEntries::new();
        self.for_each_entry(|entry| {
            Ok(layer.push(&entry, None).map_err(LayerError::TooManyNames)?)
        })?;
        let mut merge = Merge::new().until(&self.cancel);
        merge.apply(layer).map_err(|source| LayerError::Tree {
            name: shown_path(&self.path),
            source,
        })?;
        Ok(merge.finish())
    }

    /// What the root directory's inode says.
    pub(crate) fn root_metadata(&self) -> Result<Metadata, Error> {
        let root = lithify_tree::TreePath::root();
        let restored = match &self.opened {
            Opened::Erofs(image) => {
                let inode = image.root().map_err(|e| self.failed(e))?;
                image
                    .overlay_entry(root, &inode)
                    .map_err(|e| self.failed(e))?
            }
            Opened::Squashfs(image) => {
                let inode = image.root().map_err(|e| self.failed(e))?;
                image
                    .overlay_entry(root, &inode)
                    .map_err(|e| self.failed(e))?
            }
        };
        Ok(restored.entry.metadata)
    }

    /// All entries of an overlay layer as a layer of an image has them. The root directory's own only comes with
    /// `describes_root`.
    fn for_each_layer_entry(
        &self,
        describes_root: bool,
        mut each: impl FnMut(Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match &self.opened {
            Opened::Erofs(image) => {
                for entry in image.overlay_entries(describes_root) {
                    each(entry.map_err(|e| self.failed(e))?.0)?;
                }
            }
            Opened::Squashfs(image) => {
                for entry in image.overlay_entries(describes_root) {
                    each(entry.map_err(|e| self.failed(e))?.0)?;
                }
            }
        }
        Ok(())
    }

    /// An overlay layer as a layer of an image. Contents are numbered in the order of their files.
    pub(crate) fn layer_entries(
        &self,
        index: usize,
        describes_root: bool,
    ) -> Result<LayerEntries, Error> {
        let mut layer = LayerEntries::new();
        let mut contents = 0;
        self.for_each_layer_entry(describes_root, |entry| {
            let is_file = matches!(entry.kind, EntryKind::File { .. });
            layer
                .push(&entry, is_file.then_some(ContentId(contents)))
                .map_err(|source| Error::from(LayerError::LayerFull { index, source }))?;
            contents += u32::from(is_file);
            Ok(())
        })?;
        Ok(layer)
    }

    /// The path of the file whose content has that number.
    pub(crate) fn content_path(&self, content: u32) -> Result<Option<Vec<u8>>, Error> {
        let mut found = None;
        self.for_each_content(|id, path| {
            if id == content {
                found = Some(path.to_vec());
            }
        })?;
        Ok(found)
    }

    /// The paths of all files, by the numbers of their contents.
    pub(crate) fn for_each_content(&self, mut each: impl FnMut(u32, &[u8])) -> Result<(), Error> {
        let mut contents = 0;
        self.for_each_layer_entry(true, |entry| {
            if matches!(entry.kind, EntryKind::File { .. }) {
                each(contents, entry.path.as_bytes());
                contents += 1;
            }
            Ok(())
        })
    }

    /// Copies the data of a file into a sink, holes as holes.
    pub(crate) fn copy_content<S: ContentSink>(
        &self,
        path: &[u8],
        sink: &mut S,
        sink_error: impl Fn(S::Error) -> Error + Copy,
    ) -> Result<ContentId, Error> {
        let missing = || {
            Error::from(ArtifactError::NotInImage {
                path: lithify_tree::Escaped(path).to_string(),
            })
        };
        let reader: Box<dyn SparseRead + '_>;
        let (size, segments): (u64, Option<Vec<DataSegment>>);
        match &self.opened {
            Opened::Erofs(image) => {
                let inode = image.lookup(path).map_err(|e| self.failed(e))?;
                let inode = inode.ok_or_else(missing)?;
                let found = image.segments(&inode).map_err(|e| self.failed(e))?;
                (size, segments) = (inode.size(), found);
                reader = Box::new(image.reader(&inode));
            }
            Opened::Squashfs(image) => {
                let inode = image.lookup(path).map_err(|e| self.failed(e))?;
                let inode = inode.ok_or_else(missing)?;
                let found = image.segments(&inode).map_err(|e| self.failed(e))?;
                (size, segments) = (inode.size(), found);
                reader = Box::new(image.reader(&inode).map_err(|e| self.failed(e))?);
            }
        }
        copy_data(
            &mut Checked::new(reader, &self.cancel),
            size,
            segments.as_deref(),
            &mut vec![0; 1 << 20],
            sink,
            |e| Error::input(&self.path, e),
            sink_error,
        )
    }
}
