//! Looking after a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lithify_composefs::repository::{
    Category, CreateOptions, Depth, EntryError, FsckOptions, FsckReport, GcOptions, GcReport,
    Needs, OpenOptions, Repository,
};
use lithify_composefs::{Images, oci};
use lithify_oci::source::Selector;
use lithify_verity::file::FileDigest;

use super::image::parse_place;
use super::named::Named;
use super::names::{self, ComposefsKind, Name};
use super::open::open;
use crate::Error;
use crate::error::{ComposefsError, RepositoryFault};
use crate::session::Session;

/// A composefs repository, to be looked after. It has a shared lock as long as it is there.
#[derive(Debug)]
pub struct ComposefsRepository {
    pub(super) inner: Repository,
}

/// A name in a repository, as it is listed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ComposefsName {
    /// The name.
    pub name: String,
    /// The thing it leads to.
    pub kind: ComposefsKind,
    /// Images made of an image of the OCI, by the names that its configuration's stream gives them.
    pub images: BTreeMap<String, FileDigest>,
    /// Layers of an image of the OCI.
    pub layers: Option<usize>,
    /// Bytes of all objects it needs, directly or through others.
    pub bytes: u64,
    /// The reason why the rest is not known.
    pub problem: Option<Error>,
}

/// The ways in which a repository is checked.
#[derive(Clone, Debug, Default)]
pub struct ComposefsCheck {
    /// The depth.
    pub depth: Depth,
    /// Takes away what is damaged, so that the next import makes it anew. Nobody else may have the repository open.
    pub repair: bool,
    /// Waits for that, instead of failing.
    pub wait: bool,
}

impl ComposefsRepository {
    /// Opens the repository at a path, which may begin with `composefs:`.
    ///
    /// # Errors
    /// [`ComposefsError`].
    pub fn open(place: impl AsRef<OsStr>, session: &Session) -> Result<Self, Error> {
        let place = place.as_ref();
        let path = match place.as_encoded_bytes().starts_with(b"composefs:") {
            false => PathBuf::from(place),
            true => match parse_place(place)? {
                (path, None) => path,
                _ => return Err(wrong_place(place, "has a name: give the repository alone")),
            },
        };
        let inner = open(&path, session)?;
        Ok(Self { inner })
    }

    /// Opens the repository of `[composefs:]REPO:NAME`; returns the name too.
    ///
    /// # Errors
    /// [`ComposefsError`].
    pub fn open_with_name(
        place: impl AsRef<OsStr>,
        session: &Session,
    ) -> Result<(Self, Selector), Error> {
        let place = place.as_ref();
        match parse_place(place)? {
            (path, Some(selector)) => {
                let inner = open(&path, session)?;
                Ok((Self { inner }, selector))
            }
            _ => Err(wrong_place(place, "has no name: expected REPO:NAME")),
        }
    }

    /// Creates a repository in a directory that is empty or does not exist, or opens the one there if it has these properties.
    ///
    /// # Errors
    /// [`ComposefsError::Open`].
    pub fn create(path: &Path, options: &CreateOptions, session: &Session) -> Result<Self, Error> {
        let open = OpenOptions::new().cancel(&session.cancel);
        let created = Repository::create(path, options, &open).map_err(ComposefsError::from);
        let inner = created.map_err(|e| session.reason(e))?;
        Ok(Self { inner })
    }

