//! Layers of an image into entries, their data into a target's sink.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use lithify_cancel::BudgetExceeded;
use lithify_hostfs::{RecordedSummary, ScanOptions, Scanner, WhiteoutNames};
use lithify_layer::{BlobError, CopyError, LayerReader, Options};
use lithify_tree::{
    ContentId, ContentSink, EntryKind, Escaped, LayerEntries, Merge, MergeError, Tree, TreePath,
};

use super::FilesystemReader;
use super::LayerInput;
use super::LayerSink;
use super::LayerSummary;
use super::NativeReader;
use super::Twins;
use super::opened::Image;
use super::summary::Dropped;
use crate::Error;
use crate::Event;
use crate::Progress;
use crate::error::LayerError;
use crate::error::NativeLayerError;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Bytes between two [`Event::Read`]s, and between two [`Event::Written`]s.
const PROGRESS_STEP: u64 = 4 << 20;

/// All layers, decoded and verified.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Bottom first, with what is added to the numbers of their contents: a layer that the image has again is the same one.
    layers: Vec<(Arc<LayerEntries>, u32)>,
    /// What was found out about each layer, bottom first.
    pub(crate) summaries: Vec<LayerSummary>,
}

/// A layer being read.
pub(crate) enum Reader {
    Stream(Stream),
    /// Read as a whole.
    Native(Box<NativeReader>),
    /// Read as a whole.
    Filesystem(Box<FilesystemReader>),
}

/// A layer that is read entry by entry.
pub(crate) enum Stream {
    Blob(Box<LayerReader>),
    Directory(Box<Scanner>),
}

/// A layer that was decoded and may come again.
struct Kept {
    entries: Arc<LayerEntries>,
    summary: LayerSummary,
    contents: Range<u32>,
}

/// Reports how much of a blob was read.
pub(crate) struct Counting {
    inner: Box<dyn Read + Send>,
    progress: Arc<dyn Progress>,
    index: usize,
    read: u64,
    reported: u64,
}

impl Counting {
    /// Reports on the blob of a layer.
    pub(crate) fn new(inner: Box<dyn Read + Send>, index: usize, session: &Session) -> Self {
        Self {
            inner,
            progress: Arc::clone(&session.progress),
            index,
            read: 0,
            reported: 0,
        }
    }
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        if self.read - self.reported >= PROGRESS_STEP || read == 0 {
            self.reported = self.read;
            self.progress.event(Event::Read {
                index: self.index,
                blob_bytes: self.read,
            });
        }
        Ok(read)
    }
}

/// Decodes all layers, top first: see ARCHITECTURE.md, "Place, merge, close the gaps". A layer that the image has several times
/// is decoded once.
pub(crate) fn decode<S, F>(
    image: &Image,
    sink: &mut S,
    session: &Session,
    budgets: &Budgets,
    sink_error: F,
) -> Result<Decoded, Error>
where
    S: LayerSink,
    F: Fn(S::Error) -> Error,
{
    let count = image.layer_count();
    session.progress.event(Event::Started { layers: count });
    let twins = Twins::of(image);
    let mut kept: HashMap<usize, Kept> = HashMap::new();
    let mut decoded = Vec::with_capacity(count);
    let mut next = None;
    for index in (0..count).rev() {
        if let Some(known) = kept.get(&twins.lowest(index)) {
            budgets
                .entries
                .take_layer(&known.entries)
                .map_err(|e| over_budget(image, index, None, e))?;
            let offset = sink
                .repeat(&known.entries, known.contents.clone())
                .map_err(|e| exceeded(image, index, None, sink_error(e)))?;
            pass_over(image, index, session, &known.summary);
            let layer = (Arc::clone(&known.entries), offset);
            decoded.push((layer, known.summary.clone()));
            continue;
        }
        let reader = match next.take() {
            Some(reader) => reader,
            None => open(image, index, session, budgets)?,
        };
        // With threads to spare the layer below starts too, as far as its buffers reach.
        if session.threads().get() > 1 && index > 0 && !twins.is_repeated(index - 1) {
            next = Some(open(image, index - 1, session, budgets)?);
        }
        let first = sink.content_count();
        let (entries, summary) =
            read_layer(image, index, reader, sink, session, budgets, &sink_error)?;
        let entries = Arc::new(entries);
        if twins.is_repeated(index) {
            let known = Kept {
                entries: Arc::clone(&entries),
                summary: summary.clone(),
                contents: first..sink.content_count(),
            };
            kept.insert(twins.lowest(index), known);
        }
        decoded.push(((entries, 0), summary));
    }
    decoded.reverse();
    let (layers, summaries) = decoded.into_iter().unzip();
    Ok(Decoded { layers, summaries })
}

