//! What an entry is found by.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use lithify_digest::{Algorithm, Digest, ParseError};
use lithify_escape::Escaped;
use serde::{Deserialize, Serialize};

/// Most options of a key.
const MAX_OPTIONS: usize = 128;
/// Longest name or value of an option, and longest writer version, in bytes.
const MAX_TEXT: usize = 1024;
/// Longest format, in bytes.
const MAX_FORMAT: usize = 64;

/// What the digest of an [`Input`] was taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum InputKind {
    /// One uncompressed layer, for what depends on that layer alone.
    DiffId,
    /// A layer with all below it (image-spec, `config.md`, "Layer ChainID").
    ChainId,
    /// Whatever the caller's rules say, such as the list of artifacts this one was made of.
    Content,
}

/// What an artifact is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Input {
    /// What the digest was taken of.
    pub kind: InputKind,
    /// The digest.
    pub digest: Digest,
}

/// What an entry is found by: everything its bytes depend on.
///
/// Two builds with equal keys give equal bytes, so either's artifact serves both. A key's canonical form is JSON without
/// white space, members and options sorted; the SHA-256 of that is the entry's name ([`Key::id`]).
///
/// ```
/// use lithify_digest::{Algorithm, Digest};
/// use lithify_store::{Input, InputKind, Key};
///
/// let digest = Digest::of(Algorithm::Sha256, b"a layer");
/// let key = Key::new(Input { kind: InputKind::DiffId, digest }, "erofs-layer", "1")?.option("block-size", "4096")?;
/// assert!(key.canonical().starts_with(r#"{"format":"erofs-layer","input":{"digest":"sha256:"#));
/// assert_ne!(key.id(), key.clone().option("compress", "lz4")?.id());
/// # Ok::<(), lithify_store::KeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    // In the order of their names: this is the canonical form.
    format: String,
    input: StoredInput,
    options: BTreeMap<String, String>,
    writer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredInput {
    #[serde(with = "crate::text::digest")]
    digest: Digest,
    kind: InputKind,
}

/// Why something is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The format's name has bytes or a length it may not have.
    #[error("`{found}` cannot be a format: expected 1 to {MAX_FORMAT} of a-z 0-9 -", found = Escaped::path(.found))]
    Format {
        /// The name.
        found: String,
    },
    /// An option or the writer's version is too long or empty.
    #[error("{what} of a key has {found} bytes: expected 1 to {MAX_TEXT}")]
    Text {
        /// Which.
        what: &'static str,
        /// How long it is.
        found: usize,
    },
    /// Too many options.
    #[error("a key has at most {MAX_OPTIONS} options")]
    Options,
}

impl Key {
    /// A key without options.
    ///
    /// `writer_version` changes whenever the writer of `format` gives other bytes for the same input.
    ///
    /// # Errors
    /// [`KeyError`] when `format` or `writer_version` breaks its rules.
    pub fn new(
        input: Input,
        format: impl Into<String>,
        writer_version: impl Into<String>,
    ) -> Result<Self, KeyError> {
        let key = Self {
            format: format.into(),
            input: StoredInput {
                digest: input.digest,
                kind: input.kind,
            },
            options: BTreeMap::new(),
            writer: writer_version.into(),
        };
        key.check()?;
        Ok(key)
    }

    /// Adds or replaces an option. Options at their default should be left out or always given: both is two keys.
    ///
    /// # Errors
    /// [`KeyError`] when there are too many, or one is too long.
    pub fn option(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, KeyError> {
        self.options.insert(name.into(), value.into());
        self.check()?;
        Ok(self)
    }

    /// The rules, for keys from a caller and from a record.
    pub(crate) fn check(&self) -> Result<(), KeyError> {
        let format_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=MAX_FORMAT).contains(&self.format.len()) || !self.format.bytes().all(format_byte) {
            return Err(KeyError::Format {
                found: self.format.clone(),
            });
        }
        if self.options.len() > MAX_OPTIONS {
            return Err(KeyError::Options);
        }
        let text = |what, text: &str, least: usize| match (least..=MAX_TEXT).contains(&text.len()) {
            true => Ok(()),
            false => Err(KeyError::Text {
                what,
                found: text.len(),
            }),
        };
        text("the writer version", &self.writer, 1)?;
        for (name, value) in &self.options {
            text("the name of an option", name, 1)?;
            text("the value of an option", value, 0)?;
        }
        Ok(())
    }

