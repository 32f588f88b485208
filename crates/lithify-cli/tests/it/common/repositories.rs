//! composefs repositories with images of file trees.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lithify::CancelToken;
use lithify::composefs::image::{Image, ImageOptions};
use lithify::composefs::repository::{
    CreateOptions, Metadata, OpenOptions, Publication, Repository, VerityMode,
};
use lithify::composefs::{INLINE_MAX, dumpfile};
use lithify_testkit::{Kind, Snapshot};
use lithify_verity::file::{FileAlgorithm, FileDigest, FileHasher, FileOptions};

/// Opens a repository without fs-verity, or creates one.
pub(crate) fn repository(path: &Path, algorithm: FileAlgorithm) -> Repository {
    repository_with(path, algorithm, VerityMode::Off)
}

/// Opens a repository, or creates one.
pub(crate) fn repository_with(
    path: &Path,
    algorithm: FileAlgorithm,
    verity: VerityMode,
) -> Repository {
    let create = CreateOptions {
        metadata: Metadata::new(algorithm),
        verity,
    };
    let options = OpenOptions::new().sync(false);
    Repository::create(path, &create, &options).expect("a repository")
}

/// Stores the tree of a directory as an image with a name; returns the image's id.
pub(crate) fn store_tree(repository: &Repository, tree: &Path, name: &str) -> FileDigest {
    store_dump(repository, &dump(repository, tree), name)
}

/// Stores what a dumpfile says as an image with a name; returns the image's id.
pub(crate) fn store_dump(repository: &Repository, text: &str, name: &str) -> FileDigest {
    let id = store_image_of(repository, text);
    let mut publication = Publication::new();
    publication.image(id);
    publication.image_reference(name, &id).expect("a name");
    repository.publish(&publication).expect("published");
    id
}

/// Stores what a dumpfile says as an image, without a name; returns its id.
pub(crate) fn store_image_of(repository: &Repository, text: &str) -> FileDigest {
    let cancel = CancelToken::new();
    let filesystem = dumpfile::read(text.as_bytes(), &cancel).expect("a dumpfile");
    let image = Image::new(&filesystem, &ImageOptions::default(), &cancel).expect("an image");
    let hasher = FileHasher::new(&FileOptions::new(repository.algorithm())).expect("a hasher");
    let mut bytes = Vec::new();
    let id = image.write(&mut bytes, hasher, &cancel).expect("an image");
    let stored = repository.store_object(&bytes).expect("an object");
    assert_eq!(stored.id, id);
    id
}

/// The path of an object, or of an image's bytes.
pub(crate) fn object(repository: &Path, id: &FileDigest) -> PathBuf {
    let hex = id.hex();
    repository.join("objects").join(&hex[..2]).join(&hex[2..])
}

/// The object that a file is, or would be.
pub(crate) fn object_of(repository: &Path, algorithm: FileAlgorithm, data: &[u8]) -> PathBuf {
    let mut hasher = FileHasher::new(&FileOptions::new(algorithm)).expect("a hasher");
    hasher.update(data);
    object(repository, &hasher.finish())
}

/// The tree as a dumpfile. Its files become objects.
fn dump(repository: &Repository, tree: &Path) -> String {
    let mut text = String::new();
    for (path, node) in &Snapshot::of(tree).nodes {
        let shown = match path.is_empty() {
            true => "/".to_owned(),
            false => format!("/{}", spelled(path)),
        };
        if let Some(first) = &node.same_as
            && first != path
        {
            let first = spelled(first);
            writeln!(text, "{shown} 0 @120000 - - - - 0.0 /{first} - -").expect("text");
            continue;
        }
        let none = || "-".to_owned();
        let (mut payload, mut content, mut digest) = (none(), none(), none());
        let (mut size, mut device) = (0, 0);
        let file_type = match &node.kind {
            Kind::Directory => 0o040_000,
            Kind::File { size: length, .. } => {
                size = *length;
                let data = fs::read(tree.join(OsStr::from_bytes(path))).expect("a file");
                if size > INLINE_MAX {
                    let id = repository.store_object(&data).expect("an object").id;
                    payload = format!("{}/{}", &id.hex()[..2], &id.hex()[2..]);
                    digest = id.hex();
                } else if size > 0 {
                    content = spelled(&data);
                }
                0o100_000
            }
            Kind::Symlink(target) => {
                (size, payload) = (target.len() as u64, spelled(target));
                0o120_000
            }
            Kind::CharDevice(major, minor) => {
                device = major << 8 | minor;
                0o020_000
            }
            Kind::BlockDevice(major, minor) => {
                device = major << 8 | minor;
                0o060_000
            }
            Kind::Fifo => 0o010_000,
            Kind::Socket => 0o140_000,
        };
        let mode = file_type | node.mode;
        let (links, uid, gid) = (node.links, node.uid, node.gid);
        let (seconds, nanoseconds) = node.mtime;
        write!(
            text,
            "{shown} {size} {mode:o} {links} {uid} {gid} {device} {seconds}.{nanoseconds:09} {payload} {content} {digest}"
        )
        .expect("text");
        for (name, value) in &node.xattrs {
            write!(text, " {}={}", spelled(name), spelled(value)).expect("text");
        }
        text.push('\n');
    }
    text
}

fn spelled(bytes: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._".contains(&b);
    let one = |&b: &u8| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("\\x{b:02x}"),
    };
    bytes.iter().map(one).collect()
}
