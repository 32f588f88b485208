//! Writing a merged tree to a host directory.
//!
//! In two stages. While layers are decoded, [`DirSink`] stores each file's data once, in a numbered file of a private
//! directory. When the tree is known, its directories are made and each live file is renamed to its place; what no
//! layer left alive is deleted. Every call works relative to a directory made by this very process a moment before,
//! below a directory nobody else can enter, on a single name out of the [`Tree`], which has no `..`, no `/` and no
//! duplicates. There is no path to resolve, so there is none to resolve wrongly.

mod attributes;
mod copies; // data that several files have
mod dress;
mod error;
mod place;
mod remove;
mod sink;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::CancelToken;
use lithify_tree::Tree;

#[cfg(doc)]
use crate::SIDECAR_SUFFIX;

use attributes::Host;
pub use error::MaterialiseError;
pub use sink::DirSink;
use sink::Staging;
use work::Workspace;

/// How a [`DirTarget`] is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaterialiseOptions {
    /// Whether owners are set.
    pub ownership: Ownership,
    /// Whether anything that cannot be set is an error instead of being recorded. Off by default.
    pub strict: bool,
    /// Whether to wait until everything is on the disk (one `syncfs`). Off by default.
    pub sync: bool,
    /// Stops the work. What was written so far is removed, which can take as long as there are files.
    pub cancel: CancelToken,
}

/// Whether files get the owners the image says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ownership {
    /// [`Exact`](Self::Exact) for root (effective user 0), [`Record`](Self::Record) for anyone else.
    #[default]
    Auto,
    /// Owners are set. One that cannot be (not mapped in this user namespace) is recorded.
    Exact,
    /// Everything belongs to the caller, owners are recorded.
    Record,
}

/// What was written, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaterialiseReport {
    /// Names written, the root included.
    pub names: u64,
    /// Files behind them, directories included.
    pub inodes: u64,
    /// What the directory lacks.
    pub not_set: NotSet,
    /// The file that says what, when there is anything: the target's path with [`SIDECAR_SUFFIX`].
    pub sidecar: Option<PathBuf>,
}

/// How many files differ from the image in what. A file can count more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotSet {
    /// Files with another owner or group.
    pub owners: u64,
    /// Devices that are empty regular files instead, and pipes and sockets where they cannot be made.
    pub devices: u64,
    /// Files whose set-user-ID or set-group-ID bit was left off because their owner is another, or any mode bit the
    /// filesystem refuses.
    pub modes: u64,
    /// Files with a modification time the filesystem cannot hold.
    pub times: u64,
    /// Files without their capabilities (`security.capability`).
    pub capabilities: u64,
    /// `trusted.*` attributes.
    pub trusted_xattrs: u64,
    /// Other attributes.
    pub other_xattrs: u64,
}

impl NotSet {
    /// Whether the directory is exactly the image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A host directory being written.
///
/// The target must not exist, or be an empty directory. Until [`finish`](Self::finish) renames the complete tree to
/// it in one step, everything lies in `.NAME.lithify-…` next to it, readable by its owner only; dropping the target
/// removes that.
///
/// # What a caller without privileges gets
/// The kernel lets only root set owners, make devices and set `security.*` and `trusted.*` attributes. What cannot be
/// set is counted in the [`MaterialiseReport`] and written to a file next to the directory, the target's path with
/// [`SIDECAR_SUFFIX`] (format: `docs/formats/dir-sidecar.md`):
/// - Files belong to the caller.
/// - Devices are empty regular files, so that no name of the image is missing. (Overlay whiteouts, character devices
///   0:0, are real: anyone may make those.)
/// - A regular file that would run as its owner or group (setuid, setgid) and now belongs to another loses that bit.
/// - Files and directories their owner may not read in the image can be read here, or the directory could not be read back.
///
/// The same happens one by one to root where a filesystem or user namespace refuses something:
/// `user.*` attributes of anything but files and directories, owners that are not mapped.
/// With [`MaterialiseOptions::strict`] it is an error instead.
#[derive(Debug)]
pub struct DirTarget {
    work: Workspace,
    staging: Arc<Staging>,
    options: MaterialiseOptions,
    host: Host,
}

impl DirTarget {
    /// Prepares a target.
    ///
    /// # Errors
    /// [`MaterialiseError`] when the target is something else than absent or an empty directory, or nothing can be made
    /// next to it.
    pub fn create(
        target: impl AsRef<Path>,
        options: MaterialiseOptions,
    ) -> Result<Self, MaterialiseError> {
        let work = Workspace::create(target.as_ref(), &options.cancel)?;
        let host = Host::probe(&work, &options)
            .map_err(|e| work.error("find out what can be set in the work directory of", e))?;
        let directory = crate::sys::duplicate(rustix::fd::AsFd::as_fd(&work.staging))
            .map_err(|e| work.error("open the work directory of", e))?;
        let staging = Arc::new(Staging {
            directory,
            next_shard: 0.into(),
            repeated: false.into(),
        });
        Ok(Self {
            work,
            staging,
            options,
            host,
        })
    }

    /// A sink for file data. Content ids of one target's sinks never collide, so layers can be decoded side by side.
    #[must_use]
    pub fn sink(&self) -> DirSink {
        DirSink::new(Arc::clone(&self.staging))
    }

    /// Writes the tree, whose files' data the sinks of this target took, and puts it in place.
    ///
    /// # Errors
    /// [`MaterialiseError`]; the target is untouched then.
    pub fn finish(self, tree: &Tree) -> Result<MaterialiseReport, MaterialiseError> {
        let copies = copies::of(&self.staging, tree, &self.options.cancel)?;
        place::place(&self.work, self.host, &self.options, tree, copies)
    }
}
