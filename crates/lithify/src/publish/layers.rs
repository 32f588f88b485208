//! The EROFS layers of an image, ready to be put.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use lithify_digest::{Algorithm, Digest, HashingWriter, digest_of};
use lithify_oci::manifest::{Descriptor, EROFS_ROLE, EROFS_UNCOMPRESSED};
use lithify_tree::EntryKind;

use super::publisher::Publisher;
use super::spec::ErofsSpec;
use crate::BuildOptions;
use crate::Error;
use crate::Event;
use crate::Format;
use crate::Image;
use crate::description::Verity;
use crate::error::PublishError;
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::make::depot;
use crate::make::depot::Depot;
use crate::make::layered;
use crate::make::layers::{self, BuiltLayer, IMAGE, LayerOptions};
use crate::output::ScratchDirectory;
use crate::output::retry::read_some;
use crate::output::scratch_file;
use crate::session::budgets::Budgets;
use crate::transfer::{BlobSource, FileBlob};

/// The level images are compressed with: what the wire saves over level 1 pays, more costs too much time.
const ZSTD_LEVEL: i32 = 3;

/// The layers of one image.
pub(super) struct Made {
    /// Lowest first.
    pub(super) layers: Vec<ErofsLayer>,
    /// Whether the topmost is there for the root directory's metadata only.
    pub(super) has_root: bool,
}

/// One layer.
pub(super) struct ErofsLayer {
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: Digest,
    pub(super) blob: Box<dyn BlobSource>,
    verity: Option<Verity>,
}

/// Returns the diff_id and hash tree of each layer that has one, each once.
pub(super) fn sidecars(layers: &[ErofsLayer]) -> Vec<(Digest, Verity)> {
    let mut sidecars: Vec<(Digest, Verity)> = Vec::new();
    for layer in layers {
        if let Some(verity) = &layer.verity
            && sidecars.iter().all(|(id, _)| *id != layer.diff_id)
        {
            sidecars.push((layer.diff_id, verity.clone()));
        }
    }
    sidecars
}

/// Makes the layers, or takes them from the store.
pub(super) fn make(publisher: &Publisher<'_>, image: &Image) -> Result<Made, Error> {
    let (options, session) = (publisher.options, publisher.session);
    let build = BuildOptions {
        format: Format::ErofsLayers,
        compression: options.compression,
        verity: options.verity,
        drop_xattrs: options.drop_xattrs,
        ..BuildOptions::default()
    };
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(Kind::Erofs, Placement::Aligned, build.filesystem())?,
        verity: options.verity,
        durable: options.durable,
    };
    let depot = Depot::open(&session.store, &publisher.beside, &publisher.session.cancel)?;
    let built = layers::build(
        image,
        &depot,
        &layer_options,
        session,
        &Budgets::new(session),
    )?;
    session.progress.event(Event::Finishing);
    layered::remember(image, &depot, &built, std::iter::empty(), &build)?;
    if options.spec == ErofsSpec::Draft
        && let Some(bottom) = built.first()
    {
        refuse_whiteouts(image, bottom)?;
    }
    let mut files = Vec::with_capacity(built.len() + 1);
    for layer in &built {
        let record = layer.entry.file(IMAGE)?;
        let (digest, size) = (record.sha256, record.size);
        let (_, file) = depot::open_file(&layer.entry, IMAGE)?;
        files.push((Arc::new(file), digest, size, layer.facts.verity.clone()));
    }
    let root = root(publisher, &built)?;
    let has_root = root.is_some();
    files.extend(root);
    let count = files.len();
    let layers = files
        .into_iter()
        .enumerate()
        .map(|(index, (file, diff_id, size, verity))| {
            let media_type = options.spec.media_type(options.zstd);
            let (mut descriptor, file) = match options.zstd {
                false => (Descriptor::new(media_type, diff_id, size), file),
                true => compress(publisher, media_type, &file, size)?,
            };
            let mut annotate = |key: &str, value: String| {
                descriptor.annotations.insert(key.to_owned(), value);
            };
            if options.spec == ErofsSpec::Draft {
                if index + 1 < count {
                    annotate(EROFS_ROLE, "overlay-lower".to_owned());
                }
                if options.zstd {
                    annotate(EROFS_UNCOMPRESSED, diff_id.to_string());
                }
            }
            if let Some(verity) = &verity {
                annotate(
                    "org.erofs.dmverity.hash_offset",
                    verity.hash_offset.to_string(),
                );
                annotate(
                    "org.erofs.dmverity.root_digest",
                    format!("sha256:{}", verity.root_hash),
                );
                annotate("org.erofs.dmverity.block_size", "4096".to_owned());
            }
            Ok(ErofsLayer {
                descriptor,
                diff_id,
                blob: Box::new(FileBlob(file)),
                verity,
            })
        });
    Ok(Made {
        layers: layers.collect::<Result<_, Error>>()?,
        has_root,
    })
}

