//! The places images are in, one room for each: its reading and its writing side.
//!
//! Adding a place means a row in the table of `lithify_oci::source`, a room here, and a line in `open.rs`.

mod composefs; // `composefs:`
#[cfg(feature = "daemon")]
mod daemon; // `docker-daemon:`
mod decoded; // layers on their way to a place, decompressed
mod docker_archive; // `docker-archive:`
mod layout; // `oci:`
mod member; // tar headers of what is in archives
mod oci_archive; // `oci-archive:`
mod open; // the place a name says
#[cfg(feature = "registry")]
mod registry; // `docker://`
mod room; // the sides every place has
pub(crate) mod store; // `store:` and bare names
mod tree; // `rootfs:` and `tar:`

pub(crate) use open::{at_a_time, of, target, target_of};
pub(crate) use room::Writing;
