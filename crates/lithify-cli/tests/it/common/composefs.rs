//! composefs repositories whose bytes are known, and images of containers in them.

use std::collections::BTreeMap;
use std::path::Path;

use lithify::composefs::oci::{LayerWriter, NewImage, image_name, store_image};
use lithify::composefs::repository::{ErofsFormat, Publication, Repository};
use lithify::composefs::{FileAlgorithm, FileDigest};
use lithify_testkit::{digest, run};
use lithify_verity::file::{FileHasher, FileOptions};
use serde_json::Value;

use super::repositories::{store_dump, store_image_of};
use super::{lithify, lithify_output, stderr};

/// Creates a repository of plain files, or opens it.
pub(crate) fn repository(path: &Path) -> Repository {
    super::repositories::repository(path, FileAlgorithm::Sha256)
}

/// Runs `lithify composefs`; returns what it printed.
pub(crate) fn composefs(args: &[&str]) -> String {
    run::text(lithify().arg("composefs").args(args))
}

/// As [`composefs`], of JSON.
pub(crate) fn json_of(args: &[&str]) -> Value {
    let out = composefs(&[args, &["--json"]].concat());
    serde_json::from_str(&out).unwrap()
}

/// Runs a command that fails; returns its exit code and what it said.
pub(crate) fn fails(args: &[&str]) -> (i32, String) {
    let out = lithify_output([&["composefs"], args].concat());
    (out.status.code().unwrap(), stderr(&out))
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of a tree: its name and its content.
pub(crate) type File<'a> = (&'a str, &'a [u8]);

/// Returns the dumpfile of a tree of files, of which those longer than 64 bytes are objects.
pub(crate) fn dump(files: &[File<'_>]) -> String {
    let mut text = String::from("/ 4096 40755 2 0 0 0 0.0 - - -\n");
    for (name, content) in files {
        let size = content.len();
        let mut hasher = FileHasher::new(&FileOptions::new(FileAlgorithm::Sha256)).unwrap();
        hasher.update(content);
        let hex = hasher.finish().hex();
        let line = match size {
            0 => format!("/{name} 0 100644 1 0 0 0 0.0 - - -\n"),
            1..=64 => {
                let content: String = content.iter().map(|b| format!("\\x{b:02x}")).collect();
                format!("/{name} {size} 100644 1 0 0 0 0.0 - {content} -\n")
            }
            _ => {
                let path = format!("{}/{}", &hex[..2], &hex[2..]);
                format!("/{name} {size} 100644 1 0 0 0 0.0 {path} - {hex}\n")
            }
        };
        text.push_str(&line);
    }
    text
}

/// Stores a tree with its files under a name; returns the id and the bytes of its image.
pub(crate) fn add_tree(
    repository: &Repository,
    name: &str,
    files: &[File<'_>],
) -> (FileDigest, u64) {
    for (_, content) in files.iter().filter(|(_, content)| content.len() > 64) {
        repository.store_object(content).unwrap();
    }
    let id = store_dump(repository, &dump(files), name);
    (id, repository.object_size(&id).unwrap().unwrap())
}

/// Stores an image of the OCI of one layer, and an image made of it, under a tag; returns the digest of its manifest. The layer is no
/// tar, but its files follow one another.
pub(crate) fn add_oci(repository: &Repository, tag: &str, files: &[File<'_>]) -> String {
    let whole: Vec<u8> = files
        .iter()
        .flat_map(|(_, content)| content.to_vec())
        .collect();
    let diff_id = digest(&whole);
    let mut writer = LayerWriter::new(repository, diff_id.parse().unwrap()).unwrap();
    for (_, content) in files {
        writer.start_file(content.len() as u64).unwrap();
        writer.data(content).unwrap();
        writer.end_file().unwrap();
    }
    let layer = writer.finish().unwrap();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":1}}]}}"#,
        digest(config.as_bytes()),
        config.len(),
        digest(diff_id.as_bytes()),
    );
    let id = store_image_of(repository, &dump(files));
    let stored = store_image(
        repository,
        &NewImage {
            digest: digest(manifest.as_bytes()).parse().unwrap(),
            manifest: manifest.as_bytes(),
            config: config.as_bytes(),
            layers: &BTreeMap::from([(diff_id.parse().unwrap(), layer.id)]),
            images: &BTreeMap::from([(image_name(ErofsFormat::V1).to_owned(), id)]),
            kept: &[],
        },
    )
    .unwrap();
    let mut publication = Publication::new();
    stored.publish(&mut publication).unwrap();
    stored.tag(&mut publication, tag).unwrap();
    repository.publish(&publication).unwrap();
    digest(manifest.as_bytes())
}

/// Changes the first byte of an object.
pub(crate) fn damage(repository: &Path, id: &str) {
    let path = repository.join("objects").join(&id[..2]).join(&id[2..]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}
