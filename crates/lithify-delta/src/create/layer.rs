//! A tar, as it passes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lithify_tar::{MemberKind, Part, Splitter};
use lithify_tree::TreePath;

use super::base;
use super::budget::{Memory, Taken};
use super::error::CreateError;
use super::files::{Done, Kind, Piece};
use super::old::OldImage;
use super::options::CreateOptions;
use super::print::Printer;
use crate::format::DeltaWriter;

/// Bytes of the tar read at a time.
const BUFFER: usize = 256 << 10;

/// Bytes of headers that are one piece, at most: they may be anything, and any number.
const RAW_MAX: usize = 4 << 20;

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
    /// Bytes of them, in that order.
    pub same_bytes: u64,
    /// Bytes of files that the old image has something of.
    pub changed_bytes: u64,
    /// Bytes of files that it has nothing of.
    pub new_bytes: u64,
}

/// Creates the delta of a layer, from its tar.
///
/// What is written is a delta of version 1 that all readers take. It has not been applied: whoever publishes it does that before.
///
/// # Errors
/// [`CreateError`].
pub fn create<W: Write + Send>(
    tar: &mut dyn Read,
    old: &OldImage<'_>,
    out: W,
    options: &CreateOptions,
) -> Result<(W, Report), CreateError> {
    let writer = DeltaWriter::new(out, options.compression())?;
    let memory = Memory::new(options.memory);
    let (jobs, waiting) = channel::<Job<'_>>();
    let (done, finished) = channel();
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        for _ in 0..options.threads.get() {
            let (waiting, done) = (&waiting, done.clone());
            let work = move || work(waiting, &done, old, options);
            thread::Builder::new()
                .spawn_scoped(scope, work)
                .map_err(CreateError::Thread)?;
        }
        drop(done);
        let collect = move || collect(&finished, writer);
        let collector = thread::Builder::new().spawn_scoped(scope, collect);
        let collector = collector.map_err(CreateError::Thread)?;
        let sent = Feed {
            old,
            options,
            memory: &memory,
            jobs,
            number: 0,
            raw: Vec::new(),
            tar_bytes: 0,
        }
        .run(tar);
        let written = collector.join();
        let written = written.unwrap_or_else(|panic| resume_unwind(panic));
        let tar_bytes = sent?;
        let (out, mut report) = written?;
        report.tar_bytes = tar_bytes;
        Ok((out, report))
    })
}

/// A piece, its place among all, and the memory for it.
struct Job<'a> {
    number: u64,
    piece: Piece,
    memory: Taken<'a>,
}

/// What became of a job.
struct Finished<'a> {
    number: u64,
    length: u64,
    done: Result<Done, CreateError>,
    memory: Taken<'a>,
}

/// Does jobs, until there are no more.
fn work<'a>(
    waiting: &Mutex<Receiver<Job<'a>>>,
    done: &Sender<Finished<'a>>,
    old: &OldImage<'_>,
    options: &CreateOptions,
) {
    loop {
        let job = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(job) = job else {
            return;
        };
        let length = job.piece.data.len() as u64;
        let piece = job.piece;
        let encode = || match options.cancel.check() {
            Ok(()) => piece.encode(old, options.effort),
            Err(e) => Err(e.into()),
        };
        let (result, panic) = match catch_unwind(AssertUnwindSafe(encode)) {
            Ok(result) => (result, None),
            // The others are not to wait for this piece.
            Err(panic) => {
                let ended = io::Error::other("it panicked");
                (Err(CreateError::Thread(ended)), Some(panic))
            }
        };
        let result = Finished {
            number: job.number,
            length,
            done: result,
            memory: job.memory,
        };
        let is_over = done.send(result).is_err();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        if is_over {
            return;
        }
    }
}

/// Writes what jobs made, in their order.
fn collect<W: Write>(
    finished: &Receiver<Finished<'_>>,
    mut writer: DeltaWriter<W>,
) -> Result<(W, Report), CreateError> {
    let mut report = Report::default();
    let mut early = BTreeMap::new();
    let mut next = 0;
    let mut failed = None;
    // To the end, also after an error: whoever waits for memory is to have it.
    for result in finished {
        early.insert(result.number, result);
        while let Some(result) = early.remove(&next) {
            next += 1;
            let written = result.done.and_then(|done| {
                report.op_bytes += done.ops.len() as u64;
                if result.length > 0 {
                    let (files, bytes) = match done.kind {
                        Kind::Same => (&mut report.same, &mut report.same_bytes),
                        Kind::Changed => (&mut report.changed, &mut report.changed_bytes),
                        Kind::New => (&mut report.new, &mut report.new_bytes),
                    };
                    *files += 1;
                    *bytes += result.length;
                }
                match failed {
                    None => Ok(writer.ops(&done.ops)?),
                    Some(_) => Ok(()),
                }
            });
            drop(result.memory);
            if let Err(e) = written {
                failed.get_or_insert(e);
            }
        }
    }
    match failed {
        Some(e) => Err(e),
        None => Ok((writer.finish()?, report)),
    }
}