    /// Returns the repository itself.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.inner
    }

    /// Lists the names there are, sorted: those of images of the OCI first.
    ///
    /// # Errors
    /// [`ComposefsError::Repository`]. What is wrong with one of them is in its [`ComposefsName::problem`].
    pub fn names(&self, session: &Session) -> Result<Vec<ComposefsName>, Error> {
        let images = Images::new(&session.cancel);
        let mut needs = Needs::new(&self.inner, &images).map_err(|e| self.failed(e))?;
        let mut listed = Vec::new();
        for found in names::all(&self.inner)? {
            let mut name = ComposefsName {
                name: found.name.clone(),
                kind: found.kind.clone(),
                images: BTreeMap::new(),
                layers: None,
                bytes: 0,
                problem: None,
            };
            needs.clear();
            if let Err(problem) = self.describe(&mut name, &found, &mut needs) {
                if problem.is_cancelled() {
                    return Err(problem);
                }
                name.problem = Some(problem);
            }
            listed.push(name);
        }
        listed.sort_by(|a, b| (a.kind.rank(), &a.name).cmp(&(b.kind.rank(), &b.name)));
        Ok(listed)
    }

    fn describe(
        &self,
        name: &mut ComposefsName,
        found: &Name,
        needs: &mut Needs<'_>,
    ) -> Result<(), Error> {
        let mut missing = 0;
        if let ComposefsKind::Oci(digest) = &found.kind {
            let opened = oci::Image::open(&self.inner, digest).map_err(|e| self.failed(e))?;
            missing += self.unnamed(&opened)?;
            name.layers = Some(opened.layers.len());
            name.images = opened.images;
        }
        add(&self.inner, needs, found)?;
        for (id, _) in needs.objects() {
            match self.inner.object_size(id).map_err(|e| self.failed(e))? {
                Some(size) => name.bytes += size,
                None => missing += 1,
            }
        }
        match missing {
            0 => Ok(()),
            _ => Err(ComposefsError::Incomplete {
                name: found.name.clone(),
                missing,
            }
            .into()),
        }
    }

    /// Counts the layers of an image, and the images made of it, that have no name: a repair takes away the names of what is
    /// not whole, and they are needed to read and to mount the image.
    fn unnamed(&self, image: &oci::Image) -> Result<u64, Error> {
        let layers = image.layers.iter().map(|layer| &layer.digest);
        let layers: BTreeSet<String> = layers.map(oci::layer_stream).collect();
        let images: BTreeSet<String> = image.images.values().map(|id| id.hex()).collect();
        let layers = layers.into_iter().map(|name| (Category::Streams, name));
        let images = images.into_iter().map(|name| (Category::Images, name));
        let mut missing = 0;
        for (category, name) in layers.chain(images) {
            let there = self.inner.entry(category, &name);
            missing += u64::from(there.map_err(|e| self.failed(e))?.is_none());
        }
        Ok(missing)
    }

    /// Checks that there is a name which [`remove`](Self::remove) would take away.
    ///
    /// # Errors
    /// [`ComposefsError::NoName`] if there is none.
    pub fn check_removable(&self, name: &Selector) -> Result<(), Error> {
        self.reference_of(name).map(drop)
    }

    /// Removes a name. What only it kept goes with the next collection.
    ///
    /// # Errors
    /// [`ComposefsError::NoName`] if there is none.
    pub fn remove(&self, name: &Selector) -> Result<(), Error> {
        let (category, reference) = self.reference_of(name)?;
        match self.inner.remove_reference(category, &reference) {
            Ok(true) => Ok(()),
            // Somebody else was faster.
            Ok(false) => Err(self.no_name(name)),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Finds the reference that a name is: a tag, the name of an image of a file tree, or that of a stream.
    fn reference_of(&self, name: &Selector) -> Result<(Category, String), Error> {
        let Selector::Name(wanted) = name else {
            return Err(self.no_name(name));
        };
        let plain = [Category::Images, Category::Streams].map(|c| (c, wanted.clone()));
        let tag = oci::tag_reference(wanted).map(|tag| (Category::Streams, tag));
        for (category, reference) in tag.into_iter().chain(plain) {
            match self.inner.reference(category, &reference) {
                Ok(None) | Err(EntryError::Name(_) | EntryError::NotALink { .. }) => {}
                Ok(Some(_)) => return Ok((category, reference)),
                Err(e) => return Err(self.failed(e)),
            }
        }
        Err(self.no_name(name))
    }

    fn no_name(&self, name: &Selector) -> Error {
        let name = match name {
            Selector::Name(name) => name.clone(),
            other => other.to_string(),
        };
        names::missing(&self.inner, &name)
    }

    /// Gives an image one more name, in place of another one that has it.
    ///
    /// # Errors
    /// [`ComposefsError::Repository`].
    pub fn tag(&self, image: &Selector, name: &str) -> Result<(), Error> {
        let found = Named::find(&self.inner, Some(image), &image.to_string())?;
        found.tag(&self.inner, name)
    }

    /// Checks everything, with as many threads as the session has.
    ///
    /// # Errors
    /// [`ComposefsError::Repository`] if the check cannot be made; what is wrong is in the report.
    pub fn check(
        &mut self,
        options: &ComposefsCheck,
        session: &Session,
    ) -> Result<FsckReport, Error> {
        let images = Images::new(&session.cancel);
        let fsck = FsckOptions {
            depth: options.depth,
            threads: Some(session.threads().get()),
            promised: Some(oci::promised_digest),
        };
        match options.repair {
            true => {
                let repaired = self.inner.repair(&images, &fsck, options.wait);
                repaired.map_err(|e| self.failed(e))
            }
            false => self.inner.fsck(&images, &fsck).map_err(|e| self.failed(e)),
        }
    }

    /// Removes what no name needs. `keep` are names, digests and ids of what is kept too; streams by their own names.
    ///
    /// # Errors
    /// [`ComposefsError::Repository`].
    pub fn collect(
        &mut self,
        keep: &[String],
        options: &GcOptions,
        session: &Session,
    ) -> Result<GcReport, Error> {
        let mut options = options.clone();
        for name in keep {
            options.roots.push(self.root_of(name)?);
        }
        let images = Images::new(&session.cancel);
        self.inner.gc(&images, &options).map_err(|e| self.failed(e))
    }

    /// Returns the entry that is kept by a name.
    fn root_of(&self, name: &str) -> Result<String, Error> {
        if let Ok(digest) = name.strip_prefix('@').unwrap_or(name).parse() {
            return Ok(oci::manifest_stream(&digest));
        }
        match Named::find(&self.inner, Some(&Selector::Name(name.to_owned())), name) {
            Ok(Named::Oci(digest)) => Ok(oci::manifest_stream(&digest)),
            Ok(Named::Tree(id)) => Ok(id.hex()),
            Err(e) if e.is_cancelled() => Err(e),
            // A stream's own name, or nothing's: collecting tells.
            Err(_) => Ok(name.to_owned()),
        }
    }

    pub(super) fn failed(&self, fault: impl Into<RepositoryFault>) -> Error {
        Error::in_repository(self.inner.path(), fault)
    }
}

/// Adds the needs of a name.
pub(super) fn add(
    repository: &Repository,
    needs: &mut Needs<'_>,
    name: &Name,
) -> Result<(), Error> {
    let by = format!("{}/refs/{}", name.category.directory(), name.reference);
    let added = needs.add(name.category, &name.entry, &by);
    match added.map_err(|e| Error::in_repository(repository.path(), e))? {
        true => Ok(()),
        false => Err(ComposefsError::Dangling {
            name: name.name.clone(),
            entry: format!("{}/{}", name.category.directory(), name.entry),
        }
        .into()),
    }
}

fn wrong_place(place: &OsStr, expected: &'static str) -> Error {
    let place = crate::name::shown(place);
    ComposefsError::Place { place, expected }.into()
}
