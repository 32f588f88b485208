//! The way back: changes of a mount into a layer, appended to an image.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::path::{Path, PathBuf};

use lithify_cancel::{Cancelled, Checked};
use lithify_digest::{Algorithm, Digest, Mismatch, VerifiedReader, Verifier};
use lithify_hostfs::{OverlayAttributes, UpperOptions, UpperScanner};
use lithify_oci::LayerKind;
use lithify_oci::layout::{REF_NAME, Writer};
use lithify_oci::manifest::{Descriptor, ImageManifest, LayerMediaType, media_type};
use lithify_oci::source::{ParseError, Selector, Source};
use lithify_storage::{Beneath, BeneathError};
use lithify_tar::{Holes, TarWriter, WriteError};
use lithify_tree::{ContentId, ContentSink, DataSegment, EntryKind};
use serde::Serialize;
use serde_json::{Value, json};

use crate::base_config;
use crate::decode::warn_of_changes;
use crate::description::RecordedDescription;
use crate::encode::{Encoder, LayerCompression};
use crate::error::{CommitError, LayerError, OutputError};
use crate::name::shown;
use crate::output::scratch_file;
use crate::read_back::read_back;
use crate::{CancelToken, Error, Image, ReadOptions};

/// How the layer is made, and what the image says about it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// How the layer is compressed. Default gzip.
    pub compression: LayerCompression,
    /// Where the overlay is mounted, if it still is: renamed directories and files of which only metadata was changed are
    /// read from there. Without, they are errors.
    pub view: Option<PathBuf>,
    /// Whether the overlay kept its own attributes in `user.overlay.` (`userxattr`). Default: found out; of what
    /// [`MountOptions::writable`](crate::MountOptions::writable) was given it is known that it did not.
    pub user_attributes: Option<bool>,
    /// Whether fuse-overlayfs made the directory. Default: its marks are errors.
    pub fuse_overlayfs: Option<bool>,
    /// When, as the image will say (RFC 3339). Default: what the base image says, for the same bytes every time.
    pub created: Option<String>,
    /// What the image's history says made the layer. Default `lithify commit`.
    pub created_by: Option<String>,
    /// A comment in the history.
    pub comment: Option<String>,
    /// Wait until the image is on the disk. Default false.
    pub durable: bool,
}

/// What a commit made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommitReport {
    /// Digest of the new image's manifest.
    pub manifest_digest: String,
    /// Digest of the new layer's blob.
    pub layer_digest: String,
    /// Digest of its uncompressed tar.
    pub diff_id: String,
    /// Size of the blob in bytes.
    pub layer_size: u64,
    /// Layers of the image, the new one included.
    pub layers: usize,
    /// Entries of the new layer.
    pub entries: u64,
    /// Names it removes.
    pub whiteouts: u64,
    /// Directories it empties.
    pub opaque: u64,
    /// Sockets, which a layer cannot hold: the names are removed.
    pub sockets: u64,
    /// Of a directory that a build wrote: what became of what was written beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedDescription>,
}

/// Turns the upper directory of an overlay into a layer and appends it to an image in an OCI layout.
///
/// `destination` is `oci:DIR:TAG`. The image is `base`; without one, the image that has the tag, which the new one then
/// takes from it. A directory that holds `upper` and `work`, as [`MountOptions::writable`](crate::MountOptions::writable)
/// makes it, stands for its `upper`. The same changes give the same layer, byte for byte.
///
/// # Errors
/// [`CommitError::Upper`](crate::CommitError::Upper) for changes a layer cannot say, [`CommitError::CommitDestination`](crate::CommitError::CommitDestination), [`CommitError::Layout`](crate::CommitError::Layout), and what opening or
/// reading the base image fails with. Nothing that was in the layout is lost.
pub fn commit(
    upper: &Path,
    base: Option<&Image>,
    destination: impl AsRef<OsStr>,
    options: &CommitOptions,
    read: &ReadOptions,
) -> Result<CommitReport, Error> {
    commit_to(upper, base, destination.as_ref(), options, read).map_err(|e| read.reason(e))
}

