//! What can be wrong with a document.

use lithify_escape::Escaped;

/// Why a manifest, index or config is refused. Strings from the document are printed escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No valid JSON, or a field of the wrong type.
    #[error("no valid {what}: {source}")]
    Json {
        /// What it should have been.
        what: &'static str,
        /// Where and why parsing stopped.
        source: serde_json::Error,
    },
    /// One object has the same key twice; readers differ in which they take.
    #[error("key `{}` is given twice in one object: readers differ in which they take", Escaped(.key))]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A key that is a known one but for its case.
    #[error("key `{}` is spelled unlike `{expected}`: some readers take it for that field", Escaped(.found))]
    KeyCase {
        /// The key as written.
        found: String,
        /// The field it would be taken for.
        expected: &'static str,
    },
    /// Fields of two kinds of document at once (CVE-2021-41190).
    #[error("has `{first}` and `{second}`: a document is an index or a manifest, never both")]
    Ambiguous {
        /// A field of one kind.
        first: &'static str,
        /// A field of the other.
        second: &'static str,
    },
    /// Neither an index nor an image manifest.
    #[error("neither an index (`manifests`) nor an image manifest (`config` and `layers`)")]
    Unrecognised,
    /// Docker's manifest format of 2015, which has no config and no diff ids.
    #[error(
        "Docker schema 1 manifests are not supported: pull and push the image again with any current tool to convert it"
    )]
    Schema1,
    /// `schemaVersion` other than 2.
    #[error("schemaVersion is {found}, expected 2")]
    SchemaVersion {
        /// The version found.
        found: i64,
    },
    /// The document's own `mediaType` and that of the descriptor pointing to it differ.
    #[error("mediaType is `{}`, but the descriptor says `{}`", Escaped(.found), Escaped(.descriptor))]
    MediaTypeMismatch {
        /// In the document.
        found: String,
        /// In the descriptor.
        descriptor: String,
    },
    /// A media type that does not fit the fields that are there.
    #[error("media type `{}` on {shape}", Escaped(.media_type))]
    MediaTypeShape {
        /// The media type of the document or its descriptor.
        media_type: String,
        /// What the document's fields make it.
        shape: &'static str,
    },
    /// A digest that does not parse.
    #[error("{field}: {source}")]
    Digest {
        /// Which field, such as `layers[3].digest`.
        field: String,
        /// What is wrong with it.
        source: lithify_digest::ParseError,
    },
    /// A negative size (image-spec issue 1285).
    #[error("{field}: a size cannot be negative, found {found}")]
    NegativeSize {
        /// Which field, such as `layers[3].size`.
        field: String,
        /// The size found.
        found: i64,
    },
    /// A platform of more bytes than any real one.
    #[error("{field}: {found} bytes, at most {limit} are allowed")]
    PlatformTooLong {
        /// Which field, such as `manifests[3].platform`.
        field: String,
        /// Bytes of all its words.
        found: usize,
        /// The most allowed.
        limit: usize,
    },
    /// More entries than [`Limits`](crate::Limits) allow.
    #[error("{found} {what}, at most {limit} are allowed (limit `{option}`)")]
    TooMany {
        /// Entries of what.
        what: &'static str,
        /// Entries found.
        found: usize,
        /// The limit.
        limit: usize,
        /// Its name in [`Limits`](crate::Limits).
        option: &'static str,
    },
    /// A manifest that is an artifact: a signature, chart, attestation.
    #[error("not a container image: {} is `{}`", if *.artifact { "artifactType" } else { "the config's media type" }, Escaped(.found))]
    NotAnImage {
        /// The config's media type or the artifact type.
        found: String,
        /// Whether `found` is the artifact type.
        artifact: bool,
    },
    /// A layer of a type lithify cannot decode.
    #[error("layers[{index}] has {}: expected a tar, plain or compressed with gzip or zstd, or an EROFS image, plain or compressed with zstd", stated(.media_type))]
    LayerMediaType {
        /// Position in `layers`.
        index: usize,
        /// The type found.
        media_type: String,
    },
    /// An encrypted layer (containers/ocicrypt).
    #[error("layers[{index}] is encrypted (`{}`): decrypt the image first, for example with `skopeo copy --decryption-key`", Escaped(.media_type))]
    EncryptedLayer {
        /// Position in `layers`.
        index: usize,
        /// The type found.
        media_type: String,
    },
    /// An EROFS layer that is no filesystem of its own: others refer to its data.
    #[error("layers[{index}] has the role `{}`: only layers of an overlay are supported", Escaped(.role))]
    LayerRole {
        /// Position in `layers`.
        index: usize,
        /// Its `org.erofs.role`.
        role: String,
    },
    /// An EROFS layer whose annotation and the config's diff ids name different content.
    #[error("layers[{index}] is annotated as {annotated}, but its diff id is {diff_id}")]
    DiffIdConflict {
        /// Position in `layers`.
        index: usize,
        /// By `org.erofs.uncompressed-digest`.
        annotated: String,
        /// By the config, or for a layer without compression its own digest.
        diff_id: String,
    },
    /// `rootfs.type` other than `layers`.
    #[error("rootfs.type of the image config is `{}`, expected `layers`", Escaped(.found))]
    RootfsType {
        /// The type found.
        found: String,
    },
    /// The manifest's layers and the config's diff ids are not the same in number.
    #[error("{layers} layers, but the image config has {diff_ids} diff ids")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// `rootfs.diff_ids` in the config.
        diff_ids: usize,
    },
}

/// A media type in a message, which may be missing.
fn stated(media_type: &str) -> String {
    match media_type {
        "" => "no media type".to_owned(),
        media_type => format!("media type `{}`", Escaped(media_type)),
    }
}
