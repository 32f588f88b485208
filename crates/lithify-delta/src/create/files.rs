//! A file of the new layer, as operations.

use super::base;
use super::error::CreateError;
use super::old::OldImage;
use super::print::Print;
use crate::diff::{Cover, Effort, covers};
use crate::format::{Encoder, Ops};

/// A part of an old file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    file: usize,
    from: u64,
    to: u64,
}

impl Base {
    const fn len(&self) -> u64 {
        self.to - self.from
    }
}

/// Bytes of the new layer: headers, and a file behind them, or a part of one.
#[derive(Debug)]
pub(super) struct Piece {
    /// What is before the file's data.
    pub(super) raw: Vec<u8>,
    pub(super) data: Vec<u8>,
    pub(super) base: Option<Base>,
}

/// What a piece became.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) ops: Ops,
    pub(super) kind: Kind,
}

/// How much of a piece's file is in the old image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All of it.
    Same,
    /// Some of it.
    Changed,
    /// None of it.
    New,
}

impl Piece {
    /// Returns the piece of a whole file. Of old files no more than so many bytes are read.
    pub(super) fn of_file(
        old: &OldImage<'_>,
        raw: Vec<u8>,
        path: &[u8],
        data: Vec<u8>,
        print: &Print,
        largest: u64,
    ) -> Self {
        let same = old.with_content(print);
        // The one in the same place, else the first: so it does not depend on how the old image is stored.
        let same = old
            .at(path)
            .filter(|at| same.contains(at))
            .or(same.first().copied());
        let base = same.or_else(|| base::choose(old, path, print));
        let base = base.map(|file| Base {
            file,
            from: 0,
            // Of a larger one its front will do.
            to: old.files[file].size.min(largest),
        });
        Self { raw, data, base }
    }

    /// Returns a piece of a file that is too large to be known as a whole, with what the old file has around there.
    pub(super) fn of_part(
        old: &OldImage<'_>,
        raw: Vec<u8>,
        data: Vec<u8>,
        at: u64,
        file: Option<usize>,
    ) -> Self {
        let around = data.len() as u64 / 2;
        let base = file.and_then(|file| {
            let from = at.saturating_sub(around);
            let to = (at + data.len() as u64 + around).min(old.files[file].size);
            (from < to).then_some(Base { file, from, to })
        });
        Self { raw, data, base }
    }

    /// Returns an estimate of the bytes of memory that [`Self::encode`] takes, with the piece itself.
    pub(super) fn memory(&self, effort: Effort) -> u64 {
        let own = 2 * self.data.len() as u64 + self.raw.len() as u64;
        let base = self.base.map_or(0, |base| {
            let length = usize::try_from(base.len()).unwrap_or(usize::MAX);
            base.len()
                .saturating_add(effort.memory(length, self.data.len()))
        });
        own.saturating_add(base)
    }

    /// Finds the operations that make the piece.
    pub(super) fn encode(self, old: &OldImage<'_>, effort: Effort) -> Result<Done, CreateError> {
        let mut ops = Encoder::new();
        ops.data(&self.raw);
        let mut kind = Kind::New;
        // A file that is not longer than the operations that would name another one is best as it is.
        let base = self.base.filter(|base| {
            let path = old.files[base.file].path.as_bytes().len();
            self.data.len() > path + 8
        });
        let Some(base) = base else {
            ops.data(&self.data);
            return Ok(Done {
                ops: ops.finish(),
                kind,
            });
        };
        let before = old.part(base.file, base.from, base.to)?;
        let found = if before == self.data {
            kind = Kind::Same;
            vec![Cover {
                new: 0,
                old: 0,
                length: before.len(),
            }]
        } else {
            covers(&before, &self.data, effort)
        };
        if !found.is_empty() {
            ops.open(&old.files[base.file].path)?;
            kind = if kind == Kind::Same {
                kind
            } else {
                Kind::Changed
            };
        }
        let mut at = 0;
        for cover in found {
            ops.data(&self.data[at..cover.new]);
            ops.changed(
                base.from + cover.old as u64,
                &before[cover.old..cover.old_end()],
                &self.data[cover.new..cover.new_end()],
            );
            at = cover.new_end();
        }
        ops.data(&self.data[at..]);
        Ok(Done {
            ops: ops.finish(),
            kind,
        })
    }
}
