//! Images by name: the entries of `index.json`.
//!
//! Other tools find an image by its `org.opencontainers.image.ref.name`, and `umoci` refuses a name two entries have. So
//! of the platforms of one name, one has the name itself, and the others have `NAME@PLATFORM`; what belongs together
//! is said by an annotation of lithify's own, which every entry made here has.

mod index; // the file

use std::path::PathBuf;

use lithify_digest::Digest;
use lithify_oci::Platform;
use lithify_oci::manifest::Descriptor;
use lithify_oci::reference::Reference;

pub use self::index::Tagged;
use self::index::read_index;
pub(crate) use self::index::{Entries, Referrer, read_as};
use crate::Store;
use crate::document::Document;
use crate::error::Error;
use crate::fault::IndexError;
use crate::quarantine::quarantine_locked;
use crate::store::OCI_INDEX;

/// Annotation with the digest of the index a manifest was chosen from.
pub const INDEX_ANNOTATION: &str = "dev.lithify.index";
/// Annotation with the name of an image, whatever `ref.name` its platform has.
pub const NAME_ANNOTATION: &str = "dev.lithify.name";
/// Annotation of manifests without names: the digest of what they refer to, with which they go.
pub const SUBJECT_ANNOTATION: &str = "dev.lithify.subject";
/// Annotation of such manifests that have a tag in a registry: that tag.
pub const TAG_ANNOTATION: &str = "dev.lithify.tag";
/// Longest name of an image, in bytes.
const MAX_NAME: usize = 4096;

impl Store {
    /// Names an image, in the list other tools read too. Whatever had the name for the same platform loses it, and is
    /// part of the answer; without a platform, as for a whole index, everything of this name.
    ///
    /// All parts of the image have to be there: of an index, all parts of those manifests that are. So a name
    /// always leads to an image that can be used. `index` is the index its manifest was chosen from, if it was: the image is
    /// found by its digest too, and the index is kept as long as the name. If that index has the name itself, it
    /// keeps it.
    ///
    /// The descriptor's annotations are kept, but for those that name images.
    ///
    /// # Errors
    /// [`Error::MissingBlob`], [`Error::Manifest`], [`Error::Name`], [`Error::Index`], or what the system said.
    pub fn tag(
        &self,
        name: &str,
        descriptor: &Descriptor,
        index: Option<&Digest>,
    ) -> Result<Vec<Tagged>, Error> {
        self.writable()?;
        check_name(name)?;
        let _lock = self.lock_store()?;
        self.is_whole(name, descriptor)?;
        let mut entries = Entries::read(self)?;
        let replaced = entries.enter(name, descriptor, index);
        entries.write(self)?;
        Ok(replaced)
    }

    /// Keeps manifests, given with the digests of what they refer to, for as long as that is needed. In `index.json` they
    /// have no names, which is how image layouts list such manifests (image-spec, `image-layout.md`). All their
    /// parts have to be there.
    ///
    /// # Errors
    /// [`Error::MissingBlob`], [`Error::Manifest`], [`Error::Index`], or what the system said.
    pub fn add_referrers(&self, referrers: &[(Digest, Descriptor)]) -> Result<(), Error> {
        if referrers.is_empty() {
            return Ok(());
        }
        self.writable()?;
        let _lock = self.lock_store()?;
        self.all_whole(referrers.iter().map(|(_, manifest)| manifest))?;
        let mut entries = Entries::read(self)?;
        for (subject, manifest) in referrers {
            entries.enter_referrer(subject, None, manifest);
        }
        entries.write(self)
    }

    /// Keeps manifests that have no subject but a tag made of it, as cosign's signatures do: given with the digest the tag
    /// is made of, and the tag. What had the tag before loses it. Otherwise as [`add_referrers`](Self::add_referrers).
    ///
    /// # Errors
    /// [`Error::MissingBlob`], [`Error::Manifest`], [`Error::Index`], or what the system said.
    pub fn add_tagged_referrers(
        &self,
        tagged: &[(Digest, String, Descriptor)],
    ) -> Result<(), Error> {
        if tagged.is_empty() {
            return Ok(());
        }
        self.writable()?;
        let _lock = self.lock_store()?;
        self.all_whole(tagged.iter().map(|(_, _, manifest)| manifest))?;
        let mut entries = Entries::read(self)?;
        for (subject, tag, manifest) in tagged {
            entries.enter_referrer(subject, Some(tag), manifest);
        }
        entries.write(self)
    }

