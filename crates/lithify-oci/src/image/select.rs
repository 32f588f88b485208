//! From an index to the one manifest that is meant.
//!
//! The *roots* are the entries of `index.json` that fit the name, digest or position asked for. Each
//! leads to one manifest, or by way of indexes to several. All manifests found are
//! *candidates*; the platform decides between those of one image, and an error asks for a name
//! where there are several images.

use std::collections::{BTreeSet, HashMap, HashSet};

use lithify_digest::Digest;

use super::budget::Budget;
use super::content::{Content, is_signature_tag, read_config, read_manifest};
use crate::blob::{self, BlobName};
use crate::image::LayerKind;
use crate::layout::{CONTAINERD_NAME, REF_NAME};
use crate::manifest::media_type::{self, Kind};
use crate::manifest::{self, Descriptor, Document, ImageManifest, Index};
use crate::platform::{Distinct, EROFS_FEATURE, Platform};
use crate::reference::Reference;
use crate::source::Selector;
use crate::{Error, Limits};

/// An entry of `index.json` that may be the image meant.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) descriptor: Descriptor,
    /// Its names, those of equal entries included.
    pub(super) names: BTreeSet<String>,
}

/// A manifest that a root leads to.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) descriptor: Descriptor,
    /// Position of its root.
    pub(super) root: usize,
    pub(super) platform: Option<Platform>,
    pub(super) state: State,
}

/// What is known of a candidate.
#[derive(Debug)]
pub(super) enum State {
    /// An image, as far as its descriptor tells.
    Image,
    /// Listed, but not there: `docker save` keeps descriptors of platforms it leaves out.
    Absent,
    /// Something else in the form of a manifest.
    Refused(manifest::Error),
}

/// The names a descriptor of `index.json` goes by.
pub(super) fn names_of(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    [CONTAINERD_NAME, REF_NAME]
        .into_iter()
        .filter_map(|key| descriptor.annotations.get(key))
        .map(String::as_str)
        .filter(|name| !name.is_empty())
}

/// The most telling name: containerd's is a whole reference where `ref.name` is the tag alone.
fn identity(descriptor: &Descriptor) -> Option<&str> {
    names_of(descriptor).next()
}

pub(super) struct Selection<'a> {
    pub(super) content: &'a dyn Content,
    pub(super) limits: &'a Limits,
    budget: Budget<'a>,
    /// Indexes visited; seeing one twice adds nothing.
    visited: HashSet<Digest>,
    /// Configs that were read, by digest and size: that of the image chosen may come from another machine and is not asked for twice.
    configs: HashMap<(Digest, u64), Vec<u8>>,
    /// Bytes of configs that may still be kept: all together as many as one may have.
    room: u64,
}

impl<'a> Selection<'a> {
    pub(super) fn new(content: &'a dyn Content, limits: &'a Limits) -> Self {
        Self {
            content,
            limits,
            budget: Budget::new(limits),
            visited: HashSet::new(),
            configs: HashMap::new(),
            room: limits.config_bytes,
        }
    }

    /// Reads and verifies a config, unless that was done; `None` if it is not there.
    pub(super) fn take_config(
        &mut self,
        config: &Descriptor,
    ) -> Result<Option<Vec<u8>>, blob::Error> {
        match self.configs.remove(&(config.digest, config.size)) {
            Some(known) => {
                self.room += config.size;
                Ok(Some(known))
            }
            None => read_config(self.content, config, self.limits),
        }
    }

    /// Keeps a verified config for [`take_config`](Self::take_config), if there is room.
    fn keep_config(&mut self, config: &Descriptor, bytes: Vec<u8>) {
        if let Some(room) = self.room.checked_sub(config.size) {
            self.room = room;
            self.configs.insert((config.digest, config.size), bytes);
        }
    }

    /// The entries of `index.json` that `selector` may mean.
    pub(super) fn roots(
        &mut self,
        index: &Index,
        selector: Option<&Selector>,
    ) -> Result<Vec<Root>, Error> {
        let all = &index.manifests;
        let no_such = |wanted: String| Error::NoSuchImage {
            wanted,
            there: all_names(index),
        };
        match selector {
            None => Ok(merge(all.iter())),
            Some(Selector::Index(n)) => {
                let descriptor = all.get(*n).ok_or_else(|| no_such(format!("@{n}")))?;
                Ok(merge([descriptor]))
            }
            Some(Selector::Name(name)) => {
                let tests: [&dyn Fn(&Descriptor) -> bool; 3] = [
                    &|d| names_of(d).any(|n| n == name),
                    &|d| same_reference(d, name),
                    &|d| has_tag(d, name),
                ];
                let found = tests
                    .iter()
                    .map(|test| merge(all.iter().filter(|d| test(d))))
                    .find(|roots| !roots.is_empty());
                found.ok_or_else(|| no_such(name.clone()))
            }
            Some(Selector::Digest(digest)) => {
                let found = match self.find(all, digest, 1)? {
                    Some(descriptor) => Some(descriptor),
                    // In the layout, but in no index: the digest is all that is needed.
                    None => self
                        .content
                        .open_manifest(digest)?
                        .map(|blob| Descriptor::new("", *digest, blob.len())),
                };
                let mut descriptor = found.ok_or_else(|| no_such(digest.to_string()))?;
                // One manifest asked for by digest is judged by its own config alone.
                descriptor.platform = None;
                self.visited.clear();
                Ok(merge([&descriptor]))
            }
        }
    }

