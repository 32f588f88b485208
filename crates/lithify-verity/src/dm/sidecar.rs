//! containerd's file with the root hash.

use serde::{Deserialize, Serialize};

use super::builder::VerityReport;
use super::error::SidecarError;
use super::hash::Hash;

/// Longest sidecar read, in bytes. One written here has about a hundred.
const SIZE_MAX: usize = 4096;

/// What the file beside an image says: `{"roothash":"HEX","hashoffset":N}`, for an image `NAME.erofs` in
/// `NAME.erofs.dmverity` (containerd, EROFS snapshotter).
///
/// ```
/// use lithify_verity::Sidecar;
///
/// let text = format!(r#"{{"roothash":"{}","hashoffset":4096}}"#, "0".repeat(64));
/// let sidecar = Sidecar::parse(text.as_bytes())?;
/// assert_eq!(sidecar.hash_offset, 4096);
/// assert_eq!(sidecar.to_json(), text);
/// # Ok::<(), lithify_verity::SidecarError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// The root hash.
    pub root: Hash,
    /// Where the superblock is in the image file, in bytes.
    pub hash_offset: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    roothash: String,
    hashoffset: u64,
}

impl Sidecar {
    /// Reads a sidecar: exactly the two fields, in any order.
    ///
    /// # Errors
    /// More than 4096 bytes, other JSON, a root hash that is not 64 lower-case hexadecimal digits, an offset that is no
    /// multiple of 512.
    pub fn parse(bytes: &[u8]) -> Result<Self, SidecarError> {
        if bytes.len() > SIZE_MAX {
            return Err(SidecarError::TooLarge {
                found: bytes.len(),
                max: SIZE_MAX,
            });
        }
        let json: Json =
            serde_json::from_slice(bytes).map_err(|source| SidecarError::Json { source })?;
        let root = json
            .roothash
            .parse()
            .map_err(|source| SidecarError::RootHash { source })?;
        if !json.hashoffset.is_multiple_of(512) {
            return Err(SidecarError::HashOffset {
                found: json.hashoffset,
            });
        }
        Ok(Self {
            root,
            hash_offset: json.hashoffset,
        })
    }

    /// The file's contents: the bytes containerd's own encoder writes, without a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"roothash":"{}","hashoffset":{}}}"#,
            self.root, self.hash_offset
        )
    }
}

impl From<&VerityReport> for Sidecar {
    fn from(report: &VerityReport) -> Self {
        Self {
            root: report.root,
            hash_offset: report.hash_offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn parse(text: &str) -> Result<Sidecar, SidecarError> {
        Sidecar::parse(text.replace("HEX", HEX).as_bytes())
    }

    #[test]
    fn only_the_two_fields() {
        let sidecar = parse(r#" {"hashoffset": 8192, "roothash": "HEX"} "#).unwrap();
        assert_eq!(
            (sidecar.root.to_string().as_str(), sidecar.hash_offset),
            (HEX, 8192)
        );
        for text in [
            "",
            "{}",
            "[]",
            r#"{"roothash":"HEX"}"#,
            r#"{"hashoffset":0}"#,
            r#"{"roothash":"HEX","hashoffset":0,"x":1}"#,
            r#"{"roothash":"HEX","hashoffset":0,"hashoffset":512}"#,
            r#"{"roothash":"HEX","hashoffset":-512}"#,
            r#"{"roothash":"HEX","hashoffset":512.0}"#,
            r#"{"roothash":"HEX","hashoffset":"512"}"#,
            r#"{"roothash":"HEX","hashoffset":18446744073709551616}"#,
            r#"{"roothash":"HEX","hashoffset":0} x"#,
        ] {
            assert!(
                matches!(parse(text), Err(SidecarError::Json { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn values_are_checked() {
        for hash in [
            &HEX[1..],
            "",
            "sha256:",
            &HEX.to_uppercase(),
            &format!("{HEX}00"),
        ] {
            let text = format!(r#"{{"roothash":"{hash}","hashoffset":0}}"#);
            assert!(matches!(parse(&text), Err(SidecarError::RootHash { .. })));
        }
        assert!(matches!(
            parse(r#"{"roothash":"HEX","hashoffset":100}"#),
            Err(SidecarError::HashOffset { found: 100 })
        ));
        assert!(matches!(
            parse(&" ".repeat(5000)),
            Err(SidecarError::TooLarge { .. })
        ));
    }
}
