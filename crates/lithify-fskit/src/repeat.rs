//! Contents that come again: a layer that an image names twice is read once.
//!
//! Their places are what they would be had the data been written again, so that the image is the same. Most often nothing
//! of the lower one is left when layers are merged; so data is copied to these places only once it is known to be needed.

use std::io;
use std::ops::Range;

use lithify_storage::Storage;

use crate::Placed;

/// Bytes copied at once.
const BUFFER: usize = 256 << 10;

/// Contents that are others' once more, without their data yet.
#[derive(Clone, Debug, Default)]
pub struct Repeats(Vec<Repeated>);

#[derive(Clone, Debug)]
struct Repeated {
    /// Those that have the data.
    of: Range<u32>,
    /// The first of those that are the same.
    first: u32,
}

impl Repeats {
    /// Notes that the contents from `first` on are the same as these, one for one.
    pub fn push(&mut self, of: Range<u32>, first: u32) {
        self.0.push(Repeated { of, first });
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies the data of those that are live to their places. There are none then.
    ///
    /// # Errors
    /// The storage's.
    pub fn copy<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        block_size: u32,
        contents: &impl Placed,
        live: impl Fn(usize) -> bool,
    ) -> io::Result<()> {
        let offset = |block: u32| u64::from(block) * u64::from(block_size);
        let mut buffer = vec![0; if self.is_empty() { 0 } else { BUFFER }];
        for Repeated { of, first } in std::mem::take(&mut self.0) {
            for (old, new) in of.zip(first..).filter(|&(_, new)| live(new as usize)) {
                let (from, blocks) = contents.extent(old as usize);
                let (to, _) = contents.extent(new as usize);
                let (mut from, mut to, mut left) = (offset(from), offset(to), offset(blocks));
                while left > 0 {
                    let piece = left.min(BUFFER as u64) as usize;
                    storage.read_exact_at(&mut buffer[..piece], from)?;
                    storage.write_all_at(&buffer[..piece], to)?;
                    (from, to) = (from + piece as u64, to + piece as u64);
                    left -= piece as u64;
                }
            }
        }
        Ok(())
    }
}
