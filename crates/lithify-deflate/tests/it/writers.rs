//! Writers that take little at a time, or fail.

use std::io::{self, Write};

use lithify_deflate::{GoGzip, Level};

use crate::inputs::{Rng, gzip, mixture};

/// Takes a few bytes at a time, is interrupted now and then, and fails at a place.
struct Slow {
    taken: Vec<u8>,
    calls: usize,
    fails_at: Option<usize>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.fails_at.is_some_and(|at| self.taken.len() >= at) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = self.fails_at.map_or(usize::MAX, |at| at - self.taken.len());
        let count = bytes.len().min(1 + self.calls % 700).min(room);
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn slow(fails_at: Option<usize>) -> Slow {
    Slow {
        taken: Vec::new(),
        calls: 0,
        fails_at,
    }
}

#[test]
fn a_writer_that_takes_little_at_a_time_gets_the_same() {
    let input = mixture(&mut Rng(3), 300_000);
    for level in Level::all() {
        let mut encoder = GoGzip::new(slow(None), level);
        encoder.write_all(&input).unwrap();
        assert!(encoder.finish().unwrap().taken == gzip(&input, level));
    }
}

#[test]
fn an_error_of_the_writer_is_returned() {
    let input = mixture(&mut Rng(4), 300_000);
    let whole = gzip(&input, Level::DEFAULT);
    for at in [0, 5, 1000, whole.len() / 2, whole.len() - 1] {
        let mut encoder = GoGzip::new(slow(Some(at)), Level::DEFAULT);
        let written = encoder.write_all(&input);
        let ended = written.and_then(|()| encoder.finish().map(drop));
        assert_eq!(
            ended.unwrap_err().kind(),
            io::ErrorKind::StorageFull,
            "{at}"
        );
    }
}

#[test]
fn what_failed_can_be_written_again() {
    let input = mixture(&mut Rng(5), 300_000);
    let mut encoder = GoGzip::new(slow(Some(2000)), Level::DEFAULT);
    let mut rest = &input[..];
    while !rest.is_empty() {
        match encoder.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                encoder.get_mut().fails_at = None;
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
        }
    }
    let taken = encoder.finish().unwrap().taken;
    assert!(taken == gzip(&input, Level::DEFAULT));
}
