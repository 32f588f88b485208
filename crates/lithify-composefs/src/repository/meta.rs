//! `meta.json`: the properties of a repository.

use std::fmt;

use lithify_verity::file::FileAlgorithm;
use serde::{Deserialize, Serialize};

use super::error::MetadataError;

/// The name of the file.
pub(super) const FILE: &str = "meta.json";
/// Most bytes it may have.
pub(super) const BYTES_MAX: u64 = 64 << 10;

/// The version of the format of repositories.
const VERSION: u32 = 1;
/// Read-only-compatible feature: images are of format 1.
const V1_EROFS: &str = "v1_erofs";
/// Binary logarithm of the size of the blocks of digests.
const BLOCK_BITS: &str = "12";

/// A format of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErofsFormat {
    /// That of C `mkcomposefs` by default.
    V0,
    /// That of C `mkcomposefs --min-version=1`, and of `cfsctl` by default.
    V1,
    /// That of composefs-rs before there was V1.
    V2,
}

impl ErofsFormat {
    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    fn of_number(number: u64) -> Result<Self, MetadataError> {
        match number {
            0 => Ok(Self::V0),
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            found => Err(MetadataError::Format { found }),
        }
    }
}

impl fmt::Display for ErofsFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// The properties of a repository, given once when it is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The algorithm of the digests that objects are named by.
    pub algorithm: FileAlgorithm,
    /// The format of images.
    pub format: ErofsFormat,
    /// Formats in which images are made too.
    pub extra_formats: Vec<ErofsFormat>,
    /// Features of writers, beyond those that lithify knows, in which the repository is read but
    /// not written.
    pub unknown_features: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    algorithm: String,
    #[serde(default)]
    features: Features,
    erofs_formats: Option<Formats>,
}

/// As ext4 has them: who does not know one may write, may read, or may not even read.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Features {
    compatible: Vec<String>,
    read_only_compatible: Vec<String>,
    incompatible: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Formats {
    default: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extra: Vec<u64>,
}

impl Metadata {
    /// Returns the properties of a repository with an algorithm and images of format 1.
    #[must_use]
    pub const fn new(algorithm: FileAlgorithm) -> Self {
        Self {
            algorithm,
            format: ErofsFormat::V1,
            extra_formats: Vec::new(),
            unknown_features: Vec::new(),
        }
    }

    /// Parses the file.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn parse(json: &[u8]) -> Result<Self, MetadataError> {
        let file: File = serde_json::from_slice(json).map_err(MetadataError::Json)?;
        if file.version > VERSION {
            return Err(MetadataError::Version {
                found: file.version,
                known: VERSION,
            });
        }
        let algorithm = parse_algorithm(&file.algorithm)?;
        // None is known.
        let features = file.features.incompatible;
        if !features.is_empty() {
            return Err(MetadataError::Features { features });
        }
        let read_only = file.features.read_only_compatible;
        let (v1, unknown_features): (Vec<_>, Vec<_>) =
            read_only.into_iter().partition(|f| f == V1_EROFS);
        let (format, mut extra_formats) = match file.erofs_formats {
            Some(formats) => (
                ErofsFormat::of_number(formats.default)?,
                formats
                    .extra
                    .into_iter()
                    .map(ErofsFormat::of_number)
                    .collect::<Result<_, _>>()?,
            ),
            None => (ErofsFormat::V2, Vec::new()),
        };
        extra_formats.sort_unstable();
        extra_formats.dedup();
        // Repositories that say no more than this are older than the field, or were made by who did
        // not know it.
        let is_default = format == ErofsFormat::V2 && extra_formats.is_empty();
        let format = match is_default && !v1.is_empty() {
            true => ErofsFormat::V1,
            false => format,
        };
        Ok(Self {
            algorithm,
            format,
            extra_formats,
            unknown_features,
        })
    }

    /// Returns the file, as `cfsctl` writes it.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, MetadataError> {
        let mut read_only_compatible = self.unknown_features.clone();
        if self.format == ErofsFormat::V1 {
            read_only_compatible.push(V1_EROFS.to_owned());
        }
        let numbers = self.extra_formats.iter().map(|f| f.number().into());
        let file = File {
            version: VERSION,
            algorithm: format!("fsverity-{}-{BLOCK_BITS}", self.algorithm),
            features: Features {
                read_only_compatible,
                ..Features::default()
            },
            erofs_formats: Some(Formats {
                default: self.format.number().into(),
                extra: numbers.collect(),
            }),
        };
        let mut json = serde_json::to_vec_pretty(&file).map_err(MetadataError::Json)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Returns all formats in which images are made, the default first.
    pub fn formats(&self) -> impl Iterator<Item = ErofsFormat> + '_ {
        let extra = self.extra_formats.iter().copied();
        std::iter::once(self.format).chain(extra.filter(|f| *f != self.format))
    }
}

