//! The bytes of a repository, and whose they are.

use std::collections::HashMap;

use lithify_composefs::Images;
use lithify_composefs::image::{self, ReadError};
use lithify_composefs::repository::{Category, Needs, ObjectError, Part};
use lithify_verity::file::FileDigest;

use super::handle::{ComposefsRepository, add};
use super::named::Named;
use super::names::{self, ComposefsKind, Name};
use crate::Error;
use crate::error::{Cause, ComposefsError};
use crate::session::Session;

/// Some objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectCount {
    /// Their number.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl ObjectCount {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// The files of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCount {
    /// Regular files; one with several names counts once.
    pub files: u64,
    /// Their bytes, holes included.
    pub bytes: u64,
}

/// The bytes of an image and what it shares with others.
#[derive(Debug)]
#[non_exhaustive]
pub struct ComposefsImageUsage {
    /// Its names.
    pub names: Vec<String>,
    /// The thing that has these names.
    pub kind: ComposefsKind,
    /// The files of its tree, as a composefs image shows them. `None` if no image was made.
    pub logical: Option<FileCount>,
    /// All objects it needs: files, and what is not files.
    pub needed: ObjectCount,
    /// Those of them that are splitstreams and images.
    pub metadata: ObjectCount,
    /// Those that nothing else needs which has a name: what collecting would free if its names were removed.
    pub only: ObjectCount,
    /// Those that others with a name need too.
    pub shared: ObjectCount,
    /// Objects it needs that are not there.
    pub missing: u64,
}

/// The bytes of a repository.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ComposefsUsage {
    /// The bytes of each image that has a name, sorted by names: images of the OCI first.
    pub images: Vec<ComposefsImageUsage>,
    /// The files of all trees together; what several images have counts for each.
    pub logical: FileCount,
    /// Objects there are.
    pub stored: ObjectCount,
    /// Those that something with a name needs.
    pub needed: ObjectCount,
    /// Those needed by more than one.
    pub shared: ObjectCount,
    /// Splitstreams among those needed.
    pub streams: ObjectCount,
    /// Images among those needed.
    pub erofs_images: ObjectCount,
    /// Those that nothing needs: what collecting would free.
    pub unneeded: ObjectCount,
}

/// An object, as far as its users are known.
struct Counted {
    bytes: u64,
    /// Images that need it.
    users: u32,
    /// The last of them.
    last: u32,
    part: Part,
}

impl ComposefsRepository {
    /// Counts bytes: those of all images that have a name, and those they share.
    ///
    /// All bytes are those of files as `stat` shows them, not blocks of the disk. Memory is about 450 bytes for each object.
    ///
    /// # Errors
    /// [`ComposefsError`], also for an image of which it cannot be known what it needs.
    pub fn usage(&self, session: &Session) -> Result<ComposefsUsage, Error> {
        let mut objects: HashMap<FileDigest, Counted> = HashMap::new();
        let listed = self.inner.for_each_object(|object| {
            let counted = Counted {
                bytes: object.size,
                users: 0,
                last: 0,
                part: Part::Content,
            };
            objects.insert(object.id, counted);
            Ok::<_, ObjectError>(())
        });
        listed.map_err(|e| self.failed(e))?;
        let images = Images::new(&session.cancel);
        let mut needs = Needs::new(&self.inner, &images).map_err(|e| self.failed(e))?;
        let mut usage = ComposefsUsage::default();
        let names = names::all(&self.inner)?;
        for (number, group) in names.chunk_by(|a, b| a.kind == b.kind).enumerate() {
            let Some(first) = group.first() else { continue };
            needs.clear();
            let is_there = match add(&self.inner, &mut needs, first) {
                Ok(()) => true,
                Err(e)
                    if matches!(e.cause(), Cause::Composefs(ComposefsError::Dangling { .. })) =>
                {
                    false
                }
                Err(e) => return Err(e),
            };
            let mut image = ComposefsImageUsage {
                names: group.iter().map(|name| name.name.clone()).collect(),
                kind: first.kind.clone(),
                logical: match is_there {
                    true => self.logical(first, session)?,
                    false => None,
                },
                needed: ObjectCount::default(),
                metadata: ObjectCount::default(),
                only: ObjectCount::default(),
                shared: ObjectCount::default(),
                // The stream or image itself, if the names lead to nothing.
                missing: u64::from(!is_there),
            };
            for (id, part) in needs.objects() {
                let Some(counted) = objects.get_mut(id) else {
                    image.missing += 1;
                    continue;
                };
                counted.users += 1;
                // One of a number of names that fits.
                counted.last = number as u32;
                counted.part = counted.part.max(part);
                image.needed.add(counted.bytes);
                if part != Part::Content {
                    image.metadata.add(counted.bytes);
                }
            }
            if let Some(files) = image.logical {
                usage.logical.files += files.files;
                usage.logical.bytes += files.bytes;
            }
            usage.images.push(image);
        }
        for object in objects.values() {
            usage.stored.add(object.bytes);
            match object.users {
                0 => usage.unneeded.add(object.bytes),
                users => {
                    usage.needed.add(object.bytes);
                    match (users, usage.images.get_mut(object.last as usize)) {
                        (1, Some(image)) => image.only.add(object.bytes),
                        _ => usage.shared.add(object.bytes),
                    }
                    match object.part {
                        Part::Stream => usage.streams.add(object.bytes),
                        Part::Image => usage.erofs_images.add(object.bytes),
                        Part::Content => {}
                    }
                }
            }
        }
        for image in &mut usage.images {
            image.shared = ObjectCount {
                objects: image.needed.objects - image.only.objects,
                bytes: image.needed.bytes - image.only.bytes,
            };
        }
        let images = &mut usage.images;
        images.sort_by(|a, b| (a.kind.rank(), &a.names).cmp(&(b.kind.rank(), &b.names)));
        Ok(usage)
    }

    /// Counts the files of a tree, as an image shows them.
    fn logical(&self, name: &Name, session: &Session) -> Result<Option<FileCount>, Error> {
        let id = match &name.kind {
            ComposefsKind::Tree(id) => Some(*id),
            ComposefsKind::Oci(digest) => match Named::Oci(*digest).image(&self.inner) {
                Ok(id) => Some(id),
                Err(e) if e.is_not_made() => None,
                Err(e) => return Err(e),
            },
            ComposefsKind::Stream(_) => None,
        };
        // One that was made and is gone can be made again.
        let is_there = |id: &FileDigest| self.inner.entry(Category::Images, &id.hex());
        let Some(id) = id else { return Ok(None) };
        if is_there(&id).map_err(|e| self.failed(e))?.is_none() {
            return Ok(None);
        }
        let file = self.inner.open_image(&id).map_err(|e| self.failed(e))?;
        let mut count = FileCount::default();
        let read = image::entries(&file, &session.cancel, |entry| {
            if entry.is_file() && entry.first.is_none() {
                count.files += 1;
                count.bytes = count.bytes.saturating_add(entry.size);
            }
            Ok::<_, ReadError>(())
        });
        match read {
            Ok(()) => Ok(Some(count)),
            Err(ReadError::Cancelled(_)) => Err(Error::cancelled()),
            Err(source) => Err(ComposefsError::Image {
                path: self.inner.path().join("images").join(id.hex()),
                source: Box::new(source),
            }
            .into()),
        }
    }
}
