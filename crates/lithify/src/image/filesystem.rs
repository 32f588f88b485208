//! A root filesystem in an image file, as the only layer of an image.

use lithify_hostfs::Fingerprint;
use lithify_tree::{ContentId, ContentSink, DataSegment, Entry, EntryKind, LayerEntries};

use super::{Dropped, Intake, LayerSummary};
use crate::Error;
use crate::error::NativeLayerError;
use crate::fs::image::FsImage;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// The directory `e2fsck` puts into what it found without a name: empty, it is the filesystem's and not of the tree.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// A filesystem that is to be read.
pub(crate) struct FilesystemReader(pub(crate) FsImage);

impl FilesystemReader {
    /// Gives out everything in it: data to the sink, the rest as entries.
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
        let image = &self.0;
        let mut layer = LayerEntries::new();
        let mut fingerprint = Fingerprint::new();
        let mut intake = Intake::new(session, budgets);
        let mut buffer = Vec::new();
        let mut bytes = 0;
        let mut take = |entry: Entry, place: u64| -> Result<(), Error> {
            if session.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            let over = |e| failed(e).at_entry(&entry.path);
            intake.take(&entry).map_err(over)?;
            fingerprint.entry(&entry);
            let content = match &entry.kind {
                EntryKind::File { size, .. } => {
                    bytes += size;
                    let mut sink = Noted {
                        sink,
                        fingerprint: &mut fingerprint,
                    };
                    let file = image.open_at(place)?;
                    let id = image.copy_opened(file, &mut buffer, &mut sink, sink_error);
                    Some(id.map_err(|e| e.over_output(|e| over(e.into())))?)
                }
                _ => None,
            };
            layer.push(&entry, content).map_err(|e| failed(e.into()))?;
            intake.kept(&layer).map_err(over)
        };
        // The directory that may be the filesystem's own, until the next name says that something is in it.
        let mut held = None;
        image.for_each_placed(|entry, place| {
            if let Some((directory, place)) = held.take()
                && is_below(&entry, LOST_AND_FOUND)
            {
                take(directory, place)?;
            }
            match image.kind.is_volume()
                && !image.keeps_lost_and_found
                && entry.path.as_bytes() == LOST_AND_FOUND
                && matches!(entry.kind, EntryKind::Directory)
            {
                true => held = Some((entry, place)),
                false => take(entry, place)?,
            }
            Ok(())
        })?;
        let entries = intake.entries();
        Ok((
            layer,
            LayerSummary {
                diff_id: fingerprint.finish(),
                tar_bytes: bytes,
                entries,
                recorded: None,
                dropped: Dropped::new(),
            },
        ))
    }
}

fn is_below(entry: &Entry, directory: &[u8]) -> bool {
    let below = entry.path.as_bytes().strip_prefix(directory);
    below.is_some_and(|rest| rest.starts_with(b"/"))
}

/// Data on its way to a sink, which counts for the digest.
struct Noted<'a, S> {
    sink: &'a mut S,
    fingerprint: &'a mut Fingerprint,
}

impl<S: ContentSink> ContentSink for Noted<'_, S> {
    type Error = S::Error;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), S::Error> {
        self.sink.begin(size, segments)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), S::Error> {
        self.fingerprint.data(data);
        self.sink.write(data)
    }

    fn finish(&mut self) -> Result<ContentId, S::Error> {
        self.sink.finish()
    }
}
