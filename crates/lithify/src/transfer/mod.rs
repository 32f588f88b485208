//! Images from one place to another.

mod archive; // to archives and daemons
mod beside; // a registry with a store beside it
mod copy; // the verbs
mod destination; // where images go
mod joined; // platforms that came to the store one by one
mod layout; // to an OCI image layout
mod plan; // what is to be transferred
mod pull; // to the store, by policy
pub(crate) mod referrers; // what refers to an image
mod registry; // to a registry
mod run; // doing it
mod signatures; // those that are there already
mod store; // to the store
mod synthetic; // manifests for images without

pub(crate) use copy::{destination, locate};
pub(crate) use destination::{BlobSource, Destination, Placed};
pub(crate) use layout::LayoutDestination;
pub(crate) use pull::{name_in_store, open_name};

pub use copy::{CopyOptions, CopyReport, copy, tag};
pub use pull::{PullOptions, PullPolicy, PullReport, UnknownPolicy, full_name, pull};
pub use run::TransferCounts;
