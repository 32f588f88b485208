//! What a manifest or index refers to, read so that nothing is overlooked.
//!
//! Collection must not lose what another program's reading of a document leads to. So unlike lithify-oci, which refuses
//! what can be read two ways, this takes *every* digest that stands anywhere in the document, in whatever member,
//! given once or twice.

use std::fmt;

use lithify_digest::Digest;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Longest manifest or index that is read, in bytes: what registries are asked to accept (distribution-spec,
/// "Pushing Manifests").
pub(crate) const MAX_DOCUMENT: usize = 4 << 20;

/// Where in a document a reference stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The document itself.
    Top,
    /// The config of a manifest.
    Config,
    /// A layer of a manifest.
    Layer,
    /// A manifest of an index.
    Manifest,
    /// Anywhere else.
    Other,
}

/// A reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) digest: Digest,
    pub(crate) part: Part,
    pub(crate) media_type: Option<String>,
    pub(crate) size: Option<u64>,
    /// Whether the blob is to be had elsewhere, so that image layouts may leave it out.
    pub(crate) elsewhere: bool,
}

impl Reference {
    pub(crate) fn is_document(&self) -> bool {
        self.media_type.as_deref().is_some_and(is_document_type)
    }
}

/// Whether what has this media type refers to other blobs.
pub(crate) fn is_document_type(media_type: &str) -> bool {
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ]
    .contains(&media_type)
}

/// All references of a document, in order.
pub(crate) fn references(json: &[u8]) -> Result<Vec<Reference>, serde_json::Error> {
    let mut found = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let walk = Walk {
        part: Part::Top,
        found: &mut found,
    };
    walk.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

/// A value, as far as the object it stands in wants to know it.
enum Seen {
    Text(String),
    Number(u64),
    /// A list with something in it.
    Some,
    Nothing,
}

/// Visits one value and everything in it; serde_json bounds the depth.
struct Walk<'a> {
    part: Part,
    found: &'a mut Vec<Reference>,
}

impl Walk<'_> {
    /// A digest that stands somewhere by itself.
    fn loose(&mut self, seen: &Seen) {
        if let Seen::Text(text) = seen
            && let Ok(digest) = text.parse()
        {
            self.found.push(Reference {
                digest,
                part: Part::Other,
                media_type: None,
                size: None,
                elsewhere: false,
            });
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Seen, A::Error> {
        let (mut digest, mut media_type, mut size, mut elsewhere) = (None, None, None, false);
        while let Some(key) = map.next_key::<String>()? {
            let part = match (self.part, key.as_str()) {
                (Part::Top, "config") => Part::Config,
                (Part::Top, "layers" | "blobs" | "fsLayers") => Part::Layer,
                (Part::Top, "manifests") => Part::Manifest,
                _ => Part::Other,
            };
            let seen = map.next_value_seed(Walk {
                part,
                found: &mut *self.found,
            })?;
            match (key.as_str(), &seen) {
                ("digest", Seen::Text(text)) if digest.is_none() => digest = text.parse().ok(),
                ("mediaType", Seen::Text(text)) => media_type = Some(text.clone()),
                ("size", Seen::Number(n)) => size = Some(*n),
                ("urls", Seen::Some) => elsewhere = true,
                _ => self.loose(&seen),
            }
        }
        if let Some(digest) = digest {
            self.found.push(Reference {
                digest,
                part: self.part,
                media_type,
                size,
                elsewhere,
            });
        }
        Ok(Seen::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Seen, A::Error> {
        let mut some = Seen::Nothing;
        // What is in the list of the top is not the top.
        let part = match self.part {
            Part::Top => Part::Other,
            part => part,
        };
        while let Some(seen) = seq.next_element_seed(Walk {
            part,
            found: &mut *self.found,
        })? {
            self.loose(&seen);
            some = Seen::Some;
        }
        Ok(some)
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
        Ok(Seen::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Seen, E> {
        Ok(Seen::Number(number))
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use lithify_digest::Algorithm;
    use proptest::prelude::*;

    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::of(Algorithm::Sha256, &[n])
    }

    fn parts(json: &str) -> Vec<(Digest, Part)> {
        let found = references(json.as_bytes()).unwrap();
        found.iter().map(|r| (r.digest, r.part)).collect()
    }

    #[test]
    fn manifests_and_indexes() {
        let [a, b, c, d] = [1, 2, 3, 4].map(digest);
        let json = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{a}","size":7}},
            "layers":[{{"digest":"{b}","size":-1,"urls":["x"]}},{{"digest":"{c}","size":8,"annotations":{{"x":"{d}"}}}}],
            "subject":{{"digest":"{a}"}}}}"#
        );
        assert_eq!(
            parts(&json),
            [
                (a, Part::Config),
                (b, Part::Layer),
                (d, Part::Other),
                (c, Part::Layer),
                (a, Part::Other)
            ]
        );
        let found = references(json.as_bytes()).unwrap();
        assert_eq!((found[0].size, found[1].size), (Some(7), None));
        assert_eq!((found[0].elsewhere, found[1].elsewhere), (false, true));
        assert_eq!(found[0].media_type.as_deref(), Some("c"));
        let json = format!(r#"{{"manifests":[{{"digest":"{a}"}}],"layers":null,"x":["{b}"]}}"#);
        assert_eq!(parts(&json), [(a, Part::Manifest), (b, Part::Other)]);
    }

    #[test]
    fn nothing_is_overlooked() {
        let [a, b] = [1, 2].map(digest);
        for json in [
            format!(r#"{{"layers":[{{"digest":"{a}","digest":"{b}"}}]}}"#),
            format!(r#"{{"layers":[{{"digest":"{a}"}}],"layers":[{{"digest":"{b}"}}]}}"#),
            format!(r#"[{{"x":{{"y":"{a}"}}}},[["{b}"]]]"#),
            format!(r#"{{"Layers":[{{"Digest":"{a}"}},{{"digest":"{b}","size":1e3}}]}}"#),
        ] {
            let mut found: Vec<_> = parts(&json).into_iter().map(|(d, _)| d).collect();
            found.sort();
            let mut both = [a, b];
            both.sort();
            assert_eq!(found, both, "{json}");
        }
        assert!(references("[".repeat(100_000).as_bytes()).is_err());
        assert!(references(b"{} x").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}:,0-9a-z\"]{0,60}") {
            references(&bytes).ok();
            references(json.as_bytes()).ok();
        }
    }
}
