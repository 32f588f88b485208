//! `commit`: changes of a mount into a layer, appended to an image.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::{Cancelled, Checked};
use lithify_digest::{Algorithm, Digest, HashingWriter};
use lithify_hostfs::{OverlayAttributes, UpperOptions, UpperScanner};
use lithify_oci::LayerKind;
use lithify_oci::manifest::{Compression, Descriptor, ImageManifest, LayerMediaType, media_type};
use lithify_oci::source::Source;
use lithify_storage::{Beneath, BeneathError};
use lithify_tar::{Holes, TarWriter, WriteError};
use lithify_tree::{ContentId, ContentSink, DataSegment, EntryKind};
use serde::Serialize;
use serde_json::{Value, json};

use crate::CancelToken;
use crate::Error;
use crate::ErrorKind;
use crate::Image;
use crate::description::RecordedDescription;
use crate::error::{CommitError, LayerError, OutputError, TransferError};
use crate::image::LayerBlob;
use crate::image::warn_of_changes;
use crate::manifest;
use crate::manifest::base_config;
use crate::manifest::encode::{Encoder, LayerCompression};
use crate::manifest::read_back::read_back;
use crate::name::shown;
use crate::output::scratch_file;
use crate::place::{self, Writing};
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::transfer::{FileBlob, Nature, Plan, PlannedBlob, is_left_to_its_vendor, run};

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
    /// Blobs moved at the same time; `None` is 4.
    pub transfers: Option<NonZeroUsize>,
    /// Bytes of one piece of an upload to a registry; `None` uploads blobs in one.
    pub chunk: Option<u64>,
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

/// Turns the upper directory of an overlay into a layer and appends it to an image.
///
/// `destination` is any place images are copied to, or a bare name, which is one of the store. The image is `base`; without one,
/// the image that has the destination's name, which the new one then takes from it. A directory that holds `upper` and `work`, as [`MountOptions::writable`](crate::MountOptions::writable)
/// makes it, stands for its `upper`. The same changes give the same layer, byte for byte.
///
/// # Errors
/// [`CommitError::Upper`](crate::CommitError::Upper) for changes a layer cannot say, [`CommitError::Base`](crate::CommitError::Base) for an image without a configuration, what opening or
/// reading the base image fails with, and what [`copy`](crate::copy()) fails with. Nothing that was at the destination is lost.
pub fn commit(
    upper: &Path,
    base: Option<&Image>,
    destination: impl AsRef<OsStr>,
    options: &CommitOptions,
    session: &Session,
) -> Result<CommitReport, Error> {
    commit_to(upper, base, destination.as_ref(), options, session).map_err(|e| session.reason(e))
}

fn commit_to(
    upper: &Path,
    base: Option<&Image>,
    destination: &OsStr,
    options: &CommitOptions,
    session: &Session,
) -> Result<CommitReport, Error> {
    let name = &shown(destination);
    // A bare name is one of the store: there is no other place for it.
    let to = match Source::parse_destination(destination)? {
        Source::Name(reference) => Source::Store(reference),
        other => other,
    };
    let writing = Writing {
        source: base.map(|image| image.source().clone()),
        chunk: options.chunk,
        durable: options.durable,
        all_platforms: false,
    };
    let target = place::target_of(name, &to, &writing, session)?;
    let own;
    let base = match base {
        Some(image) => image,
        None => {
            own = own_base(name, &to, session)?;
            &own
        }
    };
    let unsuitable = || {
        Error::from(CommitError::Base {
            name: base.name().to_owned(),
        })
    };
    let oci = base.shared_oci().ok_or_else(unsuitable)?;
    let nature = target.nature();
    let scratch = target.scratch();
    let opened = target.open()?;

    let scratched = Error::scratch_beside(&scratch);
    let file = scratch_file(Some(&scratch)).map_err(scratched)?;
    let layer = Layer::make(upper_of(upper)?, &file, scratched, options, session)?;
    let plan = plan(base, oci, &layer, file, nature, options, session)?;
    let manifest = plan.root().ok_or(TransferError::NoManifest)?.digest;
    let places = [Some(base.source()), Some(&to)].into_iter().flatten();
    let workers = place::at_a_time(options.transfers, places, nature, session)?;
    run(plan, opened, workers, session)?;
    Ok(CommitReport {
        manifest_digest: manifest.to_string(),
        layer_digest: layer.digest.to_string(),
        diff_id: layer.diff_id.to_string(),
        layer_size: layer.size,
        layers: oci.layers().len() + 1,
        entries: layer.summary.entries,
        whiteouts: layer.summary.whiteouts,
        opaque: layer.summary.opaque,
        sockets: layer.summary.sockets,
        recorded: layer.summary.recorded.as_ref().map(Into::into),
    })
}

