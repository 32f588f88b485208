//! Images that are layers of an overlay, as layers.

use lithify_tree::{ContentId, EntryKind, LayerEntries};

use super::Image;
use crate::{ReadAt, ReadError};

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
