//! Images as filesystems, published the way images are.
//!
//! `erofs`: every layer becomes an EROFS image, byte for byte the one `-f containerd-cache` makes, and is the layer of a second
//! manifest. An index names the image's own manifest first: whoever knows nothing of EROFS takes the first that
//! suits the platform. The second one's configuration has the digests of the EROFS images as `rootfs.diff_ids` and
//! `erofs` among its `os.features`, like its entry in the index.
//!
//! `squashfs` and `erofs-image`: the merged filesystem as one file, an artifact whose subject is the image's manifest.
//!
//! `composefs`: digests of the manifest, the configuration and the composefs image, and that image, as such an artifact.

pub(crate) mod artifact; // manifests of artifacts
mod composefs; // digests of composefs
mod config; // rewritten configurations
mod forms; // what is published
mod layers; // EROFS layers and their descriptors
mod options; // how, and what was
mod publisher; // the plan as it grows
mod spec; // the two conventions
mod survey;
mod verb; // `push --as` // publishing that is not done

pub use options::{PublishForm, PublishOptions, PublishReport, PublishedLayer, PublishedManifest};
pub use spec::{ErofsSpec, UnknownErofsSpec};
pub use verb::{plan_publish, publish};