/// Reports a layer as done that need not be read again.
fn pass_over(image: &Image, index: usize, session: &Session, summary: &LayerSummary) {
    session.progress.event(Event::Layer {
        index,
        name: &image.layer_name(index),
        blob_size: image.blob_size(index),
    });
    session.progress.event(Event::LayerDone {
        index,
        tar_bytes: summary.tar_bytes,
        entries: summary.entries,
    });
}

/// Says at which layer and entry the output became too large, if that is the error.
fn exceeded(image: &Image, index: usize, path: Option<&TreePath>, error: Error) -> Error {
    error.over_output(|source| over_budget(image, index, path, source))
}

/// All layers together ask for too much at this one.
pub(crate) fn over_budget(
    image: &Image,
    index: usize,
    path: Option<&TreePath>,
    source: BudgetExceeded,
) -> Error {
    budget_error(index, &image.layer_name(index), path, source)
}

/// As [`over_budget`], at a layer of that name.
pub(crate) fn budget_error(
    index: usize,
    name: &str,
    path: Option<&TreePath>,
    source: BudgetExceeded,
) -> Error {
    Error::from(LayerError::Budget {
        index,
        name: name.to_owned(),
        path: path.cloned(),
        source,
    })
}

/// Reads one layer to its end: data to the sink, everything else to the result.
pub(crate) fn read_layer<S, F>(
    image: &Image,
    index: usize,
    reader: Reader,
    sink: &mut S,
    session: &Session,
    budgets: &Budgets,
    sink_error: &F,
) -> Result<(LayerEntries, LayerSummary), Error>
where
    S: ContentSink,
    F: Fn(S::Error) -> Error,
{
    let (entries, summary) = match reader {
        Reader::Stream(stream) => {
            read_stream(image, index, stream, sink, session, budgets, sink_error)?
        }
        Reader::Native(native) => {
            let failed = |source| native_error(image, index, source);
            native.read(sink, session, budgets, failed, sink_error)?
        }
        Reader::Filesystem(filesystem) => {
            let failed = |source| native_error(image, index, source);
            filesystem.read(sink, session, budgets, failed, sink_error)?
        }
    };
    warn_of_changes(&image.layer_name(index), summary.recorded.as_ref());
    session.progress.event(Event::LayerDone {
        index,
        tar_bytes: summary.tar_bytes,
        entries: summary.entries,
    });
    Ok((entries, summary))
}

fn read_stream<S, F>(
    image: &Image,
    index: usize,
    mut reader: Stream,
    sink: &mut S,
    session: &Session,
    budgets: &Budgets,
    sink_error: &F,
) -> Result<(LayerEntries, LayerSummary), Error>
where
    S: ContentSink,
    F: Fn(S::Error) -> Error,
{
    let mut entries = LayerEntries::new();
    let (mut written, mut reported, mut memory) = (0_u64, 0, 0);
    let failed = |source| layer_error(image, index, source);
    while let Some(entry) = reader.next_entry().map_err(|e| e.into_error(failed))? {
        if session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let path = Some(&entry.path);
        budgets
            .entry(&entry)
            .map_err(|e| over_budget(image, index, path, e))?;
        let content = match entry.kind {
            EntryKind::File { .. } => reader.copy_into(sink).map_err(|e| match e {
                Copied::Read(e) => e.into_error(failed),
                Copied::Sink(e) => exceeded(image, index, path, sink_error(e)),
            })?,
            _ => None,
        };
        if let EntryKind::File { size, .. } = entry.kind {
            written = written.saturating_add(size);
        }
        if written - reported >= PROGRESS_STEP {
            reported = written;
            session.progress.event(Event::Written {
                index,
                data_bytes: written,
            });
        }
        entries
            .push(&entry, content)
            .map_err(|source| Error::from(LayerError::LayerFull { index, source }))?;
        budgets
            .kept(&entries, &mut memory)
            .map_err(|e| over_budget(image, index, path, e))?;
    }
    let summary = reader.finish(&entries).map_err(|e| e.into_error(failed))?;
    Ok((entries, summary))
}

