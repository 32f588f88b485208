//! The old image's files, for the crate `oci-delta`.
//!
//! Links in the directory are followed: this is for tests, which make it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use oci_delta::DeltaDataSource;

/// Files of a directory.
pub struct Directory {
    path: PathBuf,
    current: Option<File>,
}

impl Directory {
    /// Takes the files of a directory.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            current: None,
        }
    }

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
