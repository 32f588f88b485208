//! The layers of an image without a manifest, as `docker save` writes it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use lithify_cancel::Checked;
use lithify_digest::{Algorithm, Digest, HashingWriter, VerifiedReader, Verifier};
use lithify_inflate::GzipReader;
use lithify_layer::{Expected, LayerReader, Options, Threading};
use lithify_oci::LayerDescriptor;
use lithify_oci::LayerKind;
use lithify_oci::manifest::{Compression, Descriptor, media_type};
use lithify_storage::FileCursor;

use super::made::made;
use crate::Error;
use crate::Image;
use crate::error::NativeLayerError;
use crate::image::Discard;
use crate::image::NativeBlob;
use crate::image::NativeReader;
use crate::image::layer_error;
use crate::image::native_error;
use crate::manifest::encode::{Encoder, LayerCompression};
use crate::output::scratch_file;
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::transfer::{FileBlob, Plan, PlannedBlob};

/// Layers are compressed into files without names, since a manifest needs their digests; or copied there as they are.
pub(super) fn plan(
    image: &Image,
    oci: &lithify_oci::Image,
    plain: bool,
    session: &Session,
) -> Result<Plan, Error> {
    let budgets = Budgets::new(session);
    let mut blobs = Vec::new();
    let mut layers: Vec<Descriptor> = Vec::new();
    for (index, layer) in oci.layers().iter().enumerate() {
        // Archives name the same layer as often as the image does.
        let twin = oci.layers()[..index]
            .iter()
            .position(|l| l.diff_id == layer.diff_id);
        if let Some(twin) = twin {
            layers.push(layers[twin].clone());
            continue;
        }
        let blob = blob(image, oci, index, plain, session, &budgets)?;
        layers.push(blob.descriptor.clone());
        blobs.push(blob);
    }
    made(
        blobs,
        layers,
        oci.raw_config().to_vec(),
        oci.platform(),
        session,
    )
}

/// Copies a layer no digest of which is known but that of what is in it, and verifies it by that. A tar is compressed, unless
/// `plain`.
pub(crate) fn blob(
    image: &Image,
    oci: &lithify_oci::Image,
    index: usize,
    plain: bool,
    session: &Session,
    budgets: &Budgets,
) -> Result<PlannedBlob, Error> {
    let (descriptor, file) = match oci.layers()[index].kind {
        LayerKind::Tar => compress(image, oci, index, plain, session, budgets)?,
        _ => as_it_is(image, oci, index, session, budgets)?,
    };
    Ok(PlannedBlob {
        descriptor,
        source: Box::new(FileBlob(file.into())),
    })
}

/// Copies a layer that is an EROFS image and verifies the copy. Of gzip around one no media type speaks; it is taken off.
fn as_it_is(
    image: &Image,
    oci: &lithify_oci::Image,
    index: usize,
    session: &Session,
    budgets: &Budgets,
) -> Result<(Descriptor, File), Error> {
    let layer = &oci.layers()[index];
    let opened = oci
        .open_layer(index)
        .map_err(|source| Error::opening(image.name(), source))?;
    let failed = |source| native_error(image, index, source);
    let mut blob = opened.into_reader();
    let (media_type, compression) = match layer.compression {
        Some(Compression::Zstd) => (media_type::EROFS_LAYER_ZSTD, Compression::Zstd),
        Some(Compression::Gzip) => {
            blob = Box::new(GzipReader::new(blob));
            (media_type::EROFS_LAYER, Compression::None)
        }
        _ => (media_type::EROFS_LAYER, Compression::None),
    };
    let out = scratch_file(None).map_err(Error::scratch)?;
    let mut out = HashingWriter::new(out, Algorithm::Sha256);
    // Of the image itself: what is compressed still is as long as its source says.
    let limit = session.limits.layer.tar_bytes;
    let mut buffer = vec![0; 256 << 10];
    loop {
        if session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        match blob.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) if compression == Compression::None && out.written() + n as u64 > limit => {
                return Err(failed(NativeLayerError::Limit {
                    what: "bytes",
                    limit,
                    option: "tar_bytes",
                }));
            }
            Ok(n) => out.write_all(&buffer[..n]).map_err(Error::scratch)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(NativeLayerError::Read(e))),
        }
    }
    let (out, digest, size) = out.finish();
    let descriptor = Descriptor::new(media_type, digest, size);
    // What is sent is what was verified.
    let file = Arc::new(out.try_clone().map_err(Error::scratch)?);
    let reader = Box::new(FileCursor::new(Arc::clone(&file), 0));
    let mut expected = layer.clone();
    expected.size = Some(size);
    if layer.compression == Some(Compression::Gzip) {
        expected.digest = None;
    }
    let native = NativeBlob::new(reader, Some(file), compression, &expected);
    NativeReader(native).read(
        &mut Discard,
        session,
        budgets,
        failed,
        &|never| match never {},
    )?;
    Ok((descriptor, out))
}