/// Warns of files that a directory's sidecar was not written about, and of those it speaks of that are not there.
pub(crate) fn warn_of_changes(directory: &str, recorded: Option<&RecordedSummary>) {
    let Some(recorded) = recorded else {
        return;
    };
    let suffix = lithify_hostfs::SIDECAR_SUFFIX;
    if recorded.changed > 0 {
        log::warn!(
            "{directory}: changed since {suffix} was written beside the directory, so owner, mode and attributes are those they \
             have here: {}",
            some_of(recorded.changed, &recorded.examples)
        );
    }
    if recorded.gone > 0 {
        log::warn!(
            "{directory}: no longer there under a name that {suffix} beside the directory has; if renamed, owner, mode and \
             attributes are those they have here: {}",
            some_of(recorded.gone, &recorded.gone_examples)
        );
    }
}

/// How many files, and the names of some.
fn some_of(count: u64, examples: &[TreePath]) -> String {
    let shown: Vec<String> = examples.iter().map(ToString::to_string).collect();
    let more = match count > shown.len() as u64 {
        true => ", …",
        false => "",
    };
    let s = if count == 1 { "" } else { "s" };
    format!("{count} file{s}: {}{more}", shown.join(", "))
}

/// What is wrong with a layer.
pub(crate) fn layer_error(image: &Image, index: usize, source: lithify_layer::Error) -> Error {
    match source {
        lithify_layer::Error::Blob(BlobError::Budget(source)) => {
            over_budget(image, index, None, source)
        }
        source => {
            let error = Error::from(LayerError::Layer {
                index,
                name: image.layer_name(index),
                source: Box::new(source),
            });
            error.given_by(image.layer_given_by(index))
        }
    }
}

/// Why a layer cannot be applied to those below it.
pub(crate) fn merge_error(image: &Image, index: usize, source: MergeError) -> Error {
    unmerged(index, &image.layer_name(index), source)
}

/// As [`merge_error`], of a layer of that name.
pub(crate) fn unmerged(index: usize, name: &str, source: MergeError) -> Error {
    match source {
        MergeError::TooMuchMemory { path, found, limit } => {
            let source = BudgetExceeded {
                option: "memory_bytes",
                what: "bytes of memory for the merged filesystem",
                limit,
                found,
            };
            let path = TreePath::clean(&path).ok();
            budget_error(index, name, path.as_ref(), source)
        }
        source => Error::from(LayerError::Merge {
            index,
            name: name.to_owned(),
            source,
        }),
    }
}

/// What is wrong with a layer that is an EROFS image.
pub(crate) fn native_error(image: &Image, index: usize, source: NativeLayerError) -> Error {
    match source {
        NativeLayerError::Budget(source) => over_budget(image, index, None, source),
        source => {
            let error = Error::from(LayerError::NativeLayer {
                index,
                name: image.layer_name(index),
                source: Box::new(source),
            });
            error.given_by(image.layer_given_by(index))
        }
    }
}

/// Starts reading a layer.
pub(crate) fn open(
    image: &Image,
    index: usize,
    session: &Session,
    budgets: &Budgets,
) -> Result<Reader, Error> {
    let name = image.layer_name(index);
    session.progress.event(Event::Layer {
        index,
        name: &name,
        blob_size: image.blob_size(index),
    });
    let counting = |inner| Counting::new(inner, index, session);
    Ok(match image.open_layer(index, &session.cancel)? {
        LayerInput::Native(mut blob) => {
            blob.reader = Box::new(counting(blob.reader));
            Reader::Native(Box::new(NativeReader(blob)))
        }
        LayerInput::Blob(inner, expected, names) => {
            let blob = counting(inner);
            let decode = Options {
                names,
                ..budgets.layer_options(session)
            };
            let reader = LayerReader::new(Box::new(blob), expected, decode).map_err(|source| {
                Error::from(LayerError::Layer {
                    index,
                    name,
                    source: Box::new(source),
                })
            })?;
            Reader::Stream(Stream::Blob(Box::new(reader)))
        }
        LayerInput::Filesystem(image) => Reader::Filesystem(Box::new(FilesystemReader(image))),
        LayerInput::Directory(path) => {
            Reader::Stream(Stream::Directory(Box::new(scan(&path, session)?)))
        }
    })
}

