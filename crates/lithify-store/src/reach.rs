//! Which blobs are needed, by what refers to them.

use std::collections::{BTreeMap, BTreeSet};

use lithify_digest::Digest;

use crate::Store;
use crate::document::Document;
use crate::error::Error;
use crate::fault::IndexError;
use crate::names::{Entries, Referrer, read_as};
use crate::refs::{Part, Reference, is_document_type, references};

/// How a blob that is needed is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// It refers to nothing.
    Opaque,
    /// It refers to others if it happens to be JSON.
    Perhaps,
    /// It refers to others.
    Document,
}

fn role(reference: &Reference) -> Role {
    match reference.part {
        _ if reference.is_document() => Role::Document,
        // An index may list anything.
        Part::Manifest => Role::Perhaps,
        _ => Role::Opaque,
    }
}

/// Blobs found needed.
#[derive(Debug, Default)]
struct Found {
    roles: BTreeMap<Digest, Role>,
    /// Those to be read.
    open: Vec<Digest>,
}

impl Found {
    fn add(&mut self, digest: Digest, role: Role) {
        let known = self.roles.entry(digest).or_insert(Role::Opaque);
        if *known < role {
            // Read once, and once more at most.
            *known = role;
            self.open.push(digest);
        }
    }
}

/// What a list of images leads to.
#[derive(Default)]
struct Roots {
    references: Vec<Reference>,
    /// What is there because of what it refers to.
    referrers: Vec<Referrer>,
}

fn roots(json: &[u8]) -> Result<Roots, IndexError> {
    // What is no index to lithify may be one to other tools.
    let (rest, referrers) = match Entries::parse(json) {
        Ok(entries) => entries.without_referrers(),
        Err(_) => (json.to_vec(), Vec::new()),
    };
    Ok(Roots {
        references: references(&rest)?,
        referrers,
    })
}

impl Store {
    /// All blobs that `index.json` and image records lead to, whether they are there or not. For those who hold the lock
    /// of the store.
    ///
    /// Parts that are missing lead nowhere: who pulls one platform stores an index without the others. Damaged ones
    /// are errors, or when `lenient` lead nowhere too.
    ///
    /// What was put here because it refers to an image is needed as long as that, and does not make it needed.
    pub(crate) fn needed_blobs(&self, lenient: bool) -> Result<BTreeSet<Digest>, Error> {
        match read_as(self, roots) {
            Ok(roots) => self.needed_by(roots, lenient),
            Err(Error::Index { .. }) if lenient => self.needed_by(Roots::default(), lenient),
            Err(e) => Err(e),
        }
    }

    /// As [`needed_blobs`](Self::needed_blobs), with this list in the place of `index.json`.
    pub(crate) fn needed_with(&self, entries: &Entries) -> Result<BTreeSet<Digest>, Error> {
        let roots = roots(&entries.to_bytes()).map_err(|e| self.index_error(e))?;
        self.needed_by(roots, false)
    }

    fn needed_by(&self, roots: Roots, lenient: bool) -> Result<BTreeSet<Digest>, Error> {
        let mut found = Found::default();
        for root in &roots.references {
            found.add(root.digest, role(root));
        }
        let mut waiting = roots.referrers;
        for image in self.images()?.images {
            found.add(image.record.manifest, Role::Document);
        }
        loop {
            self.follow(&mut found, lenient)?;
            let before = waiting.len();
            waiting.retain(|referrer| {
                let needed = found.roles.contains_key(&referrer.subject);
                if needed {
                    found.add(referrer.digest, Role::Document);
                }
                !needed
            });
            if waiting.len() == before {
                return Ok(found.roles.into_keys().collect());
            }
        }
    }

    /// Finds what is led to by what was found.
    fn follow(&self, found: &mut Found, lenient: bool) -> Result<(), Error> {
        while let Some(digest) = found.open.pop() {
            self.cancel.check()?;
            let strict = found.roles.get(&digest) == Some(&Role::Document);
            let references = match self.document(&digest)? {
                Document::Missing => continue,
                Document::Good(references) => references,
                Document::Damaged(_) if lenient || !strict => continue,
                Document::Damaged(source) => {
                    let digest = Box::new(digest);
                    return Err(Error::Manifest { digest, source });
                }
            };
            for reference in &references {
                found.add(reference.digest, role(reference));
            }
        }
        Ok(())
    }

    /// What `index.json` refers to.
    pub(crate) fn listed(&self) -> Result<Vec<Reference>, Error> {
        read_as(self, |json| Ok(references(json)?))
    }

    /// The first part of a manifest that is not there, or has another length; its own and, in an index, those of the
    /// manifests that are there.
    pub(crate) fn missing_part(
        &self,
        digest: &Digest,
        media_type: &str,
    ) -> Result<Option<Incomplete>, Error> {
        let mut found = Found::default();
        let role = match is_document_type(media_type) {
            true => Role::Document,
            false => Role::Perhaps,
        };
        found.add(*digest, role);
        while let Some(digest) = found.open.pop() {
            let Document::Good(references) = self.document(&digest)? else {
                // What is damaged is another matter.
                continue;
            };
            for reference in references {
                match (reference.part, reference.size) {
                    (Part::Manifest, _) => {
                        found.add(reference.digest, self::role(&reference));
                    }
                    (Part::Config | Part::Layer, Some(size))
                        if !reference.elsewhere && !self.has_blob(&reference.digest, size)? =>
                    {
                        return Ok(Some(Incomplete {
                            manifest: digest,
                            part: reference.digest,
                            size,
                        }));
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

/// A manifest, and a part of it that is not there.
#[derive(Debug)]
pub(crate) struct Incomplete {
    pub(crate) manifest: Digest,
    pub(crate) part: Digest,
    pub(crate) size: u64,
}
