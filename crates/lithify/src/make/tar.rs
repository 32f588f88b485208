//! `-f tar`: the merged filesystem as one tar, in sorted order, the same for every way to slice it into layers.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use lithify_cancel::Budget;
use lithify_digest::{Algorithm, Hasher};
use lithify_tar::{Holes, TarWriter, WriteError};
use lithify_tree::{Entry, EntryKind, Inode, InodeKind, Metadata, NodeId, Tree, TreePath};

use crate::CancelToken;
use crate::Error;
use crate::Event;
use crate::Image;
use crate::OutputPipe;
use crate::error::{BuildError, Operation, TransferError};
use crate::fs::verity;
use crate::image::LayerSummary;
use crate::image::Spool;
use crate::image::Spooled;
use crate::image::add_dropped;
use crate::image::decode;
use crate::make::format::Format;
use crate::make::options::BuildOptions;
use crate::make::options::Output;
use crate::make::result::Built;
use crate::make::result::artifact;
use crate::name::shown_path;
use crate::output::PendingFile;
use crate::output::retry::read_some;
use crate::output::scratch_file;
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::session::budgets::stored;

pub(super) fn build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Built {
    let (path, pending) = match output {
        Output::Path(path) => {
            let pending = PendingFile::create(path, options.durable)?;
            verity::check_beside(path)?;
            (Some(path.as_path()), Some(pending))
        }
        Output::Stdout => (None, None),
    };
    let Merged {
        tree,
        summaries,
        spooled,
        budgets,
    } = Merged::of(image, path, session)?;
    let shown = path.unwrap_or(Path::new("standard output"));
    let written = |e| Error::output(Operation::Write, shown, e);
    let emission = Emission {
        holes: match options.sparse {
            true => Holes::Map,
            false => Holes::Zeros {
                bytes_max: session.limits.layer.tar_bytes,
            },
        },
        digest: options.digest,
        cancel: &session.cancel,
        is_layer: false,
        failed: &written,
        output: budgets.output_bytes,
    };
    let (size, sha256, sockets) = match &pending {
        Some(pending) => emit(&tree, &spooled, &**pending.file(), &emission)?.1,
        None => {
            let out = OutputPipe::stdout(&session.cancel).map_err(written)?;
            emit(&tree, &spooled, out, &emission)?.1
        }
    };
    if let Some(pending) = pending {
        // The name may have been an image's.
        let path = pending.destination().to_path_buf();
        let durable = options.durable;
        verity::commit_with(&path, None, durable, || pending.commit(durable))?;
    }
    let mut artifact = artifact(Format::Tar, &path.map_or("-".into(), shown_path));
    artifact.size = size;
    artifact.sha256 = sha256;
    if sockets > 0 {
        artifact
            .statistics
            .insert("sockets_left_out".to_owned(), sockets);
    }
    add_dropped(&mut artifact.dropped_xattrs, &summaries);
    Ok((artifact, summaries).into())
}

/// Writes the merged filesystem as the tar of a layer. Returns where it went, and how many sockets it could not hold.
pub(crate) fn write_layer<W: Write>(
    image: &Image,
    out: W,
    session: &Session,
) -> Result<(W, u64), Error> {
    let merged = Merged::of(image, None, session)?;
    let emission = Emission {
        // Layers have no sparse members: image-spec, `layer.md`.
        holes: Holes::Zeros {
            bytes_max: session.limits.layer.tar_bytes,
        },
        digest: false,
        cancel: &session.cancel,
        is_layer: true,
        failed: &Error::scratch,
        output: merged.budgets.output_bytes,
    };
    let (out, (_, _, sockets)) = emit(&merged.tree, &merged.spooled, out, &emission)?;
    Ok((out, sockets))
}

/// An image's merged filesystem, with its data in a scratch file.
struct Merged {
    tree: Tree,
    summaries: Vec<LayerSummary>,
    spooled: Spooled,
    budgets: Budgets,
}

impl Merged {
    /// Reads an image. The scratch file is beside `path`.
    fn of(image: &Image, path: Option<&Path>, session: &Session) -> Result<Self, Error> {
        let scratched = |e| match path {
            Some(path) => Error::scratch_beside(path)(e),
            None => Error::scratch(e),
        };
        let mut spool = Spool::new(scratch_file(path).map_err(scratched)?);
        let budgets = Budgets::of_data(session);
        let decoded = decode(image, &mut spool, session, &budgets, scratched)?;
        let (tree, summaries) = decoded.merge(image, session)?;
        let spooled = spool.finish().map_err(scratched)?;
        session.progress.event(Event::Finishing);
        Ok(Self {
            tree,
            summaries,
            spooled,
            budgets,
        })
    }
}

/// Bytes of a tar that a file takes besides its data, at least: a header.
const HEADER_LEN: u64 = lithify_tar::BLOCK as u64;

/// How a tar is written.
struct Emission<'a> {
    holes: Holes,
    digest: bool,
    cancel: &'a CancelToken,
    /// Whether it is a layer, in which names that begin with `.wh.` remove others.
    is_layer: bool,
    /// The error for what cannot be written.
    failed: &'a dyn Fn(io::Error) -> Error,
    /// For what is no data of files: that was counted.
    output: Budget,
}

