//! Giving names to what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use lithify_storage::Beneath;
use lithify_storage::temporary::temporary_name;
use lithify_verity::file::FileDigest;
use rustix::fs::{AtFlags, fsync, renameat, symlinkat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::entries::{Item, read_item};
use super::error::{EntryError, NameError, ObjectError};
use super::handle::Repository;
use super::names::{Category, REFS, check_entry, check_reference, target_of_object};
use super::objects::make_directory;

/// Streams, images and references that get their names together.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    entries: BTreeMap<(Category, String), FileDigest>,
    references: BTreeMap<(Category, String), String>,
}

impl Publication {
    /// Returns one without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives an object that is a splitstream a name. What has the name already has it no more.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn stream(&mut self, name: impl Into<String>, id: FileDigest) -> Result<(), NameError> {
        let name = name.into();
        check_entry(&name)?;
        self.entries.insert((Category::Streams, name), id);
        Ok(())
    }

    /// Makes an object one of the images, which may be mounted.
    pub fn image(&mut self, id: FileDigest) {
        self.entries.insert((Category::Images, id.hex()), id);
    }

    /// Keeps a stream by a name: one that is there, or is published too.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn stream_reference(
        &mut self,
        name: impl Into<String>,
        stream: impl Into<String>,
    ) -> Result<(), NameError> {
        self.reference(Category::Streams, name.into(), stream.into())
    }

    /// Keeps an image by a name: one that is there, or is published too.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn image_reference(
        &mut self,
        name: impl Into<String>,
        id: &FileDigest,
    ) -> Result<(), NameError> {
        self.reference(Category::Images, name.into(), id.hex())
    }

    fn reference(
        &mut self,
        category: Category,
        name: String,
        entry: String,
    ) -> Result<(), NameError> {
        check_reference(&name)?;
        check_entry(&entry)?;
        self.references.insert((category, name), entry);
        Ok(())
    }
}

/// A link to be made.
struct Link {
    category: Category,
    /// Below the category's directory.
    path: String,
    target: String,
}

impl Repository {
    /// Gives streams, images and references their names, each at once, after everything that they
    /// lead to is on the disk: first objects, then entries, then references. What has its name
    /// already costs a look.
    ///
    /// # Errors
    /// [`EntryError`]. Whatever got its name before is right.
    pub fn publish(&self, publication: &Publication) -> Result<(), EntryError> {
        self.check_writable()?;
        let mut entries = Vec::new();
        for ((category, name), id) in &publication.entries {
            let there = self.entry(*category, name);
            if matches!(there, Ok(Some(found)) if found == *id) {
                continue;
            }
            self.check_published(id, || category.at(name))?;
            entries.push(Link {
                category: *category,
                path: name.clone(),
                target: target_of_object(id),
            });
        }
        let mut references = Vec::new();
        for ((category, name), entry) in &publication.references {
            let there = self.reference(*category, name);
            if matches!(there, Ok(Some(found)) if found == *entry) {
                continue;
            }
            let is_new = publication
                .entries
                .contains_key(&(*category, entry.clone()));
            if !is_new && self.entry(*category, entry)?.is_none() {
                return Err(EntryError::Missing {
                    at: category.at(entry),
                });
            }
            self.check_free(*category, name)?;
            let up = "../".repeat(name.split('/').count());
            references.push(Link {
                category: *category,
                path: format!("{REFS}/{name}"),
                target: format!("{up}{entry}"),
            });
        }
        if entries.is_empty() && references.is_empty() {
            return Ok(());
        }
        let synced = self.sync_objects();
        synced.map_err(|source| EntryError::Object {
            at: super::names::OBJECTS.to_owned(),
            source,
        })?;
        self.make_links(&entries)?;
        self.make_links(&references)
    }

