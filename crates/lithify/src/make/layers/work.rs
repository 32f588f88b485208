//! Making the images of layers that are not there yet.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lithify_digest::Digest;
use lithify_store::{Key, KeyLock};
use lithify_verity::Sidecar;

use super::options::BuiltLayer;
use super::options::IMAGE;
use super::options::LayerFacts;
use super::options::LayerOptions;
use super::turns::Turns;
use crate::Error;
use crate::Event;
use crate::Image;
use crate::description::Verity;
use crate::error::{LayerError, Operation};
use crate::fs::FsError;
use crate::fs::FsWriter;
use crate::fs::Kind;
use crate::fs::verity;
use crate::image::LayerId;
use crate::image::Reader;
use crate::image::add_dropped;
use crate::image::layer_ids;
use crate::image::native_error;
use crate::image::open;
use crate::image::read_layer;
use crate::make::depot;
use crate::make::depot::Depot;
use crate::output::flush::Flusher;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Layers made at the same time, at most: each has its buffers.
const LAYERS_AT_A_TIME: usize = 4;

/// Makes what is missing of `found`.
pub(super) fn make(
    image: &Image,
    depot: &Depot,
    options: &LayerOptions,
    session: &Session,
    budgets: &Budgets,
    found: Vec<Option<BuiltLayer>>,
    locks: HashMap<usize, KeyLock>,
) -> Result<Vec<BuiltLayer>, Error> {
    let missing: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_none()).collect();
    session.progress.event(Event::Started {
        layers: missing.len(),
    });
    let ids = layer_ids(image, options.takes_as_is());
    let work = Work {
        image,
        depot,
        options,
        session,
        budgets,
        ids,
        locks: Mutex::new(locks),
        turns: Turns::new(image, session, budgets, options.filesystem.kind, found),
        missing,
        next: AtomicUsize::new(0),
        error: Mutex::new(None),
    };
    // A squashfs layer keeps all threads busy compressing; a second one covers its beginning and end.
    let at_a_time = match options.filesystem.kind {
        Kind::Squashfs => 2,
        Kind::Erofs | Kind::Ext4 => LAYERS_AT_A_TIME,
    };
    let workers = session
        .threads()
        .get()
        .min(at_a_time)
        .min(work.missing.len());
    if workers <= 1 {
        work.run();
    } else {
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| work.run());
            }
        });
    }
    if let Some(error) = work
        .error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        return Err(error);
    }
    Ok(work.turns.into_layers())
}

struct Work<'a> {
    image: &'a Image,
    depot: &'a Depot,
    options: &'a LayerOptions,
    session: &'a Session,
    budgets: &'a Budgets,
    ids: Option<Vec<LayerId>>,
    /// The right to make each missing layer.
    locks: Mutex<HashMap<usize, KeyLock>>,
    turns: Turns<'a>,
    missing: Vec<usize>,
    next: AtomicUsize,
    /// The first thing that went wrong.
    error: Mutex<Option<Error>>,
}

