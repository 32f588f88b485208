//! Reading images: what is the same whatever the format.
//!
//! A format implements [`Image`], [`Inode`], [`DirEntry`] and [`Bounds`], and gets from here the [`Walk`] over all names, the
//! [`Entries`] of the layer that makes the image, the [`OverlayEntries`] of an image that is a layer of an overlay, and the
//! [`Verification`] that a check of the whole fills.

mod cache; // blocks read last
mod entries; // an image as a layer
mod image; // what a format says of itself
mod overlay; // an image as a layer of an overlay
mod verification; // what a check found
mod walk; // all names

pub use cache::Cache;
pub use entries::{Entries, entry};
pub use image::{Bounds, DirEntry, FileType, Image, Inode};
pub use overlay::{OverlayEntries, overlay_entry};
pub use verification::{Problem, Verification};
pub use walk::{Walk, WalkEntry};