/// Counts and, if wanted, hashes what goes through, until it is cancelled.
struct Measured<'a, W> {
    inner: W,
    size: u64,
    hasher: Option<Hasher>,
    cancel: &'a CancelToken,
}

impl<W: Write> Write for Measured<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // One file's holes can be many seconds of zeros.
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let written = self.inner.write(data)?;
        self.size += written as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&data[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Size and digest of a tar, and how many sockets it could not hold.
type Emitted = (u64, Option<String>, u64);

/// Writes the tar. Returns where it went.
fn emit<W: Write>(
    tree: &Tree,
    spooled: &Spooled,
    out: W,
    emission: &Emission<'_>,
) -> Result<(W, Emitted), Error> {
    let cancel = emission.cancel;
    let hasher = emission.digest.then(|| Hasher::new(Algorithm::Sha256));
    let measured = Measured {
        inner: out,
        size: 0,
        hasher,
        cancel,
    };
    let failed = |e: WriteError| match e {
        WriteError::Write(_) if cancel.is_cancelled() => Error::cancelled(),
        WriteError::Write(e) => (emission.failed)(e),
        e if emission.is_layer => Error::tar(e, "raise the limit tar_bytes"),
        e => Error::tar(
            e,
            "use --sparse to write them as holes, which not every program reads, or raise the limit tar_bytes",
        ),
    };
    let out = BufWriter::with_capacity(1 << 20, measured);
    let mut writer = TarWriter::new(out).holes(emission.holes);
    let mut first_names: Vec<Option<NodeId>> = vec![None; tree.inode_count()];
    let mut buffer = vec![0; 256 << 10];
    let mut sockets = 0;
    for node in tree.walk() {
        if cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let id = tree.inode_id(node);
        let inode = tree.inode(id);
        if matches!(inode.kind, InodeKind::Socket) {
            sockets += 1;
            continue;
        }
        let linked = match first_names[id.index()] {
            Some(first) => Some(tree_path(tree, first)?),
            None => {
                first_names[id.index()] = Some(node);
                None
            }
        };
        let content = match inode.kind {
            InodeKind::File {
                content: Some(content),
                ..
            } if linked.is_none() => Some(spooled.content(content)),
            _ => None,
        };
        let kind = match linked {
            Some(target) => EntryKind::HardLink { target },
            None => kind(&inode, content.and_then(|c| c.segments.as_deref())),
        };
        let metadata = Metadata {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            xattrs: tree.xattrs(inode.xattrs).clone(),
        };
        let zeros = match (inode.kind, content, emission.holes) {
            (InodeKind::File { size, .. }, Some(content), Holes::Zeros { .. }) => {
                size - stored(size, content.segments.as_deref())
            }
            _ => 0,
        };
        let path = tree_path(tree, node)?;
        if emission.is_layer && path.has_reserved_name() {
            return Err(Error::from(TransferError::WhiteoutName { path }));
        }
        writer
            .append(&Entry {
                path: path.clone(),
                metadata,
                kind,
            })
            .map_err(failed)?;
        // Zeros are written with the data.
        emission.output.take(HEADER_LEN + zeros).map_err(|source| {
            Error::from(BuildError::OutputBudget {
                path: Some(path),
                source,
            })
        })?;
        if let Some(content) = content {
            let mut data = spooled.reader(content);
            loop {
                let read = read_some(&mut data, &mut buffer).map_err(Error::scratch)?;
                if read == 0 {
                    break;
                }
                writer.data(&buffer[..read]).map_err(failed)?;
            }
        }
    }
    let buffered = writer.finish().map_err(failed)?;
    let mut measured = buffered
        .into_inner()
        .map_err(|e| (emission.failed)(e.into_error()))?;
    measured.flush().map_err(emission.failed)?;
    let sha256 = measured.hasher.map(|h| h.finish().hex());
    Ok((measured.inner, (measured.size, sha256, sockets)))
}

/// The path of a node as a tar can hold it: a path through symbolic links may exceed what one name may be.
fn tree_path(tree: &Tree, node: NodeId) -> Result<TreePath, Error> {
    TreePath::clean(&tree.path(node)).map_err(Error::tar_path)
}

fn kind(inode: &Inode<'_>, segments: Option<&[lithify_tree::DataSegment]>) -> EntryKind {
    match inode.kind {
        InodeKind::File { size, .. } => EntryKind::File {
            size,
            segments: segments.map(<[_]>::to_vec),
        },
        InodeKind::Symlink { target } => EntryKind::Symlink {
            target: target.to_vec(),
        },
        InodeKind::CharDevice(device) => EntryKind::CharDevice(device),
        InodeKind::BlockDevice(device) => EntryKind::BlockDevice(device),
        InodeKind::Fifo => EntryKind::Fifo,
        InodeKind::Socket => EntryKind::Socket,
        _ => EntryKind::Directory,
    }
}