    /// What the artifact is made of.
    #[must_use]
    pub fn input(&self) -> Input {
        Input {
            kind: self.input.kind,
            digest: self.input.digest,
        }
    }

    /// The format, such as `erofs-layer`.
    #[must_use]
    pub fn format(&self) -> &str {
        &self.format
    }

    /// The options, sorted by name.
    #[must_use]
    pub fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// The version of the writer.
    #[must_use]
    pub fn writer_version(&self) -> &str {
        &self.writer
    }

    /// The canonical form: JSON, members sorted, no white space.
    #[must_use]
    pub fn canonical(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "strings and maps of strings are always JSON"
        )]
        serde_json::to_string(self).expect("strings and maps of strings are always JSON")
    }

    /// The name of the entry.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId(Digest::of(Algorithm::Sha256, self.canonical().as_bytes()))
    }
}

/// The name of an entry: the SHA-256 of its key's canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(Digest);

impl EntryId {
    /// As 64 lower-case hexadecimal digits; [`Display`](fmt::Display) gives the same.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.hex()
    }
}

impl FromStr for EntryId {
    type Err = ParseError;

    /// Reads 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        format!("{}:{text}", Algorithm::Sha256).parse().map(Self)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(format: &str, writer: &str) -> Result<Key, KeyError> {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        Key::new(
            Input {
                kind: InputKind::ChainId,
                digest,
            },
            format,
            writer,
        )
    }

    #[test]
    fn the_canonical_form_is_sorted_and_compact() {
        let key = key("erofs", "1").unwrap();
        let one = key
            .clone()
            .option("b", "2")
            .unwrap()
            .option("a", "\"\n")
            .unwrap();
        let two = key.option("a", "\"\n").unwrap().option("b", "2").unwrap();
        assert_eq!(one.id(), two.id());
        assert_eq!(
            one.canonical(),
            r#"{"format":"erofs","input":{"digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","kind":"chain-id"},"options":{"a":"\"\n","b":"2"},"writer":"1"}"#
        );
    }

    #[test]
    fn each_part_counts() {
        let base = key("erofs", "1").unwrap();
        let digest = base.input().digest;
        let kind = InputKind::DiffId;
        let others = [
            key("squashfs", "1").unwrap(),
            key("erofs", "2").unwrap(),
            base.clone().option("a", "").unwrap(),
            Key::new(Input { kind, digest }, "erofs", "1").unwrap(),
        ];
        for other in others {
            assert_ne!(other.id(), base.id());
        }
    }

    #[test]
    fn odd_parts_are_refused() {
        for format in ["", "Erofs", "a/b", "..", "a b", &"x".repeat(65)] {
            assert!(
                matches!(key(format, "1"), Err(KeyError::Format { .. })),
                "{format}"
            );
        }
        assert!(matches!(
            key("erofs", ""),
            Err(KeyError::Text { found: 0, .. })
        ));
        assert!(
            key("erofs", "1")
                .unwrap()
                .option("x", "v".repeat(1025))
                .is_err()
        );
    }

    #[test]
    fn ids_are_64_digits() {
        let id = key("erofs", "1").unwrap().id();
        assert_eq!(id.to_string().parse::<EntryId>().unwrap(), id);
        for bad in [
            "",
            "..",
            &id.hex()[1..],
            &id.hex().to_uppercase(),
            &format!("{id}0"),
        ] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }
}
