//! Images made of dumpfiles.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use lithify_cancel::CancelToken;
use lithify_composefs::dumpfile::{self, DumpError};
use lithify_composefs::image::{Image, ImageError, ImageOptions, Version};
use lithify_composefs::{Filesystem, Source};
use lithify_verity::file::{FileAlgorithm, FileDigest, FileHasher, FileOptions};

use crate::Error;
use crate::error::{ComposefsError, OutputError};
use crate::output::PendingFile;
use crate::session::Session;

/// The ways in which an image is made of a dumpfile.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComposefsImageOptions {
    /// The version of the image's format. Default: 1.
    pub version: Version,
    /// The version of a tree that has whiteouts, if it is higher. Default: 1.
    pub max_version: Version,
    /// The algorithm of the image's id. Default: SHA-256.
    pub algorithm: FileAlgorithm,
    /// A file is on the disk before it has its name. Default: true.
    pub durable: bool,
}

impl Default for ComposefsImageOptions {
    fn default() -> Self {
        Self {
            version: Version::V1,
            max_version: Version::V1,
            algorithm: FileAlgorithm::Sha256,
            durable: true,
        }
    }
}

/// An image that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComposefsImageReport {
    /// Its id: its fs-verity digest.
    pub id: FileDigest,
    /// Its bytes.
    pub size: u64,
    /// The version of its format.
    pub version: Version,
}

/// A dumpfile that was read.
#[derive(Debug)]
pub struct ComposefsDump {
    filesystem: Filesystem,
    path: PathBuf,
}

impl ComposefsDump {
    /// Reads a dumpfile; `-` is standard input.
    ///
    /// # Errors
    /// [`ComposefsError`].
    pub fn read(path: &Path, session: &Session) -> Result<Self, Error> {
        let read = match path.as_os_str() == "-" {
            true => dumpfile::read(io::stdin().lock(), &session.cancel),
            false => {
                let file = File::open(path).map_err(|e| Error::input(path, e))?;
                let metadata = file.metadata().map_err(|e| Error::input(path, e))?;
                if metadata.is_dir() {
                    let path = path.to_path_buf();
                    return Err(ComposefsError::Directory { path }.into());
                }
                dumpfile::read(BufReader::new(file), &session.cancel)
            }
        };
        let filesystem = read.map_err(|source| match source {
            DumpError::Cancelled(_) => Error::cancelled(),
            source => ComposefsError::Dump {
                path: path.to_path_buf(),
                source,
            }
            .into(),
        })?;
        Ok(Self {
            filesystem,
            path: path.to_path_buf(),
        })
    }

    /// Writes the image of the tree.
    ///
    /// # Errors
    /// [`ComposefsError::Tree`], and [`OutputError::Sink`].
    pub fn write(
        &self,
        out: &mut dyn Write,
        options: &ComposefsImageOptions,
        session: &Session,
    ) -> Result<ComposefsImageReport, Error> {
        write_image(&self.filesystem, options, out, &session.cancel).map_err(|error| match error {
            ImageError::Write(source) => OutputError::Sink(source).into(),
            error => self.failed(error),
        })
    }

    /// Writes the image of the tree to a file, which is there when it is whole, in place of one that was there.
    ///
    /// # Errors
    /// [`ComposefsError::Tree`], and [`OutputError::Output`].
    pub fn write_file(
        &self,
        path: &Path,
        options: &ComposefsImageOptions,
        session: &Session,
    ) -> Result<ComposefsImageReport, Error> {
        let pending = PendingFile::create(path, options.durable)?;
        let mut out = pending.file().as_ref();
        let report = write_image(&self.filesystem, options, &mut out, &session.cancel);
        let report = report.map_err(|error| match error {
            ImageError::Write(source) => {
                Error::output(crate::error::Operation::Write, path, source)
            }
            error => self.failed(error),
        })?;
        pending.commit(options.durable)?;
        Ok(report)
    }

    fn failed(&self, source: ImageError) -> Error {
        not_made(&crate::name::shown(self.path.as_os_str()), source)
    }
}

/// Writes the image of a tree.
pub(super) fn write_image(
    source: &impl Source,
    options: &ComposefsImageOptions,
    out: &mut dyn Write,
    cancel: &CancelToken,
) -> Result<ComposefsImageReport, ImageError> {
    let image_options = ImageOptions {
        version: options.version,
        with_whiteouts: options.max_version,
    };
    let image = Image::new(source, &image_options, cancel)?;
    let hasher = FileHasher::new(&FileOptions::new(options.algorithm));
    let hasher = hasher.map_err(|e| ImageError::Write(io::Error::other(e)))?;
    Ok(ComposefsImageReport {
        id: image.write(out, hasher, cancel)?,
        size: image.size(),
        version: image.version(),
    })
}

/// Returns the error for a tree of that name of which no image was made.
pub(super) fn not_made(name: &str, source: ImageError) -> Error {
    match source {
        ImageError::Cancelled(_) => Error::cancelled(),
        source => ComposefsError::Tree {
            name: name.to_owned(),
            source: Box::new(source),
        }
        .into(),
    }
}
