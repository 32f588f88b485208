//! An image that is a layer of an overlay, in the terms of a layer of an image: a character device 0:0 is a whiteout, a
//! directory with `trusted.overlay.opaque` an opaque marker besides, and attributes of the image's own are unescaped.

use std::fmt;

use lithify_tree::overlay::{Restored, restore};
use lithify_tree::{Device, Entry, EntryKind, Metadata, TreePath};

use super::{Entries, Image, Inode, entry};

/// What [`Entries`] gives of an image made as a layer of an overlay, with whiteouts and opaque markers for what overlayfs
/// has in their place; a marker comes before its directory. After an error it ends.
pub struct OverlayEntries<'a, I: Image> {
    entries: Entries<'a, I>,
    describes_root: bool,
    /// An opaque directory's own entry, which follows its marker.
    pending: Option<(Entry, I::Inode)>,
    failed: bool,
}

impl<I: Image> fmt::Debug for OverlayEntries<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayEntries")
            .field("entries", &self.entries)
            .field("describes_root", &self.describes_root)
            .finish_non_exhaustive()
    }
}

impl<'a, I: Image> OverlayEntries<'a, I> {
    /// Starts at the root. Its own entry is left out unless the layer describes it: an image always has one.
    pub fn new(image: &'a I, describes_root: bool) -> Self {
        Self {
            entries: Entries::new(image),
            describes_root,
            pending: None,
            failed: false,
        }
    }

    fn advance(&mut self) -> Result<Option<(Entry, I::Inode)>, I::Error> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        for item in self.entries.by_ref() {
            let (mut entry, inode) = item?;
            // By the inode: overlayfs and others make many whiteouts names of one.
            if inode.is_whiteout() {
                entry.kind = EntryKind::CharDevice(Device::default());
            }
            let restored = restored::<I>(entry, &inode)?;
            let marker = restored.marker();
            let entry = restored.entry;
            let described = self.describes_root || !entry.path.is_root();
            if let Some(marker) = marker {
                self.pending = described.then(|| (entry, inode.clone()));
                return Ok(Some((marker, inode)));
            }
            if described {
                return Ok(Some((entry, inode)));
            }
        }
        Ok(None)
    }
}

impl<I: Image> Iterator for OverlayEntries<'_, I> {
    type Item = Result<(Entry, I::Inode), I::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let result = self.advance();
        self.failed = result.is_err();
        result.transpose()
    }
}

/// Returns what [`OverlayEntries`] says of one inode under a name, without reading anything else. Never a hard link.
///
/// # Errors
/// It is damaged, or has an attribute that would have overlayfs look elsewhere.
pub fn overlay_entry<I: Image>(
    image: &I,
    path: TreePath,
    inode: &I::Inode,
) -> Result<Restored, I::Error> {
    let entry = match inode.is_whiteout() {
        true => Entry {
            path,
            metadata: Metadata::default(),
            kind: EntryKind::CharDevice(Device::default()),
        },
        false => entry(image, path, inode)?,
    };
    restored::<I>(entry, inode)
}

fn restored<I: Image>(entry: Entry, inode: &I::Inode) -> Result<Restored, I::Error> {
    restore(entry).map_err(|foreign| I::overlay_xattr(inode, foreign.name))
}
