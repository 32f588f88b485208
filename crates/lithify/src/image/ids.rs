//! What a layer is known by.

use lithify_digest::{Algorithm, Digest, Hasher};
use lithify_oci::LayerKind;

use super::opened::Image;

/// A layer's own id, and its id with everything below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerId {
    /// Digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Digest of the diff_ids up to this one (image-spec, `config.md`, "Layer ChainID").
    pub(crate) chain_id: Digest,
    /// Whether the layer is an EROFS image that serves as it is.
    pub(crate) as_is: bool,
}

impl LayerId {
    /// The id of a layer on top of what has the id `below`.
    pub(crate) fn on(below: Option<Digest>, diff_id: Digest) -> Self {
        let chain_id = match below {
            None => diff_id,
            Some(below) => {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                hasher.update(format!("{below} {diff_id}").as_bytes());
                hasher.finish()
            }
        };
        Self {
            diff_id,
            chain_id,
            as_is: false,
        }
    }
}

/// The ids of all layers, bottom first, for images that say them. EROFS images are taken `as_is` or converted.
pub(crate) fn layer_ids(image: &Image, as_is: bool) -> Option<Vec<LayerId>> {
    let mut below = None;
    let ids = image.oci()?.layers().iter().map(|layer| {
        let mut id = LayerId::on(below, layer.diff_id);
        below = Some(id.chain_id);
        id.as_is = as_is && layer.kind == LayerKind::Erofs;
        id
    });
    Some(ids.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        // Reproduced with `printf '%s %s' sha256:… sha256:… | sha256sum`.
        let a: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let b: Digest = format!("sha256:{}", "b".repeat(64)).parse().unwrap();
        let bottom = LayerId::on(None, a);
        assert_eq!(bottom.chain_id, a);
        let top = LayerId::on(Some(bottom.chain_id), b);
        assert_eq!(top.diff_id, b);
        assert_eq!(
            top.chain_id.to_string(),
            "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
        );
    }
}
