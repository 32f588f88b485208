//! Applying layers in order, while several are being decoded.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lithify_tree::overlay::{self, Changes, OverlayError};
use lithify_tree::{ContentId, InodeKind, LayerEntries, LayerReport, Merge, Tree};

use super::options::{BuiltLayer, IMAGE};
use crate::CancelToken;
use crate::Error;
use crate::Image;
use crate::error::{ArtifactError, LayerError};
use crate::fs::FsWriter;
use crate::fs::Kind;
use crate::fs::image::FsImage;
use crate::image::merge_error;
use crate::image::over_budget;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// The merged filesystem so far, and who comes next.
pub(super) struct Turns<'a> {
    image: &'a Image,
    session: &'a Session,
    budgets: &'a Budgets,
    kind: Kind,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    merge: Merge,
    /// The layer to be applied next.
    next: usize,
    /// The highest layer that has to be made: nothing above it needs to be applied.
    last: usize,
    /// Where the numbers of each applied layer's contents begin.
    first_contents: Vec<u32>,
    layers: Vec<Slot>,
    /// Of layers that others took files of.
    contents: HashMap<usize, Arc<Contents>>,
    failed: bool,
}

/// Where the files of a layer's image are.
struct Contents {
    layer: BuiltLayer,
    paths: Paths,
}

/// Paths by the numbers of contents.
#[derive(Default)]
struct Paths {
    bytes: Vec<u8>,
    /// Start and length.
    places: HashMap<u32, (usize, usize)>,
}

impl Paths {
    /// Adds the path of a content, unless it has one.
    fn add(&mut self, content: u32, path: &[u8]) {
        self.places.entry(content).or_insert_with(|| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(path);
            (start, path.len())
        });
    }
}

impl Contents {
    fn path(&self, content: u32) -> Option<&[u8]> {
        let &(start, length) = self.paths.places.get(&content)?;
        Some(&self.paths.bytes[start..][..length])
    }
}

enum Slot {
    /// Being made.
    Open,
    /// Made just now, with the tree it was made of.
    New(BuiltLayer, Arc<Tree>),
    /// Found in the store.
    Found(BuiltLayer),
}

/// A layer that was applied.
pub(super) struct Applied {
    index: usize,
    pub(super) report: LayerReport,
    first_content: u32,
    /// What the layer changes, if it depends on what lies below.
    changes: Option<Changes>,
}

