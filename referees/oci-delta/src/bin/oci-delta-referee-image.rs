//! Makes the layers of a delta's target with the crate `oci-delta`: `oci-delta-referee-image LAYOUT BASE_DIR OUT_DIR`.
//!
//! The layout has one manifest, which is the delta's. Each layer that the delta has becomes `OUT_DIR/N.tar`, N counted from the bottom; the
//! target's manifest and configuration `manifest.json` and `config.json`.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use oci_delta::{
    BlobStreamFuture, DeltaBlobReader, is_delta_artifact, parse_delta_manifest,
    reconstruct_layer_to,
};
use oci_delta_referee::Directory;
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest};

struct Layout(PathBuf);

impl Layout {
    fn blob(&self, descriptor: &Descriptor) -> Result<File> {
        let digest = descriptor.digest();
        let path = Path::new("blobs")
            .join(digest.algorithm().as_ref())
            .join(digest.digest());
        let file = File::open(self.0.join(&path)).context(path.display().to_string())?;
        ensure!(
            file.metadata()?.len() == descriptor.size(),
            "a size is wrong"
        );
        Ok(file)
    }
}

impl DeltaBlobReader for Layout {
    fn open_blob(&self, descriptor: &Descriptor) -> BlobStreamFuture<'_> {
        let opened = self.blob(descriptor).map(|file| Box::new(file) as _);
        Box::pin(std::future::ready(opened))
    }
}

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [layout, directory, out] = &arguments[..] else {
        bail!("usage: oci-delta-referee-image LAYOUT BASE_DIR OUT_DIR");
    };
    let index = ImageIndex::from_file(layout.join("index.json"))?;
    let [manifest] = index.manifests().as_slice() else {
        bail!("there are {} manifests", index.manifests().len());
    };
    let layout = Layout(layout.clone());
    let manifest = ImageManifest::from_reader(layout.blob(manifest)?)?;
    ensure!(is_delta_artifact(&manifest), "it is no delta");
    let delta = pollster::block_on(parse_delta_manifest(&manifest, &layout))?;
    fs::write(out.join("manifest.json"), &delta.target_manifest_raw)?;
    fs::write(out.join("config.json"), &delta.target_config_raw)?;
    let mut old = Directory::new(directory.clone());
    let layers = delta.target_manifest.layers().iter();
    let diff_ids = delta.target_config.rootfs().diff_ids();
    for (number, (layer, diff_id)) in layers.zip(diff_ids).enumerate() {
        let Some(blob) = delta.delta_layer_by_to.get(layer.digest()) else {
            continue;
        };
        let diff_id: Digest = diff_id.parse()?;
        let mut tar = BufWriter::new(File::create(out.join(format!("{number}.tar")))?);
        reconstruct_layer_to(
            layout.blob(blob)?,
            blob.media_type(),
            &mut old,
            &diff_id,
            &mut tar,
        )?;
    }
    Ok(())
}
