//! A tar, as it passes.

use std::collections::VecDeque;
use std::io::Write;

use lithify_fskit::{Pool, PoolError};
use lithify_tar::{MemberKind, Part, Splitter, TarError};
use lithify_tree::TreePath;

use super::base;
use super::error::CreateError;
use super::files::{Compare, Kind, Piece};
use super::old::OldImage;
use super::options::CreateOptions;
use super::print::Printer;
use crate::format::DeltaWriter;

/// Bytes of headers that are one piece, at most: they may be anything, and any number.
const RAW_MAX: usize = 4 << 20;

/// Pieces in flight for each thread, at most: most are small.
const PIECES: usize = 64;

/// What went into a delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of the new layer's tar.
    pub tar_bytes: u64,
    /// Bytes of operations, before they are compressed.
    pub op_bytes: u64,
    /// Files whose content the old image has.
    pub same: u64,
    /// Files that the old image has something of.
    pub changed: u64,
    /// Files that it has nothing of.
    pub new: u64,
    /// Bytes of files whose content the old image has.
    pub same_bytes: u64,
    /// Bytes of files that the old image has something of.
    pub changed_bytes: u64,
    /// Bytes of files that it has nothing of.
    pub new_bytes: u64,
}

/// Writes the delta of a layer from the bytes of its tar, in pieces of any length.
///
/// It is a delta of version 1 that all readers take. It has not been applied: whoever publishes it does that before.
#[derive(Debug)]
pub struct LayerDelta<W: Write> {
    old: OldImage,
    options: CreateOptions,
    splitter: Splitter,
    /// Bytes that are no file's and were not handed in yet.
    raw: Vec<u8>,
    open: Option<Open>,
    pool: Pool<Compare>,
    /// Memory of each piece in flight, and of all.
    in_flight: VecDeque<u64>,
    memory: u64,
    writer: DeltaWriter<W>,
    report: Report,
}

/// A file whose data is being read.
#[derive(Debug)]
struct Open {
    path: TreePath,
    data: Vec<u8>,
    printer: Printer,
    /// Set if the file is handed in in parts.
    parts: Option<Parts>,
}

/// A file that is larger than what is held at a time.
#[derive(Debug)]
struct Parts {
    /// The old file that it may be like.
    base: Option<usize>,
    /// Bytes handed in.
    sent: u64,
}

impl<W: Write> LayerDelta<W> {
    /// Begins a delta.
    ///
    /// # Errors
    /// [`CreateError::Write`].
    pub fn new(old: &OldImage, out: W, options: &CreateOptions) -> Result<Self, CreateError> {
        let limit = |threads| PIECES * threads + 1;
        let compare = Compare {
            old: old.clone(),
            effort: options.effort,
            index_memory: options.index_memory(),
            cancel: options.cancel.clone(),
        };
        Ok(Self {
            old: old.clone(),
            options: options.clone(),
            splitter: Splitter::new(options.limits),
            raw: Vec::new(),
            open: None,
            pool: Pool::new(compare, "lithify-delta", options.threads, limit),
            in_flight: VecDeque::new(),
            memory: 0,
            writer: DeltaWriter::new(out, options.compression())?,
            report: Report::default(),
        })
    }

