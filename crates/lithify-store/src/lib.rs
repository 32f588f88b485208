//! The local store of artifacts: made once, checked when used, shared by any number of processes, collected when nobody
//! needs them.
//!
//! A store is a directory on a local filesystem. It is a valid OCI image layout (so other tools can read it) and
//! has, beside that, the artifacts lithify made, found by *keys*: what they are made of, in which format, with which
//! options, by which version of the writer. There is no daemon and no database; `docs/formats/store.md` tells what each
//! file is.
//!
//! - **Complete or not there.** An entry is built in a private directory, brought to the disk and renamed to its
//!   place ([`Pending`]). A process killed at any moment leaves nothing anyone could take for an artifact.
//! - **Never believed blindly.** Every artifact's SHA-256 is recorded. A file that looks untouched (length, times, inode)
//!   is used as it is, any other is read first ([`Store::look_up`]); [`Store::fsck`] reads everything. What is damaged
//!   goes to `quarantine/` and is built again.
//! - **Built once.** Whoever wants to build a key locks it; others wait and find it built ([`Store::get_or_build`]).
//! - **Kept while needed.** Images name the entries they need ([`Store::put_image`]), and an [`Entry`] in use is
//!   locked; [`Store::gc`] removes the rest, beside running builds.
//!
//! - **Images, too.** Blobs are written by one process while others wait, go on where an earlier attempt ended, and have
//!   their names only when whole and verified ([`Lease::ingest`]). Images have names that other tools know too
//!   ([`Store::tag`]). What an image needs, and what a running process asked for ([`Lease`]), is not collected.
//!
//! Names from images and users are hashed before they become file names.
//!
//! ```
//! use std::io::Write as _;
//!
//! use lithify_digest::{Algorithm, Digest};
//! use lithify_store::{
//!     ExportOptions, Facts, GcOptions, ImageRecord, Input, InputKind, Key, OpenOptions, Store, Target,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let store = Store::open(directory.join("store"), OpenOptions::new().create(true))?;
//! let digest = Digest::of(Algorithm::Sha256, b"a layer");
//! let key = Key::new(Input { kind: InputKind::DiffId, digest }, "erofs-layer", "1")?;
//!
//! // Not there yet: build it.
//! assert!(store.get(&key)?.is_none());
//! let pending = store.insert(store.lock(&key)?)?;
//! pending.create("layer.erofs")?.write_all(b"an image")?;
//! let entry = pending.commit(Facts::new())?;
//! entry.export("layer.erofs", &directory.join("output.erofs"), ExportOptions::new())?;
//!
//! // What an image needs stays.
//! let target = Target::new(vec![entry.id()], Facts::new());
//! store.put_image(&ImageRecord::new("example:1", "linux/amd64", digest, Facts::new()).target("erofs-layers", target))?;
//! drop(entry);
//! assert!(store.gc(&GcOptions::new())?.removed.is_empty());
//! store.remove_image("example:1", None)?;
//! assert_eq!(store.gc(&GcOptions::new())?.removed.len(), 1);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod blobs; // of images
mod df; // what takes the space
mod document; // manifests, as they stand here
mod entry; // an entry in use
mod error; // why not
mod export; // to an output file
mod fault; // of manifests and the list of images
mod fsck; // reading everything
mod gc; // removing what nobody needs
mod images; // what is needed
mod key; // what an entry is found by
mod lock; // between processes
mod lookup; // finding an entry good
mod names; // images by name
mod pending; // an entry under construction
mod quarantine; // setting aside
mod reach; // which blobs are needed
mod record; // entry.json
mod refs; // what a manifest refers to
mod scan; // all entries
mod seal; // records that know their digest
mod stamp; // the cheap check
mod store; // opening
mod sys; // system calls
mod temp; // tmp/
mod text; // digests in records

/// Facts a caller wants to know again: any JSON object.
pub type Facts = serde_json::Map<String, serde_json::Value>;

pub use blobs::{Begun, BlobInfo, Ingest, Lease};
pub use df::{DfReport, Usage};
pub use entry::Entry;
pub use error::Error;
pub use export::{ExportOptions, Exported};
pub use fault::{DocumentError, IndexError};
pub use fsck::{Action, Finding, FsckOptions, FsckReport, LayoutProblem, Problem};
pub use gc::{GcOptions, GcReport, Kept};
pub use images::{ImageRecord, Images, StoredImage, Target};
pub use key::{EntryId, Input, InputKind, Key, KeyError};
pub use lock::{KeyLock, OnWait, Waiting};
pub use lookup::{Damage, Defect, Lookup};
pub use names::{INDEX_ANNOTATION, NAME_ANNOTATION, SUBJECT_ANNOTATION, TAG_ANNOTATION, Tagged};
pub use pending::{Origin, Pending};
pub use record::{EntryRecord, FileRecord};
pub use scan::{Bytes, EntryInfo};
pub use seal::RecordError;
pub use store::{Access, OpenOptions, RECHECK_AFTER, STORE_VERSION, Store};