fn parse_algorithm(name: &str) -> Result<FileAlgorithm, MetadataError> {
    let parsed = name.strip_prefix("fsverity-").and_then(|rest| {
        let (hash, bits) = rest.rsplit_once('-')?;
        let algorithm = FileAlgorithm::of_name(hash)?;
        (bits == BLOCK_BITS).then_some(algorithm)
    });
    parsed.ok_or_else(|| MetadataError::Algorithm {
        found: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `cfsctl init` 0.9.4 writes it.
    const CFSCTL: &str = r#"{
  "version": 1,
  "algorithm": "fsverity-sha256-12",
  "features": {
    "compatible": [],
    "read-only-compatible": [
      "v1_erofs"
    ],
    "incompatible": []
  },
  "erofs_formats": {
    "default": 1
  }
}
"#;

    #[test]
    fn the_file_is_that_of_cfsctl() {
        let metadata = Metadata::new(FileAlgorithm::Sha256);
        let json = metadata.to_json().unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), CFSCTL);
        assert_eq!(Metadata::parse(CFSCTL.as_bytes()).unwrap(), metadata);
    }

    #[test]
    fn what_is_written_is_read() {
        for algorithm in FileAlgorithm::ALL {
            for format in [ErofsFormat::V0, ErofsFormat::V1, ErofsFormat::V2] {
                for extra in [vec![], vec![ErofsFormat::V2], vec![ErofsFormat::V0]] {
                    let metadata = Metadata {
                        format,
                        extra_formats: extra,
                        ..Metadata::new(algorithm)
                    };
                    let json = metadata.to_json().unwrap();
                    assert_eq!(Metadata::parse(&json).unwrap(), metadata);
                }
            }
        }
    }

    #[test]
    fn formats_of_older_repositories_follow_from_the_feature() {
        let format = |rest: &str| {
            let json = format!(r#"{{"version":1,"algorithm":"fsverity-sha512-12"{rest}}}"#);
            Metadata::parse(json.as_bytes()).unwrap().format
        };
        assert_eq!(format(""), ErofsFormat::V2);
        let v1 = r#","features":{"read-only-compatible":["v1_erofs"]}"#;
        assert_eq!(format(v1), ErofsFormat::V1);
        let both = format!(r#"{v1},"erofs_formats":{{"default":2}}"#);
        assert_eq!(format(&both), ErofsFormat::V1);
        let both = format!(r#"{v1},"erofs_formats":{{"default":0}}"#);
        assert_eq!(format(&both), ErofsFormat::V0);
    }

    #[test]
    fn unknown_features_count_as_those_of_ext4() {
        let parse = |features: &str| {
            let head = r#"{"version":1,"algorithm":"fsverity-sha256-12","features":"#;
            Metadata::parse(format!("{head}{features}}}").as_bytes())
        };
        assert!(
            parse(r#"{"compatible":["new"]}"#)
                .unwrap()
                .unknown_features
                .is_empty()
        );
        let read_only = parse(r#"{"read-only-compatible":["new","v1_erofs"]}"#).unwrap();
        assert_eq!(read_only.unknown_features, ["new"]);
        let refused = parse(r#"{"incompatible":["new"]}"#);
        assert!(
            matches!(refused, Err(MetadataError::Features { features }) if features == ["new"])
        );
    }

    #[test]
    fn other_metadata_is_refused() {
        let parse = |from: &str, to: &str| Metadata::parse(CFSCTL.replace(from, to).as_bytes());
        assert!(matches!(
            parse("\"version\": 1", "\"version\": 2"),
            Err(MetadataError::Version { found: 2, known: 1 })
        ));
        for other in [
            "fsverity-sha256-16",
            "fsverity-sha1-12",
            "sha256-12",
            "",
            "fsverity-sha256-012",
        ] {
            assert!(matches!(
                parse("fsverity-sha256-12", other),
                Err(MetadataError::Algorithm { found }) if found == other
            ));
        }
        assert!(matches!(
            parse("\"default\": 1", "\"default\": 3"),
            Err(MetadataError::Format { found: 3 })
        ));
        for json in ["", "{}", "[]", "{\"version\":1}"] {
            assert!(matches!(
                Metadata::parse(json.as_bytes()),
                Err(MetadataError::Json(_))
            ));
        }
    }
}
