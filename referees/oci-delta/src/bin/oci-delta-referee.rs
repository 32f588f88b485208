//! Applies a tar-diff with the crate `oci-delta`: `oci-delta-referee DELTA BASE_DIR > TAR`.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use oci_delta::tar_patch_apply;
use oci_delta_referee::Directory;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [delta, directory] = &arguments[..] else {
        bail!("usage: oci-delta-referee DELTA BASE_DIR > TAR");
    };
    let delta = File::open(delta).context("cannot open the delta")?;
    let mut old = Directory::new(directory.clone());
    let mut out = BufWriter::new(io::stdout().lock());
    tar_patch_apply(delta, &mut old, &mut out)?;
    Ok(out.flush()?)
}
