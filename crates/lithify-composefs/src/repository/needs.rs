//! The objects that streams and images need, directly or through others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lithify_verity::file::FileDigest;

use crate::splitstream::{StreamError, StreamReader};

use super::error::GcError;
use super::handle::Repository;
use super::names::Category;
use super::reach::{ImageObjects, is_image_name};

/// The part that an object has in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The content of a file, of a manifest or of another document.
    Content,
    /// A splitstream.
    Stream,
    /// An image.
    Image,
}

/// The objects that some streams and images need, as far as they were added.
///
/// It takes about 200 bytes for each object.
pub struct Needs<'a> {
    repository: &'a Repository,
    images: &'a dyn ImageObjects,
    entries: BTreeMap<(Category, String), FileDigest>,
    /// Entries by the object they are.
    categories: HashMap<FileDigest, Category>,
    objects: HashMap<FileDigest, Part>,
    /// Streams and images of which all needs are in `objects`.
    walked: BTreeSet<FileDigest>,
}

impl std::fmt::Debug for Needs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Needs")
            .field("entries", &self.entries.len())
            .field("objects", &self.objects.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Needs<'a> {
    /// Lists the streams and images there are. Nothing is needed yet.
    ///
    /// # Errors
    /// [`GcError`].
    pub fn new(repository: &'a Repository, images: &'a dyn ImageObjects) -> Result<Self, GcError> {
        let mut entries = BTreeMap::new();
        let mut categories = HashMap::new();
        for category in Category::ALL {
            for entry in repository.entries(category)? {
                categories.insert(entry.id, category);
                entries.insert((category, entry.name), entry.id);
            }
        }
        Ok(Self {
            repository,
            images,
            entries,
            categories,
            objects: HashMap::new(),
            walked: BTreeSet::new(),
        })
    }

    /// Adds a stream or an image and all it needs; says whether there is one of that name. `by` is its name in errors.
    ///
    /// # Errors
    /// [`GcError::Unknown`] for what cannot be read, so that its needs are not known.
    pub fn add(&mut self, category: Category, name: &str, by: &str) -> Result<bool, GcError> {
        let Some(&id) = self.entries.get(&(category, name.to_owned())) else {
            return Ok(false);
        };
        self.need(id, category, by.to_owned())?;
        Ok(true)
    }

    /// Returns the objects that are needed, with the part of each.
    pub fn objects(&self) -> impl Iterator<Item = (&FileDigest, Part)> {
        self.objects.iter().map(|(id, part)| (id, *part))
    }

    /// Tells whether an object is needed.
    #[must_use]
    pub fn has(&self, id: &FileDigest) -> bool {
        self.objects.contains_key(id)
    }

    /// Forgets all needs.
    pub fn clear(&mut self) {
        self.objects.clear();
        self.walked.clear();
    }

    /// Returns the places of the streams and images that are not needed.
    pub(super) fn others(&self) -> impl Iterator<Item = String> {
        let dead = self.entries.iter().filter(|(_, id)| !self.has(id));
        dead.map(|((category, name), _)| category.at(name))
    }

    /// Keeps an entry and all it needs. `by` says what needs it.
    fn need(&mut self, id: FileDigest, category: Category, by: String) -> Result<(), GcError> {
        let mut waiting = vec![(id, Some(category), by)];
        while let Some((id, category, by)) = waiting.pop() {
            self.repository.cancel().check()?;
            let part = match category {
                Some(Category::Images) => Part::Image,
                Some(Category::Streams) => Part::Stream,
                None => Part::Content,
            };
            let known = self.objects.entry(id).or_insert(part);
            *known = part.max(*known);
            if !self.walked.insert(id) {
                continue;
            }
            match category {
                Some(Category::Images) => self.walk_image(id, &by)?,
                Some(Category::Streams) => self.walk_stream(id, &by, &mut waiting)?,
                None => self.walk_unknown(id, &by, &mut waiting)?,
            }
        }
        Ok(())
    }

    fn walk_stream(
        &mut self,
        id: FileDigest,
        by: &str,
        waiting: &mut Vec<(FileDigest, Option<Category>, String)>,
    ) -> Result<(), GcError> {
        let unknown = |source| unknown(by, id, source);
        let opened = self.repository.open_object(&id);
        let file = opened.map_err(|e| unknown(Box::new(e)))?;
        let opened = StreamReader::open(file);
        let mut stream = opened.map_err(|e| unknown(Box::new(e)))?;
        for index in 0..stream.object_count() {
            let object = stream.object(index);
            let object = object.map_err(|e| unknown(Box::new(e)))?;
            self.objects.entry(object).or_insert(Part::Content);
        }
        for named in stream.names() {
            let category = self.categories.get(&named.id).copied();
            let is_there = || self.repository.object_size(&named.id);
            if category.is_none() && is_image_name(&named.name) && is_there()?.is_none() {
                // It is made again when its image is imported, of layers that are kept.
                continue;
            }
            waiting.push((named.id, category, format!("{by}, as `{}`", named.name)));
        }
        Ok(())
    }

    fn walk_image(&mut self, id: FileDigest, by: &str) -> Result<(), GcError> {
        let unknown = |source| unknown(by, id, source);
        let opened = self.repository.open_object(&id);
        let file = opened.map_err(|e| unknown(Box::new(e)))?;
        let objects = &mut self.objects;
        let walked = self.images.objects(&file, &mut |object| {
            objects.entry(object).or_insert(Part::Content);
        });
        walked.map_err(unknown)
    }

    /// Walks an object that has no name of its own: it may be a stream all the same.
    fn walk_unknown(
        &mut self,
        id: FileDigest,
        by: &str,
        waiting: &mut Vec<(FileDigest, Option<Category>, String)>,
    ) -> Result<(), GcError> {
        let opened = self.repository.open_object(&id);
        let file = opened.map_err(|e| unknown(by, id, Box::new(e)))?;
        match StreamReader::open(file) {
            Err(StreamError::Magic) => Ok(()),
            _ => {
                self.objects.insert(id, Part::Stream);
                self.walk_stream(id, by, waiting)
            }
        }
    }
}

fn unknown(by: &str, id: FileDigest, source: Box<dyn std::error::Error + Send + Sync>) -> GcError {
    GcError::Unknown {
        by: by.to_owned(),
        id: Box::new(id),
        source,
    }
}
