//! How an image is compressed, by its name.

use std::fmt;
use std::str::FromStr;

/// How an image is compressed.
///
/// ```
/// use lithify_squashfs::Compression;
///
/// assert_eq!("zstd".parse(), Ok(Compression::Zstd { level: 3 }));
/// assert_eq!("gzip:6".parse(), Ok(Compression::Gzip { level: 6 }));
/// assert!("zstd:99".parse::<Compression>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// zlib, levels 1 to 9.
    Gzip {
        /// The level.
        level: u8,
    },
    /// LZ4 at its one speed.
    Lz4,
    /// xz, levels 0 to 9.
    Xz {
        /// The level.
        level: u8,
    },
    /// zstd, levels 1 to 22.
    Zstd {
        /// The level.
        level: u8,
    },
}

impl Default for Compression {
    /// zstd at level 3.
    fn default() -> Self {
        Self::Zstd { level: 3 }
    }
}

/// A name or level of compression that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no compression: expected none, lz4, gzip[:1-9], xz[:0-9] or zstd[:1-22]")]
pub struct UnknownCompression {
    /// What was given.
    pub found: String,
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(s: &str) -> Result<Self, UnknownCompression> {
        let (name, level) = match s.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (s, None),
        };
        let level: Option<Option<u8>> = level.map(|l| l.parse().ok());
        let level_or = |default| level.unwrap_or(Some(default));
        let parsed = match (name, level) {
            ("none", None) => Some(Self::None),
            ("lz4", None) => Some(Self::Lz4),
            ("gzip", _) => level_or(9).map(|level| Self::Gzip { level }),
            ("xz", _) => level_or(6).map(|level| Self::Xz { level }),
            ("zstd", _) => level_or(3).map(|level| Self::Zstd { level }),
            _ => None,
        };
        parsed
            .filter(|c| c.is_valid())
            .ok_or_else(|| UnknownCompression {
                found: s.to_owned(),
            })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Gzip { level } => write!(f, "gzip:{level}"),
            Self::Xz { level } => write!(f, "xz:{level}"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

impl Compression {
    /// Whether the level exists.
    pub(crate) fn is_valid(self) -> bool {
        match self {
            Self::None | Self::Lz4 => true,
            Self::Gzip { level } => (1..=9).contains(&level),
            Self::Xz { level } => level <= 9,
            Self::Zstd { level } => (1..=22).contains(&level),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels() {
        for name in [
            "none", "gzip", "gzip:1", "lz4", "xz", "xz:0", "zstd", "zstd:22",
        ] {
            let compression: Compression = name.parse().unwrap();
            assert_eq!(compression.to_string().parse(), Ok(compression));
        }
        for bad in [
            "", "zstd:", "zstd:0", "zstd:23", "gzip:0", "gzip:10", "xz:10", "lz4:1", "none:1",
            "lzo", "zstd:-1", "zstd:300", "ZSTD",
        ] {
            let error = bad.parse::<Compression>().unwrap_err();
            assert_eq!(error.found, bad);
        }
    }
}