/// Reads the tar, and makes jobs of it.
struct Feed<'a, 'o> {
    old: &'a OldImage<'o>,
    options: &'a CreateOptions,
    memory: &'a Memory,
    jobs: Sender<Job<'a>>,
    number: u64,
    /// What is not sent yet.
    raw: Vec<u8>,
    tar_bytes: u64,
}

/// A file whose data is being read.
struct Open {
    path: Vec<u8>,
    size: u64,
    data: Vec<u8>,
    printer: Printer,
    /// Set if the file is sent in parts: which old file it is like, and how much was sent.
    parts: Option<(Option<usize>, u64)>,
}

impl Feed<'_, '_> {
    fn run(mut self, tar: &mut dyn Read) -> Result<u64, CreateError> {
        let mut splitter = Splitter::new(self.options.limits);
        let mut buffer = vec![0; BUFFER];
        let mut open: Option<Open> = None;
        loop {
            self.options.cancel.check()?;
            let read = match tar.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(CreateError::New(e)),
            };
            self.tar_bytes += read as u64;
            let mut bytes = &buffer[..read];
            while let Some(part) = splitter.next(&mut bytes).map_err(tar_error)? {
                match part {
                    Part::Raw(bytes) => self.raw(bytes),
                    Part::Member => open = self.open(&mut splitter),
                    Part::Data(bytes) => match &mut open {
                        Some(open) => self.data(open, bytes),
                        None => self.raw(bytes),
                    },
                    Part::DataEnd => {
                        if let Some(open) = open.take() {
                            self.close(open);
                        }
                    }
                    Part::End => {}
                }
            }
        }
        splitter.finish().map_err(tar_error)?;
        self.send_raw();
        Ok(self.tar_bytes)
    }

    /// Returns the size of the largest file that is read whole, in bytes.
    const fn largest(&self) -> u64 {
        self.options.memory / 4
    }

    /// Begins a member's data, if that may be in the old image.
    fn open(&self, splitter: &mut Splitter) -> Option<Open> {
        let size = splitter.data_left();
        let member = splitter.member();
        if member.kind != MemberKind::File || member.segments.is_some() || size == 0 {
            return None;
        }
        let path = TreePath::clean(&member.path).ok()?;
        let is_large = size > self.largest();
        let parts = is_large.then(|| (base::by_name(self.old, path.as_bytes(), size), 0));
        Some(Open {
            path: path.as_bytes().to_vec(),
            size,
            // No more than this is believed before it is there.
            data: Vec::with_capacity(usize::try_from(size).unwrap_or(BUFFER).min(1 << 20)),
            printer: Printer::new(),
            parts,
        })
    }

    /// Takes bytes that are no file's. Where pieces end does not depend on how the tar is read.
    fn raw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(RAW_MAX - self.raw.len()));
            self.raw.extend_from_slice(taken);
            bytes = rest;
            if self.raw.len() == RAW_MAX {
                self.send_raw();
            }
        }
    }

    /// Takes data of a file. Where parts end does not depend on how the tar is read.
    fn data(&mut self, open: &mut Open, mut bytes: &[u8]) {
        let Some((file, sent)) = &mut open.parts else {
            open.printer.update(bytes);
            return open.data.extend_from_slice(bytes);
        };
        let part = usize::try_from(self.options.memory / 16)
            .unwrap_or(usize::MAX)
            .max(1);
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(part - open.data.len()));
            open.data.extend_from_slice(taken);
            bytes = rest;
            if open.data.len() == part {
                let data = std::mem::take(&mut open.data);
                let at = std::mem::replace(sent, *sent + data.len() as u64);
                let raw = std::mem::take(&mut self.raw);
                self.send(Piece::of_part(self.old, raw, data, at, *file));
            }
        }
    }

    fn close(&mut self, open: Open) {
        let raw = std::mem::take(&mut self.raw);
        let piece = match open.parts {
            None => {
                let print = open.printer.finish();
                debug_assert_eq!(print.size, open.size);
                Piece::of_file(self.old, raw, &open.path, open.data, &print, self.largest())
            }
            Some((file, at)) => Piece::of_part(self.old, raw, open.data, at, file),
        };
        self.send(piece);
    }

    fn send_raw(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        if !raw.is_empty() {
            self.send(Piece {
                raw,
                data: Vec::new(),
                base: None,
            });
        }
    }

    fn send(&mut self, piece: Piece) {
        let memory = self.memory.take(piece.memory(self.options.effort));
        let job = Job {
            number: self.number,
            piece,
            memory,
        };
        self.number += 1;
        // Workers end only when this sender is gone.
        if self.jobs.send(job).is_err() {
            unreachable!("workers wait for jobs as long as there may be any");
        }
    }
}

fn tar_error(error: lithify_tar::TarError) -> CreateError {
    CreateError::Tar(Box::new(error))
}