fn scan(path: &Path, session: &Session) -> Result<Scanner, Error> {
    let mut options = ScanOptions::default();
    options.cancel = session.cancel.clone();
    // A directory is no layer: nothing lies below it that could be removed.
    options.whiteouts = WhiteoutNames::Refused;
    Ok(Scanner::open(path, options)?)
}

/// What reading a layer can fail with.
enum ReadError {
    Layer(lithify_layer::Error),
    Scan(lithify_hostfs::ScanError),
}

enum Copied<E> {
    Read(ReadError),
    Sink(E),
}

impl ReadError {
    fn into_error(self, failed: impl Fn(lithify_layer::Error) -> Error) -> Error {
        match self {
            Self::Layer(lithify_layer::Error::Blob(BlobError::Cancelled)) => Error::cancelled(),
            Self::Layer(e) => failed(e),
            Self::Scan(e) => Error::from(LayerError::Scan(e)),
        }
    }
}

impl Stream {
    fn next_entry(&mut self) -> Result<Option<lithify_tree::Entry>, ReadError> {
        match self {
            Self::Blob(reader) => reader.next_entry().map_err(ReadError::Layer),
            Self::Directory(scanner) => scanner.next_entry().map_err(ReadError::Scan),
        }
    }

    fn copy_into<S: ContentSink>(
        &mut self,
        sink: &mut S,
    ) -> Result<Option<ContentId>, Copied<S::Error>> {
        match self {
            Self::Blob(reader) => reader.copy_into(sink).map_err(|e| match e {
                CopyError::Layer(e) => Copied::Read(ReadError::Layer(e)),
                CopyError::Sink(e) => Copied::Sink(e),
            }),
            Self::Directory(scanner) => match scanner.copy_into(sink) {
                Ok(content) => Ok(Some(content)),
                Err(lithify_hostfs::CopyError::Scan(e)) => Err(Copied::Read(ReadError::Scan(e))),
                Err(lithify_hostfs::CopyError::Sink(e)) => Err(Copied::Sink(e)),
                Err(_) => Ok(None),
            },
        }
    }

    fn finish(self, entries: &LayerEntries) -> Result<LayerSummary, ReadError> {
        let count = entries.len() as u64;
        match self {
            Self::Blob(reader) => {
                let summary = reader.finish().map_err(ReadError::Layer)?;
                let dropped = summary.dropped_xattrs.iter();
                Ok(LayerSummary {
                    dropped: dropped
                        .map(|(name, &files)| (Escaped(name).to_string(), files))
                        .collect(),
                    diff_id: summary.diff_id,
                    tar_bytes: summary.tar_size,
                    entries: count,
                    recorded: None,
                })
            }
            Self::Directory(scanner) => {
                let summary = scanner.finish().map_err(ReadError::Scan)?;
                Ok(LayerSummary {
                    dropped: Dropped::new(),
                    diff_id: summary.digest,
                    tar_bytes: summary.bytes,
                    entries: count,
                    recorded: summary.recorded,
                })
            }
        }
    }
}

impl Decoded {
    /// Applies the layers in order.
    pub(crate) fn merge(
        self,
        image: &Image,
        session: &Session,
    ) -> Result<(Tree, Vec<LayerSummary>), Error> {
        let (merge, summaries) = self.merged(image, session)?;
        Ok((merge.finish(), summaries))
    }

    /// Likewise; more can be applied.
    pub(crate) fn merged(
        self,
        image: &Image,
        session: &Session,
    ) -> Result<(Merge, Vec<LayerSummary>), Error> {
        let mut merge = Merge::new()
            .limit_names(session.limits.names)
            .limit_memory(session.limits.total.memory_bytes)
            .until(&session.cancel);
        for (index, (layer, offset)) in self.layers.into_iter().enumerate() {
            merge
                .apply_ref(&layer, offset)
                .map_err(|source| merge_error(image, index, source))?;
        }
        Ok((merge, self.summaries))
    }
}