/// Opens the image that has the destination's name, on which the changes were made then.
fn own_base(name: &str, to: &Source, session: &Session) -> Result<Image, Error> {
    let there = match to {
        Source::Oci { path, .. } => path.join("oci-layout").is_file(),
        Source::OciArchive { path, .. } | Source::DockerArchive { path, .. } => path.is_file(),
        _ => true,
    };
    let none = |source| {
        let name = name.to_owned();
        Error::from(CommitError::NoBase { name, source })
    };
    if !there {
        return Err(none(None));
    }
    Image::open_source(name, to.clone(), session).map_err(|error| match error.kind() {
        ErrorKind::NotFound => none(Some(Box::new(error))),
        _ => error,
    })
}

/// Returns the plan of the new image: the layers of the base, the new one, and what is made of them.
fn plan(
    image: &Image,
    base: &Arc<lithify_oci::Image>,
    layer: &Layer,
    file: File,
    nature: Nature,
    options: &CommitOptions,
    session: &Session,
) -> Result<Plan, Error> {
    let budgets = Budgets::new(session);
    let mut layers = Vec::<Descriptor>::new();
    let mut plan = Plan::default();
    for (index, layer) in base.layers().iter().enumerate() {
        // Archives name the same layer as often as the image does.
        let twin = base.layers()[..index].iter().position(|l| {
            layer.digest.is_none() && l.digest.is_none() && l.diff_id == layer.diff_id
        });
        if let Some(twin) = twin {
            layers.push(layers[twin].clone());
            continue;
        }
        let blob = base_layer(image, base, index, session, &budgets)?;
        layers.push(blob.descriptor.clone());
        let is_left = match base.content() {
            Some(content) => is_left_to_its_vendor(
                image.name(),
                content.as_ref(),
                index,
                &blob.descriptor,
                nature.vendor_layers,
            )?,
            None => false,
        };
        match is_left {
            true => plan.foreign += 1,
            false => plan.add(blob),
        }
    }
    let new = Descriptor::new(layer.media_type, layer.digest, layer.size);
    plan.add(PlannedBlob {
        descriptor: new.clone(),
        source: Box::new(FileBlob(file.into())),
    });
    layers.push(new);
    let count = layers.len();
    let config = config(base, &layer.diff_id, options, session)?;
    let config_blob = PlannedBlob::of_bytes(media_type::OCI_CONFIG, config.clone());
    let mut manifest = ImageManifest::new(config_blob.descriptor.clone(), layers);
    plan.add(config_blob);
    if let Some(annotations) = base.annotations() {
        manifest.annotations.clone_from(annotations);
    }
    let manifest = serde_json::to_vec(&manifest).map_err(OutputError::Json)?;
    read_back(&manifest, &config, count, session)?;
    let digest = Digest::of(Algorithm::Sha256, &manifest);
    let mut root = Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64);
    root.platform = Some(base_config::platform(base, session));
    plan.add_document(root, manifest);
    Ok(plan)
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

/// Whether a directory keeps the changes of a mount lithify made.
#[cfg(feature = "mount")]
fn is_of_a_mount(upper: &Path) -> bool {
    lithify_mount::keeps_changes(upper)
}

/// Whether a directory keeps the changes of a mount lithify made: this library was built without mounts.
#[cfg(not(feature = "mount"))]
fn is_of_a_mount(_: &Path) -> bool {
    false
}

/// A layer in a scratch file.
struct Layer {
    media_type: &'static str,
    digest: Digest,
    size: u64,
    diff_id: Digest,
    summary: lithify_hostfs::UpperSummary,
}