impl<'a> Turns<'a> {
    pub(super) fn new(
        image: &'a Image,
        session: &'a Session,
        budgets: &'a Budgets,
        kind: Kind,
        found: Vec<Option<BuiltLayer>>,
    ) -> Self {
        let last = found.iter().rposition(Option::is_none).unwrap_or(0);
        let layers = found
            .into_iter()
            .map(|f| f.map_or(Slot::Open, Slot::Found))
            .collect();
        Self {
            image,
            session,
            budgets,
            kind,
            state: Mutex::new(State {
                merge: Merge::new()
                    .track_changes()
                    .limit_names(session.limits.names)
                    .limit_memory(session.limits.total.memory_bytes)
                    .until(&session.cancel),
                next: 0,
                last,
                first_contents: Vec::new(),
                layers,
                contents: HashMap::new(),
                failed: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that it is no use.
    pub(super) fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_all();
    }

    /// Waits until something is so.
    fn wait_for(
        &self,
        mut ready: impl FnMut(&mut State) -> Result<bool, Error>,
    ) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.lock();
        loop {
            if state.failed || self.session.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            if ready(&mut state)? {
                return Ok(state);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Applies a layer when it is its turn.
    pub(super) fn apply(&self, index: usize, entries: &LayerEntries) -> Result<Applied, Error> {
        let mut state = self.wait_for(|state| {
            self.apply_found(state)?;
            Ok(state.next == index)
        })?;
        let (report, changes, first_content) = self.apply_next(&mut state, entries)?;
        drop(state);
        self.changed.notify_all();
        Ok(Applied {
            index,
            report,
            first_content,
            changes,
        })
    }

    /// Applies the layers that need not be made.
    fn apply_found(&self, state: &mut State) -> Result<(), Error> {
        while state.next < state.last
            && let Slot::Found(layer) = &state.layers[state.next]
        {
            let image = open(layer, self.kind, &self.session.cancel)?;
            let entries = image.layer_entries(state.next, layer.facts.describes_root)?;
            // One that this build made was counted then.
            if layer.reused {
                self.budgets
                    .entries
                    .take_layer(&entries)
                    .map_err(|e| over_budget(self.image, state.next, None, e))?;
            }
            self.apply_next(state, &entries)?;
            self.changed.notify_all();
        }
        Ok(())
    }

    fn apply_next(
        &self,
        state: &mut State,
        entries: &LayerEntries,
    ) -> Result<(LayerReport, Option<Changes>, u32), Error> {
        let index = state.next;
        let merge_failed = |source| merge_error(self.image, index, source);
        let first = state.first_contents.last().copied().unwrap_or(0);
        let (report, changes) = state
            .merge
            .apply_changes(entries, first)
            .map_err(merge_failed)?;
        if state.first_contents.is_empty() {
            state.first_contents.push(0);
        }
        let end = first
            .checked_add(entries.content_count())
            .ok_or_else(|| merge_failed(lithify_tree::MergeError::Full))?;
        state.first_contents.push(end);
        state.next += 1;
        Ok((report, changes, first))
    }

    /// The tree of a layer's image, its contents numbered as the layer's own. Data of lower layers that has to be in
    /// it goes to `writer` first.
    pub(super) fn tree(
        &self,
        applied: Applied,
        entries: &LayerEntries,
        writer: &mut FsWriter,
        beside: &Path,
    ) -> Result<Tree, Error> {
        let index = applied.index;
        let overlay_failed = |source| {
            Error::from(LayerError::Overlay {
                index,
                name: self.image.layer_name(index),
                source,
            })
        };
        let Some(changes) = applied.changes else {
            return overlay::alone_until(entries, &self.session.cancel).map_err(overlay_failed);
        };
        let first = applied.first_content;
        let cancel = &self.session.cancel;
        let made = changes.overlay(|id, _| {
            cancel.check().map_err(|e| Failure::Other(e.into()))?;
            match id.0.checked_sub(first) {
                Some(own) => Ok(ContentId(own)),
                None => self.copy_up(id.0, writer, beside).map_err(Failure::Other),
            }
        });
        made.map_err(|e| match e {
            Failure::Overlay(e) => overlay_failed(e),
            Failure::Other(e) => e,
        })
    }

    /// Copies the data of a file from the image of the layer that brought it.
    fn copy_up(
        &self,
        content: u32,
        writer: &mut FsWriter,
        beside: &Path,
    ) -> Result<ContentId, Error> {
        let state = self.lock();
        let owner = state.first_contents.partition_point(|&f| f <= content) - 1;
        let own = content - state.first_contents[owner];
        drop(state);
        let contents = self.contents_of(owner)?;
        let path = contents.path(own).ok_or_else(|| {
            Error::from(ArtifactError::NotInImage {
                path: format!("content {own} of layer {owner}"),
            })
        })?;
        let image = open(&contents.layer, self.kind, &self.session.cancel)?;
        image.copy_content(path, &mut Vec::new(), writer, |e| e.at(beside))
    }

    /// Where the files of a finished layer are. It is looked through once, however many files others take of it.
    fn contents_of(&self, layer: usize) -> Result<Arc<Contents>, Error> {
        let state = self.wait_for(|state| Ok(!matches!(state.layers[layer], Slot::Open)))?;
        if let Some(known) = state.contents.get(&layer) {
            return Ok(Arc::clone(known));
        }
        let (built, tree) = match &state.layers[layer] {
            Slot::Open => return Err(Error::cancelled()),
            Slot::New(built, tree) => (built.clone(), Some(Arc::clone(tree))),
            Slot::Found(built) => (built.clone(), None),
        };
        drop(state);
        let mut paths = Paths::default();
        match tree {
            Some(tree) => {
                for node in tree.walk() {
                    if let InodeKind::File {
                        content: Some(id), ..
                    } = tree.node_inode(node).kind
                    {
                        paths.add(id.0, &tree.path(node));
                    }
                }
            }
            None => {
                let image = open(&built, self.kind, &self.session.cancel)?;
                image.for_each_content(|id, path| paths.add(id, path))?;
            }
        }
        let contents = Arc::new(Contents {
            layer: built,
            paths,
        });
        let mut state = self.lock();
        let known = state.contents.entry(layer);
        Ok(Arc::clone(known.or_insert(contents)))
    }

    /// The same layer further down, once it is finished, if it suits any place.
    pub(super) fn shared_twin(&self, twin: usize) -> Result<Option<BuiltLayer>, Error> {
        let state = self.wait_for(|state| Ok(!matches!(state.layers[twin], Slot::Open)))?;
        Ok(match &state.layers[twin] {
            Slot::New(layer, _) | Slot::Found(layer) if layer.shared => Some(layer.clone()),
            _ => None,
        })
    }

    /// Takes a layer that need not be made after all.
    pub(super) fn found(&self, index: usize, layer: BuiltLayer) {
        self.lock().layers[index] = Slot::Found(layer);
        self.changed.notify_all();
    }

    /// Keeps a finished layer for those above it.
    pub(super) fn finish(&self, index: usize, layer: BuiltLayer, tree: Tree) {
        self.lock().layers[index] = Slot::New(layer, Arc::new(tree));
        self.changed.notify_all();
    }

    /// All layers, bottom first, once all are there.
    pub(super) fn into_layers(self) -> Vec<BuiltLayer> {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        state
            .layers
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Open => None,
                Slot::New(layer, _) | Slot::Found(layer) => Some(layer),
            })
            .collect()
    }
}

fn open(layer: &BuiltLayer, kind: Kind, cancel: &CancelToken) -> Result<FsImage, Error> {
    let (path, file) = crate::make::depot::open_file(&layer.entry, IMAGE)?;
    FsImage::open(&path, file, kind, cancel)
}

/// Why a difference cannot be made.
enum Failure {
    Overlay(OverlayError),
    Other(Error),
}

impl From<OverlayError> for Failure {
    fn from(error: OverlayError) -> Self {
        Self::Overlay(error)
    }
}
