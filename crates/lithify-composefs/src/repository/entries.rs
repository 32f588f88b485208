//! Streams, images, and references to them.

use std::ffi::OsString;
use std::fs::File;
use std::io;

use lithify_storage::{Beneath, Listed};
use lithify_verity::file::FileDigest;
use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use rustix::io::Errno;

use crate::object_path;
use crate::splitstream::{ContentType, StreamReader};

use super::error::{EntryError, ObjectError};
use super::handle::Repository;
use super::names::{Category, OBJECTS, REFS, check_entry, check_reference, parse_target};

/// Most directories inside each other that are looked into.
const DEPTH_MAX: usize = 64;

/// A stream or an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The object it is.
    pub id: FileDigest,
}

/// A name by which a stream or an image is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The name, with slashes where there are directories.
    pub name: String,
    /// The name of the entry it leads to, which may be gone.
    pub entry: String,
}

/// Something in a directory of entries or references.
#[derive(Debug)]
pub(super) enum Item {
    /// A link and its target.
    Link(Vec<u8>),
    /// Anything else.
    Other,
}

impl Repository {
    /// Returns the object that a stream or an image is, if there is one of that name.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn entry(&self, category: Category, name: &str) -> Result<Option<FileDigest>, EntryError> {
        check_entry(name)?;
        let at = || category.at(name);
        let Some(directory) = self.directory_at(category.directory())? else {
            return Ok(None);
        };
        match read_item(&directory, name) {
            Ok(None) => Ok(None),
            Ok(Some(item)) => self.resolve(item, at).map(Some),
            Err(source) => Err(EntryError::Io { at: at(), source }),
        }
    }

    /// Returns the object that a link is.
    pub(super) fn resolve(
        &self,
        item: Item,
        at: impl Fn() -> String,
    ) -> Result<FileDigest, EntryError> {
        let Item::Link(target) = item else {
            return Err(EntryError::NotALink { at: at() });
        };
        parse_target(self.algorithm(), &target)
            .ok_or_else(|| EntryError::Target { at: at(), target })
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// [`EntryError`]; [`EntryError::Missing`] if there is none of that name.
    pub fn open_stream(
        &self,
        name: &str,
        content_type: ContentType,
    ) -> Result<StreamReader<File>, EntryError> {
        let at = || Category::Streams.at(name);
        let id = self.entry(Category::Streams, name)?;
        let id = id.ok_or_else(|| EntryError::Missing { at: at() })?;
        let stream = self.open_stream_object(&id, at)?;
        let expected = stream.expect(content_type, self.algorithm());
        expected.map_err(|source| EntryError::Stream { at: at(), source })?;
        Ok(stream)
    }

    /// Opens a stream that may have no name yet, by the object that it is.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn open_stream_by_id(
        &self,
        id: &FileDigest,
        content_type: ContentType,
    ) -> Result<StreamReader<File>, EntryError> {
        let at = || format!("{OBJECTS}/{}", object_path(id));
        let stream = self.open_stream_object(id, at)?;
        let expected = stream.expect(content_type, self.algorithm());
        expected.map_err(|source| EntryError::Stream { at: at(), source })?;
        Ok(stream)
    }

    /// Opens an object that is a stream.
    pub(super) fn open_stream_object(
        &self,
        id: &FileDigest,
        at: impl Fn() -> String,
    ) -> Result<StreamReader<File>, EntryError> {
        let file = self.open_object(id);
        let file = file.map_err(|source| EntryError::Object { at: at(), source })?;
        let opened = StreamReader::open(file);
        opened.map_err(|source| EntryError::Stream { at: at(), source })
    }

    /// Opens an image by its id: only one that is published may be mounted.
    ///
    /// # Errors
    /// [`EntryError`]; [`EntryError::Missing`] if it is not published.
    pub fn open_image(&self, id: &FileDigest) -> Result<File, EntryError> {
        let name = id.hex();
        let at = || Category::Images.at(&name);
        match self.entry(Category::Images, &name)? {
            Some(found) if found == *id => {}
            Some(found) => {
                let source = ObjectError::Damaged {
                    expected: Box::new(*id),
                    found: Box::new(found),
                };
                return Err(EntryError::Object { at: at(), source });
            }
            None => return Err(EntryError::Missing { at: at() }),
        }
        let opened = self.open_object(id);
        opened.map_err(|source| EntryError::Object { at: at(), source })
    }

    /// Opens an image by its id, as [`open_image`](Self::open_image) does, and makes sure that its
    /// bytes are those of the id: by the kernel's word in a secure repository, else by reading them.
    ///
    /// # Errors
    /// [`EntryError`]; [`ObjectError::Damaged`] for other bytes.
    pub fn open_checked_image(&self, id: &FileDigest) -> Result<File, EntryError> {
        let file = self.open_image(id)?;
        let checked = self.check_opened(id, &file);
        checked.map_err(|source| EntryError::Object {
            at: Category::Images.at(&id.hex()),
            source,
        })?;
        Ok(file)
    }

    /// Returns the name of the entry that a reference leads to, if there is such a reference.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn reference(&self, category: Category, name: &str) -> Result<Option<String>, EntryError> {
        check_reference(name)?;
        let at = || category.reference_at(name);
        let (above, last) = match name.rsplit_once('/') {
            Some((above, last)) => (format!("{}/{REFS}/{above}", category.directory()), last),
            None => (format!("{}/{REFS}", category.directory()), name),
        };
        let Some(directory) = self.directory_at(&above)? else {
            return Ok(None);
        };
        match read_item(&directory, last) {
            Ok(None) => Ok(None),
            Ok(Some(item)) => entry_of(item, at).map(Some),
            Err(source) => Err(EntryError::Io { at: at(), source }),
        }
    }

    /// Lists the streams or images, sorted by name.
    ///
    /// # Errors
    /// [`EntryError`], for the first that is none.
    pub fn entries(&self, category: Category) -> Result<Vec<Entry>, EntryError> {
        let mut entries = Vec::new();
        self.for_each_entry(category, |name, found| {
            let id = found?;
            entries.push(Entry { name, id });
            Ok(())
        })?;
        Ok(entries)
    }

    /// Calls `each` with all entries. Files under construction are none.
    pub(super) fn for_each_entry(
        &self,
        category: Category,
        mut each: impl FnMut(String, Result<FileDigest, EntryError>) -> Result<(), EntryError>,
    ) -> Result<(), EntryError> {
        let Some(directory) = self.directory_at(category.directory())? else {
            return Ok(());
        };
        for (name, listed) in list(&directory, category.directory())? {
            if name == REFS || is_temporary(&name) {
                continue;
            }
            self.cancel().check()?;
            let shown = name.to_string_lossy().into_owned();
            let at = || category.at(&shown);
            // A name that is not UTF-8 is none that anybody gave.
            let item = match (listed, name.to_str()) {
                (Listed::Other, Some(name)) => read_item(&directory, name)
                    .map_err(|source| EntryError::Io { at: at(), source })?,
                _ => Some(Item::Other),
            };
            if let Some(item) = item {
                let found = self.resolve(item, at);
                each(shown, found)?;
            }
        }
        Ok(())
    }

    /// Lists references whose name begins with `below` and a slash, or all, sorted by name; without
    /// it.
    ///
    /// # Errors
    /// [`EntryError`], for the first that is none.
    pub fn references(
        &self,
        category: Category,
        below: Option<&str>,
    ) -> Result<Vec<Reference>, EntryError> {
        let mut references = Vec::new();
        self.for_each_reference(category, below, |name, found| {
            let entry = found?;
            references.push(Reference { name, entry });
            Ok(())
        })?;
        references.sort_unstable();
        Ok(references)
    }

    /// Calls `each` with all references. Files under construction are none.
    pub(super) fn for_each_reference(
        &self,
        category: Category,
        below: Option<&str>,
        mut each: impl FnMut(String, Result<String, EntryError>) -> Result<(), EntryError>,
    ) -> Result<(), EntryError> {
        let mut path = format!("{}/{REFS}", category.directory());
        if let Some(below) = below {
            check_reference(below)?;
            path = format!("{path}/{below}");
        }
        let Some(directory) = self.directory_at(&path)? else {
            return Ok(());
        };
        self.walk_references(&directory, &path, "", 0, &mut each)
    }

    fn walk_references(
        &self,
        directory: &Beneath,
        top: &str,
        prefix: &str,
        depth: usize,
        each: &mut dyn FnMut(String, Result<String, EntryError>) -> Result<(), EntryError>,
    ) -> Result<(), EntryError> {
        for (name, listed) in list(directory, &format!("{top}/{prefix}"))? {
            if is_temporary(&name) {
                continue;
            }
            self.cancel().check()?;
            let shown = format!("{prefix}{}", name.to_string_lossy());
            let at = || format!("{top}/{shown}");
            let io = |source| EntryError::Io { at: at(), source };
            match (listed, name.to_str()) {
                (Listed::Directory, Some(name)) if depth < DEPTH_MAX => {
                    let below = directory.directory(name).map_err(|e| io(e.into()))?;
                    self.walk_references(&below, top, &format!("{shown}/"), depth + 1, each)?;
                }
                (Listed::Other, Some(name)) => {
                    if let Some(item) = read_item(directory, name).map_err(io)? {
                        let entry = entry_of(item, at);
                        each(shown, entry)?;
                    }
                }
                _ => each(shown.clone(), Err(EntryError::NotALink { at: at() }))?,
            }
        }
        Ok(())
    }

    /// Opens a directory of the repository, if it is there.
    pub(super) fn directory_at(&self, path: &str) -> Result<Option<Beneath>, EntryError> {
        match self.root().directory(path) {
            Ok(directory) => Ok(Some(directory)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(EntryError::Io {
                at: path.to_owned(),
                source: e.into(),
            }),
        }
    }
}