    /// Removes a reference. What it leads to is collected later, if nothing else needs it. Says
    /// whether there was one.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn remove_reference(&self, category: Category, name: &str) -> Result<bool, EntryError> {
        self.check_writable()?;
        if self.reference(category, name)?.is_none() {
            return Ok(false);
        }
        self.remove_link(&category.reference_at(name))
    }

    /// Removes a link by its path in the repository; says whether it was there.
    pub(super) fn remove_link(&self, at: &str) -> Result<bool, EntryError> {
        let io = |source| EntryError::Io {
            at: at.to_owned(),
            source,
        };
        let (above, name) = at.rsplit_once('/').unwrap_or(("", at));
        let Some(directory) = self.directory_at(above)? else {
            return Ok(false);
        };
        match unlinkat(directory.handle(), name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(io(e.into())),
        }
        self.sync_directory(&directory).map_err(io)?;
        Ok(true)
    }

    /// Checks that a reference can be made: it is no directory of others, and is not inside another one.
    fn check_free(&self, category: Category, name: &str) -> Result<(), EntryError> {
        let taken = |other: &str| EntryError::Taken {
            at: category.reference_at(name),
            other: category.reference_at(other),
        };
        for (end, _) in name.match_indices('/') {
            let above = &name[..end];
            if let Ok(Some(_)) = self.reference(category, above) {
                return Err(taken(above));
            }
        }
        match self.root().directory(category.reference_at(name)) {
            Ok(_) => Err(taken(name)),
            Err(_) => Ok(()),
        }
    }

    fn check_published(&self, id: &FileDigest, at: impl Fn() -> String) -> Result<(), EntryError> {
        let size = self.object_size(id);
        let size = size.and_then(|s| s.ok_or_else(|| ObjectError::Missing { id: Box::new(*id) }));
        size.map(drop)
            .map_err(|source| EntryError::Object { at: at(), source })
    }

    /// Makes links, and brings them to the disk.
    fn make_links(&self, links: &[Link]) -> Result<(), EntryError> {
        let mut directories = BTreeSet::new();
        for link in links {
            self.cancel().check()?;
            let at = format!("{}/{}", link.category.directory(), link.path);
            let io = |source| EntryError::Io {
                at: at.clone(),
                source,
            };
            let (above, name) = at.rsplit_once('/').unwrap_or(("", &at));
            let directory = self.made_directory(above, &mut directories)?;
            self.make_link(&directory, name, &link.target).map_err(io)?;
        }
        for path in directories {
            if let Some(directory) = self.directory_at(&path)? {
                let synced = self.sync_directory(&directory);
                synced.map_err(|source| EntryError::Io { at: path, source })?;
            }
        }
        Ok(())
    }

    fn make_link(&self, directory: &Beneath, name: &str, target: &str) -> io::Result<()> {
        match symlinkat(target, directory.handle(), name) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        if let Some(Item::Link(found)) = read_item(directory, name)?
            && found == target.as_bytes()
        {
            return Ok(());
        }
        // Where nobody looks for entries or references: what a killed process leaves there means
        // nothing.
        let root = self.root().handle();
        let temporary = loop {
            let temporary = temporary_name();
            match symlinkat(target, root, &temporary) {
                Ok(()) => break temporary,
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        };
        renameat(root, &temporary, directory.handle(), name).map_err(|e| {
            // The rename is the error to report.
            unlinkat(root, &temporary, AtFlags::empty()).ok();
            e.into()
        })
    }

    /// Opens a directory of links, and makes it and those above it first if need be; notes all that
    /// change.
    fn made_directory(
        &self,
        path: &str,
        changed: &mut BTreeSet<String>,
    ) -> Result<Beneath, EntryError> {
        changed.insert(path.to_owned());
        if let Some(directory) = self.directory_at(path)? {
            return Ok(directory);
        }
        let mut done = String::new();
        for name in path.split('/') {
            let io = |source| EntryError::Io {
                at: path.to_owned(),
                source,
            };
            match done.is_empty() {
                true => make_directory(self.root(), name).map_err(io)?,
                false => {
                    let above = self.root().directory(&done);
                    let above = above.map_err(|e| io(e.into()))?;
                    make_directory(&above, name).map_err(io)?;
                    changed.insert(done.clone());
                    done.push('/');
                }
            }
            done.push_str(name);
        }
        if self.is_synced() {
            let synced = retry_on_intr(|| fsync(self.root().handle()));
            synced.map_err(|e| EntryError::Io {
                at: path.to_owned(),
                source: e.into(),
            })?;
        }
        self.directory_at(path)?.ok_or_else(|| EntryError::Missing {
            at: path.to_owned(),
        })
    }

    pub(super) fn sync_directory(&self, directory: &Beneath) -> io::Result<()> {
        match self.is_synced() {
            true => Ok(retry_on_intr(|| fsync(directory.handle()))?),
            false => Ok(()),
        }
    }
}
