//! A filesystem image being read, of whichever kind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::Checked;
use lithify_oci::source::PathKind;
use lithify_storage::open_regular;
use lithify_tree::{ContentId, ContentSink, Entry, EntryKind, LayerEntries, Merge, Metadata, Tree};

use super::disk::{self, Extents};
use super::format::{ImageReader, Source};
use super::kind::Kind;
use crate::error::{ArtifactError, LayerError};
use crate::image::{EachPlaced, OpenedFile, TreeImage, copy_data};
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
    /// Whether an empty `lost+found` is part of its tree.
    pub(crate) keeps_lost_and_found: bool,
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
        let kind = image.kind().map_err(|e| Error::input(path, e))?;
        // What is none is left to the reader of EROFS, which says so.
        Self::open(path, image, kind.unwrap_or(Kind::Erofs), cancel)
    }

    /// Opens the filesystem of a kind in a file: the whole of it, what a VMDK describes, or the only one in its partitions.
    pub(crate) fn open_volume(
        path: &Path,
        kind: Kind,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let file = open_artifact(path)?;
        match PathKind::of(path) {
            PathKind::Vmdk => {
                let disk = disk::open_vmdk(path, &file)?;
                Self::open(path, disk.image, kind, cancel)
            }
            PathKind::Gpt => {
                let disk = disk::open_gpt(path, &file)?;
                match disk.image.kind().map_err(|e| Error::input(path, e))? {
                    Some(found) if found == kind => Self::open(path, disk.image, kind, cancel),
                    _ => Err(Error::from(ArtifactError::Partitions {
                        path: path.to_path_buf(),
                        kind: kind.name(),
                        found: 0,
                    })),
                }
            }
            _ => Self::open(path, file, kind, cancel),
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
        let mut same = Self::of_bytes(&self.path, self.bytes.clone(), self.kind, cancel)?;
        same.keeps_lost_and_found = self.keeps_lost_and_found;
        Ok(same)
    }

    /// Gives a tree the times and attributes it would have in this image.
    pub(crate) fn store_as_here(&self, tree: &mut Tree) -> Result<(), Error> {
        tree.map_times(|time| self.opened.stored_time(time));
        let format = self.kind.format()?;
        tree.map_xattrs(|_, set| {
            let unsupported = format.unsupported_xattrs(set);
            let mut left = (!unsupported.is_empty()).then(|| set.clone())?;
            for name in unsupported {
                left.remove(name);
            }
            Some(left)
        });
        Ok(())
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
            keeps_lost_and_found: false,
            cancel: cancel.clone(),
        })
    }

    /// All names with their metadata, depth first.
    pub(crate) fn for_each_entry(
        &self,
        mut each: impl FnMut(Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.for_each_placed(|entry, _| each(entry))
    }

    /// Likewise, with the places of their inodes, by which [`open_at`](Self::open_at) finds files without looking for their names.
    pub(crate) fn for_each_placed(
        &self,
        mut each: impl FnMut(Entry, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for entry in self.opened.entries() {
            let (entry, place) = entry.map_err(|e| self.failed(e))?;
            each(entry, place)?;
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

    /// Opens the file whose inode is in a place.
    pub(crate) fn open_at(&self, place: u64) -> Result<OpenedFile<'_>, Error> {
        self.opened.file_at(place).map_err(|e| self.failed(e))
    }

    /// Opens a file; symbolic links on the way are not followed.
    pub(crate) fn open_file(&self, path: &[u8]) -> Result<OpenedFile<'_>, Error> {
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
        } = self.open_file(path)?;
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

impl TreeImage for FsImage {
    fn path(&self) -> &Path {
        &self.path
    }

    fn kind_name(&self) -> &'static str {
        self.kind.name()
    }

    fn leaves_lost_and_found_out(&self) -> bool {
        self.kind.is_volume() && !self.keeps_lost_and_found
    }

    fn same_until(&self, cancel: &CancelToken) -> Result<Box<dyn TreeImage>, Error> {
        Ok(Box::new(self.until(cancel)?))
    }

    fn give_entries(&self, each: &mut EachPlaced<'_>) -> Result<(), Error> {
        self.for_each_placed(each)
    }

    fn open_place(&self, place: u64) -> Result<OpenedFile<'_>, Error> {
        self.open_at(place)
    }
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