/// Tells whether a name is that of a file under construction, of lithify's or `cfsctl`'s.
pub(super) fn is_temporary(name: &std::ffi::OsStr) -> bool {
    let name_bytes = name.as_encoded_bytes();
    lithify_storage::temporary::is_temporary(name)
        || name_bytes.starts_with(b".symlink-")
        || name_bytes.starts_with(b".tmp-object-")
}

/// Returns the name of the entry that a reference leads to: the last component.
fn entry_of(item: Item, at: impl Fn() -> String) -> Result<String, EntryError> {
    let Item::Link(target) = item else {
        return Err(EntryError::NotALink { at: at() });
    };
    let name = std::str::from_utf8(&target).ok();
    let name = name.and_then(|t| t.rsplit('/').next());
    match name.filter(|name| check_entry(name).is_ok()) {
        Some(name) => Ok(name.to_owned()),
        None => Err(EntryError::Target { at: at(), target }),
    }
}

/// Reads what has a name in a directory, if anything has.
pub(super) fn read_item(directory: &Beneath, name: &str) -> io::Result<Option<Item>> {
    match readlinkat(directory.handle(), name, Vec::new()) {
        Ok(target) => Ok(Some(Item::Link(target.into_bytes()))),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::INVAL) => {
            let found = statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(found.st_mode) {
                // Made meanwhile.
                FileType::Symlink => read_item(directory, name),
                _ => Ok(Some(Item::Other)),
            }
        }
        Err(e) => Err(e.into()),
    }
}

fn list(directory: &Beneath, at: &str) -> Result<Vec<(OsString, Listed)>, EntryError> {
    directory.list().map_err(|source| EntryError::Io {
        at: at.to_owned(),
        source,
    })
}
