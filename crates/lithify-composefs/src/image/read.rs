//! Images, whoever made them, as trees with contents.

use lithify_cancel::CancelToken;
use lithify_erofs::FileType;
use lithify_storage::ReadAt;
use lithify_tree::{Device, Entry, EntryKind, TreePath, XattrError, Xattrs};
use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::format::{HEADER_MAGIC, HEADER_SIZE, HEADER_VERSION, overlay};
use crate::Filesystem;
use crate::filesystem::Collector;
use crate::object_path;
use crate::source::{Content, INLINE_CONTENT_MAX};

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] lithify_cancel::Cancelled),
    /// It is not an EROFS image, or a damaged one.
    #[error(transparent)]
    Erofs(#[from] lithify_erofs::ReadError),
    /// It is an EROFS image, but not of composefs.
    #[error(
        "this EROFS image is not one of composefs: its first four bytes are 0x{found:08x}, expected 0x{HEADER_MAGIC:08x}"
    )]
    NotComposefs {
        /// The first bytes.
        found: u32,
    },
    /// The header is of a version lithify does not know.
    #[error("the image's header has version {found}: expected {HEADER_VERSION}")]
    Version {
        /// The version.
        found: u32,
    },
    /// An attribute of overlayfs that says no object.
    #[error("`/{path}` has an attribute `{}` that names no object", lithify_escape::Escaped(.name))]
    Redirect {
        /// The file.
        path: TreePath,
        /// The attribute.
        name: Vec<u8>,
    },
    /// A file in the image is longer than any tool puts there.
    #[error("`/{path}` has {found} bytes in the image: expected at most {INLINE_CONTENT_MAX}")]
    Inline {
        /// The file.
        path: TreePath,
        /// Its size in bytes.
        found: u64,
    },
    /// An attribute that is longer without its escape than Linux has them.
    #[error("an attribute of `/{path}`")]
    Xattr {
        /// The file.
        path: TreePath,
        /// What is wrong.
        #[source]
        source: XattrError,
    },
    /// There are more entries than can be counted.
    #[error(transparent)]
    Full(#[from] lithify_tree::LayerFull),
    /// The entries make no tree.
    #[error(transparent)]
    Tree(#[from] lithify_tree::MergeError),
}

/// What the header of an image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The version of the image's format: 0 or 1, 2 of some versions of `cfsctl`.
    pub version: u32,
}

