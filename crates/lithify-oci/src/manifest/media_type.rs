//! Media types of documents and layers.

/// OCI image manifest (image-spec, `media-types.md`).
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, a plain tar; `+gzip` and `+zstd` follow for compressed ones.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer compressed with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// OCI layer only its vendor distributes; `+gzip` and `+zstd` follow for compressed ones. Image-spec 1.1 advises against new
/// ones.
pub const OCI_FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// Docker image manifest, schema 2 (distribution, "Image Manifest V 2, Schema 2").
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// A layer that is an EROFS image, as containerd has it (`core/images/mediatypes.go`); `+zstd` follows for a
/// compressed one. The suffix speaks of the blob: images that compress inside have none.
pub const EROFS_LAYER: &str = "application/vnd.erofs.layer.v1";
/// containerd's EROFS layer, the whole image compressed with zstd.
pub const EROFS_LAYER_ZSTD: &str = "application/vnd.erofs.layer.v1+zstd";
/// A layer that is an EROFS image, as the draft EROFS image layer format has it (erofs-image-spec 2.1).
pub const EROFS_DRAFT: &str = "application/vnd.erofs";
/// The draft's EROFS layer, the whole image compressed with zstd.
pub const EROFS_DRAFT_ZSTD: &str = "application/vnd.erofs+zstd";
/// An index of the draft's compressed layer before it, as an entry of `layers` (erofs-image-spec 2.2).
pub const EROFS_CHUNK_INDEX: &str = "application/vnd.erofs.chunk-index.v1";
/// The config of artifacts that have none: `{}` (image-spec 1.1, `manifest.md`, "Guidance for an Empty Descriptor").
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

const DOCKER_SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// What a media type makes of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Index,
    Manifest,
    Schema1,
    /// No media type: the document itself must tell.
    Unstated,
    Other,
}

pub(crate) fn kind(media_type: &str) -> Kind {
    match media_type {
        OCI_INDEX | DOCKER_LIST => Kind::Index,
        OCI_MANIFEST | DOCKER_MANIFEST => Kind::Manifest,
        "" => Kind::Unstated,
        other if DOCKER_SCHEMA1.contains(&other) => Kind::Schema1,
        _ => Kind::Other,
    }
}

pub(crate) fn is_image_config(media_type: &str) -> bool {
    media_type == OCI_CONFIG || media_type == DOCKER_CONFIG
}

/// How a layer's media type says its tar is compressed.
///
/// A hint: the bytes decide, since Docker has always mislabelled some layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

/// What a layer's media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LayerMediaType {
    /// A tar layer.
    Tar {
        /// The compression named.
        compression: Compression,
        /// Non-distributable ("foreign"): registries and archives often leave the blob out, and
        /// it must be got from the descriptor's `urls`. Windows base layers were such until 2022.
        foreign: bool,
    },
    /// An EROFS image.
    Erofs {
        /// How the whole of it is compressed: not, or with zstd.
        compression: Compression,
    },
    /// Where to find what in the layer before, for those who read parts of it. Adds no files.
    ErofsChunkIndex,
    /// Encrypted; only the holder of a key can read it (containers/ocicrypt).
    Encrypted,
    /// Anything else.
    Unknown,
}

/// What the media types of tar layers begin with, what stands before their compression, and whether they are foreign.
const LAYER_FAMILIES: [(&str, char, bool); 4] = [
    (OCI_LAYER, '+', false),
    (OCI_FOREIGN_LAYER, '+', true),
    ("application/vnd.docker.image.rootfs.diff.tar", '.', false),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        '.',
        true,
    ),
];

/// Whether a media type is one of a tar layer, in whatever way it is compressed.
pub(crate) fn is_of_a_layer(media_type: &str) -> bool {
    LAYER_FAMILIES
        .iter()
        .any(|(base, ..)| media_type.starts_with(base))
}

impl LayerMediaType {
    /// Classifies a layer's media type.
    ///
    /// ```
    /// use lithify_oci::manifest::{Compression, LayerMediaType};
    ///
    /// assert_eq!(
    ///     LayerMediaType::of("application/vnd.oci.image.layer.v1.tar+zstd"),
    ///     LayerMediaType::Tar { compression: Compression::Zstd, foreign: false },
    /// );
    /// assert_eq!(LayerMediaType::of("text/plain"), LayerMediaType::Unknown);
    /// ```
    #[must_use]
    pub fn of(media_type: &str) -> Self {
        // `+enc` is what containerd/imgcrypt wrote before the suffix was settled.
        if media_type.ends_with("+encrypted") || media_type.ends_with("+enc") {
            return Self::Encrypted;
        }
        match media_type {
            EROFS_LAYER | EROFS_DRAFT => {
                return Self::Erofs {
                    compression: Compression::None,
                };
            }
            EROFS_LAYER_ZSTD | EROFS_DRAFT_ZSTD => {
                return Self::Erofs {
                    compression: Compression::Zstd,
                };
            }
            EROFS_CHUNK_INDEX => return Self::ErofsChunkIndex,
            _ => {}
        }
        for (base, separator, foreign) in LAYER_FAMILIES {
            let Some(rest) = media_type.strip_prefix(base) else {
                continue;
            };
            let compression = match rest.strip_prefix(separator) {
                None if rest.is_empty() => Compression::None,
                Some("gzip") => Compression::Gzip,
                Some("zstd") => Compression::Zstd,
                _ => return Self::Unknown,
            };
            return Self::Tar {
                compression,
                foreign,
            };
        }
        Self::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers() {
        let tar = |compression, foreign| LayerMediaType::Tar {
            compression,
            foreign,
        };
        let erofs = |compression| LayerMediaType::Erofs { compression };
        for (text, expected) in [
            (OCI_LAYER, tar(Compression::None, false)),
            (OCI_LAYER_GZIP, tar(Compression::Gzip, false)),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                tar(Compression::Gzip, true),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                tar(Compression::Gzip, false),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar",
                tar(Compression::None, false),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                tar(Compression::Gzip, true),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                LayerMediaType::Encrypted,
            ),
            (
                "application/vnd.oci.image.layer.v1.tar.gzip",
                LayerMediaType::Unknown,
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+lz4",
                LayerMediaType::Unknown,
            ),
            (EROFS_LAYER, erofs(Compression::None)),
            (EROFS_LAYER_ZSTD, erofs(Compression::Zstd)),
            (EROFS_DRAFT, erofs(Compression::None)),
            (EROFS_DRAFT_ZSTD, erofs(Compression::Zstd)),
            (EROFS_CHUNK_INDEX, LayerMediaType::ErofsChunkIndex),
            (
                "application/vnd.erofs.layer.v1+gzip",
                LayerMediaType::Unknown,
            ),
            (
                "application/vnd.erofs.layer.v1+encrypted",
                LayerMediaType::Encrypted,
            ),
            ("application/vnd.in-toto+json", LayerMediaType::Unknown),
            ("", LayerMediaType::Unknown),
        ] {
            assert_eq!(LayerMediaType::of(text), expected, "{text}");
        }
    }
}
