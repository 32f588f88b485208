//! Container images by name: from a source name to a manifest, a config and layers open for reading.
//!
//! Every byte of an image may be hostile, and so may the order of its parts. So here
//!
//! - nothing an image says names a host path; files are opened by parsed digests only
//!   ([`layout`]), or are byte ranges of one archive ([`archive`]);
//! - every manifest, index and config is verified against the digest and size it was referred to by,
//!   parsed strictly ([`manifest`]) and kept byte for byte;
//! - sizes, counts and depths have limits ([`Limits`]) that are checked before memory is taken;
//! - what could be read two ways is refused, not guessed ([`manifest`], [`archive`], [`Error::Several`]).
//!
//! Layers are *not* verified here: [`Image::open_layer`] hands out the blob, and who decodes it compares
//! the digests in its [`LayerDescriptor`].
//!
//! ```no_run
//! use lithify_oci::{OpenOptions, source::Source};
//!
//! let source: Source = "oci:images/alpine:3.20".parse()?;
//! let image = lithify_oci::open(&source, &OpenOptions::default())?;
//! for (index, layer) in image.layers().iter().enumerate() {
//!     let blob = image.open_layer(index)?;
//!     println!("{} {} bytes", layer.diff_id, blob.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod archive;
pub mod blob;
pub mod delta;
pub mod error;
pub mod image;
pub mod layout;
mod limits;
pub mod manifest;
mod opened;
pub mod platform;
pub mod reference;
pub mod source;

pub use blob::Blob;
pub use error::Error;
pub use image::{
    Content, Image, LayerDescriptor, LayerKind, LayerStore, Listed, ListedPlatform, Located,
    OpenOptions, Unpacked, list, locate, locate_until, open, referrers_among, signature_tags,
};
pub use limits::Limits;
pub use platform::Platform;
pub use reference::Reference;
pub use source::{Selector, Source};