impl Layer {
    fn make(
        (upper, is_inside): (PathBuf, bool),
        scratch: &File,
        scratched: impl Fn(io::Error) -> Error + Copy,
        options: &CommitOptions,
        session: &Session,
    ) -> Result<Self, Error> {
        let mut scan = UpperOptions::default();
        scan.no_link = is_inside;
        scan.cancel = session.cancel.clone();
        scan.view.clone_from(&options.view);
        scan.fuse_overlayfs = options.fuse_overlayfs;
        scan.attributes = match options.user_attributes {
            // A mount of ours is never one of either: what else looks like a mark is the image's.
            None if options.fuse_overlayfs != Some(true) && is_of_a_mount(&upper) => {
                scan.fuse_overlayfs = Some(false);
                OverlayAttributes::Trusted
            }
            None => OverlayAttributes::Found,
            Some(true) => OverlayAttributes::User,
            Some(false) => OverlayAttributes::Trusted,
        };
        let mut scanner = UpperScanner::open(&upper, scan)?;
        let out = io::BufWriter::with_capacity(1 << 20, scratch);
        let out = HashingWriter::new(Checked::new(out, &session.cancel), Algorithm::Sha256);
        let failed = |e: WriteError| match e {
            WriteError::Write(_) if session.cancel.is_cancelled() => Error::cancelled(),
            WriteError::Write(e) => scratched(e),
            e => Error::tar(
                e,
                "remove or shorten the file in the overlay, or raise the limit tar_bytes",
            ),
        };
        // Layers have no sparse members: image-spec, `layer.md`.
        let holes = Holes::Zeros {
            bytes_max: session.limits.layer.tar_bytes,
        };
        let encoder = Encoder::new(out, options.compression).map_err(scratched)?;
        let mut tar = TarWriter::new(encoder).holes(holes);
        while let Some(entry) = scanner.next_entry()? {
            if session.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            tar.append(&entry).map_err(failed)?;
            if matches!(entry.kind, EntryKind::File { .. }) {
                scanner
                    .copy_into(&mut Data(&mut tar, &session.cancel))
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
        let (_, digest, size) = out.finish();
        Ok(Self {
            media_type: options.compression.media_type(),
            digest,
            size,
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

/// Returns a layer of the base image as the new one has it. One that has no SHA-256 gets one.
fn base_layer(
    image: &Image,
    base: &Arc<lithify_oci::Image>,
    index: usize,
    session: &Session,
    budgets: &Budgets,
) -> Result<PlannedBlob, Error> {
    let layer = &base.layers()[index];
    let kind = layer.media_type.as_deref().map(LayerMediaType::of);
    let tar_type = || oci_media_type(layer.compression, layer.foreign);
    let media_type = match kind {
        // An EROFS image that is called a tar, or has no type.
        Some(LayerMediaType::Tar { .. }) | None if layer.kind == LayerKind::Erofs => {
            match layer.compression {
                Some(Compression::None) | None => media_type::EROFS_LAYER.to_owned(),
                Some(Compression::Zstd) => media_type::EROFS_LAYER_ZSTD.to_owned(),
                // There is no type for it, so that its content has to tell.
                _ => tar_type(),
            }
        }
        Some(LayerMediaType::Tar { .. }) | None => tar_type(),
        // What this version does not know stays what it is.
        Some(_) => layer.media_type.clone().unwrap_or_else(tar_type),
    };
    let media_type = media_type.as_str();
    let mut blob = match (layer.digest, layer.size) {
        // Its type is what its content says.
        (None, _) => manifest::blob_of_layer(image, base, index, true, session, budgets)?,
        (Some(digest), Some(size)) if digest.algorithm() == Algorithm::Sha256 => PlannedBlob {
            descriptor: Descriptor::new(media_type, digest, size),
            source: Box::new(LayerBlob::of(image.name(), base, index)),
        },
        (Some(digest), _) => {
            let open = |source| Error::opening(format!("layer {index} of the base image"), source);
            let reader = base.open_layer(index).map_err(open)?.into_reader();
            manifest::sha256_blob(layer, digest, reader, media_type, session)?
        }
    };
    blob.descriptor.annotations.clone_from(&layer.annotations);
    if layer.foreign {
        blob.descriptor.urls.clone_from(&layer.urls);
    }
    Ok(blob)
}

/// The type of a tar layer. One that only its vendor distributes stays one.
fn oci_media_type(compression: Option<Compression>, foreign: bool) -> String {
    let tar = match foreign {
        true => media_type::OCI_FOREIGN_LAYER,
        false => media_type::OCI_LAYER,
    };
    let suffix = match compression {
        Some(Compression::Gzip) => "+gzip",
        Some(Compression::Zstd) => "+zstd",
        _ => "",
    };
    format!("{tar}{suffix}")
}

/// The base image's configuration with one more layer, all else as it stands.
fn config(
    base: &lithify_oci::Image,
    diff_id: &Digest,
    options: &CommitOptions,
    session: &Session,
) -> Result<Vec<u8>, Error> {
    let mut config = base_config::of(base, session)?;
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
