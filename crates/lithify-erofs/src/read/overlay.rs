//! Images that are layers of an overlay, in the terms of a layer: a character device 0:0 is a whiteout, a directory
//! with `trusted.overlay.opaque` an opaque marker besides, and attributes of the image's own are unescaped.

use lithify_tree::{
    ContentId, Device, Entry, EntryKind, LayerEntries, Metadata, TreePath, Xattrs, overlay,
};

use super::walk::Entries;
use super::{Image, Inode};
use crate::{FileType, ReadAt, ReadError};

/// What overlayfs notes about its own work and a layer does not say (`fs/overlayfs/overlayfs.h`). All others give a
/// file another name, other data or another meaning.
const BOOKKEEPING: [&[u8]; 5] = [b"origin", b"impure", b"nlink", b"upper", b"uuid"];

/// A layer's image as the layer's entries. After an error it ends.
#[derive(Debug)]
pub struct OverlayEntries<'a, R> {
    entries: Entries<'a, R>,
    describes_root: bool,
    /// An opaque directory's own entry, which follows its marker.
    pending: Option<(Entry, Inode)>,
    failed: bool,
}

/// A layer's image as [`Image::layer_entries`] gives it.
#[derive(Debug)]
#[non_exhaustive]
pub struct LayerContents {
    /// What the layer says.
    pub entries: LayerEntries,
    /// The inode of each file that is not empty: the content of number `n` from the first is that of the inode
    /// `files[n]`.
    pub files: Vec<u64>,
}

impl<R: ReadAt> Image<R> {
    /// This image, made as a layer of an overlay, as the entries of that layer: what [`entries`](Self::entries) gives,
    /// with whiteouts and opaque markers for what overlayfs has in their place. The root directory's own entry is left
    /// out unless the layer describes it: an image always has one.
    ///
    /// # Errors
    /// The iterator's items: [`ReadError`] when something is damaged, [`ReadError::OverlayXattr`] when an attribute
    /// would have overlayfs look elsewhere (`trusted.overlay.redirect`, `metacopy` and the like).
    #[must_use]
    pub fn overlay_entries(&self, describes_root: bool) -> OverlayEntries<'_, R> {
        OverlayEntries {
            entries: self.entries(),
            describes_root,
            pending: None,
            failed: false,
        }
    }

    /// Like [`overlay_entries`](Self::overlay_entries), collected for a [`Merge`](lithify_tree::Merge). Contents are
    /// numbered from `first` on, so that several layers of one merge have different ones.
    ///
    /// # Errors
    /// [`ReadError`] as for [`overlay_entries`](Self::overlay_entries), [`ReadError::LayerFull`] when the numbers end.
    pub fn layer_entries(
        &self,
        describes_root: bool,
        first: ContentId,
    ) -> Result<LayerContents, ReadError> {
        let mut contents = LayerContents {
            entries: LayerEntries::new(),
            files: Vec::new(),
        };
        for item in self.overlay_entries(describes_root) {
            let (entry, inode) = item?;
            let mut content = None;
            if let EntryKind::File { size: 1.., .. } = entry.kind {
                let number = u32::try_from(contents.files.len())
                    .ok()
                    .and_then(|n| n.checked_add(first.0));
                content = Some(ContentId(number.ok_or(lithify_tree::LayerFull)?));
                contents.files.push(inode.nid());
            }
            contents.entries.push(&entry, content)?;
        }
        Ok(contents)
    }
}

/// One inode of a layer of an overlay, as [`Image::overlay_entry`] gives it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OverlayEntry {
    /// What it is; a whiteout for a character device 0:0.
    pub entry: Entry,
    /// Whether it is a directory in which lower layers have no say.
    pub opaque: bool,
}

impl<R: ReadAt> Image<R> {
    /// An inode of this image, made as a layer of an overlay, under a name: what
    /// [`overlay_entries`](Self::overlay_entries) says of it, without reading anything else. Never a hard link.
    ///
    /// # Errors
    /// As [`overlay_entries`](Self::overlay_entries).
    pub fn overlay_entry(&self, path: TreePath, inode: &Inode) -> Result<OverlayEntry, ReadError> {
        if inode.file_type() == FileType::CharDevice && inode.device() == Device::default() {
            let entry = Entry {
                path,
                metadata: Metadata::default(),
                kind: EntryKind::Whiteout,
            };
            return Ok(OverlayEntry {
                entry,
                opaque: false,
            });
        }
        let mut entry = self.entry(path, inode)?;
        let opaque = take_overlay_xattrs(&mut entry.metadata.xattrs, inode)?
            && entry.kind == EntryKind::Directory;
        Ok(OverlayEntry { entry, opaque })
    }
}

impl<R: ReadAt> OverlayEntries<'_, R> {
    fn advance(&mut self) -> Result<Option<(Entry, Inode)>, ReadError> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        for item in self.entries.by_ref() {
            let (mut entry, inode) = item?;
            // By the inode: overlayfs and others make many whiteouts names of one.
            if inode.file_type() == FileType::CharDevice && inode.device() == Device::default() {
                entry.kind = EntryKind::Whiteout;
                entry.metadata = Metadata::default();
                return Ok(Some((entry, inode)));
            }
            let opaque = take_overlay_xattrs(&mut entry.metadata.xattrs, &inode)?
                && entry.kind == EntryKind::Directory;
            let described = self.describes_root || !entry.path.is_root();
            if opaque {
                let marker = Entry {
                    path: entry.path.clone(),
                    metadata: Metadata::default(),
                    kind: EntryKind::Opaque,
                };
                self.pending = described.then_some((entry, inode));
                return Ok(Some((marker, inode)));
            }
            if described {
                return Ok(Some((entry, inode)));
            }
        }
        Ok(None)
    }
}

impl<R: ReadAt> Iterator for OverlayEntries<'_, R> {
    type Item = Result<(Entry, Inode), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let result = self.advance();
        self.failed = result.is_err();
        result.transpose()
    }
}

/// Removes overlayfs's attributes and unescapes the image's own of such names; says whether the opaque one was there.
fn take_overlay_xattrs(xattrs: &mut Xattrs, inode: &Inode) -> Result<bool, ReadError> {
    if !xattrs
        .iter()
        .any(|(name, _)| name.starts_with(overlay::XATTR_PREFIX))
    {
        return Ok(false);
    }
    let nid = inode.nid();
    let mut kept = Xattrs::new();
    let mut opaque = false;
    for (name, value) in xattrs.iter() {
        let set = if let Some(own) = name.strip_prefix(overlay::XATTR_ESCAPE) {
            kept.set(&[overlay::XATTR_PREFIX, own].concat(), value)
        } else if name == overlay::OPAQUE_XATTR && value == overlay::OPAQUE_VALUE {
            opaque = true;
            Ok(())
        } else if let Some(rest) = name.strip_prefix(overlay::XATTR_PREFIX) {
            if !BOOKKEEPING.contains(&rest) {
                let name = name.to_vec();
                return Err(ReadError::OverlayXattr { nid, name });
            }
            Ok(())
        } else {
            kept.set(name, value)
        };
        set.map_err(|_| ReadError::Xattrs {
            nid,
            reason: crate::XattrDamage::Name,
        })?;
    }
    *xattrs = kept;
    Ok(opaque)
}
