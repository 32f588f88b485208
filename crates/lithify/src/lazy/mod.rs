//! Looking into an image without reading all of it.
//!
//! Where every layer is an EROFS image without compression around it, a name is found as an overlay finds it: layer by layer,
//! reading the few blocks that lead to it. Nothing read so is checked against a digest, which only the whole of a layer has;
//! `verify` reads everything. Damage and malice give errors, as always in the EROFS reader; what would have it read more than
//! the images hold is refused as `build` refuses it.

mod guard; // reading no more than the images hold
mod lookup; // names in a stack of layers
mod part; // a part of the filesystem as a tree

use std::io::Read;

use lithify_cancel::Checked;
use lithify_erofs::{Image as Erofs, ReadAt};
use lithify_oci::manifest::Compression;
use lithify_oci::{LayerKind, blob::RandomAccess};
use lithify_tree::Escaped;

use crate::budgets::Budgets;
use crate::error::ArtifactError;
use crate::{CancelToken, Error, Image, Listing, ReadOptions};
use lookup::Node;

/// EROFS images that are layers of an overlay, topmost first.
#[derive(Debug)]
pub(crate) struct Stack<R> {
    layers: Vec<Erofs<R>>,
    /// What errors call each of them.
    names: Vec<LayerName>,
}

/// What errors call a layer.
#[derive(Clone, Debug)]
struct LayerName {
    /// Its position in the image, 0 is the bottom.
    index: usize,
    name: String,
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
            let failed = |e| crate::decode::native_error(image, index, e);
            let source = Checked::new(source, cancel);
            let opened = Erofs::open(source).map_err(|e| failed(e.into()))?;
            let count = opened.devices().len();
            if count > 0 {
                return Err(failed(crate::NativeLayerError::Devices { count }));
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

impl<R: ReadAt> Stack<R> {
    /// What is at a path and, so many directories deep, below it. Of a symbolic link that leads nowhere the link itself.
    pub(crate) fn list(
        &self,
        path: &[u8],
        depth: Option<usize>,
        read: &ReadOptions,
    ) -> Result<Listing, Error> {
        let mut part = part::Part::new(self, read.limits.names, Budgets::new(read));
        let found = part.resolve(path)?;
        if let Some((at, node)) = &found {
            part.below(at, node, depth)?;
        }
        let listing = Listing::new(part.finish()?);
        if found.is_none() {
            listing.find_itself(path)?;
        }
        Ok(listing)
    }

    /// The file at a path, all symbolic links followed.
    pub(crate) fn open_file(&self, path: &[u8]) -> Result<impl Read + use<'_, R>, Error> {
        // A way has few names.
        let mut part = part::Part::new(self, u32::MAX, Budgets::default());
        match part.resolve(path)? {
            Some((_, Node::Other(layer, inode)))
                if inode.file_type() == lithify_erofs::FileType::File =>
            {
                self.layers[layer].overlay_entry(lithify_tree::TreePath::root(), &inode)?;
                Ok(self.layers[layer].reader(&inode))
            }
            Some(_) => Err(Error::from(ArtifactError::NotAFile {
                path: Escaped(path).to_string(),
            })),
            None => Err(missing(path)),
        }
    }
}

fn missing(path: &[u8]) -> Error {
    Error::from(ArtifactError::NotInImage {
        path: Escaped(path).to_string(),
    })
}