/// Reads the header of an image.
///
/// # Errors
/// [`ReadError::NotComposefs`] and [`ReadError::Version`].
pub fn read_header(image: &impl ReadAt) -> Result<Header, ReadError> {
    let mut head = [0; HEADER_SIZE];
    let word = |head: &[u8], at: usize| {
        let bytes = head[at..].first_chunk().copied();
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    // What is too short is no EROFS image either, which says so.
    if image.read_exact_at(&mut head, 0).is_err() || word(&head, 0) != HEADER_MAGIC {
        return Err(ReadError::NotComposefs {
            found: word(&head, 0),
        });
    }
    match word(&head, 4) {
        HEADER_VERSION => Ok(Header {
            version: word(&head, 12),
        }),
        found => Err(ReadError::Version { found }),
    }
}

/// Reads an image as the tree it was made of: without stubs, attributes as they were, whiteouts as devices.
///
/// # Errors
/// [`ReadError`].
pub fn read(image: impl ReadAt, cancel: &CancelToken) -> Result<Filesystem, ReadError> {
    read_header(&image)?;
    let image = lithify_erofs::Image::open(image)?;
    let mut collector = Collector::default();
    for (number, item) in image.entries().enumerate() {
        if number % 256 == 0 {
            cancel.check()?;
        }
        let (mut entry, inode) = item?;
        if is_stub(&entry) {
            continue;
        }
        let content = restore(&mut entry, inode.file_type())?;
        let content = match (&entry.kind, content) {
            (EntryKind::File { size: 1.., .. }, Some(content)) => Some(content),
            (
                EntryKind::File {
                    size: size @ 1.., ..
                },
                None,
            ) => {
                if *size > INLINE_CONTENT_MAX as u64 {
                    return Err(ReadError::Inline {
                        path: entry.path,
                        found: *size,
                    });
                }
                let data = image.read_to_vec(&inode, *size)?;
                Some(Content::Inline(data.into()))
            }
            _ => None,
        };
        let nlink = inode.nlink();
        collector.push(&entry, nlink, content.as_ref())?;
    }
    Ok(collector.finish(cancel)?)
}

/// Reads which objects an image needs, entry by entry: calls `each` with every one, as often as files have it.
///
/// # Errors
/// [`ReadError`].
pub fn objects(
    image: impl ReadAt,
    cancel: &CancelToken,
    each: &mut dyn FnMut(FileDigest),
) -> Result<(), ReadError> {
    read_header(&image)?;
    let image = lithify_erofs::Image::open(image)?;
    for (number, item) in image.entries().enumerate() {
        if number % 256 == 0 {
            cancel.check()?;
        }
        let (mut entry, inode) = item?;
        let content = match is_stub(&entry) {
            true => None,
            false => restore(&mut entry, inode.file_type())?,
        };
        if let Some(
            Content::Object(id)
            | Content::External {
                digest: Some(id), ..
            },
        ) = content
        {
            each(id);
        }
    }
    Ok(())
}

/// Tells the stubs of the root directory: what the image's writer put there.
fn is_stub(entry: &Entry) -> bool {
    // A whiteout of the tree is no device in the image.
    entry.kind == EntryKind::CharDevice(Device::default()) && is_stub_name(entry.path.as_bytes())
}

/// Tells the names of stubs.
pub(super) fn is_stub_name(path: &[u8]) -> bool {
    let is_lower_hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    path.len() == 2 && path.iter().all(is_lower_hex)
}

/// Gives an entry the attributes it had, and finds the object it is redirected to.
fn restore(entry: &mut Entry, file_type: FileType) -> Result<Option<Content<'static>>, ReadError> {
    let mut attributes = std::mem::take(&mut entry.metadata.xattrs);
    let mut content = None;
    if file_type == FileType::File {
        content = object(&entry.path, |name| attributes.get(name))?;
        attributes.remove(overlay::METACOPY);
        attributes.remove(overlay::REDIRECT);
        let is_empty = matches!(entry.kind, EntryKind::File { size: 0, .. });
        if is_empty && take_marks(&mut attributes, &[b"whiteout"]) {
            entry.kind = EntryKind::CharDevice(Device::default());
        }
    }
    if entry.path.is_root() {
        attributes.remove(overlay::OPAQUE);
    }
    if file_type == FileType::Directory && take_marks(&mut attributes, &[b"whiteouts"]) {
        take_marks(&mut attributes, &[b"opaque"]);
    }
    let mut restored = Xattrs::new();
    for (name, value) in attributes.iter() {
        let kept = match name.strip_prefix(overlay::ESCAPE) {
            Some(rest) => restored.set(&[overlay::PREFIX, rest].concat(), value),
            None => restored.set(name, value),
        };
        kept.map_err(|source| ReadError::Xattr {
            path: entry.path.clone(),
            source,
        })?;
    }
    entry.metadata.xattrs = restored;
    Ok(content)
}

/// Removes marks that are in both namespaces of overlayfs. Returns whether all were there.
fn take_marks(attributes: &mut Xattrs, names: &[&[u8]]) -> bool {
    let full = |space: &[u8], name: &[u8]| [space, name].concat();
    let all: Vec<Vec<u8>> = names
        .iter()
        .flat_map(|name| [full(overlay::ESCAPE, name), full(overlay::USER, name)])
        .collect();
    let are_there = all.iter().all(|name| attributes.get(name).is_some());
    if are_there {
        all.iter().for_each(|name| {
            attributes.remove(name);
        });
    }
    are_there
}

/// Finds the object of a file by its attributes. `None` for a file whose content is in the image.
pub(super) fn object<'a>(
    path: &TreePath,
    get: impl Fn(&[u8]) -> Option<&'a [u8]>,
) -> Result<Option<Content<'static>>, ReadError> {
    let Some(metacopy) = get(overlay::METACOPY) else {
        return Ok(None);
    };
    let damaged = |name: &[u8]| ReadError::Redirect {
        path: path.clone(),
        name: name.to_vec(),
    };
    let digest = match metacopy {
        [] => None,
        [0, length, 0, number, digest @ ..] if usize::from(*length) == metacopy.len() => {
            let algorithm = FileAlgorithm::of_number(*number);
            let digest = algorithm.map(|algorithm| FileDigest::from_bytes(algorithm, digest));
            let digest = digest.and_then(Result::ok);
            Some(digest.ok_or_else(|| damaged(overlay::METACOPY))?)
        }
        _ => return Err(damaged(overlay::METACOPY)),
    };
    let redirect = match get(overlay::REDIRECT) {
        None => None,
        Some([b'/', path @ ..]) => Some(path.to_vec()),
        Some(_) => return Err(damaged(overlay::REDIRECT)),
    };
    Ok(Some(match (digest, redirect) {
        (Some(digest), Some(path)) if object_path(&digest).as_bytes() == path => {
            Content::Object(digest)
        }
        (digest, path) => Content::External {
            path: path.map(Into::into),
            digest,
        },
    }))
}
