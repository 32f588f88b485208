//! Applies a tar-diff with the crate `oci-delta`: `oci-delta-referee DELTA BASE_DIR > TAR`.
//!
//! The directory has the files of the old image. Its links are followed: this is for tests, which make the directory.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use oci_delta::{DeltaDataSource, tar_patch_apply};

/// Files of a directory.
struct Directory {
    path: PathBuf,
    current: Option<File>,
}

impl Directory {
    fn current(&mut self) -> Result<&mut File> {
        self.current.as_mut().context("no file was opened")
    }
}

impl DeltaDataSource for Directory {
    fn set_current_file(&mut self, path: &str) -> Result<()> {
        let full = self.path.join(path);
        let file = File::open(&full).with_context(|| format!("cannot open `{path}`"))?;
        self.current = Some(file);
        Ok(())
    }

    fn read_exact_current(&mut self, buffer: &mut [u8]) -> Result<()> {
        Ok(self.current()?.read_exact(buffer)?)
    }

    fn seek_current(&mut self, offset: u64) -> Result<u64> {
        Ok(self.current()?.seek(SeekFrom::Start(offset))?)
    }

    fn read_current_to_end(&mut self, max: u64) -> Result<Vec<u8>> {
        let file = self.current()?;
        file.seek(SeekFrom::Start(0))?;
        let size = file.metadata()?.len();
        ensure!(
            size <= max,
            "the file has {size} bytes, at most {max} are read"
        );
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn copy_to(&mut self, out: &mut dyn Write, count: u64) -> Result<()> {
        let copied = io::copy(&mut self.current()?.take(count), out)?;
        ensure!(
            copied == count,
            "the file ends {} bytes too early",
            count - copied
        );
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [delta, directory] = &arguments[..] else {
        bail!("usage: oci-delta-referee DELTA BASE_DIR > TAR");
    };
    let delta = File::open(delta).context("cannot open the delta")?;
    let mut old = Directory {
        path: directory.clone(),
        current: None,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    tar_patch_apply(delta, &mut old, &mut out)?;
    Ok(out.flush()?)
}
