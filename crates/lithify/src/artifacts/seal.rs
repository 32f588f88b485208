//! Digests of composefs as annotations, by the sealing specification of composefs-rs (`composefs-oci` 0.9.4,
//! `sealing_spec.rs`).

use lithify_composefs::FileAlgorithm;

/// The type of artifacts with these digests.
pub(crate) const SEAL: &str = "application/vnd.composefs.metadata.v1";
/// A composefs image, as blob. It is no [`EROFS_DRAFT`](lithify_oci::manifest::media_type::EROFS_DRAFT): without objects, its
/// files have no data.
pub(crate) const COMPOSEFS_IMAGE: &str = "application/vnd.lithify.composefs.image.v1";
/// The beginning of the keys of annotations about composefs.
pub(crate) const KEYS: &str = "composefs.";

/// A file whose digest an annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealedFile {
    /// The image's manifest.
    Manifest,
    /// Its configuration.
    Config,
    /// The composefs image of its filesystem, by the rules of `cfsctl`.
    Merged,
}

impl SealedFile {
    /// All of them, in the order of an artifact's layers.
    pub(crate) const ALL: [Self; 3] = [Self::Manifest, Self::Config, Self::Merged];

    /// Returns the name of its role.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Merged => "merged",
        }
    }

    /// Returns the key of the annotation with its digest, of blocks of 4096 bytes.
    pub(crate) fn key(self, algorithm: FileAlgorithm) -> String {
        let format = match self {
            Self::Manifest | Self::Config => "",
            Self::Merged => ".erofs.v1",
        };
        format!("{KEYS}{}{format}.fsverity-{algorithm}-12", self.name())
    }

    /// Returns what the annotation of a key says the digest of, if it is known.
    pub(crate) fn of_key(key: &str) -> Option<(Self, FileAlgorithm)> {
        let all = Self::ALL.into_iter();
        let mut all = all.flat_map(|file| FileAlgorithm::ALL.map(|algorithm| (file, algorithm)));
        all.find(|(file, algorithm)| file.key(*algorithm) == key)
    }
}