fn commit_to(
    upper: &Path,
    base: Option<&Image>,
    destination: &OsStr,
    options: &CommitOptions,
    read: &ReadOptions,
) -> Result<CommitReport, Error> {
    let refused = || {
        Error::from(CommitError::CommitDestination {
            name: shown(destination),
        })
    };
    let (path, selector) = match Source::parse(destination) {
        Ok(Source::Oci { path, selector }) => (path, selector),
        Ok(_) => return Err(refused()),
        Err(ParseError::Path { .. }) => {
            return Err(Error::from(CommitError::CommitPath {
                name: shown(destination),
            }));
        }
        Err(other) => return Err(other.into()),
    };
    let tag = match selector {
        Some(Selector::Name(name)) => Some(name),
        None => None,
        Some(_) => return Err(refused()),
    };
    let layout_exists = path.join("oci-layout").is_file();
    let own;
    let base = match base {
        Some(image) => Some(image),
        None if layout_exists => {
            own = Image::open(destination, read)?;
            Some(&own)
        }
        None => return Err(Error::from(CommitError::NoBase { path })),
    };
    let base = base.and_then(Image::oci).ok_or_else(refused)?;

    let scratched = Error::scratch_beside(&path);
    let scratch = scratch_file(Some(&path)).map_err(scratched)?;
    let layer = Layer::make(upper_of(upper)?, &scratch, scratched, options, read)?;
    let layout = |source| Error::from(CommitError::Layout(Box::new(source)));
    let mut writer = Writer::open(&path, &read.cancel)
        .map_err(layout)?
        .durable(options.durable);

    let mut layers = Vec::new();
    for index in 0..base.layers().len() {
        layers.push(copy_layer(base, index, &mut writer, read)?);
    }
    let mut blob = Checked::new(&scratch, &read.cancel);
    (&scratch).rewind().map_err(scratched)?;
    let descriptor = writer
        .put_reader(layer.media_type, &mut blob)
        .map_err(layout)?;
    layers.push(descriptor.clone());
    let count = layers.len();
    let config_bytes = config(base, &layer.diff_id, options, read)?;
    let config = writer
        .put(media_type::OCI_CONFIG, &config_bytes)
        .map_err(layout)?;
    let mut manifest = ImageManifest::new(config, layers);
    if let Some(annotations) = base.annotations() {
        manifest.annotations.clone_from(annotations);
    }
    let manifest = serde_json::to_vec(&manifest).map_err(OutputError::Json)?;
    read_back(&manifest, &config_bytes, count, read)?;
    let mut entry = writer
        .put(media_type::OCI_MANIFEST, &manifest)
        .map_err(layout)?;
    entry.platform = Some(base_config::platform(base, read));
    if let Some(tag) = tag {
        entry.annotations.insert(REF_NAME.to_owned(), tag);
    }
    let manifest_digest = entry.digest.to_string();
    writer.add(entry);
    writer.finish().map_err(layout)?;
    Ok(CommitReport {
        manifest_digest,
        layer_digest: descriptor.digest.to_string(),
        diff_id: layer.diff_id.to_string(),
        layer_size: descriptor.size,
        layers: count,
        entries: layer.summary.entries,
        whiteouts: layer.summary.whiteouts,
        opaque: layer.summary.opaque,
        sockets: layer.summary.sockets,
        recorded: layer.summary.recorded.as_ref().map(Into::into),
    })
}

/// The upper directory that is meant, and whether it was found inside the one that was named. What is inside is not the
/// user's choice: a link in its place would make a layer of whatever it leads to.
fn upper_of(directory: &Path) -> Result<(PathBuf, bool), Error> {
    let failed = |name: &str, e: io::Error| Error::input(&directory.join(name), e);
    let opened = Beneath::open(directory).map_err(|e| Error::input(directory, e))?;
    for name in ["upper", "work"] {
        match opened.directory(name) {
            Ok(_) => {}
            Err(e @ BeneathError::Link { .. })
                if ["upper", "work"].iter().all(|n| directory.join(n).is_dir()) =>
            {
                return Err(failed(name, e.into()));
            }
            Err(
                BeneathError::Link { .. }
                | BeneathError::NotDirectory { .. }
                | BeneathError::NotRegular { .. },
            ) => return Ok((directory.to_path_buf(), false)),
            // The work directory of a mounted overlay is nobody's to read.
            Err(BeneathError::Io(e)) if e.kind() == io::ErrorKind::PermissionDenied => {}
            Err(e) if e.is_not_found() => return Ok((directory.to_path_buf(), false)),
            Err(e) => return Err(failed(name, e.into())),
        }
    }
    Ok((directory.join("upper"), true))
}

