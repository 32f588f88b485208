//! One file out of an image or artifact.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use lithify_cancel::Checked;
use lithify_composefs::{Content, Filesystem, Source as _};
use lithify_storage::FileCursor;
use lithify_tree::{ContentId, ContentSink, DataSegment, Escaped, InodeKind, LayerEntries, Merge};

use super::file::ImageFile;
use super::find::find_file;
use super::lazy::Stack;
use super::subject::Subject;
use crate::Error;
use crate::Event;
use crate::Image;
use crate::error::{ComposefsError, OpenError, OutputError};
use crate::image::Discard;
use crate::image::Twins;
use crate::image::merge_error;
use crate::image::open;
use crate::image::over_budget;
use crate::image::read_layer;
use crate::image::reading;
use crate::output::retry::read_some;
use crate::output::scratch_file;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Bytes copied at once.
const BUFFER: usize = 1 << 20;

impl Subject {
    /// Writes the data of a file, whose name is looked up with all symbolic links followed inside the image, and gives its
    /// size.
    ///
    /// Of an image whose layers are all EROFS images, uncompressed and within reach by position, only what leads to the
    /// file and the file itself are read, which can then not be compared with the layers' digests. Of any other image
    /// everything is read and verified before the first byte is written, and the file's layer once more for its data.
    ///
    /// # Errors
    /// [`ArtifactError::NotInImage`](crate::ArtifactError::NotInImage), [`ArtifactError::NotAFile`](crate::ArtifactError::NotAFile), [`OutputError::Sink`](crate::OutputError::Sink) for errors of `out`, and whatever is wrong with the
    /// image.
    pub fn cat(&self, path: &[u8], out: &mut dyn Write, session: &Session) -> Result<u64, Error> {
        self.cat_any(path, out, session)
            .map_err(|e| session.reason(e))
    }

    fn cat_any(&self, path: &[u8], out: &mut dyn Write, session: &Session) -> Result<u64, Error> {
        match self {
            Self::Image(image) => match Stack::of(image, &session.cancel)? {
                Some(stack) => copy(&mut stack.open_file(path)?, out, session, |e| {
                    unreadable(image, path, e)
                }),
                None => cat_decoded(image, path, out, session),
            },
            Self::File(file) => {
                if let Some(filesystem) = file.composefs(&session.cancel)? {
                    let mut data = inline(file, &filesystem, path)?;
                    return copy(&mut data, out, session, Error::scratch);
                }
                let image = file.image.until(&session.cancel)?;
                let tree = image.tree()?;
                let (node, _) = find_file(&tree, path)?;
                let mut spooled = OneFile::new()?;
                image.copy_content(
                    &tree.path(node),
                    &mut Vec::new(),
                    &mut spooled,
                    Error::scratch,
                )?;
                spooled.write_to(out, session)
            }
            Self::Layers(layers) => {
                let mut spooled = OneFile::new()?;
                layers.copy_file(path, &mut spooled, session)?;
                spooled.write_to(out, session)
            }
        }
    }
}

/// Returns the data of a file of a composefs image by itself: only what is short is in there.
fn inline(
    file: &ImageFile,
    filesystem: &Filesystem,
    path: &[u8],
) -> Result<io::Cursor<Vec<u8>>, Error> {
    let tree = filesystem.tree();
    let (node, content) = find_file(tree, path)?;
    let is_empty = matches!(tree.node_inode(node).kind, InodeKind::File { size: 0, .. });
    match content.map(|content| filesystem.content(content)) {
        None => Ok(io::Cursor::default()),
        Some(_) if is_empty => Ok(io::Cursor::default()),
        Some(Content::Inline(bytes)) => Ok(io::Cursor::new(bytes.into_owned())),
        Some(_) => Err(ComposefsError::DataElsewhere {
            path: file.path().to_path_buf(),
            file: Escaped(&tree.path(node)).to_string(),
        }
        .into()),
    }
}

/// What went wrong reading a file of a layer.
fn unreadable(image: &Image, path: &[u8], error: io::Error) -> Error {
    match error.downcast::<lithify_erofs::ReadError>() {
        Ok(damage) => Error::from(damage),
        Err(source) => Error::from(OpenError::Open {
            name: image.name().to_owned(),
            source: Box::new(lithify_oci::Error::Blob(lithify_oci::blob::Error::Io {
                name: lithify_oci::blob::BlobName::Path(Escaped(path).to_string()),
                source,
            })),
        }),
    }
}

