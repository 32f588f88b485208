//! How file data is compressed.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use lithify_tree::Escaped;

use crate::Error;
use crate::error::BuildError;
use crate::output::StreamCompression;

/// A compression algorithm of filesystem images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressionAlgorithm {
    /// Data as it is.
    None,
    /// LZ4: fastest to read.
    Lz4,
    /// Zstandard.
    Zstd,
    /// Deflate; squashfs only.
    Gzip,
    /// LZMA2; squashfs only.
    Xz,
}

/// An algorithm, and how hard it tries: `zstd`, `zstd:19`, `lz4`, `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// The algorithm.
    pub algorithm: CompressionAlgorithm,
    /// The level, in the algorithm's own terms; without, its default.
    pub level: Option<u32>,
}

/// A text that names no compression.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{}` is no compression: expected none, lz4, zstd, gzip or xz, with a level as in zstd:19",
    Escaped(.text)
)]
pub struct UnknownCompression {
    /// The text.
    pub text: String,
}

impl CompressionAlgorithm {
    const ALL: [(Self, &'static str); 5] = [
        (Self::None, "none"),
        (Self::Lz4, "lz4"),
        (Self::Zstd, "zstd"),
        (Self::Gzip, "gzip"),
        (Self::Xz, "xz"),
    ];

    /// The name on the command line and in descriptions.
    #[must_use]
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(algorithm, _)| *algorithm == self);
        named.map_or("", |(_, name)| name)
    }

    /// The levels it has; none for those without.
    const fn levels(self) -> Option<std::ops::RangeInclusive<u32>> {
        match self {
            Self::Zstd => Some(1..=22),
            Self::Gzip => Some(1..=9),
            Self::Xz => Some(0..=9),
            Self::None | Self::Lz4 => None,
        }
    }
}

impl Compression {
    /// An algorithm at its default level.
    #[must_use]
    pub const fn new(algorithm: CompressionAlgorithm) -> Self {
        Self {
            algorithm,
            level: None,
        }
    }

    /// Returns the compression of an archive as a whole, if there is one such.
    pub(crate) fn of_stream(self) -> Result<StreamCompression, Error> {
        self.check_level()?;
        match (self.algorithm, self.level) {
            (CompressionAlgorithm::None, _) => Ok(StreamCompression::None),
            (CompressionAlgorithm::Gzip, None) => Ok(StreamCompression::GZIP),
            (CompressionAlgorithm::Gzip, Some(level)) => Ok(StreamCompression::Gzip(level)),
            (CompressionAlgorithm::Zstd, None) => Ok(StreamCompression::ZSTD),
            // No more than 22.
            (CompressionAlgorithm::Zstd, Some(level)) => Ok(StreamCompression::Zstd(level as i32)),
            _ => Err(Error::from(BuildError::Compression {
                compression: self.to_string(),
                expected: "an archive is compressed by gzip or zstd, or not at all".to_owned(),
            })),
        }
    }

    /// Returns the compression that the name of a stream says, as `initrd.cpio.gz` does.
    #[must_use]
    pub fn of_name(name: &Path) -> Option<Self> {
        let algorithm = match name.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "gz" => CompressionAlgorithm::Gzip,
            "zst" => CompressionAlgorithm::Zstd,
            _ => return None,
        };
        Some(Self::new(algorithm))
    }

    /// Checks that the algorithm has the level.
    pub(super) fn check_level(self) -> Result<(), Error> {
        let refused = |expected: String| {
            Err(Error::from(BuildError::Compression {
                compression: self.to_string(),
                expected,
            }))
        };
        match (self.level, self.algorithm.levels()) {
            (Some(_), None) => refused(format!("{} has no levels", self.algorithm.name())),
            (Some(level), Some(levels)) if !levels.contains(&level) => refused(format!(
                "{} has levels {} to {}",
                self.algorithm.name(),
                levels.start(),
                levels.end()
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        match self.level {
            Some(level) => write!(f, ":{level}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownCompression {
            text: text.to_owned(),
        };
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let named = CompressionAlgorithm::ALL.iter().find(|(_, n)| *n == name);
        let (algorithm, _) = *named.ok_or_else(unknown)?;
        Ok(Self { algorithm, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for text in ["none", "lz4", "zstd", "zstd:19", "gzip:1", "xz"] {
            let compression: Compression = text.parse().unwrap();
            assert_eq!(compression.to_string(), text);
        }
        for text in ["", "zst", "zstd:", "zstd:x", ":3", "zstd:-1", "lz4:1:2"] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
    }

    #[test]
    fn levels_are_checked() {
        let check = |text: &str| text.parse::<Compression>().unwrap().check_level().is_ok();
        assert!(check("zstd:22") && check("xz") && check("gzip:9"));
        assert!(!check("zstd:23") && !check("lz4:3") && !check("gzip:0"));
    }
}
