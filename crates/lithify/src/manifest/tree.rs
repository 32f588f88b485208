//! A file tree as an image of one layer, the same for the same tree.
//!
//! The layer is the merged filesystem as `-f tar` writes it: sorted, each file once, without anything of this host but
//! what is in the tree. The configuration says what system it is for and nothing else.

use lithify_digest::{Algorithm, HashingWriter};
use lithify_oci::Platform;
use lithify_oci::manifest::Descriptor;
use serde_json::json;

use super::made::made;
use crate::Error;
use crate::Image;
use crate::error::OutputError;
use crate::make::tar;
use crate::manifest::encode::{Encoder, LayerCompression};
use crate::output::scratch_file;
use crate::session::Session;
use crate::transfer::{FileBlob, Plan, PlannedBlob};

pub(super) fn plan(image: &Image, plain: bool, session: &Session) -> Result<Plan, Error> {
    let compression = match plain {
        true => LayerCompression::None,
        false => LayerCompression::Gzip,
    };
    let out = scratch_file(None).map_err(Error::scratch)?;
    let out = HashingWriter::new(out, Algorithm::Sha256);
    let encoder = Encoder::new(out, compression).map_err(Error::scratch)?;
    let (encoder, sockets) = tar::write_layer(image, encoder, session)?;
    if sockets > 0 {
        let are = match sockets {
            1 => "socket is",
            _ => "sockets are",
        };
        log::warn!("{}: {sockets} {are} left out", image.name());
    }
    let (diff_id, out) = encoder.finish().map_err(Error::scratch)?;
    let (file, digest, size) = out.finish();
    let layer = Descriptor::new(compression.media_type(), digest, size);
    let platform = session.platform.clone().unwrap_or_else(Platform::host);
    let mut config = json!({
        "architecture": platform.architecture(),
        "os": platform.os(),
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [diff_id.to_string()] },
        "history": [{ "created_by": "lithify copy" }],
    });
    if let Some(variant) = platform.variant() {
        config["variant"] = variant.into();
    }
    let config = serde_json::to_vec(&config).map_err(OutputError::Json)?;
    let blob = PlannedBlob {
        descriptor: layer.clone(),
        source: Box::new(FileBlob(file.into())),
    };
    made(vec![blob], vec![layer], config, &platform, session)
}