/// Decodes everything to find the file, then its layer again.
fn cat_decoded(
    image: &Image,
    path: &[u8],
    out: &mut dyn Write,
    session: &Session,
) -> Result<u64, Error> {
    // Data needs no attributes.
    let session = &reading(session, true);
    if !image.can_be_read_again() {
        return cat_once(image, path, out, session);
    }
    let count = image.layer_count();
    session.progress.event(Event::Started { layers: count });
    let budgets = Budgets::new(session);
    let twins = Twins::of(image);
    let mut kept: HashMap<usize, Arc<LayerEntries>> = HashMap::new();
    let mut numbers = Numbers(0);
    let mut merge = Merge::new()
        .limit_names(session.limits.names)
        .limit_memory(session.limits.total.memory_bytes)
        .until(&session.cancel);
    // Where the numbers of each layer's contents begin.
    let mut firsts = Vec::with_capacity(count);
    for index in 0..count {
        let first = numbers.0;
        firsts.push(first);
        let twin = twins.lowest(index);
        let (entries, offset) = match kept.get(&twin) {
            Some(entries) => {
                budgets
                    .entries
                    .take_layer(entries)
                    .map_err(|e| over_budget(image, index, None, e))?;
                // Numbered from where its first one was.
                let offset = first - firsts[twin];
                let end = entries.content_count().max(firsts[twin]);
                numbers.0 = end.checked_add(offset).ok_or(full(TooMany))?;
                (Arc::clone(entries), offset)
            }
            None => {
                let reader = open(image, index, session, &budgets)?;
                let (entries, _) =
                    read_layer(image, index, reader, &mut numbers, session, &budgets, &full)?;
                (Arc::new(entries), 0)
            }
        };
        if twins.is_repeated(index) {
            kept.insert(twin, Arc::clone(&entries));
        }
        merge
            .apply_ref(&entries, offset)
            .map_err(|source| merge_error(image, index, source))?;
    }
    let tree = merge.finish();
    let (_, content) = find_file(&tree, path)?;
    let Some(ContentId(number)) = content else {
        return Ok(0);
    };
    let index = firsts.partition_point(|&first| first <= number) - 1;
    let mut pick = Pick {
        wanted: number - firsts[index],
        next: 0,
        file: OneFile::new()?,
    };
    // What all layers may ask for has been counted.
    let budgets = Budgets::new(session);
    let reader = open(image, index, session, &budgets)?;
    read_layer(
        image,
        index,
        reader,
        &mut pick,
        session,
        &budgets,
        &Error::scratch,
    )?;
    pick.file.write_to(out, session)
}

/// What can be read only once is kept.
fn cat_once(
    image: &Image,
    path: &[u8],
    out: &mut dyn Write,
    session: &Session,
) -> Result<u64, Error> {
    let mut spool = crate::image::Spool::new(scratch_file(None).map_err(Error::scratch)?);
    let budgets = Budgets::of_data(session);
    let decoded = crate::image::decode(image, &mut spool, session, &budgets, Error::scratch)?;
    let (tree, _) = decoded.merge(image, session)?;
    let spooled = spool.finish().map_err(Error::scratch)?;
    let (node, content) = find_file(&tree, path)?;
    let (Some(content), InodeKind::File { size, .. }) = (content, tree.node_inode(node).kind)
    else {
        return Ok(0);
    };
    let content = spooled.content(content);
    let mut file = OneFile::new()?;
    file.begin(size, content.segments.as_deref())
        .map_err(Error::scratch)?;
    // The spool has the data without the holes.
    let mut reader = Checked::new(spooled.reader(content), &session.cancel);
    let mut buffer = vec![0; BUFFER];
    loop {
        match read_some(&mut reader, &mut buffer).map_err(Error::scratch)? {
            0 => break,
            n => file.write(&buffer[..n]).map_err(Error::scratch)?,
        }
    }
    file.write_to(out, session)
}

fn full(error: TooMany) -> Error {
    match error {
        TooMany => Error::scratch(io::ErrorKind::FileTooLarge.into()),
    }
}

/// More files than can be numbered.
#[derive(Debug)]
struct TooMany;

/// Numbers contents and keeps none.
struct Numbers(u32);

impl ContentSink for Numbers {
    type Error = TooMany;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), TooMany> {
        Discard
            .begin(size, segments)
            .map_err(|never| match never {})
    }

    fn write(&mut self, _: &[u8]) -> Result<(), TooMany> {
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, TooMany> {
        let number = self.0;
        self.0 = number.checked_add(1).ok_or(TooMany)?;
        Ok(ContentId(number))
    }
}

/// One file's data, in a file without a name.
struct OneFile {
    file: File,
    size: u64,
    /// Where the data still to come goes.
    segments: Vec<DataSegment>,
}

impl OneFile {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            file: scratch_file(None).map_err(Error::scratch)?,
            size: 0,
            segments: Vec::new(),
        })
    }

    fn write_to(self, out: &mut dyn Write, session: &Session) -> Result<u64, Error> {
        let mut reader = FileCursor::new(&self.file, 0);
        copy(&mut reader, out, session, Error::scratch)
    }
}

impl ContentSink for OneFile {
    type Error = io::Error;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> io::Result<()> {
        self.size = size;
        self.file.set_len(size)?;
        let whole = [DataSegment {
            offset: 0,
            length: size,
        }];
        self.segments = segments.unwrap_or(&whole).to_vec();
        self.segments.reverse();
        Ok(())
    }

    fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let Some(segment) = self.segments.last_mut() else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let n = usize::try_from(segment.length)
                .unwrap_or(usize::MAX)
                .min(data.len());
            self.file.write_all_at(&data[..n], segment.offset)?;
            segment.offset += n as u64;
            segment.length -= n as u64;
            if segment.length == 0 {
                self.segments.pop();
            }
            data = &data[n..];
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<ContentId> {
        Ok(ContentId(0))
    }
}

/// Keeps one file of a layer.
struct Pick {
    wanted: u32,
    next: u32,
    file: OneFile,
}

impl ContentSink for Pick {
    type Error = io::Error;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> io::Result<()> {
        match self.next == self.wanted {
            true => self.file.begin(size, segments),
            false => Ok(()),
        }
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self.next == self.wanted {
            true => self.file.write(data),
            false => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<ContentId> {
        self.next += 1;
        Ok(ContentId(0))
    }
}

fn copy(
    reader: &mut dyn Read,
    out: &mut dyn Write,
    session: &Session,
    read_error: impl Fn(io::Error) -> Error,
) -> Result<u64, Error> {
    let mut buffer = vec![0; BUFFER];
    let mut copied = 0;
    loop {
        if session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(n) => {
                out.write_all(&buffer[..n]).map_err(OutputError::Sink)?;
                copied += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(read_error(e)),
        }
    }
}