    /// The entries of `index.json` that are images, when none is asked for: what cosign says of an image has a name beside it,
    /// but is none.
    pub(super) fn images(&mut self, index: &Index) -> Result<Vec<Root>, Error> {
        let mut roots = self.roots(index, None)?;
        let is_signature = |root: &Root| {
            !root.names.is_empty() && root.names.iter().all(|name| is_signature_tag(name))
        };
        // Of signatures alone the error says what they are.
        if !roots.iter().all(is_signature) {
            roots.retain(|root| !is_signature(root));
        }
        Ok(roots)
    }

    /// The roots that lead to an image, as far as their documents tell; all of them if none does.
    pub(super) fn leading_to_images(&mut self, roots: Vec<Root>) -> Result<Vec<Root>, Error> {
        let candidates = self.candidates(&roots)?;
        let images: HashSet<usize> = candidates
            .iter()
            .filter(|candidate| !matches!(candidate.state, State::Refused(_)))
            .map(|candidate| candidate.root)
            .collect();
        if images.is_empty() {
            return Ok(roots);
        }
        let numbered = roots.into_iter().enumerate();
        let kept = numbered.filter(|(number, _)| images.contains(number));
        Ok(kept.map(|(_, root)| root).collect())
    }

    /// The descriptor of `digest` in these or the indexes they lead to.
    fn find(
        &mut self,
        among: &[Descriptor],
        digest: &Digest,
        depth: usize,
    ) -> Result<Option<Descriptor>, Error> {
        if let Some(found) = among.iter().find(|d| d.digest == *digest) {
            return Ok(Some(found.clone()));
        }
        for descriptor in among {
            self.budget.entry()?;
            if media_type::kind(&descriptor.media_type) != Kind::Index
                || depth >= self.limits.index_depth
                || !self.visited.insert(descriptor.digest)
            {
                continue;
            }
            if let Some(Document::Index(index)) = self.document(descriptor)?
                && let Some(found) = self.find(&index.manifests, digest, depth + 1)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Everything the roots lead to, in order.
    pub(super) fn candidates(&mut self, roots: &[Root]) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for (root, Root { descriptor, .. }) in roots.iter().enumerate() {
            self.visit(descriptor, root, 1, &mut found)?;
        }
        Ok(found)
    }

    /// `depth` is that of the index `descriptor` stands in.
    fn visit(
        &mut self,
        descriptor: &Descriptor,
        root: usize,
        depth: usize,
        found: &mut Vec<Candidate>,
    ) -> Result<(), Error> {
        self.budget.entry()?;
        if descriptor.is_attestation() {
            return Ok(());
        }
        let mut add = |platform, state| {
            // What else a descriptor says may be long and is not needed any more.
            let Descriptor {
                media_type,
                digest,
                size,
                ..
            } = descriptor;
            found.push(Candidate {
                descriptor: Descriptor::new(media_type, *digest, *size),
                root,
                platform,
                state,
            });
        };
        let artifact = descriptor
            .artifact_type
            .as_ref()
            .filter(|t| !media_type::is_image_config(t));
        if let Some(artifact_type) = artifact {
            let error = manifest::Error::NotAnImage {
                found: artifact_type.clone(),
                artifact: true,
            };
            add(None, State::Refused(error));
            return Ok(());
        }
        match (
            media_type::kind(&descriptor.media_type),
            &descriptor.platform,
        ) {
            // "MUST NOT generate an error" (image-spec, `image-index.md`, on unknown media types).
            (Kind::Other, _) => return Ok(()),
            (Kind::Schema1, _) => {
                add(None, State::Refused(manifest::Error::Schema1));
                return Ok(());
            }
            (Kind::Manifest, Some(platform)) => {
                add(Some(platform.clone()), State::Image);
                return Ok(());
            }
            _ => {}
        }
        match self.document(descriptor) {
            Ok(None) => add(descriptor.platform.clone(), State::Absent),
            Ok(Some(Document::Index(index))) => {
                if depth >= self.limits.index_depth {
                    return Err(Error::IndexDepth {
                        limit: self.limits.index_depth,
                    });
                }
                if self.visited.insert(descriptor.digest) {
                    for child in &index.manifests {
                        self.visit(child, root, depth + 1, found)?;
                    }
                }
            }
            Ok(Some(Document::Manifest(manifest))) => match self.platform(&manifest)? {
                Ok(Some(platform)) => add(Some(platform), State::Image),
                Ok(None) => add(None, State::Absent),
                Err(error) => add(None, State::Refused(error)),
            },
            Err(Error::Manifest { source, .. }) if is_other_kind(&source) => {
                add(None, State::Refused(source))
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The platform by the config; `None` without the config, an error inside for what is no image.
    #[allow(
        clippy::type_complexity,
        reason = "two kinds of failure that end in different places"
    )]
    fn platform(
        &mut self,
        manifest: &ImageManifest,
    ) -> Result<Result<Option<Platform>, manifest::Error>, Error> {
        match manifest.check_image(self.limits) {
            Err(error @ manifest::Error::NotAnImage { .. }) => return Ok(Err(error)),
            // With the config of an image, as cosign's signatures have it.
            Err(error @ manifest::Error::LayerMediaType { .. })
                if !manifest.has_layers_of_images() =>
            {
                return Ok(Err(error));
            }
            _ => {}
        }
        self.budget.bytes(manifest.config.size)?;
        let Some(raw) = self.take_config(&manifest.config)? else {
            return Ok(Ok(None));
        };
        match manifest.parse_config(&raw) {
            Ok(config) => {
                self.keep_config(&manifest.config, raw);
                Ok(Ok(Some(config.platform())))
            }
            Err(error @ manifest::Error::NotAnImage { .. }) => Ok(Err(error)),
            Err(source) => Err(Error::Manifest {
                name: BlobName::Config(Box::new(manifest.config.digest)),
                source,
            }),
        }
    }

    fn document(&mut self, descriptor: &Descriptor) -> Result<Option<Document>, Error> {
        self.budget.bytes(descriptor.size)?;
        let Some(json) = read_manifest(self.content, descriptor, self.limits)? else {
            return Ok(None);
        };
        Document::parse(&json, Some(&descriptor.media_type))
            .map(Some)
            .map_err(|source| Error::Manifest {
                name: BlobName::Manifest(Box::new(descriptor.digest)),
                source,
            })
    }

    /// The candidate that suits `wanted` best.
    pub(super) fn choose(
        &self,
        roots: &[Root],
        candidates: Vec<Candidate>,
        wanted: &Platform,
        prefer: LayerKind,
    ) -> Result<Candidate, Error> {
        self.check_one_image(roots, &candidates)?;
        let rank = |c: &Candidate| match (&c.state, &c.platform) {
            (State::Refused(_), _) | (_, None) => None,
            (_, Some(platform)) if wanted.os_features().is_empty() => {
                // That its layers are EROFS images says how it is stored, not what it needs.
                let (platform, erofs) = without_erofs(platform);
                let other = erofs != (prefer == LayerKind::Erofs);
                Some((wanted.rank(&platform)?, other))
            }
            (_, Some(platform)) => Some((wanted.rank(platform)?, false)),
        };
        let mut ranked: Vec<_> = candidates
            .iter()
            .enumerate()
            .filter_map(|(i, c)| Some((rank(c)?, i)))
            .collect();
        // Equal ranks stay in the order of the index.
        ranked.sort_unstable();
        let mut chosen: Option<((crate::platform::Rank, bool), usize)> = None;
        for &(rank, i) in &ranked {
            let candidate = &candidates[i];
            match chosen {
                Some((best, _)) if rank != best => break,
                // Within one image the first of equals is meant; of two images neither is.
                Some((_, first))
                    if candidates[first].root == candidate.root
                        || candidates[first].descriptor.digest == candidate.descriptor.digest => {}
                Some(_) if self.is_there(candidate)? => return Err(several(roots)),
                Some(_) => {}
                None if self.is_there(candidate)? => chosen = Some((rank, i)),
                None => {}
            }
        }
        let index = match (chosen, ranked.first()) {
            (Some((_, i)), _) => i,
            (None, Some(&(_, i))) => {
                let name = BlobName::Manifest(Box::new(candidates[i].descriptor.digest));
                return Err(blob::Error::Missing { name }.into());
            }
            (None, None) => return Err(self.nothing_suits(candidates, wanted)?),
        };
        candidates.into_iter().nth(index).ok_or(Error::Empty)
    }

    /// Roots that lead to images must all go by the same names: then they are one image for several
    /// platforms, otherwise several images, and the platform must not choose between those.
    fn check_one_image(&self, roots: &[Root], candidates: &[Candidate]) -> Result<(), Error> {
        let mut first: Option<&Root> = None;
        // Candidates of one root stand together, and may be as many as its names.
        let mut judged = None;
        for candidate in candidates {
            let root = &roots[candidate.root];
            if judged == Some(candidate.root) {
                continue;
            }
            if first.is_some_and(|first| first.names == root.names) {
                judged = Some(candidate.root);
                continue;
            }
            if !self.is_there(candidate)? {
                continue;
            }
            if first.is_some() {
                return Err(several(roots));
            }
            first = Some(root);
            judged = Some(candidate.root);
        }
        Ok(())
    }

    /// Why no candidate is for the platform.
    fn nothing_suits(&self, candidates: Vec<Candidate>, wanted: &Platform) -> Result<Error, Error> {
        let mut there = Distinct::default();
        let mut absent = Vec::new();
        let mut refused = None;
        for candidate in candidates {
            let digest = candidate.descriptor.digest;
            let is_there = self.is_there(&candidate)?;
            match (candidate.state, candidate.platform) {
                (State::Refused(source), _) => {
                    let name = BlobName::Manifest(Box::new(digest));
                    refused.get_or_insert(Error::Manifest { name, source });
                }
                (State::Image, Some(platform)) if is_there => there.add(platform),
                _ => absent.push(digest),
            }
        }
        Ok(match (there.is_empty(), refused, absent.first()) {
            (false, _, _) => Error::Platform {
                wanted: Box::new(wanted.clone()),
                there: there.in_order(),
                absent: absent.len(),
            },
            (true, Some(refused), _) => refused,
            (true, None, Some(&digest)) => blob::Error::Missing {
                name: BlobName::Manifest(Box::new(digest)),
            }
            .into(),
            (true, None, None) => Error::Empty,
        })
    }

    fn is_there(&self, candidate: &Candidate) -> Result<bool, Error> {
        match candidate.state {
            State::Image => Ok(self.content.has_manifest(&candidate.descriptor.digest)?),
            State::Absent | State::Refused(_) => Ok(false),
        }
    }
}

/// The platform without the feature that marks manifests whose layers are EROFS images, and whether it had it
/// (containerd, `core/images/converter/erofs`; erofs-image-spec 5.4).
fn without_erofs(platform: &Platform) -> (Platform, bool) {
    let rest = platform
        .os_features()
        .iter()
        .filter(|f| *f != EROFS_FEATURE);
    let other = platform.clone().with_os_features(rest.cloned());
    let erofs = other != *platform;
    (other, erofs)
}

/// Equal digests are one root with all their names.
fn merge<'d>(descriptors: impl IntoIterator<Item = &'d Descriptor>) -> Vec<Root> {
    let mut roots: Vec<Root> = Vec::new();
    let mut at = std::collections::HashMap::new();
    for descriptor in descriptors {
        let position = *at.entry(descriptor.digest).or_insert_with(|| {
            roots.push(Root {
                descriptor: descriptor.clone(),
                names: BTreeSet::new(),
            });
            roots.len() - 1
        });
        roots[position]
            .names
            .extend(identity(descriptor).map(str::to_owned));
    }
    roots
}

fn all_names(index: &Index) -> Vec<String> {
    let mut seen = HashSet::new();
    let names = index
        .manifests
        .iter()
        .filter_map(identity)
        .filter(|name| seen.insert(*name));
    names.map(str::to_owned).collect()
}

/// Whether a name of `descriptor` and `name` are the same reference, defaults spelled out.
fn same_reference(descriptor: &Descriptor, name: &str) -> bool {
    let Ok(wanted) = name.parse::<Reference>() else {
        return false;
    };
    names_of(descriptor).any(|n| {
        n.parse::<Reference>()
            .is_ok_and(|n| n.names_same_image(&wanted))
    })
}

/// Whether a name of `descriptor` is a reference with the tag `name`.
fn has_tag(descriptor: &Descriptor, name: &str) -> bool {
    names_of(descriptor).any(|n| n.parse::<Reference>().is_ok_and(|n| n.tag() == Some(name)))
}

/// Documents that are no image, beside which others may be one.
fn is_other_kind(error: &manifest::Error) -> bool {
    matches!(
        error,
        manifest::Error::NotAnImage { .. }
            | manifest::Error::Schema1
            | manifest::Error::Unrecognised
    )
}

pub(super) fn several(roots: &[Root]) -> Error {
    let there = roots.iter().flat_map(|root| {
        let digest = root
            .names
            .is_empty()
            .then(|| root.descriptor.digest.to_string());
        root.names.iter().cloned().chain(digest)
    });
    Error::Several {
        there: there.collect(),
    }
}
