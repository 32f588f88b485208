//! An EROFS layer as the entries of a layer.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use lithify_cancel::Checked;
use lithify_digest::{Algorithm, Digest};
use lithify_erofs::ReadAt;
use lithify_oci::LayerKind;
use lithify_tree::{ContentId, ContentSink, DataSegment, EntryKind, LayerEntries};

use crate::Error;
use crate::error::NativeLayerError;
use crate::image::Dropped;
use crate::image::Intake;
use crate::image::LayerSummary;
use crate::image::NativeBlob;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Bytes copied at once.
const BUFFER: usize = 1 << 20;

/// A layer that is to be read.
pub(crate) struct NativeReader(pub(crate) NativeBlob);

/// A layer that is to be used as it is.
pub(crate) struct AsIs {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Number of its entries.
    pub(crate) entries: u64,
    /// Bytes of the filesystem in it, without what is appended.
    pub(crate) image_size: u64,
}

impl NativeReader {
    /// Verifies the layer, then gives out everything in it: data to the sink, the rest as entries.
    pub(crate) fn read<S, F>(
        self,
        sink: &mut S,
        session: &Session,
        budgets: &Budgets,
        failed: impl Fn(NativeLayerError) -> Error + Copy,
        sink_error: &F,
    ) -> Result<(LayerEntries, LayerSummary), Error>
    where
        S: ContentSink,
        F: Fn(S::Error) -> Error,
    {
        let (kind, alone) = (self.0.kind, self.0.alone);
        let verified = self.0.verify(None, session, budgets, failed)?;
        let mut layer = LayerEntries::new();
        let mut summary = LayerSummary {
            // As a layer of an overlay the same image says something else.
            diff_id: match alone {
                false => verified.diff_id,
                true => {
                    let name = format!("root filesystem {}", verified.diff_id);
                    Digest::of(Algorithm::Sha256, name.as_bytes())
                }
            },
            tar_bytes: verified.size,
            entries: 0,
            recorded: None,
            dropped: Dropped::new(),
        };
        if kind == LayerKind::ErofsChunkIndex {
            return Ok((layer, summary));
        }
        let image = lithify_erofs::Image::open(Checked::new(verified.source, &session.cancel))
            .map_err(|e| failed(e.into()))?;
        check(&image).map_err(failed)?;
        let mut intake = Intake::new(session, budgets);
        let mut buffer = Vec::new();
        let mut own = image.entries();
        let mut overlay = image.overlay_entries(true);
        let entries: &mut dyn Iterator<Item = _> = match alone {
            true => &mut own,
            false => &mut overlay,
        };
        for item in entries {
            if session.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            let (entry, inode) = item.map_err(|e| failed(e.into()))?;
            let over = |source| failed(NativeLayerError::Budget(source)).at_entry(&entry.path);
            intake
                .take(&entry)
                .map_err(|e| failed(e).at_entry(&entry.path))?;
            let mut content = None;
            if let EntryKind::File { size, segments } = &entry.kind {
                buffer.resize(BUFFER, 0);
                let mut reader = Checked::new(image.reader(&inode), &session.cancel);
                let id = copy_data(
                    &mut reader,
                    *size,
                    segments.as_deref(),
                    &mut buffer,
                    sink,
                    |e| {
                        failed(
                            e.downcast()
                                .map_or_else(NativeLayerError::Read, NativeLayerError::Erofs),
                        )
                    },
                    sink_error,
                )
                .map_err(|error| error.over_output(over))?;
                content = Some(id);
            }
            layer.push(&entry, content).map_err(|e| failed(e.into()))?;
            intake
                .kept(&layer)
                .map_err(|e| failed(e).at_entry(&entry.path))?;
        }
        summary.entries = intake.entries();
        Ok((layer, summary))
    }

    /// Verifies the layer and writes its image to `file`, where it can be used as it is.
    pub(crate) fn copy_to(
        self,
        file: &Arc<File>,
        session: &Session,
        budgets: &Budgets,
        failed: impl Fn(NativeLayerError) -> Error + Copy,
    ) -> Result<AsIs, Error> {
        let size = self.0.verify(Some(file), session, budgets, failed)?.size;
        let image = lithify_erofs::Image::open(Checked::new(&**file, &session.cancel))
            .map_err(|e| failed(e.into()))?;
        check(&image).map_err(failed)?;
        let mut entries = 0;
        // What an overlay would take for an instruction to look elsewhere is refused here.
        for item in image.overlay_entries(true) {
            let (entry, _) = item.map_err(|e| failed(e.into()))?;
            budgets.entry(&entry).map_err(|e| failed(e.into()))?;
            entries += 1;
            if entries > session.limits.layer.entries {
                return Err(failed(NativeLayerError::Limit {
                    what: "entries",
                    limit: session.limits.layer.entries,
                    option: "entries",
                }));
            }
        }
        Ok(AsIs {
            size,
            entries,
            image_size: image.size(),
        })
    }
}

/// Checks the whole structure, and compressed data, before anyone relies on either.
fn check<R: ReadAt>(image: &lithify_erofs::Image<R>) -> Result<(), NativeLayerError> {
    let count = image.devices().len();
    if count > 0 {
        return Err(NativeLayerError::Devices { count });
    }
    let found = image.verify_data()?;
    match found.problems.first() {
        None => Ok(()),
        Some(first) => Err(NativeLayerError::Damaged {
            first: first.to_string(),
            more: found.problems.len() as u64 - 1 + found.more_problems,
        }),
    }
}

/// A file being read, in which holes can be passed over: they may be any number of bytes long.
pub(crate) trait SparseRead: Read {
    /// Goes on so many bytes further.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

impl<R: ReadAt> SparseRead for lithify_erofs::FileReader<'_, R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        lithify_erofs::FileReader::skip(self, bytes);
        Ok(())
    }
}

impl<R: ReadAt> SparseRead for lithify_ext4::FileReader<'_, R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        lithify_ext4::FileReader::skip(self, bytes);
        Ok(())
    }
}

#[cfg(feature = "squashfs")]
impl<R: ReadAt> SparseRead for lithify_squashfs::FileReader<'_, R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        lithify_squashfs::FileReader::skip(self, bytes);
        Ok(())
    }
}

impl<T: SparseRead + ?Sized> SparseRead for Box<T> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        (**self).skip(bytes)
    }
}

impl<T: SparseRead> SparseRead for Checked<T> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.get_mut()?.skip(bytes)
    }
}

/// Copies a file's data to a sink, holes as holes. The buffer must not be empty.
pub(crate) fn copy_data<S: ContentSink>(
    reader: &mut dyn SparseRead,
    size: u64,
    segments: Option<&[DataSegment]>,
    buffer: &mut [u8],
    sink: &mut S,
    read_error: impl Fn(io::Error) -> Error,
    sink_error: impl Fn(S::Error) -> Error,
) -> Result<ContentId, Error> {
    sink.begin(size, segments).map_err(&sink_error)?;
    let mut at = 0;
    let whole = [DataSegment {
        offset: 0,
        length: size,
    }];
    for segment in segments.unwrap_or(&whole) {
        reader.skip(segment.offset - at).map_err(&read_error)?;
        let mut left = segment.length;
        while left > 0 {
            let n = left.min(buffer.len() as u64) as usize;
            reader.read_exact(&mut buffer[..n]).map_err(&read_error)?;
            sink.write(&buffer[..n]).map_err(&sink_error)?;
            left -= n as u64;
        }
        at = segment.offset + segment.length;
    }
    sink.finish().map_err(sink_error)
}
