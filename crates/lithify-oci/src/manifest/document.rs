//! Telling indexes from manifests, by all that a document says of itself.

use serde::Deserialize;

use super::error::Error;
use super::field::Present;
use super::media_type::{self, Kind};
use super::scan::{self, Role};
use super::{ImageManifest, Index};

/// A manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Document {
    /// An image index or Docker manifest list.
    Index(Index),
    /// An image manifest.
    Manifest(Box<ImageManifest>),
}

/// The fields that decide what a document is. `null` counts as absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Present>,
    layers: Option<Present>,
    manifests: Option<Present>,
    fs_layers: Option<Present>,
    history: Option<Present>,
    blobs: Option<Present>,
}

impl Document {
    /// Parses a document; `descriptor_type` is the media type of the descriptor that points to it.
    ///
    /// # Errors
    /// [`Error`] for a document that is neither, or could be read two ways; see the
    /// [module documentation](super).
    ///
    /// ```
    /// use lithify_oci::manifest::{Document, Error};
    ///
    /// let both = br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
    /// assert!(matches!(Document::parse(both, None), Err(Error::Ambiguous { .. })));
    /// ```
    pub fn parse(json: &[u8], descriptor_type: Option<&str>) -> Result<Self, Error> {
        Self::parse_expecting(Kind::Unstated, json, descriptor_type)
    }

    /// [`parse`](Self::parse) of a document that the place it stands in says is `expected`.
    pub(super) fn parse_expecting(
        expected: Kind,
        json: &[u8],
        descriptor_type: Option<&str>,
    ) -> Result<Self, Error> {
        const WHAT: &str = "manifest or index";
        scan::keys(json, Role::Manifest, WHAT)?;
        let shape: Shape =
            serde_json::from_slice(json).map_err(|source| Error::Json { what: WHAT, source })?;
        let own_type = shape.media_type.as_deref().filter(|t| !t.is_empty());
        let descriptor_type = descriptor_type.filter(|t| !t.is_empty());
        if let (Some(found), Some(descriptor)) = (own_type, descriptor_type)
            && found != descriptor
        {
            return Err(Error::MediaTypeMismatch {
                found: found.to_owned(),
                descriptor: descriptor.to_owned(),
            });
        }
        let media_type = own_type.or(descriptor_type);
        let expected = media_type.map_or(expected, media_type::kind);
        let kind = shape.kind(expected)?;
        if let Some(media_type) = media_type {
            let mismatch = |shape| Error::MediaTypeShape {
                media_type: media_type.to_owned(),
                shape,
            };
            match (expected, kind) {
                (Kind::Schema1, _) => return Err(Error::Schema1),
                (Kind::Index, Kind::Index) | (Kind::Manifest, Kind::Manifest) => {}
                (_, Kind::Index) => return Err(mismatch("an index (`manifests`)")),
                _ => return Err(mismatch("an image manifest (`config` and `layers`)")),
            }
        }
        // The document's fields have told what it is. One that leaves the version out, or at what Go writes for that, says
        // nothing else; another version may mean anything.
        match shape.schema_version {
            None | Some(0 | 2) => {}
            Some(found) => return Err(Error::SchemaVersion { found }),
        }
        match kind {
            Kind::Index => Index::parse_checked(json).map(Self::Index),
            _ => ImageManifest::parse_checked(json)
                .map(Box::new)
                .map(Self::Manifest),
        }
    }
}

