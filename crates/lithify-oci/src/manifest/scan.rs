//! The check for documents that can be read two ways, made before anything is parsed.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::Error;

/// Where in a document an object stands, hence which keys mean something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The top of a manifest or index.
    Manifest,
    /// The top of an image config.
    Config,
    /// A descriptor, or a list of them.
    Descriptor,
    /// An image in `manifest.json` of a docker-archive, or the list of them.
    DockerArchive,
    /// Anything else: only repeated keys matter.
    Other,
}

impl Role {
    /// Keys that must be spelled exactly so.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Manifest => &[
                "schemaVersion",
                "mediaType",
                "artifactType",
                "config",
                "layers",
                "manifests",
                "fsLayers",
                "history",
                "blobs",
                "subject",
                "annotations",
            ],
            Self::Config => &[
                "architecture",
                "os",
                "os.version",
                "os.features",
                "variant",
                "config",
                "rootfs",
                "history",
                "created",
                "author",
            ],
            Self::Descriptor => &[
                "mediaType",
                "artifactType",
                "digest",
                "size",
                "urls",
                "annotations",
                "platform",
                "data",
            ],
            Self::DockerArchive => &["Config", "RepoTags", "Layers"],
            Self::Other => &[],
        }
    }

    fn of_value(self, key: &str) -> Self {
        match (self, key) {
            (Self::Manifest, "config" | "layers" | "manifests" | "subject") => Self::Descriptor,
            _ => Self::Other,
        }
    }
}

/// Checks the keys of every object in `json`.
pub(super) fn keys(json: &[u8], role: Role, what: &'static str) -> Result<(), Error> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let result = Scan {
        role,
        found: &mut found,
    }
    .deserialize(&mut deserializer)
    .and_then(|()| deserializer.end());
    match (found, result) {
        (Some(error), _) => Err(error),
        (None, Err(source)) => Err(Error::Json { what, source }),
        (None, Ok(())) => Ok(()),
    }
}

/// Visits one value and everything in it; serde_json bounds the depth.
struct Scan<'a> {
    role: Role,
    /// The finding; serde's own errors cannot carry it.
    found: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let role = self.role.of_value(&key);
            let misspelt = self
                .role
                .keys()
                .iter()
                .copied()
                .find(|known| *known != key && folds_to(&key, known));
            if let Some(expected) = misspelt {
                *self.found = Some(Error::KeyCase {
                    found: key,
                    expected,
                });
                return Err(de::Error::custom("key case"));
            }
            if let Some(key) = seen.replace(key) {
                *self.found = Some(Error::DuplicateKey { key });
                return Err(de::Error::custom("duplicate key"));
            }
            map.next_value_seed(Scan {
                role,
                found: &mut *self.found,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq
            .next_element_seed(Scan {
                role: self.role,
                found: &mut *self.found,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

/// Whether Go's `encoding/json` takes `key` for the ASCII field name `known`: equal under
/// Unicode's simple case folding, in which U+017F folds to `s` and U+212A to `k`.
fn folds_to(key: &str, known: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(known.chars().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(json: &str) -> Result<(), Error> {
        keys(json.as_bytes(), Role::Manifest, "manifest")
    }

    #[test]
    fn refuses_what_reads_two_ways() {
        for json in [
            r#"{"layers":[],"layers":[]}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"\u0061":2}]}"#,
        ] {
            assert!(
                matches!(scan(json), Err(Error::DuplicateKey { .. })),
                "{json}"
            );
        }
        for json in [
            r#"{"Layers":[]}"#,
            r#"{"manife\u017fts":[]}"#,
            r#"{"config":{"DIGEST":""}}"#,
            r#"{"layers":[{"Size":1}]}"#,
            r#"{"manifests":[{"mediatype":""}]}"#,
        ] {
            assert!(matches!(scan(json), Err(Error::KeyCase { .. })), "{json}");
        }
    }

    #[test]
    fn accepts_the_rest() {
        for json in [
            r#"{"layers":[{"size":1.5}],"x":null,"y":[true,-1,"s"]}"#,
            r#"{"annotations":{"A":"","a":""}}"#,
            r#"{"x":{"Layers":1,"layers":2}}"#,
            "[]",
        ] {
            assert!(scan(json).is_ok(), "{json}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(scan(&deep), Err(Error::Json { .. })));
        assert!(matches!(scan("{} x"), Err(Error::Json { .. })));
    }
}