    /// Adds the tar's next bytes. Where pieces end does not depend on how many come at a time.
    ///
    /// # Errors
    /// [`CreateError`]; nothing more is to be added after it.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), CreateError> {
        self.options.cancel.check()?;
        self.report.tar_bytes += bytes.len() as u64;
        while let Some(part) = self.splitter.next(&mut bytes).map_err(tar_error)? {
            match part {
                Part::Raw(bytes) => self.raw(bytes)?,
                Part::Member => self.open = self.open(),
                Part::Data(bytes) => match self.open.take() {
                    Some(open) => self.open = Some(self.data(open, bytes)?),
                    None => self.raw(bytes)?,
                },
                Part::DataEnd => {
                    if let Some(open) = self.open.take() {
                        self.close(open)?;
                    }
                }
                Part::End => {}
            }
        }
        Ok(())
    }

    /// Ends the delta; returns the output.
    ///
    /// # Errors
    /// [`CreateError`], also for a tar that is cut.
    pub fn finish(mut self) -> Result<(W, Report), CreateError> {
        self.splitter.finish().map_err(tar_error)?;
        self.send_raw()?;
        while self.take(true)? {}
        Ok((self.writer.finish()?, self.report))
    }

    /// Takes bytes that are no file's.
    fn raw(&mut self, mut bytes: &[u8]) -> Result<(), CreateError> {
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(RAW_MAX - self.raw.len()));
            self.raw.extend_from_slice(taken);
            bytes = rest;
            if self.raw.len() == RAW_MAX {
                self.send_raw()?;
            }
        }
        Ok(())
    }

    /// Begins a member's data, if that may be in the old image.
    fn open(&mut self) -> Option<Open> {
        let size = self.splitter.data_left();
        let member = self.splitter.member();
        if member.kind != MemberKind::File || member.segments.is_some() || size == 0 {
            return None;
        }
        let path = TreePath::clean(&member.path).ok()?;
        let is_large = size > self.options.largest_file();
        let parts = is_large.then(|| Parts {
            base: base::by_name(&self.old, &path, size),
            sent: 0,
        });
        Some(Open {
            path,
            data: Vec::new(),
            printer: Printer::new(),
            parts,
        })
    }

    /// Takes data of a file.
    fn data(&mut self, mut open: Open, mut bytes: &[u8]) -> Result<Open, CreateError> {
        let Some(parts) = &mut open.parts else {
            open.printer.update(bytes);
            open.data.extend_from_slice(bytes);
            return Ok(open);
        };
        let part = self.options.part_of_file();
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(part - open.data.len()));
            open.data.extend_from_slice(taken);
            bytes = rest;
            if open.data.len() == part {
                let data = std::mem::take(&mut open.data);
                let at = parts.sent;
                parts.sent += data.len() as u64;
                let raw = std::mem::take(&mut self.raw);
                self.send(Piece::of_part(&self.old, raw, data, at, parts.base))?;
            }
        }
        Ok(open)
    }

    fn close(&mut self, open: Open) -> Result<(), CreateError> {
        let raw = std::mem::take(&mut self.raw);
        self.send(match open.parts {
            None => {
                let print = open.printer.finish();
                let largest = self.options.largest_file();
                Piece::of_file(&self.old, raw, &open.path, open.data, &print, largest)
            }
            Some(Parts { base, sent }) => Piece::of_part(&self.old, raw, open.data, sent, base),
        })
    }

    fn send_raw(&mut self) -> Result<(), CreateError> {
        match std::mem::take(&mut self.raw) {
            raw if raw.is_empty() => Ok(()),
            raw => self.send(Piece::of_headers(raw)),
        }
    }

    /// Hands a piece in, once there is memory for it. One that takes more than there is is worked on alone.
    fn send(&mut self, piece: Piece) -> Result<(), CreateError> {
        let needed = piece.memory(self.options.effort, self.options.index_memory());
        while self.pool.is_full()
            || !self.in_flight.is_empty() && self.memory + needed > self.options.for_files()
        {
            self.take(true)?;
        }
        self.memory += needed;
        self.in_flight.push_back(needed);
        self.pool.submit(piece);
        while self.take(false)? {}
        Ok(())
    }

    /// Writes what the oldest piece became; tells whether there was one that was done.
    fn take(&mut self, wait: bool) -> Result<bool, CreateError> {
        let taken = self.pool.take(wait).map_err(|e| match e {
            PoolError::Task(e) => e,
            PoolError::ThreadLost => CreateError::ThreadLost,
        })?;
        let Some(done) = taken else {
            return Ok(false);
        };
        self.memory -= self.in_flight.pop_front().unwrap_or(0);
        let report = &mut self.report;
        report.op_bytes += done.ops.len() as u64;
        let (files, bytes) = match done.kind {
            Kind::Same => (&mut report.same, &mut report.same_bytes),
            Kind::Changed => (&mut report.changed, &mut report.changed_bytes),
            Kind::New => (&mut report.new, &mut report.new_bytes),
        };
        *files += u64::from(done.is_first);
        *bytes += done.data_bytes;
        self.writer.ops(&done.ops)?;
        Ok(true)
    }
}

fn tar_error(error: TarError) -> CreateError {
    CreateError::Tar(Box::new(error))
}
