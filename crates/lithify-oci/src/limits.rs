//! Upper bounds on what an image may make lithify read or keep.

/// Bounds on documents, lists and archives, each with a default far above what real images need.
///
/// Image content is hostile input: every one of these is checked before memory is taken for it
/// (CVE-2023-25153: an `index.json` of gigabytes inside an archive).
///
/// ```
/// let mut limits = lithify_oci::Limits::default();
/// limits.layers = 64;
/// assert!(limits.manifest_bytes <= 4 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one manifest, image index, `index.json`, `oci-layout` or `manifest.json`.
    /// 4 MiB, the size registries are asked to accept (distribution-spec, "Pushing Manifests").
    pub manifest_bytes: u64,
    /// Bytes of one image config. 8 MiB; large ones carry long build histories.
    pub config_bytes: u64,
    /// Descriptors visited in all indexes of one source together. 65 536.
    pub index_entries: usize,
    /// Indexes within indexes; `index.json` itself is level 1. 4; `docker save`, Apple
    /// `container` and buildx use 3.
    pub index_depth: usize,
    /// Bytes of all manifests, indexes and configs read while choosing an image. 512 MiB.
    pub document_bytes: u64,
    /// Layers of one image. 1024; overlayfs allows 500, Docker 127.
    pub layers: usize,
    /// Entries of one archive. 100 000.
    pub archive_entries: usize,
    /// Bytes of all names and link targets of one archive. 32 MiB.
    pub archive_names: usize,
    /// Bytes of PAX records and GNU long names before one member of an archive. 1 MiB.
    pub archive_header_bytes: u64,
    /// Bytes of a compressed or unseekable archive once spooled to the unlinked temporary file
    /// (see [`Archive::open`](crate::archive::Archive::open)). 64 GiB.
    pub spool_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            index_entries: 65_536,
            index_depth: 4,
            document_bytes: 512 << 20,
            layers: 1024,
            archive_entries: 100_000,
            archive_names: 32 << 20,
            archive_header_bytes: 1 << 20,
            spool_bytes: 64 << 30,
        }
    }
}
