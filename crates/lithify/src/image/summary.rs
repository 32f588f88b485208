//! What decoding a layer found out about it.

use std::collections::BTreeMap;

use lithify_digest::Digest;
use lithify_hostfs::RecordedSummary;

use crate::session::Session;

/// What decoding a layer found out.
#[derive(Clone, Debug)]
pub(crate) struct LayerSummary {
    /// Digest of the uncompressed tar, or of a host directory's whole content.
    pub(crate) diff_id: Digest,
    pub(crate) tar_bytes: u64,
    pub(crate) entries: u64,
    /// Of a host directory that `-f dir` wrote: what became of what it wrote beside it.
    pub(crate) recorded: Option<RecordedSummary>,
    /// Attributes that were left out because Linux cannot hold them, by name.
    pub(crate) dropped: Dropped,
}

/// Names that are counted one by one; an image could have any number of them.
const NAMES_MAX: usize = 64;
/// What the others are counted as.
const OTHERS: &str = "(other names)";

/// Files that lost an attribute, by its name, escaped.
pub(crate) type Dropped = BTreeMap<String, u64>;

/// The same options, with attributes left out that Linux cannot hold, if that is asked for.
pub(crate) fn reading(session: &Session, drop_xattrs: bool) -> Session {
    let mut session = session.clone();
    session.limits.layer.drop_xattrs |= drop_xattrs;
    session
}

/// Adds what was left out while layers were read.
pub(crate) fn add_dropped(dropped: &mut Dropped, summaries: &[LayerSummary]) {
    for (name, files) in summaries.iter().flat_map(|summary| &summary.dropped) {
        count_dropped(dropped, name.clone(), *files);
    }
}

pub(crate) fn count_dropped(dropped: &mut Dropped, name: String, files: u64) {
    let name = match dropped.len() < NAMES_MAX || dropped.contains_key(&name) {
        true => name,
        false => OTHERS.to_owned(),
    };
    *dropped.entry(name).or_default() += files;
}
