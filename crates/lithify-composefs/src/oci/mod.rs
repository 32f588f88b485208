//! Images of the OCI in a repository, as `cfsctl` 0.9 keeps them.
//!
//! | stream | content type | content | needs by name |
//! |---|---|---|---|
//! | `oci-manifest-DIGEST` | `ocimanif` | one object: the manifest | `config:DIGEST`, and each layer by its diff_id |
//! | `oci-config-DIGEST` | `ociconfg` | one object: the configuration | each layer by its diff_id; images made of it: `composefs.image.v1` (formats 0 and 1), `composefs.image` (format 2) |
//! | `oci-layer-DIFF_ID` | `ocilayer` | the tar: files longer than 64 bytes are objects | |
//! | `oci-layer-DIGEST` | `oci_blob` | one object: a layer that is no tar, under its blob's digest | |
//! | `oci-blob-DIGEST` | `oci_blob` | one object: any other blob | |
//!
//! A tag is a reference `streams/refs/oci/TAG` to a manifest; in it `%` and `/` are written `%25`
//! and `%2F`. It keeps the manifest, by that the configuration, by that the layers and images. What
//! refers to an image has references `streams/refs/oci-referrers/SUBJECT/MANIFEST`.
//!
//! The compressed blobs are not kept: from a repository come the tars, byte for byte.
//!
//! Names hold digests, and whatever is published under one has that digest: [`LayerWriter::finish`]
//! and [`store_image`] compare. That is what keeps an image whose configuration lies about its
//! layers from replacing those of another one.

mod document;
mod error;
mod image;
mod layer;
mod names;
mod split;

pub use error::{ImageError, LayerError};
pub use image::{
    Image, ImageLayer, NewImage, StoredImage, Tag, open_blob, resolve_tag, store_blob, store_image,
    tags, untag,
};
pub use layer::{LayerReader, LayerWriter, open_layer, store_blob_layer};
pub use names::{
    blob_stream, config_stream, image_name, layer_stream, manifest_stream, profile_name,
    promised_digest, reference_tag, referrer_reference, tag_reference,
};
pub use split::LayerSplitter;
