//! Filesystems of layers, out of their streams.

use std::collections::HashMap;

use lithify_composefs::Filesystem;
use lithify_composefs::repository::Repository;
use lithify_composefs::splitstream::ContentType;
use lithify_digest::Digest;
use lithify_tree::{LayerEntries, Merge};
use lithify_verity::file::FileDigest;

use super::entries::{Found, LayerName, Sparse, read_entries};
use super::profile::{self, ComposefsProfile};
use crate::Error;
use crate::image::{Dropped, budget_error, unmerged};
use crate::session::Session;
use crate::session::budgets::Budgets;

/// A layer in a repository.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerStream {
    /// The diff_id.
    pub(crate) diff_id: Digest,
    /// The object that its stream is.
    pub(crate) id: FileDigest,
    /// Set if it was there before.
    pub(crate) is_found: bool,
}

/// The findings of reading a layer.
#[derive(Clone, Debug)]
pub(crate) struct ReadLayer {
    pub(crate) entries: u64,
    /// Attributes that were left out because Linux cannot hold them, by name.
    pub(crate) dropped: Dropped,
}

/// The filesystem that layers make.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) filesystem: Filesystem,
    /// Objects it needs that no layer's stream has.
    pub(super) kept: Vec<FileDigest>,
    /// The findings about each layer.
    pub(super) layers: Vec<ReadLayer>,
}

/// Makes the filesystem that layers make, by the rules of a profile. No object is read but streams,
/// and those of sparse files.
pub(crate) fn merge_streams(
    repository: &Repository,
    name: &str,
    layers: &[LayerStream],
    profile: ComposefsProfile,
    sparse: Sparse,
    (session, budgets): (&Session, &Budgets),
) -> Result<Merged, Error> {
    let mut found = Found::default();
    let mut merge = Merge::new()
        .limit_names(session.limits.names)
        .limit_memory(session.limits.total.memory_bytes)
        .until(&session.cancel);
    let mut read: HashMap<FileDigest, LayerEntries> = HashMap::new();
    let mut summaries = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let name = layer.diff_id.to_string();
        let failed = |source| unmerged(index, &name, source);
        if let Some(entries) = read.get(&layer.id) {
            let counted = budgets.entries.take_layer(entries);
            counted.map_err(|e| budget_error(index, &name, None, e))?;
            merge.apply_ref(entries, 0).map_err(failed)?;
            summaries.push(ReadLayer {
                entries: entries.len() as u64,
                dropped: Dropped::new(),
            });
            continue;
        }
        if layer.is_found {
            let checked = repository.check_object(&layer.id);
            checked.map_err(|e| Error::in_repository(repository.path(), e))?;
        }
        let stream = repository.open_stream_by_id(&layer.id, ContentType::LAYER);
        let stream = stream.map_err(|e| Error::in_repository(repository.path(), e))?;
        let position = LayerName {
            index,
            name: &name,
            is_found: layer.is_found,
            sparse,
        };
        let (entries, dropped) =
            read_entries(repository, stream, position, &mut found, session, budgets)?;
        summaries.push(ReadLayer {
            entries: entries.len() as u64,
            dropped,
        });
        merge.apply_ref(&entries, 0).map_err(failed)?;
        // Only a layer that comes again is needed again.
        if layers[index + 1..].iter().any(|other| other.id == layer.id) {
            read.insert(layer.id, entries);
        }
    }
    drop(read);
    Ok(Merged {
        filesystem: Filesystem::new(profile::finish(merge, profile, name)?, found.contents),
        kept: found.kept,
        layers: summaries,
    })
}
