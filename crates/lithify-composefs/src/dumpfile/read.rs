//! A dumpfile as a tree with contents.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{BufRead, Read as _};

use lithify_cancel::CancelToken;
use lithify_tree::EntryKind;

use super::DumpError;
use super::error::LineFault;
use super::line::{self, LINE_MAX, Line};
use crate::Filesystem;
use crate::filesystem::Collector;

/// Reads a dumpfile.
///
/// # Errors
/// [`DumpError`], with the number of the line.
pub fn read(mut file: impl BufRead, cancel: &CancelToken) -> Result<Filesystem, DumpError> {
    let mut reading = Reading::default();
    reading.collector.keeps_homes = true;
    let mut buffer = Vec::new();
    for line in 1.. {
        if line % 1024 == 0 {
            cancel.check()?;
        }
        buffer.clear();
        let most = LINE_MAX as u64 + 1;
        let found = file.by_ref().take(most).read_until(b'\n', &mut buffer);
        if found.map_err(DumpError::Read)? == 0 {
            break;
        }
        let text = buffer.strip_suffix(b"\n").unwrap_or(&buffer);
        let taken = match text {
            text if text.len() > LINE_MAX => Err(LineFault::TooLong),
            b"" => Ok(()),
            text => line::read(text).and_then(|line| reading.take(&line)),
        };
        taken.map_err(|fault| DumpError::Line { line, fault })?;
    }
    if reading.paths.get(&hash(b"")) != Some(&true) {
        return Err(DumpError::NoRoot);
    }
    Ok(reading.collector.finish(cancel)?)
}

/// The lines read so far.
#[derive(Default)]
struct Reading {
    collector: Collector,
    /// Hashes of the paths there are, and whether each is a directory.
    paths: HashMap<u64, bool>,
}

/// The same in every process, so that a failure can be repeated.
fn hash(path: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(path)
}

impl Reading {
    fn take(&mut self, line: &Line) -> Result<(), LineFault> {
        let path = &line.entry.path;
        let shown = || [b"/", path.as_bytes()].concat();
        let parent = path.split_last().map(|(parent, _)| parent);
        if parent.is_some_and(|parent| self.paths.get(&hash(parent)) != Some(&true)) {
            return Err(LineFault::NoParent { path: shown() });
        }
        let is_directory = line.entry.kind == EntryKind::Directory;
        let before = self.paths.insert(hash(path.as_bytes()), is_directory);
        if before.is_some() {
            return Err(LineFault::Twice { path: shown() });
        }
        self.collector
            .push(&line.entry, line.link_count, line.content.as_ref())?;
        Ok(())
    }
}
