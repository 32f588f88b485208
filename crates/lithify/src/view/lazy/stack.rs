//! The layers of an image as a stack that is read in parts.

use lithify_cancel::Checked;
use lithify_erofs::Image as Erofs;
use lithify_oci::manifest::Compression;
use lithify_oci::{LayerKind, blob::RandomAccess};
use lithify_tree::Escaped;

use crate::error::{ArtifactError, NativeLayerError};
use crate::{CancelToken, Error, Image};

/// EROFS images that are layers of an overlay, topmost first.
#[derive(Debug)]
pub(crate) struct Stack<R> {
    pub(super) layers: Vec<Erofs<R>>,
    /// What errors call each of them.
    pub(super) names: Vec<LayerName>,
}

/// What errors call a layer.
#[derive(Clone, Debug)]
pub(super) struct LayerName {
    /// Its position in the image, 0 is the bottom.
    pub(super) index: usize,
    pub(super) name: String,
}

impl Stack<Checked<RandomAccess>> {
    /// The layers of an image, read as long as the work goes on. `None` if one of them has to be read as a whole.
    pub(crate) fn of(image: &Image, cancel: &CancelToken) -> Result<Option<Self>, Error> {
        let Some(oci) = image.oci() else {
            return Ok(None);
        };
        let lazy = |l: &lithify_oci::LayerDescriptor| match l.kind {
            LayerKind::Erofs => l.compression == Some(Compression::None),
            LayerKind::ErofsChunkIndex => true,
            _ => false,
        };
        if oci.layers().is_empty() || !oci.layers().iter().all(lazy) {
            return Ok(None);
        }
        let (mut layers, mut names) = (Vec::new(), Vec::new());
        for (index, layer) in oci.layers().iter().enumerate().rev() {
            if layer.kind != LayerKind::Erofs {
                continue;
            }
            let opened = oci
                .open_layer_at(index)
                .map_err(|source| Error::opening(image.name(), source))?;
            let Some(source) = opened else {
                return Ok(None);
            };
            let failed = |e| crate::image::native_error(image, index, e);
            let source = Checked::new(source, cancel);
            let opened = Erofs::open(source).map_err(|e| failed(e.into()))?;
            let count = opened.devices().len();
            if count > 0 {
                return Err(failed(NativeLayerError::Devices { count }));
            }
            layers.push(opened);
            names.push(LayerName {
                index,
                name: image.layer_name(index),
            });
        }
        Ok(Some(Self { layers, names }))
    }
}

pub(super) fn missing(path: &[u8]) -> Error {
    Error::from(ArtifactError::NotInImage {
        path: Escaped(path).to_string(),
    })
}
