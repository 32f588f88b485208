//! Applying layers in order, by the rules of image-spec `layer.md`.
//!
//! A layer is applied in two steps. First everything it removes: whiteouts and opaque markers act on what lower
//! layers left, wherever in the tar they stand ([`markers`]). Then everything it adds, in tar order ([`pass`]). So a
//! marker never removes something of its own layer, which is what "hides lower layers only" means.

mod error; // why it fails
#[cfg(test)]
mod growth; // how much work it is
mod links; // hard links
mod markers; // first step: what a layer removes
mod pass; // second step: what a layer adds
mod report; // what it found out
mod walk; // the way to a directory

pub use error::MergeError;
pub use report::LayerReport;

use lithify_cancel::CancelToken;

use pass::Pass;

use crate::builder::Builder;
use crate::overlay::Changes;
use crate::{LayerEntries, NodeId, Timestamp, Tree};

/// Names an image may have unless [`Merge::limit_names`] says otherwise: 2²⁴, about 1.6 GiB of memory.
pub const DEFAULT_NAME_LIMIT: u32 = 1 << 24;

/// Layers being applied, bottom first.
///
/// Each layer sees what those before it left, and adds and removes by these rules:
///
/// - **Markers first.** A whiteout removes the name it stands for, an opaque marker everything in its directory, both
///   as lower layers left them, whatever the order of entries. A marker for something that does not exist does
///   nothing, and creates nothing.
/// - **Then entries, in order.** A directory over a directory replaces its metadata and keeps what is in it. Anything
///   else replaces what had the name, with all that was below it. So the last of several entries for a path counts.
/// - **Symbolic links** on the way to an entry's directory are followed inside the root, at most
///   [`SYMLINK_MAX`](crate::SYMLINK_MAX) and [`PATH_MAX`](crate::PATH_MAX) bytes of targets. An entry's own name is
///   never followed: a directory over a symbolic link replaces the link. A marker does not go through a symbolic link
///   that its own layer removes or puts a directory in place of.
/// - **Directories that nothing describes** are created 0755, root:root, with one fixed time.
/// - **A hard link** means what its target is at that point of the tar. If the target does not exist there, it means
///   what the target is at the end of the layer; else what it was below, before this layer's markers removed it.
///
/// `docs/semantics.md` of the repository has an example and the source of each rule.
///
/// ```
/// use lithify_tree::{Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};
///
/// let layer = |entries: &[(&[u8], EntryKind)]| -> Result<LayerEntries, Box<dyn std::error::Error>> {
///     let mut layer = LayerEntries::new();
///     for (path, kind) in entries {
///         let (path, kind) = (TreePath::clean(path)?, kind.clone());
///         layer.push(&Entry { path, metadata: Metadata::default(), kind }, None)?;
///     }
///     Ok(layer)
/// };
/// let file = EntryKind::File { size: 0, segments: None };
/// let mut merge = Merge::new();
/// merge.apply(layer(&[(b"var/cache/a", file.clone()), (b"var/cache/b", file.clone())])?)?;
/// // The marker comes last and still leaves its own layer's `c` alone.
/// let report = merge.apply(layer(&[(b"var/cache/c", file), (b"var/cache", EntryKind::Opaque)])?)?;
/// assert_eq!(report.removed, 2);
/// let tree = merge.finish();
/// let names: Vec<_> = tree.walk().map(|node| tree.path(node)).collect();
/// assert_eq!(names, [&b""[..], b"var", b"var/cache", b"var/cache/c"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Merge {
    tree: Builder,
    implicit_mtime: Timestamp,
    cancel: CancelToken,
}

impl Default for Merge {
    fn default() -> Self {
        Self::new()
    }
}

impl Merge {
    /// An empty root directory. Directories nobody describes get the time 1970-01-01.
    #[must_use]
    pub fn new() -> Self {
        Self::with_implicit_mtime(Timestamp::default())
    }

    /// Like [`new`](Self::new), with another time for directories nobody describes.
    #[must_use]
    pub fn with_implicit_mtime(implicit_mtime: Timestamp) -> Self {
        Self {
            tree: Builder::new(implicit_mtime, DEFAULT_NAME_LIMIT),
            implicit_mtime,
            cancel: CancelToken::new(),
        }
    }

