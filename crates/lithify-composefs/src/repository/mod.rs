//! Repositories: directories of objects, and of what they are part of.
//!
//! # Layout
//!
//! ```text
//! meta.json                     algorithm, features and formats; under fs-verity if all objects are
//! objects/xx/yyyy…              an object: xxyyyy… is its fs-verity digest
//! streams/NAME                  -> ../objects/xx/yyyy…   a splitstream, such as oci-layer-sha256:…
//! streams/refs/PATH             -> ../…/NAME             a reference: what it leads to is kept
//! images/xxyyyy…                -> ../objects/xx/yyyy…   an image; only these may be mounted
//! images/refs/PATH              -> ../…/xxyyyy…
//! ```
//!
//! It is what `cfsctl` 0.9 writes and reads. In a *secure* repository all objects, and `meta.json`,
//! are under fs-verity, so that the kernel checks every read. In an *insecure* one lithify checks
//! them where bytes are used.
//!
//! # Promises
//!
//! - **An object is what its name says.** Digests are computed while objects are written
//!   ([`ObjectWriter`]). An object that is there already is compared, not believed, and replaced if
//!   it is damaged, unless the repository is opened as [trusted](OpenOptions::trust).
//! - **A link leads to something.** Entries and references get their names
//!   ([`Repository::publish`]) after all that they lead to is on the disk, and lose them before it
//!   goes. A process that is killed at any moment leaves objects that nothing needs, and nothing
//!   else.
//! - **Nothing is collected that somebody is writing.** Whoever has a repository open has a shared
//!   lock (`flock`) of its directory, and collection ([`Repository::gc`]) an exclusive one;
//!   `cfsctl` has the same locks.
//! - **Names stay inside.** No symbolic link is followed, and names are checked before they become
//!   those of files.

mod entries;
mod error;
mod fsck;
mod gc;
mod handle;
mod import;
mod intact;
mod lock;
mod meta;
mod names;
mod needs;
mod objects;
mod publish;
mod reach;
mod streams;
mod sync;
mod tally;
mod threads; // work on several threads
mod writer;

pub use entries::{Entry, Reference};
pub use error::{EntryError, GcError, MetadataError, NameError, ObjectError, OpenError, ReadOnly};
pub use fsck::{Depth, Fault, Finding, FsckOptions, FsckReport};
pub use gc::{GcOptions, GcReport};
pub use handle::{CreateOptions, OpenOptions, Repository, VerityMode};
pub use import::Imported;
pub use meta::{ErofsFormat, Metadata};
pub use names::Category;
pub use needs::{Needs, Part};
pub use objects::StoredObject;
pub use publish::Publication;
pub use reach::ImageObjects;
pub use streams::StreamObject;
pub use tally::Tally;
pub use writer::{ObjectWriter, Outcome, Stored};
