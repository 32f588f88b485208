//! The cheapest way from images that are there to one that is not, over any number of deltas.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use lithify_digest::Digest;
use lithify_oci::blob;
use lithify_oci::delta::{ARTIFACT_TYPE, Delta};
use lithify_oci::source::Source;
use lithify_oci::{Content, Located};

use super::artifact::Artifact;
use super::inspect::total;
use crate::Error;
use crate::artifacts::read_listed;
use crate::session::Session;

/// Most deltas that are looked at for one image.
const MAX_DELTAS: usize = 256;

/// Most images that deltas are looked for: each time the place is asked what refers to one.
const MAX_IMAGES: usize = 32;

/// A place where deltas are found as what refers to images.
pub(super) struct Shelf<'a> {
    /// The name of the image that is wanted, for messages.
    pub(super) name: &'a str,
    /// The name of the place without tag and digest.
    pub(super) place: &'a str,
    pub(super) source: &'a Source,
    pub(super) content: &'a Arc<dyn Content>,
}

/// A delta on a way.
#[derive(Debug)]
struct Step {
    name: String,
    source: Source,
    located: Located,
    /// Digest of the configuration of the image that it is for.
    from: Digest,
    /// Digest of the manifest of that image.
    from_manifest: Option<Digest>,
    bytes: u64,
    /// The step behind it.
    next: Option<usize>,
}

/// A search for the cheapest way.
struct Search<'a> {
    shelf: &'a Shelf<'a>,
    /// Deltas from elsewhere.
    others: &'a [Artifact],
    session: &'a Session,
    steps: Vec<Step>,
    looked_at: usize,
}

/// Returns the deltas of the cheapest way to a manifest from an image whose configuration is `had`, in the order they are applied, and
/// their bytes.
pub(super) fn route(
    shelf: &Shelf<'_>,
    others: &[Artifact],
    wanted: &Digest,
    had: &dyn Fn(&Digest) -> Result<bool, Error>,
    session: &Session,
) -> Result<Option<(Vec<Artifact>, u64)>, Error> {
    let mut search = Search {
        shelf,
        others,
        session,
        steps: Vec::new(),
        looked_at: 0,
    };
    let mut open = BinaryHeap::from([Reverse((0_u64, *wanted, None))]);
    let (mut closed, mut best) = (BTreeSet::new(), None);
    let mut known: BTreeMap<Digest, bool> = BTreeMap::new();
    while let Some(Reverse((cost, manifest, next))) = open.pop() {
        // Nothing that is left is cheaper.
        if best.is_some_and(|(least, _)| cost >= least) {
            break;
        }
        if !closed.insert(manifest) {
            continue;
        }
        if closed.len() > MAX_IMAGES {
            log::warn!(
                "{}: deltas of {MAX_IMAGES} images were looked at, not of more",
                shelf.name
            );
            break;
        }
        for index in search.steps_to(&manifest, next)? {
            let step = &search.steps[index];
            let total = cost.saturating_add(step.bytes);
            let is_had = match known.get(&step.from) {
                Some(is_had) => *is_had,
                None => had(&step.from)?,
            };
            known.insert(step.from, is_had);
            if is_had && best.is_none_or(|(least, _)| total < least) {
                best = Some((total, index));
            } else if let (false, Some(from)) = (is_had, step.from_manifest) {
                open.push(Reverse((total, from, Some(index))));
            }
        }
    }
    let Some((bytes, first)) = best else {
        return Ok(None);
    };
    let (mut artifacts, mut at) = (Vec::new(), Some(first));
    while let Some(index) = at {
        let step = &search.steps[index];
        let (name, source, located) = (&step.name, &step.source, &step.located);
        artifacts.push(Artifact::of(
            name.clone(),
            source.clone(),
            located.clone(),
            session,
        )?);
        at = step.next;
    }
    Ok(Some((artifacts, bytes)))
}

impl Search<'_> {
    /// Finds the deltas that make an image; `next` is what is applied after them.
    fn steps_to(&mut self, manifest: &Digest, next: Option<usize>) -> Result<Vec<usize>, Error> {
        let first = self.steps.len();
        for other in self.others.iter().filter(|o| o.delta.target == *manifest) {
            let mut located = other.located.clone();
            located.root = other.descriptor.clone();
            self.add(
                &other.delta,
                other.name.clone(),
                other.source.clone(),
                located,
                next,
            );
        }
        let shelf = self.shelf;
        let mut listed = match shelf.content.referrers(manifest, Some(ARTIFACT_TYPE)) {
            Ok(listed) => listed,
            Err(error @ blob::Error::Unlisted { .. }) => {
                log::warn!("{error}; no delta is looked for there");
                Vec::new()
            }
            Err(error) => return Err(Error::opening(shelf.name, error)),
        };
        let room = MAX_DELTAS - self.looked_at;
        if listed.len() > room {
            log::warn!(
                "{}: more deltas than the {MAX_DELTAS} that are looked at",
                shelf.name
            );
            listed.truncate(room);
        }
        self.looked_at += listed.len();
        let found = read_listed(
            shelf.name,
            shelf.content,
            manifest,
            ARTIFACT_TYPE,
            listed,
            self.session,
        );
        for found in found.collect::<Vec<_>>() {
            let (entry, parsed) = found?;
            match Delta::parse(&parsed, &self.session.limits.image) {
                Ok(delta) if delta.target == *manifest => {
                    let name = format!("{}@{}", shelf.place, entry.digest);
                    let located = Located::new(Arc::clone(shelf.content), entry, Vec::new());
                    self.add(&delta, name, shelf.source.clone(), located, next);
                }
                Ok(_) => log::warn!("{}: it is a delta of another image", entry.digest),
                Err(e) => log::warn!("{}: {e}; passed over", entry.digest),
            }
        }
        Ok((first..self.steps.len()).collect())
    }

    fn add(
        &mut self,
        delta: &Delta,
        name: String,
        source: Source,
        located: Located,
        next: Option<usize>,
    ) {
        self.steps.push(Step {
            name,
            source,
            located,
            from: delta.source_config,
            from_manifest: delta.source,
            bytes: total(delta.layers.iter().map(|layer| layer.blob.size)),
            next,
        });
    }
}