    /// Checks that manifests are here with all their parts.
    fn all_whole<'a>(
        &self,
        manifests: impl IntoIterator<Item = &'a Descriptor>,
    ) -> Result<(), Error> {
        for manifest in manifests {
            self.is_whole(&manifest.digest.to_string(), manifest)?;
        }
        Ok(())
    }

    /// Checks that the bytes of a manifest or index, if it is here, are its own.
    ///
    /// # Errors
    /// [`Error::Manifest`], or what the system said.
    pub fn check_manifest(&self, digest: &Digest) -> Result<(), Error> {
        match self.document(digest)? {
            Document::Damaged(source) => Err(Error::Manifest {
                digest: Box::new(*digest),
                source,
            }),
            Document::Missing | Document::Good(_) => Ok(()),
        }
    }

    /// Checks that what is to be named or kept is here with all its parts, and that its manifest is not damaged.
    fn is_whole(&self, name: &str, manifest: &Descriptor) -> Result<(), Error> {
        let Descriptor {
            digest,
            size,
            media_type,
            ..
        } = manifest;
        let missing = |part: Digest, size| Error::MissingBlob {
            image: name.to_owned(),
            digest: Box::new(part),
            size,
        };
        // One that is cut short has another length, too: it is damaged, not missing.
        self.check_manifest(digest)?;
        if !self.has_blob(digest, *size)? {
            return Err(missing(*digest, *size));
        }
        match self.missing_part(digest, media_type)? {
            Some(lack) => Err(missing(lack.part, lack.size)),
            None => Ok(()),
        }
    }

    /// Forgets manifests whose subjects nobody needs. For those who hold the lock of the store.
    pub(crate) fn forget_referrers(&self) -> Result<(), Error> {
        let mut entries = match Entries::read(self) {
            Ok(entries) => entries,
            // Then none were put into it.
            Err(Error::Index { .. }) => return Ok(()),
            Err(e) => return Err(e),
        };
        if entries.has_referrers() {
            entries.retain_referrers(&self.needed_blobs(false)?);
        }
        entries.write(self)
    }

    /// The manifests in the list that have no names.
    pub(crate) fn nameless(&self) -> Result<Vec<Descriptor>, Error> {
        Ok(Entries::read(self)?.nameless())
    }

    /// Takes a name away, for all platforms or one, and returns what had it. The blobs stay until they are collected; on a
    /// disk so full that the list cannot be written anew, what nobody needs without the name is collected first.
    ///
    /// # Errors
    /// [`Error::Index`], or what the system said. An unknown name gives an empty answer.
    pub fn untag(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<Tagged>, Error> {
        self.writable()?;
        let _lock = self.lock_store()?;
        let mut entries = Entries::read(self)?;
        let removed = entries.remove(name, platform);
        match entries.write(self) {
            // A shorter list needs room, too, before it takes the place of the longer one. What goes with the name makes it.
            Err(Error::Full { .. }) => {
                self.make_room(&entries)?;
                entries.write(self)?;
            }
            written => written?,
        }
        Ok(removed)
    }

    /// All images with names, sorted by name and platform; those other tools put there too.
    ///
    /// # Errors
    /// [`Error::Index`], or what the system said.
    pub fn tagged(&self) -> Result<Vec<Tagged>, Error> {
        Ok(Entries::read(self)?.tagged())
    }

    /// What has this name, sorted by platform: one entry for each platform, or one index.
    ///
    /// A reference with a digest, if nothing has it for its name, finds what has the same repository and is this manifest
    /// or index, or was chosen from this index.
    ///
    /// # Errors
    /// [`Error::Index`], or what the system said.
    pub fn find(&self, name: &str) -> Result<Vec<Tagged>, Error> {
        let all = self.tagged()?;
        let named: Vec<_> = all.iter().filter(|t| t.goes_by(name)).cloned().collect();
        let Ok(reference) = name.parse::<Reference>() else {
            return Ok(named);
        };
        let Some(digest) = reference.digest().filter(|_| named.is_empty()) else {
            return Ok(named);
        };
        let repository = reference.normalised().name();
        let same_repository = |t: &Tagged| {
            let reference = t.name.parse::<Reference>();
            reference.is_ok_and(|r| r.normalised().name() == repository)
        };
        let fits = |t: &Tagged| {
            (t.descriptor.digest == *digest || t.index.as_ref() == Some(digest))
                && same_repository(t)
        };
        let mut found: Vec<_> = all.into_iter().filter(fits).collect();
        // One image may have several names.
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|t| seen.insert(t.descriptor.digest));
        Ok(found)
    }

    /// Takes entries out of the list, by their digests. For those who repair and hold the lock of the store.
    pub(crate) fn drop_entries(&self, digest: &Digest) -> Result<(), Error> {
        let mut entries = Entries::read(self)?;
        entries.drop_digest(digest);
        entries.write(self)
    }

    /// Makes the list anew of what can be read of it, and says where the old one went.
    pub(crate) fn salvage_index(&self) -> Result<Option<PathBuf>, Error> {
        let _lock = self.lock_store()?;
        let bytes = match read_index(self) {
            Ok(bytes) => bytes,
            Err(Error::Index { .. }) => Vec::new(),
            Err(e) => return Err(e),
        };
        let salvaged = Entries::salvage(&bytes);
        let moved = quarantine_locked(self, &self.at(OCI_INDEX), None)?;
        self.write_plain(OCI_INDEX, &salvaged)?;
        Ok(moved)
    }

    pub(crate) fn index_error(&self, source: IndexError) -> Error {
        Error::Index {
            path: self.at(OCI_INDEX),
            source,
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    match (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Error::Name {
            name: name.to_owned(),
        }),
    }
}
