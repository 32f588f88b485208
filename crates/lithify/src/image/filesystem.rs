//! A root filesystem in an image file, as the only layer of an image.

use std::fmt;
use std::path::Path;

use lithify_cancel::Checked;
use lithify_hostfs::Fingerprint;
use lithify_tree::{ContentId, ContentSink, DataSegment, Entry, EntryKind, LayerEntries};

use super::native::{SparseRead, copy_data};
use super::{Dropped, Intake, LayerSummary};
use crate::error::NativeLayerError;
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::{CancelToken, Error};

/// The directory `e2fsck` puts into what it found without a name: empty, it is the filesystem's and not of the tree.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// Bytes copied at once.
const BUFFER: usize = 1 << 20;

/// A filesystem in a file that is a tree by itself.
pub(crate) trait TreeImage: fmt::Debug + Send + Sync {
    /// Returns the path of the file.
    fn path(&self) -> &Path;

    /// Returns what kind of filesystem it is.
    fn kind_name(&self) -> &'static str;

    /// Tells whether an empty `lost+found` is not part of the tree.
    fn leaves_lost_and_found_out(&self) -> bool;

    /// Returns the same, to be read as long as the work goes on.
    fn same_until(&self, cancel: &CancelToken) -> Result<Box<dyn TreeImage>, Error>;

    /// Gives out all names with their metadata, depth first, and the places of their inodes.
    fn give_entries(&self, each: &mut EachPlaced<'_>) -> Result<(), Error>;

    /// Opens the file whose inode is in a place.
    fn open_place(&self, place: u64) -> Result<OpenedFile<'_>, Error>;
}

/// Takes an entry and the place of its inode.
pub(crate) type EachPlaced<'a> = dyn FnMut(Entry, u64) -> Result<(), Error> + 'a;

/// A regular file of an image.
pub(crate) struct OpenedFile<'a> {
    pub(crate) size: u64,
    pub(crate) segments: Option<Vec<DataSegment>>,
    pub(crate) reader: Box<dyn SparseRead + 'a>,
}

/// A filesystem that is to be read.
pub(crate) struct FilesystemReader(pub(crate) Box<dyn TreeImage>);

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
        let mut buffer = vec![0; BUFFER];
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
                    let file = image.open_place(place)?;
                    let id = copy_data(
                        &mut Checked::new(file.reader, &session.cancel),
                        file.size,
                        file.segments.as_deref(),
                        &mut buffer,
                        &mut sink,
                        |e| Error::input(image.path(), e),
                        sink_error,
                    );
                    Some(id.map_err(|e| e.over_output(|e| over(e.into())))?)
                }
                _ => None,
            };
            layer.push(&entry, content).map_err(|e| failed(e.into()))?;
            intake.kept(&layer).map_err(over)
        };
        // The directory that may be the filesystem's own, until the next name says that something is in it.
        let mut held = None;
        image.give_entries(&mut |entry, place| {
            if let Some((directory, place)) = held.take()
                && is_below(&entry, LOST_AND_FOUND)
            {
                take(directory, place)?;
            }
            match image.leaves_lost_and_found_out()
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
