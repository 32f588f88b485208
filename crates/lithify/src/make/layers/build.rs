//! The images of all layers of an image, found or made.

use std::collections::HashMap;

use lithify_store::{Key, KeyLock};

use super::options::{BuiltLayer, LayerOptions};
use super::work;
use crate::image::{LayerId, layer_ids};
use crate::make::depot::{self, Depot};
use crate::session::budgets::Budgets;
use crate::{Error, Image, Session};

/// Makes or finds the images of all layers, bottom first.
pub(crate) fn build(
    image: &Image,
    depot: &Depot,
    options: &LayerOptions,
    session: &Session,
    budgets: &Budgets,
) -> Result<Vec<BuiltLayer>, Error> {
    let count = image.layer_count();
    let Some(ids) = layer_ids(image, options.takes_as_is()) else {
        // What has no id before it was read is not looked for.
        return work::make(
            image,
            depot,
            options,
            session,
            budgets,
            vec![None; count],
            HashMap::new(),
        );
    };
    let found = find(depot, options, &ids)?;
    if found.iter().all(Option::is_some) {
        return Ok(found.into_iter().flatten().collect());
    }
    let locks = lock(depot, options, &ids, &found)?;
    // Whoever held the locks may have made them.
    let found = find(depot, options, &ids)?;
    work::make(image, depot, options, session, budgets, found, locks)
}

/// Returns what the store has of the layers.
pub(crate) fn find(
    depot: &Depot,
    options: &LayerOptions,
    ids: &[LayerId],
) -> Result<Vec<Option<BuiltLayer>>, Error> {
    ids.iter().map(|id| find_one(depot, options, id)).collect()
}

fn find_one(
    depot: &Depot,
    options: &LayerOptions,
    id: &LayerId,
) -> Result<Option<BuiltLayer>, Error> {
    for (key, shared) in [
        (options.shared_key(id)?, true),
        (options.chain_key(id)?, false),
    ] {
        if let Some(entry) = depot.get(&key)? {
            return Ok(Some(BuiltLayer {
                id: *id,
                shared,
                reused: true,
                facts: depot::from_facts(&entry)?,
                entry,
            }));
        }
    }
    Ok(None)
}

/// Locks what is missing: a layer by its own id, so that those who make it over other layers wait too; one that the
/// image has a second time, which may differ from the first for what lies below, by its chain.
fn lock(
    depot: &Depot,
    options: &LayerOptions,
    ids: &[LayerId],
    found: &[Option<BuiltLayer>],
) -> Result<HashMap<usize, KeyLock>, Error> {
    let mut keys = Vec::new();
    let mut first = HashMap::new();
    for (index, id) in ids.iter().enumerate() {
        if found[index].is_some() {
            continue;
        }
        let key = match first.insert(id.diff_id, index) {
            None => options.shared_key(id)?,
            Some(_) => options.chain_key(id)?,
        };
        keys.push((key, index));
    }
    let all: Vec<Key> = keys.iter().map(|(key, _)| key.clone()).collect();
    let mut locks = HashMap::new();
    for lock in depot.lock_all(&all)? {
        if let Some((_, index)) = keys.iter().find(|(key, _)| key == lock.key()) {
            locks.insert(*index, lock);
        }
    }
    Ok(locks)
}
