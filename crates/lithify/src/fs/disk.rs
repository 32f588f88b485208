//! Disks for virtual machines as they are: the images on them, wherever they lie.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_disk::ReadAt;
use lithify_disk::gpt::Table;
use lithify_disk::vmdk::{Descriptor, PathRule};
use lithify_storage::Beneath;

use super::kind::{HEAD, Kind};
use crate::Error;
use crate::error::ArtifactError;

/// Longest VMDK descriptor read, in bytes; the parser's own limit is lower.
const DESCRIPTOR_MAX: u64 = 64 << 20;

/// Stretches of files, one behind the other.
#[derive(Debug)]
pub(crate) struct Extents {
    extents: Vec<Extent>,
    size: u64,
}

#[derive(Debug)]
struct Extent {
    /// Where it starts in the whole.
    start: u64,
    file: Arc<File>,
    /// Where it starts in the file.
    offset: u64,
    /// The length; `None` is up to the end of the file, of the only extent.
    length: Option<u64>,
}

impl From<File> for Extents {
    fn from(file: File) -> Self {
        Self {
            extents: vec![Extent {
                start: 0,
                file: Arc::new(file),
                offset: 0,
                length: None,
            }],
            size: 0,
        }
    }
}

impl Extents {
    /// Tells what filesystem the first bytes are of.
    pub(super) fn kind(&self) -> io::Result<Option<Kind>> {
        let mut head = [0; HEAD];
        let length = self.size()?.min(HEAD as u64) as usize;
        self.read_exact_at(&mut head[..length], 0)?;
        Ok(Kind::of_head(&head[..length]))
    }

    fn new<'a>(places: impl IntoIterator<Item = &'a Place>) -> Self {
        let mut whole = Self {
            extents: Vec::new(),
            size: 0,
        };
        for place in places {
            whole.extents.push(Extent {
                start: whole.size,
                file: Arc::clone(&place.file),
                offset: place.offset,
                length: Some(place.length),
            });
            whole.size += place.length;
        }
        whole
    }
}

impl ReadAt for Extents {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        if let [
            Extent {
                file, length: None, ..
            },
        ] = &self.extents[..]
        {
            return ReadAt::read_exact_at(&**file, buffer, offset);
        }
        while !buffer.is_empty() {
            let behind = self.extents.partition_point(|e| e.start <= offset);
            let found = behind.checked_sub(1).map(|at| &self.extents[at]);
            let Some((extent, inside, left)) = found.and_then(|extent| {
                let inside = offset - extent.start;
                let left = extent
                    .length?
                    .checked_sub(inside)
                    .filter(|&left| left > 0)?;
                Some((extent, inside, left))
            }) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let n = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let (now, later) = buffer.split_at_mut(n);
            ReadAt::read_exact_at(&*extent.file, now, extent.offset + inside)?;
            (buffer, offset) = (later, offset + n as u64);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        match &self.extents[..] {
            [
                Extent {
                    file, length: None, ..
                },
            ] => ReadAt::size(&**file),
            _ => Ok(self.size),
        }
    }
}

/// An image on a disk: a stretch of a file.
#[derive(Debug)]
pub(crate) struct Place {
    #[cfg_attr(not(feature = "mount"), expect(dead_code, reason = "for mounts"))]
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The disk of a layered build.
#[derive(Debug)]
pub(crate) struct OpenedDisk {
    /// Where the images are: the merged one, then the layers, bottom first.
    pub(crate) places: Vec<Place>,
    /// The merged image; with everything behind it, unless there are devices.
    pub(crate) image: Extents,
    /// The layers' images.
    pub(crate) devices: Option<Vec<Extents>>,
}

/// Opens what a VMDK descriptor lists: files below its directory, the whole of each.
pub(crate) fn open_vmdk(path: &Path, file: &File) -> Result<OpenedDisk, Error> {
    let text = read_descriptor(path, file)?;
    let descriptor = Descriptor::parse(&text, PathRule::Below).map_err(|source| {
        Error::from(ArtifactError::VmdkText {
            path: path.to_path_buf(),
            source: Box::new(source),
        })
    })?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beneath = Beneath::open(directory).map_err(|e| Error::input(directory, e))?;
    let mut files = BTreeMap::new();
    descriptor
        .check(|name| {
            let file = beneath.file(name)?;
            let size = file.metadata()?.len();
            files.insert(name.to_owned(), Arc::new(file));
            Ok(size)
        })
        .map_err(|source| {
            Error::from(ArtifactError::VmdkFiles {
                path: path.to_path_buf(),
                source: Box::new(source),
            })
        })?;
    let places: Vec<Place> = descriptor
        .runs()
        .into_iter()
        .map(|run| Place {
            file: Arc::clone(&files[&run.path]),
            path: directory.join(run.path),
            offset: run.offset,
            length: run.length,
        })
        .collect();
    // One behind the other, which is where the merged image looks for them.
    let image = Extents::new(&places);
    Ok(OpenedDisk {
        places,
        image,
        devices: None,
    })
}

/// Opens the images in the partitions of a disk: those of a layered build, or the only filesystem to be written to.
pub(crate) fn open_gpt(path: &Path, file: &File) -> Result<OpenedDisk, Error> {
    let places = places(path, file)?;
    let mut images: Vec<Extents> = places.iter().map(|place| Extents::new([place])).collect();
    let kinds: Result<Vec<Option<Kind>>, io::Error> = images.iter().map(Extents::kind).collect();
    let kinds = kinds.map_err(|e| Error::input(path, e))?;
    if kinds.first() != Some(&Some(Kind::Erofs)) {
        let is_volume = |kind: &&Option<Kind>| kind.is_some_and(Kind::is_volume);
        let found = kinds.iter().filter(is_volume).count();
        let at = kinds.iter().position(|kind| is_volume(&kind));
        match at {
            Some(at) if found == 1 => {
                return Ok(OpenedDisk {
                    places: places.into_iter().skip(at).take(1).collect(),
                    image: images.swap_remove(at),
                    devices: None,
                });
            }
            Some(at) => {
                return Err(Error::from(ArtifactError::Partitions {
                    path: path.to_path_buf(),
                    kind: kinds[at].map_or("", Kind::name),
                    found,
                }));
            }
            None => {}
        }
    }
    let mut images = images.into_iter();
    let first = images.next().ok_or_else(|| {
        Error::from(ArtifactError::EmptyDisk {
            path: path.to_path_buf(),
        })
    })?;
    let devices = Some(images.collect());
    Ok(OpenedDisk {
        places,
        image: first,
        devices,
    })
}

/// Finds the partitions of a disk.
fn places(path: &Path, file: &File) -> Result<Vec<Place>, Error> {
    let table = Table::read(file).map_err(|source| {
        Error::from(ArtifactError::Gpt {
            path: path.to_path_buf(),
            source: Box::new(source),
        })
    })?;
    let shared = Arc::new(file.try_clone().map_err(|e| Error::input(path, e))?);
    let places = table.partitions.iter().map(|partition| Place {
        path: path.to_path_buf(),
        file: Arc::clone(&shared),
        offset: partition.offset,
        length: partition.length,
    });
    Ok(places.collect())
}

fn read_descriptor(path: &Path, file: &File) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let mut text = Vec::new();
    file.take(DESCRIPTOR_MAX)
        .read_to_end(&mut text)
        .map_err(|e| Error::input(path, e))?;
    Ok(text)
}