impl Work<'_> {
    /// Takes layers, bottom first, until there are none: whoever waits for its turn waits for a layer below, which
    /// someone is working on.
    fn run(&self) {
        let _guard = FailOnPanic(&self.turns);
        while let Some(&index) = self.missing.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = self.layer(index) {
                let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
                // Those that were waiting say only that they were told to stop.
                match &*first {
                    Some(known) if !known.is_cancelled() => {}
                    _ => *first = Some(error),
                }
                drop(first);
                self.turns.fail();
                return;
            }
        }
    }

    fn layer(&self, index: usize) -> Result<(), Error> {
        if let Some(twin) = self.twin(index)
            && let Some(layer) = self.turns.shared_twin(twin)?
        {
            let id = self.id(index, layer.id.diff_id);
            let layer = BuiltLayer {
                id,
                reused: true,
                ..layer
            };
            self.turns.found(index, layer);
            return Ok(());
        }
        if let Some(id) = self
            .ids
            .as_ref()
            .map(|ids| ids[index])
            .filter(|id| id.as_is)
        {
            return self.take_as_is(index, id);
        }
        let (options, session) = (self.options, self.session);
        let pending = self.depot.store().begin()?;
        let file = Arc::new(pending.create(IMAGE)?);
        let beside = pending.path(IMAGE)?;
        let failed = |operation| {
            let beside = beside.clone();
            move |source| Error::output(operation, &beside, source)
        };
        let flusher = match options.durable {
            true => Some(Flusher::start(&file).map_err(failed(Operation::Create))?),
            false => None,
        };
        let made = self.write(index, &file, &beside);
        let made = made.and_then(|made| match session.cancel.is_cancelled() {
            true => Err(Error::cancelled()),
            false => Ok(made),
        });
        match (flusher, &made) {
            (Some(flusher), Ok(_)) => flusher.finish().map_err(failed(Operation::Sync))?,
            // Nobody waits for the disk on account of a file that nobody wants.
            (Some(flusher), Err(_)) => flusher.abandon(),
            (None, _) => {}
        }
        let Made {
            id,
            shared,
            facts,
            tree,
        } = made?;
        let key = match shared {
            true => options.shared_key(&id)?,
            false => options.chain_key(&id)?,
        };
        let lock = self.key_lock(index, &key)?;
        let entry = pending.commit_as(lock, depot::to_facts(&facts))?;
        let layer = BuiltLayer {
            id,
            shared,
            reused: false,
            facts,
            entry,
        };
        self.turns.finish(index, layer, tree);
        Ok(())
    }

    /// Keeps a layer that is an EROFS image as it is.
    fn take_as_is(&self, index: usize, id: LayerId) -> Result<(), Error> {
        let native = match open(self.image, index, self.session, self.budgets)? {
            Reader::Native(native) => native,
            // Only layers that are EROFS images have such an id.
            Reader::Stream(_) | Reader::Filesystem(_) => {
                let name = self.image.layer_name(index);
                return Err(LayerError::NotNative { index, name }.into());
            }
        };
        let pending = self.depot.store().begin()?;
        let file = Arc::new(pending.create(IMAGE)?);
        let failed = |source| native_error(self.image, index, source);
        let native = native.copy_to(&file, self.session, self.budgets, failed)?;
        let facts = LayerFacts {
            // An image always does.
            describes_root: true,
            tar_size: native.size,
            entries: native.entries,
            image_size: native.image_size,
            verity: None,
            dropped_xattrs: BTreeMap::new(),
        };
        self.session.progress.event(Event::LayerDone {
            index,
            tar_bytes: native.size,
            entries: native.entries,
        });
        let lock = self.key_lock(index, &self.options.shared_key(&id)?)?;
        let entry = pending.commit_as(lock, depot::to_facts(&facts))?;
        let layer = BuiltLayer {
            id,
            shared: true,
            reused: false,
            facts,
            entry,
        };
        self.turns.found(index, layer);
        Ok(())
    }

    /// The right to keep something under the layer's key.
    fn key_lock(&self, index: usize, key: &Key) -> Result<KeyLock, Error> {
        let own = self
            .locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&index);
        match own {
            Some(lock) if lock.key() == key => Ok(lock),
            // Whoever makes this chain's layer holds the lock of the layer, as this build does: nobody has to be
            // waited for, except where nothing was locked because nothing was known.
            _ => Ok(self.depot.store().lock(key)?),
        }
    }

    /// The lowest layer that is the same, if it is not this one.
    fn twin(&self, index: usize) -> Option<usize> {
        let ids = self.ids.as_ref()?;
        let twin = ids.iter().position(|id| id.diff_id == ids[index].diff_id)?;
        (twin != index).then_some(twin)
    }

    fn write(&self, index: usize, file: &Arc<std::fs::File>, beside: &Path) -> Result<Made, Error> {
        let (options, session) = (self.options, self.session);
        let handle = file
            .try_clone()
            .map_err(|e| Error::output(Operation::Create, beside, e))?;
        let mut writer = FsWriter::new(handle, &options.filesystem, session, self.budgets, beside)?;
        let budgets = self.budgets;
        let reader = open(self.image, index, session, budgets)?;
        let sink_error = |e: FsError| e.at(beside);
        let (entries, summary) = read_layer(
            self.image,
            index,
            reader,
            &mut writer,
            session,
            budgets,
            &sink_error,
        )?;
        let id = self.id(index, summary.diff_id);
        let applied = self.turns.apply(index, &entries)?;
        session.cancel.check()?;
        let shared = applied.report.is_self_contained();
        // A difference says everything, the root's metadata too.
        let describes_root = applied.report.describes_root || !shared;
        let mut tree = self.turns.tree(applied, &entries, &mut writer, beside)?;
        session.cancel.check()?;
        let seed = if shared { id.diff_id } else { id.chain_id };
        let report = writer
            .finish(&options.filesystem, &mut tree, seed.as_bytes())
            .map_err(|e| e.at(beside))?;
        let mut facts = LayerFacts {
            describes_root,
            tar_size: summary.tar_bytes,
            entries: summary.entries,
            image_size: report.size,
            verity: None,
            dropped_xattrs: report.dropped,
        };
        add_dropped(&mut facts.dropped_xattrs, std::slice::from_ref(&summary));
        if options.verity {
            let report = verity::append(file, report.size, beside, session)?;
            facts.verity = Some(Verity::from(&Sidecar::from(&report)));
        }
        Ok(Made {
            id,
            shared,
            facts,
            tree,
        })
    }

    /// The layer's ids. A source that does not say them has one layer.
    fn id(&self, index: usize, diff_id: Digest) -> LayerId {
        match &self.ids {
            Some(ids) => ids[index],
            None => LayerId::on(None, diff_id),
        }
    }
}

/// Lets nobody wait for a thread that panicked.
struct FailOnPanic<'a, 'b>(&'a Turns<'b>);

impl Drop for FailOnPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail();
        }
    }
}

/// An image that is written and has no name yet.
struct Made {
    id: LayerId,
    shared: bool,
    facts: LayerFacts,
    tree: lithify_tree::Tree,
}
