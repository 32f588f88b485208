//! An image as lines, as `composefs-info` of the C tools writes them, without a tree in memory.

use std::io::{self, Write};

use lithify_cancel::CancelToken;
use lithify_storage::ReadAt;

use super::escape;
use super::write::{Fields, write_attribute};
use crate::image::{self, ImageEntry, ReadError};
use crate::source::{Content, device_number};

/// Failures of writing an image as text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] ReadError),
    /// The text cannot be written.
    #[error("cannot write the text")]
    Write(#[from] io::Error),
}

/// Writes an image as a dumpfile: as `composefs-info dump` does, byte for byte. Directories have the size that they have in the
/// image, further names say again what is said of the first, and attributes are in the order in which they stand.
///
/// # Errors
/// [`WriteError`].
pub fn write_image(
    image: impl ReadAt,
    out: &mut dyn Write,
    cancel: &CancelToken,
) -> Result<(), WriteError> {
    let mut line = Vec::new();
    image::entries(image, cancel, |entry| {
        line.clear();
        dump(&entry, &mut line)?;
        Ok(out.write_all(&line)?)
    })
}

fn dump(entry: &ImageEntry, line: &mut Vec<u8>) -> Result<(), WriteError> {
    let absolute = |path: &[u8]| [b"/", path].concat();
    let (mut inline, mut digest) = (None, None);
    match &entry.content {
        Some(Content::Inline(bytes)) => inline = Some(&**bytes),
        Some(Content::Object(object)) => digest = Some(object),
        Some(Content::External { digest: said, .. }) => digest = said.as_ref(),
        None => {}
    }
    let first = entry.first.as_ref().map(|first| absolute(first));
    let external = first.or_else(|| entry.external_path());
    let fields = Fields {
        path: &absolute(&entry.path),
        size: entry.size,
        is_link: entry.first.is_some(),
        mode: entry.mode,
        nlink: entry.nlink,
        uid: entry.uid,
        gid: entry.gid,
        // It was read from as many bits.
        device: device_number(entry.device).unwrap_or_default(),
        mtime: entry.mtime,
        payload: external.as_deref().or(entry.target.as_deref()),
        content: inline,
        digest,
    };
    fields.write(line)?;
    for (name, value) in &entry.xattrs {
        write_attribute(name, value, line);
    }
    line.push(b'\n');
    Ok(())
}

/// Writes the names in an image, one a line, as `composefs-info ls` does: a slash behind directories, then a tab; `->` and the
/// target of a symbolic link, `@` and the path of a file that is not in the image.
///
/// # Errors
/// [`WriteError`].
pub fn list_image(
    image: impl ReadAt,
    out: &mut dyn Write,
    cancel: &CancelToken,
) -> Result<(), WriteError> {
    let mut line = Vec::new();
    image::entries(image, cancel, |entry| {
        if entry.path.is_empty() {
            return Ok(());
        }
        line.clear();
        line.push(b'/');
        escape::write_path(&entry.path, &mut line);
        let mut behind = |mark: &[u8], text: &[u8]| {
            line.extend_from_slice(mark);
            escape::write_name(text, &mut line);
        };
        // A further name of a file has its target instead, which is not shown.
        match (&entry.first, &entry.target, entry.external_path()) {
            _ if entry.is_directory() => behind(b"/\t", b""),
            (None, Some(target), _) => behind(b"\t-> ", target),
            (None, _, Some(path)) => behind(b"\t@ ", &path),
            _ => {}
        }
        line.push(b'\n');
        Ok(out.write_all(&line)?)
    })
}