    /// Applies layers as long as the work goes on.
    #[must_use]
    pub fn until(mut self, cancel: &CancelToken) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Sets how many names the image may have, the root not counted, removed and replaced ones included;
    /// [`DEFAULT_NAME_LIMIT`] otherwise. One entry of a layer can make more than two thousand: the directories of its
    /// path.
    #[must_use]
    pub fn limit_names(mut self, limit: u32) -> Self {
        self.tree.set_name_limit(limit);
        self
    }

    /// Sets how many bytes of memory the names, inodes, targets and attributes may take, about; any number otherwise.
    #[must_use]
    pub fn limit_memory(mut self, limit: u64) -> Self {
        self.tree.set_memory_limit(limit);
        self
    }

    /// Notes what layers change, for [`apply_changes`](Self::apply_changes): memory for each layer, and for names of inodes
    /// that have several.
    #[must_use]
    pub fn track_changes(mut self) -> Self {
        self.tree.track_changes();
        self
    }

    /// Like [`apply_ref`](Self::apply_ref), of a merge that [tracks changes](Self::track_changes): gives them for a layer that is
    /// not self-contained. Takes time for the layer and what it touches of those below, not for all there is.
    ///
    /// # Errors
    /// As [`apply_ref`](Self::apply_ref).
    pub fn apply_changes(
        &mut self,
        layer: &LayerEntries,
        first_content: u32,
    ) -> Result<(LayerReport, Option<Changes>), MergeError> {
        let report = self.apply_ref(layer, first_content)?;
        let Some(journal) = self.tree.take_journal() else {
            return Ok((report, None));
        };
        let changes = (!report.is_self_contained()).then(|| Changes::of(&self.tree, &journal));
        self.tree.forget_removed(&journal);
        Ok((report, changes))
    }

    /// Applies the next layer.
    ///
    /// # Errors
    /// [`MergeError`]. There is no half of a layer: the merge is empty then, as if new.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a layer is applied once; its memory goes with it"
    )]
    pub fn apply(&mut self, layer: LayerEntries) -> Result<LayerReport, MergeError> {
        self.apply_ref(&layer, 0)
    }

    /// Like [`apply`](Self::apply), for a layer that is needed again. `first_content` is added to the number of each of
    /// its contents, so that layers whose contents were numbered apart can be told apart.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); [`MergeError::Full`] for numbers past 32 bits.
    pub fn apply_ref(
        &mut self,
        layer: &LayerEntries,
        first_content: u32,
    ) -> Result<LayerReport, MergeError> {
        let report = self.apply_in_place(layer, first_content);
        if report.is_err() {
            let memory_limit = self.tree.memory_limit();
            let is_tracking = self.tree.tracks_changes();
            self.tree = Builder::new(self.implicit_mtime, self.tree.name_limit());
            self.tree.set_memory_limit(memory_limit);
            if is_tracking {
                self.tree.track_changes();
            }
        }
        report
    }

    fn apply_in_place(
        &mut self,
        layer: &LayerEntries,
        first_content: u32,
    ) -> Result<LayerReport, MergeError> {
        self.tree.compact();
        self.tree.begin_journal();
        let mut pass = Pass::new(&mut self.tree, layer, self.implicit_mtime, &self.cancel);
        pass.first_content = first_content;
        pass.remove_marked();
        pass.add_entries()?;
        pass.resolve_links()?;
        pass.judge_markers();
        Ok(pass.report)
    }

    /// Adds what a layer adds, without what it removes, and tells which names became directories after they had been
    /// something else of the same layer.
    pub(crate) fn apply_unmarked(
        &mut self,
        layer: &LayerEntries,
    ) -> Result<Vec<NodeId>, MergeError> {
        let mut pass = Pass::new(&mut self.tree, layer, self.implicit_mtime, &self.cancel);
        pass.add_entries()?;
        pass.resolve_links()?;
        Ok(pass.recreated)
    }

    pub(crate) fn into_builder(self) -> Builder {
        self.tree
    }

    /// The filesystem the layers so far make. Further layers can still be applied.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.tree.clone().finish()
    }

    /// The filesystem the layers make.
    #[must_use]
    pub fn finish(self) -> Tree {
        self.tree.finish()
    }
}