/// A layer in a scratch file.
struct Layer {
    media_type: &'static str,
    diff_id: Digest,
    summary: lithify_hostfs::UpperSummary,
}

impl Layer {
    fn make(
        (upper, is_inside): (PathBuf, bool),
        scratch: &File,
        scratched: impl Fn(io::Error) -> Error + Copy,
        options: &CommitOptions,
        read: &ReadOptions,
    ) -> Result<Self, Error> {
        let mut scan = UpperOptions::default();
        scan.no_link = is_inside;
        scan.cancel = read.cancel.clone();
        scan.view.clone_from(&options.view);
        scan.fuse_overlayfs = options.fuse_overlayfs;
        scan.attributes = match options.user_attributes {
            // A mount of ours is never one of either: what else looks like a mark is the image's.
            None if options.fuse_overlayfs != Some(true)
                && lithify_mount::keeps_changes(&upper) =>
            {
                scan.fuse_overlayfs = Some(false);
                OverlayAttributes::Trusted
            }
            None => OverlayAttributes::Found,
            Some(true) => OverlayAttributes::User,
            Some(false) => OverlayAttributes::Trusted,
        };
        let mut scanner = UpperScanner::open(&upper, scan)?;
        let out = Checked::new(io::BufWriter::with_capacity(1 << 20, scratch), &read.cancel);
        let failed = |e: WriteError| match e {
            WriteError::Write(_) if read.cancel.is_cancelled() => Error::cancelled(),
            WriteError::Write(e) => scratched(e),
            e => Error::tar(
                e,
                "remove or shorten the file in the overlay, or raise the limit tar_bytes",
            ),
        };
        // Layers have no sparse members: image-spec, `layer.md`.
        let holes = Holes::Zeros {
            bytes_max: read.limits.layer.tar_bytes,
        };
        let encoder = Encoder::new(out, options.compression).map_err(scratched)?;
        let mut tar = TarWriter::new(encoder).holes(holes);
        while let Some(entry) = scanner.next_entry()? {
            if read.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            tar.append(&entry).map_err(failed)?;
            if matches!(entry.kind, EntryKind::File { .. }) {
                scanner
                    .copy_into(&mut Data(&mut tar, &read.cancel))
                    .map_err(|e| match e {
                        lithify_hostfs::CopyError::Sink(e) => failed(e),
                        lithify_hostfs::CopyError::Scan(e) => Error::from(LayerError::Scan(e)),
                        _ => Error::cancelled(),
                    })?;
            }
        }
        let summary = scanner.finish()?;
        warn_of_changes(&crate::name::shown_path(&upper), summary.recorded.as_ref());
        let (diff_id, mut out) = tar.finish().map_err(failed)?.finish().map_err(scratched)?;
        out.flush().map_err(scratched)?;
        Ok(Self {
            media_type: options.compression.media_type(),
            diff_id,
            summary,
        })
    }
}

/// Data of files, into the tar.
struct Data<'a, W: Write>(&'a mut TarWriter<W>, &'a CancelToken);

impl<W: Write> ContentSink for Data<'_, W> {
    type Error = lithify_tar::WriteError;

    fn begin(&mut self, _: u64, _: Option<&[DataSegment]>) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Self::Error> {
        let stopped = |cancelled: Cancelled| lithify_tar::WriteError::Write(cancelled.into());
        self.1.check().map_err(stopped)?;
        self.0.data(data)
    }

    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        Ok(ContentId(0))
    }
}