/// A file, its digest, its size, and its hash tree.
type LayerFile = (Arc<File>, Digest, u64, Option<Verity>);

/// The layer that says how the root directory looks, where the topmost one does not and a lower one does, or where there
/// are no layers: a manifest should have one, and whoever mounts it needs one.
fn root(publisher: &Publisher<'_>, built: &[BuiltLayer]) -> Result<Option<LayerFile>, Error> {
    let scratch = ScratchDirectory::create(&publisher.beside)?;
    let path = scratch.path().join("root.erofs");
    let verity = publisher.options.verity;
    let root = layered::write_root(built, Kind::Erofs, &path, verity, false, publisher.session)?;
    let Some(root) = root else {
        return Ok(None);
    };
    let file = Arc::new(File::open(&path).map_err(|e| Error::input(&path, e))?);
    let blob = FileBlob(Arc::clone(&file));
    let (digest, _) =
        digest_of(&mut blob.open(0)?, Algorithm::Sha256).map_err(|e| Error::input(&path, e))?;
    Ok(Some((file, digest, root.size, root.verity)))
}

/// The draft format's bottom layer has no whiteouts: there is nothing to hide (erofs-image-spec 3.6).
fn refuse_whiteouts(image: &Image, bottom: &BuiltLayer) -> Result<(), Error> {
    let (_, file) = depot::open_file(&bottom.entry, IMAGE)?;
    let opened = lithify_erofs::Image::open(file)?;
    for entry in opened.overlay_entries(false) {
        let (entry, _) = entry?;
        if matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque) {
            return Err(Error::from(PublishError::PublishWhiteouts {
                name: image.layer_name(0),
                path: lithify_tree::Escaped(entry.path.as_bytes()).to_string(),
            }));
        }
    }
    Ok(())
}

/// The whole image in one zstd frame, in a file without a name.
fn compress(
    publisher: &Publisher<'_>,
    media_type: &str,
    file: &Arc<File>,
    size: u64,
) -> Result<(Descriptor, Arc<File>), Error> {
    let scratched = Error::scratch_beside(&publisher.beside);
    let scratch = scratch_file(Some(&publisher.beside)).map_err(scratched)?;
    let out = io::BufWriter::with_capacity(1 << 20, &scratch);
    let mut out = HashingWriter::new(out, Algorithm::Sha256);
    let blob = FileBlob(Arc::clone(file));
    let mut reader = blob.open(0)?;
    let mut copy = || -> io::Result<()> {
        let mut encoder = zstd::Encoder::new(&mut out, ZSTD_LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.set_pledged_src_size(Some(size))?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            if publisher.session.cancel.is_cancelled() {
                return Ok(());
            }
            match read_some(&mut reader, &mut buffer)? {
                0 => break,
                n => encoder.write_all(&buffer[..n])?,
            }
        }
        encoder.finish()?.flush()
    };
    copy().map_err(scratched)?;
    if publisher.session.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    let (_, digest, written) = out.finish();
    let descriptor = Descriptor::new(media_type, digest, written);
    Ok((descriptor, Arc::new(scratch)))
}
