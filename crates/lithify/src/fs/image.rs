//! A filesystem image being read, of whichever kind.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::Checked;
use lithify_oci::source::PathKind;
use lithify_storage::{ReadAt as _, open_regular};
use lithify_tree::{ContentId, ContentSink, Entry, EntryKind, LayerEntries, Merge, Metadata, Tree};

use super::disk::{self, Extents};
use super::format::{ImageReader, OpenedFile, Source};
use super::kind::{HEAD, Kind};
use crate::error::{ArtifactError, LayerError};
use crate::image::copy_data;
use crate::name::shown_path;
use crate::{CancelToken, Error};

/// Bytes copied at once.
const BUFFER: usize = 1 << 20;

/// An opened image file.
#[derive(Debug)]
pub(crate) struct FsImage {
    pub(crate) path: PathBuf,
    pub(super) opened: Box<dyn ImageReader>,
    pub(crate) kind: Kind,
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

impl FsImage {
    /// Opens an image file of any filesystem, told by its first bytes, to be read as long as the work goes on.
    pub(crate) fn open_any(
        path: &Path,
        file: impl Into<Extents>,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let image = file.into();
        let kind = kind_of(&image).map_err(|e| Error::input(path, e))?;
        Self::open(path, image, kind, cancel)
    }

    /// Opens the filesystem of a kind in a file: the whole of it, or the only one in its partitions.
    pub(crate) fn open_volume(
        path: &Path,
        kind: Kind,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let file = open_artifact(path)?;
        if PathKind::of(path) != PathKind::Gpt {
            return Self::open(path, file, kind, cancel);
        }
        let mut found = Vec::new();
        for partition in disk::partitions(path, &file)? {
            if kind_of(&partition).map_err(|e| Error::input(path, e))? == kind {
                found.push(partition);
            }
        }
        match (found.pop(), found.len()) {
            (Some(only), 0) => Self::open(path, only, kind, cancel),
            (_, others) => Err(Error::from(ArtifactError::Partitions {
                path: path.to_path_buf(),
                kind: kind.name(),
                found: others,
            })),
        }
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
        let devices = bytes.devices.as_ref();
        let devices = devices.map(|devices| devices.iter().map(checked).collect());
        let opened = kind
            .format()
            .and_then(|format| format.open(source, devices));
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
        for entry in self.opened.entries() {
            each(entry.map_err(|e| self.failed(e))?)?;
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
        self.opened.root_metadata().map_err(|e| self.failed(e))
    }

    /// All entries of an overlay layer as a layer of an image has them. The root directory's own only comes with
    /// `describes_root`.
    fn for_each_layer_entry(
        &self,
        describes_root: bool,
        mut each: impl FnMut(Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for entry in self.opened.layer_entries(describes_root) {
            each(entry.map_err(|e| self.failed(e))?)?;
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

    /// Returns the image if it is an EROFS image.
    pub(crate) fn as_erofs(&self) -> Option<&lithify_erofs::Image<Source>> {
        self.opened.as_erofs()
    }

    /// Returns the numbers its superblock says.
    pub(crate) fn statistics(&self) -> Vec<(&'static str, u64)> {
        self.opened.statistics()
    }

    /// Returns the data of a file; symbolic links on the way are not followed. `None` if nothing is there.
    pub(crate) fn read(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.opened.read(path).map_err(|e| self.failed(e))
    }

    /// Opens a file; symbolic links on the way are not followed.
    pub(crate) fn file(&self, path: &[u8]) -> Result<OpenedFile<'_>, Error> {
        let file = self.opened.file(path).map_err(|e| self.failed(e))?;
        file.ok_or_else(|| {
            Error::from(ArtifactError::NotInImage {
                path: lithify_tree::Escaped(path).to_string(),
            })
        })
    }

    /// Copies the data of a file into a sink, holes as holes. The buffer serves for the next file too.
    pub(crate) fn copy_content<S: ContentSink>(
        &self,
        path: &[u8],
        buffer: &mut Vec<u8>,
        sink: &mut S,
        sink_error: impl Fn(S::Error) -> Error,
    ) -> Result<ContentId, Error> {
        let OpenedFile {
            size,
            segments,
            reader,
        } = self.file(path)?;
        buffer.resize(BUFFER, 0);
        copy_data(
            &mut Checked::new(reader, &self.cancel),
            size,
            segments.as_deref(),
            buffer,
            sink,
            |e| Error::input(&self.path, e),
            sink_error,
        )
    }
}

/// Tells the kind of an image by its first bytes.
fn kind_of(image: &Extents) -> io::Result<Kind> {
    let mut head = [0; HEAD];
    let length = image.size()?.min(HEAD as u64) as usize;
    image.read_exact_at(&mut head[..length], 0)?;
    Ok(Kind::of_head(&head[..length]))
}

/// Opens what may be an image. A device may be one; what could keep the opener waiting, such as a pipe, is not opened.
pub(crate) fn open_artifact(path: &Path) -> Result<File, Error> {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = path.metadata().map_err(|e| Error::input(path, e))?;
    if kind.is_dir() || kind.file_type().is_block_device() {
        return File::open(path).map_err(|e| Error::input(path, e));
    }
    open_regular(path).map_err(|e| Error::input(path, e.into()))
}
