//! The names in an image, one after another, without a tree in memory.

use std::collections::{HashMap, HashSet};

use lithify_cancel::CancelToken;
use lithify_erofs::{FileType, Inode};
use lithify_storage::ReadAt;
use lithify_tree::{Device, Timestamp, TreePath};

use super::format::overlay;
use super::read::{ReadError, is_stub_name, object, read_header};
use crate::source::{Content, INLINE_CONTENT_MAX};

/// A name in an image, and the file it names as it is in the tree that the image was made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageEntry {
    /// The path; empty for the root directory.
    pub path: Vec<u8>,
    /// The first name of the same file, if this is another one.
    pub first: Option<Vec<u8>>,
    /// `st_mode` with its type bits.
    pub mode: u16,
    /// Bytes: of a file's content, of a directory's entries in the image, of a link's target.
    pub size: u64,
    /// Number of links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of a device.
    pub device: Device,
    /// Time of modification.
    pub mtime: Timestamp,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Content of a regular file that is not empty.
    pub content: Option<Content<'static>>,
    /// Extended attributes, in the order in which they stand in the image.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl ImageEntry {
    /// Tells whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.is(FileType::File)
    }

    /// Tells whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.is(FileType::Directory)
    }

    fn is(&self, file_type: FileType) -> bool {
        FileType::from_mode(self.mode) == Some(file_type)
    }

    /// Returns the path of a regular file's content below the directory of objects, if it is not in the image.
    #[must_use]
    pub fn external_path(&self) -> Option<Vec<u8>> {
        match self.content.as_ref()? {
            Content::Inline(_) => None,
            Content::Object(digest) => Some(crate::object_path(digest).into_bytes()),
            Content::External { path, .. } => path.as_ref().map(|path| path.to_vec()),
        }
    }
}

/// Calls `each` with every name in an image but stubs, directories before what is in them, names in the order of their bytes.
///
/// Attributes are those of the tree, but that directories with whiteouts are shown as opaque where they are so in the image,
/// as `composefs-info` shows them: an image that is made of it again is the same. Memory grows with the number of files, by some
/// 20 bytes each, and by the paths of those that have several names.
///
/// # Errors
/// [`ReadError`], or that of `each`.
pub fn entries<R: ReadAt, E: From<ReadError>>(
    image: R,
    cancel: &CancelToken,
    mut each: impl FnMut(ImageEntry) -> Result<(), E>,
) -> Result<(), E> {
    read_header(&image)?;
    let image = lithify_erofs::Image::open(image).map_err(ReadError::from)?;
    let mut names = Names::default();
    for (number, item) in image.walk().enumerate() {
        if number % 256 == 0 {
            cancel.check().map_err(ReadError::from)?;
        }
        let found = item.map_err(ReadError::from)?;
        let inode = found.inode;
        let is_null = inode.device() == Device::default();
        if inode.file_type() == FileType::CharDevice && is_null && is_stub_name(&found.path) {
            continue;
        }
        let mut entry = read_entry(&image, found.path, &inode)?;
        if inode.file_type() != FileType::Directory {
            entry.first = names.first(&image, &inode, &entry.path)?;
        }
        each(entry)?;
    }
    Ok(())
}

/// The files met so far, by the numbers of their inodes.
#[derive(Default)]
struct Names {
    /// The first names of those that say they have several.
    firsts: HashMap<u64, Vec<u8>>,
    /// Those that say they have one.
    single: HashSet<u64>,
    /// The first names of all, as soon as one of those turned out to have another one: a dumpfile may say any number of links.
    all: Option<HashMap<u64, Vec<u8>>>,
}

impl Names {
    /// Returns the first name of a file, if this is another one.
    fn first<R: ReadAt>(
        &mut self,
        image: &lithify_erofs::Image<R>,
        inode: &Inode,
        path: &[u8],
    ) -> Result<Option<Vec<u8>>, ReadError> {
        if inode.nlink() > 1 {
            return Ok(match self.firsts.get(&inode.nid()) {
                Some(first) => Some(first.clone()),
                None => {
                    self.firsts.insert(inode.nid(), path.to_vec());
                    None
                }
            });
        }
        if self.single.insert(inode.nid()) {
            return Ok(None);
        }
        let all = match &mut self.all {
            Some(all) => all,
            None => {
                let mut all = HashMap::new();
                for found in image.walk() {
                    let found = found?;
                    all.entry(found.inode.nid()).or_insert(found.path);
                }
                self.all.insert(all)
            }
        };
        Ok(all.get(&inode.nid()).cloned())
    }
}

fn read_entry<R: ReadAt>(
    image: &lithify_erofs::Image<R>,
    path: Vec<u8>,
    inode: &Inode,
) -> Result<ImageEntry, ReadError> {
    let mut entry = ImageEntry {
        first: None,
        mode: inode.mode() | inode.file_type().type_bits(),
        size: inode.size(),
        nlink: inode.nlink(),
        uid: inode.uid(),
        gid: inode.gid(),
        device: inode.device(),
        mtime: inode.mtime(),
        target: None,
        content: None,
        xattrs: Vec::new(),
        path,
    };
    image.each_stored_xattr(inode, |name, value| {
        entry.xattrs.push((name.to_vec(), value.to_vec()));
    })?;
    match inode.file_type() {
        FileType::File => {
            // Only errors need it.
            let path = || TreePath::clean(&entry.path).unwrap_or_else(|_| TreePath::root());
            let all = &entry.xattrs;
            let get = |name: &[u8]| {
                let found = all.iter().find(|(n, _)| n == name);
                found.map(|(_, value)| value.as_slice())
            };
            let content = match all.is_empty() {
                true => None,
                false => object(&path(), get)?,
            };
            entry.content = match (inode.size(), content) {
                (0, _) => None,
                (_, Some(content)) => Some(content),
                (found, None) if found > INLINE_CONTENT_MAX as u64 => {
                    let path = path();
                    return Err(ReadError::Inline { path, found });
                }
                (size, None) => Some(Content::Inline(image.read_to_vec(inode, size)?.into())),
            };
            let is_whiteout = inode.size() == 0 && remove_marks(&mut entry.xattrs, b"whiteout");
            if is_whiteout {
                entry.mode = inode.mode() | FileType::CharDevice.type_bits();
            }
        }
        FileType::Symlink => entry.target = Some(image.read_link(inode)?),
        FileType::Directory => {
            remove_marks(&mut entry.xattrs, b"whiteouts");
        }
        _ => {}
    }
    entry.xattrs.retain_mut(|(name, _)| {
        if let Some(rest) = name.strip_prefix(overlay::ESCAPE) {
            *name = [overlay::PREFIX, rest].concat();
            return true;
        }
        // What is not escaped is the image's own.
        !name.starts_with(overlay::PREFIX)
    });
    Ok(entry)
}

/// Removes a mark that is in both namespaces of overlayfs. Returns whether it was.
fn remove_marks(attributes: &mut Vec<(Vec<u8>, Vec<u8>)>, mark: &[u8]) -> bool {
    let names = [
        [overlay::ESCAPE, mark].concat(),
        [overlay::USER, mark].concat(),
    ];
    let is_there = |name| attributes.iter().any(|(n, _)| n == name);
    let are_there = names.iter().all(is_there);
    if are_there {
        attributes.retain(|(name, _)| !names.contains(name));
    }
    are_there
}