/// Brings a layer of the base image into the layout, unless it is there.
fn copy_layer(
    base: &lithify_oci::Image,
    index: usize,
    writer: &mut Writer,
    read: &ReadOptions,
) -> Result<Descriptor, Error> {
    let layer = &base.layers()[index];
    let kind = layer.media_type.as_deref().map(LayerMediaType::of);
    let media_type = match kind {
        // An EROFS image that is called a tar, or has no type.
        Some(LayerMediaType::Tar { .. }) | None if layer.kind == LayerKind::Erofs => {
            match layer.compression {
                Some(lithify_oci::manifest::Compression::None) | None => media_type::EROFS_LAYER,
                Some(lithify_oci::manifest::Compression::Zstd) => media_type::EROFS_LAYER_ZSTD,
                // There is no type for it, so that its content has to tell.
                _ => oci_media_type(layer.compression),
            }
        }
        Some(LayerMediaType::Tar { .. }) | None => oci_media_type(layer.compression),
        // What this version does not know stays what it is.
        Some(_) => layer.media_type.as_deref().unwrap_or(media_type::OCI_LAYER),
    };
    let layout = |e| Error::from(CommitError::Layout(Box::new(e)));
    let named = match (layer.digest, layer.size) {
        (Some(digest), Some(size)) if digest.algorithm() == Algorithm::Sha256 => {
            let mut descriptor = Descriptor::new(media_type, digest, size);
            descriptor.annotations.clone_from(&layer.annotations);
            Some(descriptor)
        }
        _ => None,
    };
    if let Some(descriptor) = &named
        && writer.has_whole(descriptor).map_err(layout)?
    {
        return Ok(descriptor.clone());
    }
    let open = |source| Error::opening(format!("layer {index} of the base image"), source);
    let blob = base.open_layer(index).map_err(open)?;
    let wrong = |source| Error::from(CommitError::BaseLayer { index, source });
    let mut reader = Checked::new(blob.into_reader(), &read.cancel);
    if let Some(descriptor) = named {
        return match writer.put_verified(&descriptor, &mut reader) {
            Ok(()) => Ok(descriptor),
            Err(lithify_oci::layout::Error::Mismatch { source, .. }) => Err(wrong(source)),
            Err(e) => Err(layout(e)),
        };
    }
    // It gets a name by SHA-256, and has to be what it was called before.
    let expected = layer.digest.unwrap_or(layer.diff_id);
    let mut reader = VerifiedReader::new(reader, Verifier::promised(Some(expected), layer.size));
    let stored = writer.put_reader(media_type, &mut reader);
    let mut descriptor = stored.map_err(|e| match e {
        lithify_oci::layout::Error::Read { path, source } => match Mismatch::in_error(&source) {
            Some(mismatch) => wrong(mismatch.clone()),
            None => layout(lithify_oci::layout::Error::Read { path, source }),
        },
        e => layout(e),
    })?;
    descriptor.annotations.clone_from(&layer.annotations);
    Ok(descriptor)
}

fn oci_media_type(compression: Option<lithify_oci::manifest::Compression>) -> &'static str {
    match compression {
        Some(lithify_oci::manifest::Compression::Gzip) => media_type::OCI_LAYER_GZIP,
        Some(lithify_oci::manifest::Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    }
}

/// The base image's configuration with one more layer, all else as it stands.
fn config(
    base: &lithify_oci::Image,
    diff_id: &Digest,
    options: &CommitOptions,
    read: &ReadOptions,
) -> Result<Vec<u8>, Error> {
    let mut config = base_config::of(base, read)?;
    // As the layers were read, however the base says it: `null`, no key, or in the manifest alone.
    let mut rootfs = match config.remove("rootfs") {
        Some(Value::Object(rootfs)) => rootfs,
        _ => serde_json::Map::new(),
    };
    let below = base.layers().iter().map(|layer| &layer.diff_id);
    let diff_ids: Vec<String> = below.chain([diff_id]).map(Digest::to_string).collect();
    rootfs.insert("type".into(), "layers".into());
    rootfs.insert("diff_ids".into(), json!(diff_ids));
    config.insert("rootfs".into(), Value::Object(rootfs));
    let created = options
        .created
        .clone()
        .map(Value::String)
        .or_else(|| config.get("created").cloned());
    let mut history = serde_json::Map::new();
    if let Some(created) = created {
        history.insert("created".into(), created.clone());
        config.insert("created".into(), created);
    }
    let created_by = options.created_by.as_deref().unwrap_or("lithify commit");
    history.insert("created_by".into(), created_by.into());
    if let Some(comment) = &options.comment {
        history.insert("comment".into(), comment.as_str().into());
    }
    // An image of layers without any history stays without: a history must speak of every layer.
    match config.remove("history") {
        Some(Value::Array(mut entries)) if !entries.is_empty() || base.layers().is_empty() => {
            entries.push(Value::Object(history));
            config.insert("history".into(), Value::Array(entries));
        }
        _ if base.layers().is_empty() => {
            config.insert("history".into(), json!([history]));
        }
        _ => {}
    }
    Ok(serde_json::to_vec(&config).map_err(OutputError::Json)?)
}
