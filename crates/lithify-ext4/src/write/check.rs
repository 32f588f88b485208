//! Options no filesystem can have, whatever is in it: known before there is any data.

use super::directory::lost_and_found_blocks;
use super::options::{DataOptions, ImageOptions};
use super::size::{self, Needs};
use crate::WriteError;
use crate::format::FIRST_INODE;

impl ImageOptions {
    /// Checks that there can be a filesystem with these options and those of its data. With contents it may still be too small.
    ///
    /// # Errors
    /// [`WriteError`] that says which option it is, and what would do.
    pub fn check(&self, data: &DataOptions) -> Result<(), WriteError> {
        self.check_label()?;
        let geometry = data.geometry()?;
        if let Some(asked) = data.inodes
            && asked < FIRST_INODE
        {
            let own = FIRST_INODE;
            return Err(WriteError::Inodes { asked, own });
        }
        // The root, `lost+found`, and the block that leads to reserved ones.
        let blocks = 1 + u64::from(lost_and_found_blocks(geometry.block_size)) + 1;
        let needs = Needs {
            data: blocks,
            inodes: FIRST_INODE,
        };
        match size::decide(&geometry, needs, data, self, |_| Ok(blocks)) {
            Err(WriteError::TooSmall { size, needed }) => {
                Err(WriteError::TooSmallEmpty { size, needed })
            }
            found => found.map(drop),
        }
    }

    /// Checks that the label fits.
    pub(super) fn check_label(&self) -> Result<(), WriteError> {
        match self.label.len() > 16 || self.label.contains(&0) {
            true => Err(WriteError::Label {
                label: self.label.clone(),
            }),
            false => Ok(()),
        }
    }
}