impl Shape {
    /// [`Kind::Index`] or [`Kind::Manifest`] by the fields present; `expected` if there are none.
    fn kind(&self, expected: Kind) -> Result<Kind, Error> {
        let of_manifest = [
            ("config", self.config.is_some()),
            ("layers", self.layers.is_some()),
            ("fsLayers", self.fs_layers.is_some()),
            ("history", self.history.is_some()),
            ("blobs", self.blobs.is_some()),
        ];
        let first = of_manifest
            .iter()
            .find(|(_, there)| *there)
            .map(|(name, _)| *name);
        match (self.manifests.is_some(), first) {
            (true, None) => return Ok(Kind::Index),
            (true, Some(second)) => {
                return Err(Error::Ambiguous {
                    first: "manifests",
                    second,
                });
            }
            (false, _) => {}
        }
        let modern = if self.config.is_some() {
            Some("config")
        } else {
            self.layers.as_ref().map(|_| "layers")
        };
        if self.fs_layers.is_some() {
            return Err(match modern {
                Some(second) => Error::Ambiguous {
                    first: "fsLayers",
                    second,
                },
                None => Error::Schema1,
            });
        }
        if self.schema_version == Some(1) {
            return Err(Error::Schema1);
        }
        match (&self.config, &self.artifact_type) {
            (Some(_), _) => Ok(Kind::Manifest),
            // The artifact manifest that image-spec 1.1 had in its release candidates.
            (None, Some(found)) => Err(Error::NotAnImage {
                found: found.clone(),
                artifact: true,
            }),
            // `umoci init` writes an index with `"manifests":null`.
            (None, None) if expected == Kind::Index && first.is_none() => Ok(Kind::Index),
            (None, None) => Err(Error::Unrecognised),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::media_type::{DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};

    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{HEX}","size":5}}"#)
    }

    fn manifest(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[]{extra}}}"#,
            descriptor(OCI_CONFIG)
        )
    }

    fn parse(json: &str, media_type: Option<&str>) -> Result<Document, Error> {
        Document::parse(json.as_bytes(), media_type)
    }

    #[test]
    fn accepts_both_kinds() {
        assert!(matches!(
            parse(&manifest(""), Some(OCI_MANIFEST)),
            Ok(Document::Manifest(_))
        ));
        assert!(matches!(
            parse(&manifest(""), Some("")),
            Ok(Document::Manifest(_))
        ));
        assert!(matches!(
            parse(
                &manifest(&format!(
                    r#","mediaType":"{DOCKER_MANIFEST}","annotations":null"#
                )),
                None
            ),
            Ok(Document::Manifest(_))
        ));
        let null_layers = manifest("").replace("[]", "null");
        assert!(matches!(
            parse(&null_layers, None),
            Ok(Document::Manifest(_))
        ));
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{}],"layers":null}}"#,
            descriptor(OCI_MANIFEST)
        );
        assert!(
            matches!(parse(&index, Some(OCI_INDEX)), Ok(Document::Index(i)) if i.manifests.len() == 1)
        );
        let empty = r#"{"schemaVersion":2,"manifests":null}"#;
        assert!(matches!(
            parse(empty, Some(OCI_INDEX)),
            Ok(Document::Index(_))
        ));
        assert!(Index::parse(empty.as_bytes()).is_ok());
        assert!(matches!(parse(empty, None), Err(Error::Unrecognised)));
        assert!(parse(empty, Some(OCI_MANIFEST)).is_err());
    }

    #[test]
    fn cve_2021_41190() {
        for extra in [r#","manifests":[]"#, r#","fsLayers":[]"#] {
            assert!(
                matches!(parse(&manifest(extra), None), Err(Error::Ambiguous { .. })),
                "{extra}"
            );
        }
        assert!(matches!(
            parse(&manifest(r#","Manifests":[]"#), None),
            Err(Error::KeyCase {
                expected: "manifests",
                ..
            })
        ));
        assert!(matches!(
            parse(&manifest(r#","layers":[]"#), None),
            Err(Error::DuplicateKey { .. })
        ));
        assert!(matches!(
            parse(&manifest(&format!(r#","mediaType":"{OCI_INDEX}""#)), None),
            Err(Error::MediaTypeShape { .. })
        ));
        assert!(matches!(
            parse(&manifest(""), Some(OCI_INDEX)),
            Err(Error::MediaTypeShape { .. })
        ));
        assert!(matches!(
            parse(
                &manifest(&format!(r#","mediaType":"{DOCKER_MANIFEST}""#)),
                Some(OCI_MANIFEST)
            ),
            Err(Error::MediaTypeMismatch { .. })
        ));
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(
            parse(index, Some(OCI_MANIFEST)),
            Err(Error::MediaTypeShape { .. })
        ));
    }

    #[test]
    fn other_documents() {
        let v1 =
            r#"{"schemaVersion":1,"name":"x","tag":"y","fsLayers":[{"blobSum":"x"}],"history":[]}"#;
        assert!(matches!(parse(v1, None), Err(Error::Schema1)));
        let artifact = r#"{"schemaVersion":2,"artifactType":"a/b","blobs":[]}"#;
        assert!(matches!(
            parse(artifact, None),
            Err(Error::NotAnImage { .. })
        ));
        assert!(matches!(
            parse(r#"{"schemaVersion":2}"#, None),
            Err(Error::Unrecognised)
        ));
        assert!(matches!(parse("{}", None), Err(Error::Unrecognised)));
        for version in [r#""schemaVersion":0,"#, r#""schemaVersion":null,"#, ""] {
            let unsaid = manifest("").replace(r#""schemaVersion":2,"#, version);
            assert!(matches!(parse(&unsaid, None), Ok(Document::Manifest(_))));
        }
        for found in [1, 3, -2] {
            let other = manifest("").replace(":2,", &format!(":{found},"));
            let refused = parse(&other, None);
            assert!(
                matches!(refused, Err(Error::Schema1) if found == 1)
                    || matches!(refused, Err(Error::SchemaVersion { found: f }) if f == found),
                "{refused:?}"
            );
        }
        for json in [
            "",
            "[]",
            "null",
            "3",
            "{",
            "{}{}",
            "\u{feff}{}",
            "{\"layers\":",
        ] {
            assert!(
                matches!(parse(json, None), Err(Error::Json { .. })),
                "{json}"
            );
        }
    }

    #[test]
    fn descriptors_are_checked() {
        let with = |from: &str, to: &str| parse(&manifest("").replace(from, to), None);
        assert!(matches!(
            with(r#""size":5"#, r#""size":-1"#),
            Err(Error::NegativeSize { found: -1, .. })
        ));
        assert!(matches!(
            with(r#""size":5"#, r#""size":9223372036854775808"#),
            Err(Error::Json { .. })
        ));
        assert!(matches!(
            with(r#""size":5"#, r#""size":"5""#),
            Err(Error::Json { .. })
        ));
        assert!(matches!(with(r#","size":5"#, ""), Err(Error::Json { .. })));
        assert!(matches!(with(HEX, "../../etc"), Err(Error::Digest { .. })));
        assert!(matches!(with("sha256", "md5"), Err(Error::Digest { .. })));
    }
}
