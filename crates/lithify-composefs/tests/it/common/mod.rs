//! What several modules need.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use lithify_composefs::oci::{
    LayerWriter, NewImage, StoredImage, image_name, promised_digest, store_image,
};
use lithify_composefs::repository::{
    CreateOptions, Depth, ErofsFormat, FsckOptions, GcOptions, GcReport, ImageObjects, Metadata,
    OpenOptions, Publication, Repository, VerityMode,
};
use lithify_digest::{Algorithm, Digest};
use lithify_verity::file::{FileAlgorithm, FileDigest, FileHasher, FileOptions};

/// A sequence that looks random (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Bytes that are the same for the same seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

pub(crate) fn digest_of(algorithm: FileAlgorithm, bytes: &[u8]) -> FileDigest {
    let mut hasher = FileHasher::new(&FileOptions::new(algorithm)).unwrap();
    hasher.update(bytes);
    hasher.finish()
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Creates a repository, or opens it, as plain files.
pub(crate) fn repository(path: &Path, algorithm: FileAlgorithm) -> Repository {
    open_with(path, algorithm, &OpenOptions::new().sync(false))
}

pub(crate) fn open_with(
    path: &Path,
    algorithm: FileAlgorithm,
    options: &OpenOptions,
) -> Repository {
    let create = CreateOptions {
        metadata: Metadata::new(algorithm),
        verity: VerityMode::Off,
    };
    Repository::create(path, &create, options).unwrap()
}

/// Images that are nothing but a line and the hexadecimal names of objects.
pub(crate) struct Lists;

const FIRST_LINE: &str = "an image";

pub(crate) fn list_image(objects: &[FileDigest]) -> Vec<u8> {
    let lines = objects.iter().map(FileDigest::hex);
    let lines: Vec<String> = std::iter::once(FIRST_LINE.to_owned())
        .chain(lines)
        .collect();
    lines.join("\n").into_bytes()
}

impl ImageObjects for Lists {
    fn objects(
        &self,
        mut image: &File,
        each: &mut dyn FnMut(FileDigest),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut text = String::new();
        image.read_to_string(&mut text)?;
        let lines = text.strip_prefix(FIRST_LINE).ok_or("no image")?;
        for line in lines.split_whitespace() {
            let algorithm = match line.len() {
                64 => FileAlgorithm::Sha256,
                _ => FileAlgorithm::Sha512,
            };
            each(FileDigest::from_hex(algorithm, line)?);
        }
        Ok(())
    }
}

/// A layer for tests: what stands between files, and files.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Raw(Vec<u8>),
    File(Vec<u8>),
}

pub(crate) fn whole(pieces: &[Piece]) -> Vec<u8> {
    let bytes = |piece: &Piece| match piece {
        Piece::Raw(bytes) | Piece::File(bytes) => bytes.clone(),
    };
    pieces.iter().flat_map(bytes).collect()
}

/// Writes a layer's stream; returns its diff_id, the stream, and the objects in it.
pub(crate) fn write_layer(
    repository: &Repository,
    pieces: &[Piece],
) -> (Digest, FileDigest, Vec<FileDigest>) {
    let diff_id = sha256(&whole(pieces));
    let mut writer = LayerWriter::new(repository, diff_id).unwrap();
    let mut objects = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Raw(bytes) => {
                writer.boundary().unwrap();
                writer.raw(bytes).unwrap();
            }
            Piece::File(data) => {
                writer.start_file(data.len() as u64).unwrap();
                data.chunks(1000)
                    .for_each(|part| writer.data(part).unwrap());
                objects.extend(writer.end_file().unwrap().map(|stored| stored.id));
            }
        }
    }
    (diff_id, writer.finish().unwrap().id, objects)
}

/// A manifest and a configuration.
pub(crate) fn documents(diff_ids: &[Digest], note: &str) -> (Vec<u8>, Vec<u8>) {
    let list: Vec<String> = diff_ids.iter().map(|d| format!("\"{d}\"")).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"note":"{note}"}}}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        list.join(",")
    );
    let layer = |d: &Digest| {
        let blob = sha256(d.to_string().as_bytes());
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{blob}","size":1}}"#
        )
    };
    let layers: Vec<String> = diff_ids.iter().map(layer).collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{}]}}"#,
        sha256(config.as_bytes()),
        config.len(),
        layers.join(",")
    );
    (manifest.into_bytes(), config.into_bytes())
}

/// Stores and publishes an image with these layers, and a tag of it; there is a composefs image
/// too, with all objects.
pub(crate) fn write_image(
    repository: &Repository,
    layers: &[Vec<Piece>],
    tag: &str,
) -> StoredImage {
    let mut ids = BTreeMap::new();
    let (mut diff_ids, mut objects) = (Vec::new(), Vec::new());
    for layer in layers {
        let (diff_id, id, of_layer) = write_layer(repository, layer);
        ids.insert(diff_id, id);
        diff_ids.push(diff_id);
        objects.extend(of_layer);
    }
    let image = repository.store_object(&list_image(&objects)).unwrap();
    let (manifest, config) = documents(&diff_ids, tag);
    let new = NewImage {
        digest: sha256(&manifest),
        manifest: &manifest,
        config: &config,
        layers: &ids,
        images: &BTreeMap::from([(image_name(ErofsFormat::V1).to_owned(), image.id)]),
        kept: &[],
    };
    let stored = store_image(repository, &new).unwrap();
    let mut publication = Publication::new();
    stored.publish(&mut publication).unwrap();
    stored.tag(&mut publication, tag).unwrap();
    repository.publish(&publication).unwrap();
    stored
}

pub(crate) const ALGORITHM: FileAlgorithm = FileAlgorithm::Sha256;

/// A layer of two files, one of which every other layer has too.
pub(crate) fn layer(seed: u64) -> Vec<Piece> {
    vec![
        Piece::Raw(bytes(seed, 512)),
        Piece::File(bytes(seed, 1000)),
        Piece::Raw(bytes(seed, 24)),
        Piece::File(bytes(seed % 2, 3000)),
    ]
}

/// Names of all objects of a repository.
pub(crate) fn objects(path: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Ok(directories) = fs::read_dir(path.join("objects")) else {
        return found;
    };
    for directory in directories {
        let directory = directory.unwrap();
        for file in fs::read_dir(directory.path()).unwrap() {
            let names = [directory.file_name(), file.unwrap().file_name()];
            found.insert(names.map(|n| n.into_string().unwrap()).concat());
        }
    }
    found
}

pub(crate) fn gc(repository: &mut Repository) -> GcReport {
    repository.gc(&Lists, &GcOptions::default()).unwrap()
}

pub(crate) fn path_of(root: &Path, id: &FileDigest) -> PathBuf {
    let hex = id.hex();
    root.join("objects").join(&hex[..2]).join(&hex[2..])
}

pub(crate) fn checks(depth: Depth) -> FsckOptions {
    FsckOptions {
        depth,
        threads: Some(3),
        promised: Some(promised_digest),
    }
}
