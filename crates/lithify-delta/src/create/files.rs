//! Pieces of the new layer, as operations.

use lithify_cancel::CancelToken;
use lithify_fskit::Task;
use lithify_tree::TreePath;

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

/// Bytes of the new layer: headers, and a file behind them, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// What is before the file's data.
    raw: Vec<u8>,
    data: Vec<u8>,
    base: Option<Base>,
    /// Set if a file begins with it.
    is_first: bool,
}

/// What a piece became.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) ops: Ops,
    pub(super) kind: Kind,
    pub(super) is_first: bool,
    /// Bytes of the file's data.
    pub(super) data_bytes: u64,
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
    /// Returns a piece without a file.
    pub(super) fn of_headers(raw: Vec<u8>) -> Self {
        Self {
            raw,
            ..Self::default()
        }
    }

    /// Returns the piece of a whole file. Of old files no more than so many bytes are read.
    pub(super) fn of_file(
        old: &OldImage,
        raw: Vec<u8>,
        path: &TreePath,
        data: Vec<u8>,
        print: &Print,
        largest: u64,
    ) -> Self {
        let same = old.with_content(print);
        // The one in the same place, else the first: so it does not depend on how the old image is stored.
        let there = old.at(path).filter(|at| same.contains(at));
        let same = there.or(same.first().copied());
        let base = same.or_else(|| base::choose(old, path, print));
        let base = base.map(|file| Base {
            file,
            from: 0,
            // Of a larger one its front will do.
            to: old.file(file).size.min(largest),
        });
        Self {
            raw,
            data,
            base,
            is_first: true,
        }
    }

    /// Returns a piece of a file that is too large to be known as a whole, with what an old file has around there.
    pub(super) fn of_part(
        old: &OldImage,
        raw: Vec<u8>,
        data: Vec<u8>,
        at: u64,
        file: Option<usize>,
    ) -> Self {
        let around = data.len() as u64 / 2;
        let base = file.and_then(|file| {
            let from = at.saturating_sub(around);
            let to = (at + data.len() as u64 + around).min(old.file(file).size);
            (from < to).then_some(Base { file, from, to })
        });
        Self {
            raw,
            data,
            base,
            is_first: at == 0,
        }
    }

    /// Returns an estimate of the bytes of memory that its operations take, with the piece itself.
    pub(super) fn memory(&self, effort: Effort, index_memory: u64) -> u64 {
        let own = 2 * self.data.len() as u64 + self.raw.len() as u64;
        let base = self.base.map_or(0, |Base { from, to, .. }| {
            let (old, new) = (to - from, self.data.len() as u64);
            old + effort.memory(old, new, index_memory)
        });
        own + base
    }
}

/// The work of finding the operations that make a piece.
#[derive(Clone, Debug)]
pub(super) struct Compare {
    pub(super) old: OldImage,
    pub(super) effort: Effort,
    /// Most bytes of memory for an index of an old file.
    pub(super) index_memory: u64,
    pub(super) cancel: CancelToken,
}

impl Task for Compare {
    type State = ();
    type Job = Piece;
    type Done = Done;
    type Error = CreateError;

    fn start(&self) -> Result<(), CreateError> {
        Ok(())
    }

    fn run(&self, (): &mut (), piece: Piece) -> Result<Done, CreateError> {
        self.cancel.check()?;
        let mut ops = Encoder::with_shortest_copy(self.effort.shortest_copy());
        ops.data(&piece.raw);
        let kind = self.encode(&piece, &mut ops)?;
        Ok(Done {
            ops: ops.finish(),
            kind,
            is_first: piece.is_first,
            data_bytes: piece.data.len() as u64,
        })
    }
}

impl Compare {
    fn encode(&self, piece: &Piece, ops: &mut Encoder) -> Result<Kind, CreateError> {
        let new = &piece.data;
        // A file that is not longer than the operations that would name another one is best as it is.
        let named = |base: &Base| {
            let path = &self.old.file(base.file).path;
            new.len() > path.as_bytes().len() + 8
        };
        let Some(base) = piece.base.filter(named) else {
            ops.data(new);
            return Ok(Kind::New);
        };
        let old = self.old.part(base.file, base.from, base.to)?;
        let (kind, found) = match old == *new {
            true => (Kind::Same, vec![Cover::of_all(new.len())]),
            false => match covers(&old, new, self.effort, self.index_memory) {
                found if found.is_empty() => (Kind::New, found),
                found => (Kind::Changed, found),
            },
        };
        ops.open(&self.old.file(base.file).path)?;
        let mut at = 0;
        for cover in found {
            ops.data(&new[at..cover.new]);
            ops.changed(
                base.from + cover.old as u64,
                &old[cover.old..cover.old_end()],
                &new[cover.new..cover.new_end()],
            );
            at = cover.new_end();
        }
        ops.data(&new[at..]);
        Ok(kind)
    }
}