/// Reads a layer once: it is verified and compressed on the way. One that is compressed stays as it is.
fn compress(
    image: &Image,
    oci: &lithify_oci::Image,
    index: usize,
    plain: bool,
    session: &Session,
    budgets: &Budgets,
) -> Result<(Descriptor, File), Error> {
    let layer = &oci.layers()[index];
    let opened = oci
        .open_layer(index)
        .map_err(|source| Error::opening(image.name(), source))?;
    let mut blob = opened.into_reader();
    let mut magic = Vec::new();
    let digest = layer.digest.unwrap_or(layer.diff_id);
    (&mut blob)
        .take(4)
        .read_to_end(&mut magic)
        .map_err(|e| Error::of_reader(&digest, e))?;
    // RFC 1952 and RFC 8878.
    let (compression, media_type) = match magic.as_slice() {
        [0x1f, 0x8b, ..] => (LayerCompression::None, media_type::OCI_LAYER_GZIP),
        [0x28, 0xb5, 0x2f, 0xfd] => (LayerCompression::None, media_type::OCI_LAYER_ZSTD),
        _ if plain => (LayerCompression::None, media_type::OCI_LAYER),
        _ => (LayerCompression::Gzip, media_type::OCI_LAYER_GZIP),
    };
    let out = scratch_file(None).map_err(Error::scratch)?;
    let out = HashingWriter::new(out, Algorithm::Sha256);
    let side = Arc::new(Mutex::new(Side {
        encoder: Encoder::new(out, compression).map_err(Error::scratch)?,
        error: None,
    }));
    let tee = Tee {
        inner: Box::new(io::Cursor::new(magic).chain(blob)),
        side: Arc::clone(&side),
    };
    // Of writing the copy, the reader only knows that it may not go on.
    let failed = |source| {
        let mut side = side.lock().unwrap_or_else(PoisonError::into_inner);
        match side.error.take() {
            Some(error) => Error::scratch(error),
            None => layer_error(image, index, source),
        }
    };
    let expected = Expected {
        digest: layer.digest,
        size: layer.size,
        diff_id: Some(layer.diff_id),
        compression: None,
    };
    let options = Options {
        threading: Threading::Inline,
        ..budgets.layer_options(session)
    };
    let mut reader = LayerReader::new(Box::new(tee), expected, options).map_err(failed)?;
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        if matches!(entry.kind, lithify_tree::EntryKind::File { .. }) {
            reader.copy_into(&mut Discard).map_err(|e| match e {
                lithify_layer::CopyError::Layer(e) => failed(e),
                lithify_layer::CopyError::Sink(never) => match never {},
            })?;
        }
    }
    reader.finish().map_err(failed)?;
    // The reader, and with it the other owner, ended with its result.
    let side = Arc::into_inner(side).and_then(|side| side.into_inner().ok());
    let side = side.ok_or_else(|| Error::scratch(io::Error::other("the copy is still in use")))?;
    let (_, out) = side.encoder.finish().map_err(Error::scratch)?;
    let (file, digest, size) = out.finish();
    Ok((Descriptor::new(media_type, digest, size), file))
}

/// The copy of a layer that is written while it is read.
struct Side {
    encoder: Encoder<HashingWriter<File>>,
    /// Why it could not be written.
    error: Option<io::Error>,
}

/// Gives an encoder all that is read.
struct Tee {
    inner: Box<dyn Read + Send>,
    side: Arc<Mutex<Side>>,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let mut side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = side.encoder.write_all(&buffer[..read]) {
            side.error = Some(error);
            return Err(io::Error::other("the copy cannot be written"));
        }
        Ok(read)
    }
}

/// Copies a layer whose digest is no SHA-256 into a file without a name, as it is, and verifies that it has that digest.
pub(crate) fn sha256_blob(
    layer: &LayerDescriptor,
    expected: Digest,
    blob: Box<dyn Read + Send>,
    media_type: &str,
    session: &Session,
) -> Result<PlannedBlob, Error> {
    let verifier = Verifier::promised(Some(expected), layer.size);
    let mut reader = VerifiedReader::new(Checked::new(blob, &session.cancel), verifier);
    let out = scratch_file(None).map_err(Error::scratch)?;
    let mut out = HashingWriter::new(out, Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => out.write_all(&buffer[..n]).map_err(Error::scratch)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if session.cancel.is_cancelled() => return Err(Error::cancelled()),
            Err(e) => return Err(Error::of_reader(&expected, e)),
        }
    }
    let (file, digest, size) = out.finish();
    Ok(PlannedBlob {
        descriptor: Descriptor::new(media_type, digest, size),
        source: Box::new(FileBlob(file.into())),
    })
}
