//! Reads kept for a while: for sources where every read costs a round trip.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::ReadAt;

/// Bytes kept under one number: what is read at once at least.
const UNIT: u64 = 64 << 10;
/// Units read at once where reads follow each other.
const AHEAD: u64 = 4;
/// Units read at once where that much is asked for.
const AT_ONCE: u64 = 16;

/// A source whose reads are kept in bounded memory.
///
/// It is read in units of 64 KiB, several in one read of the source: as many as are asked for up to 1 MiB, and up to 256 KiB
/// where reads follow each other. What was not used for the longest time is forgotten first. Any number of threads may
/// read at once; none reads what another is reading.
///
/// ```
/// use lithify_storage::{Cached, ReadAt as _};
///
/// let source = Cached::new(vec![7; 100_000], 1 << 20)?;
/// let mut bytes = [0; 4];
/// source.read_exact_at(&mut bytes, 65_534)?;
/// assert_eq!(bytes, [7; 4]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Cached<R> {
    source: R,
    size: u64,
    /// Most units kept.
    capacity: usize,
    state: Mutex<State>,
    /// Something was read, or could not be.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    units: HashMap<u64, Unit>,
    /// Being read.
    fetching: HashSet<u64>,
    /// Counts uses.
    clock: u64,
    /// The unit behind the last that was read from the source, and how many were read then.
    last: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Unit {
    bytes: Arc<[u8]>,
    used: u64,
}

impl<R: ReadAt> Cached<R> {
    /// Keeps up to `memory` bytes of `source`, 1 MiB at least. Its length is asked for once.
    ///
    /// # Errors
    /// Whatever the source says when it is asked for its length.
    pub fn new(source: R, memory: usize) -> io::Result<Self> {
        let size = source.size()?;
        let capacity = (memory / UNIT as usize).max(AT_ONCE as usize);
        Ok(Self {
            source,
            size,
            capacity,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        })
    }

    /// The source.
    pub fn get_ref(&self) -> &R {
        &self.source
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A unit, read from the source if it is not kept; with it those up to `last` and, where reads follow each other, some
    /// more.
    fn unit(&self, number: u64, last: u64) -> io::Result<Arc<[u8]>> {
        let mut state = self.lock();
        loop {
            state.clock += 1;
            let clock = state.clock;
            if let Some(unit) = state.units.get_mut(&number) {
                unit.used = clock;
                return Ok(Arc::clone(&unit.bytes));
            }
            if !state.fetching.contains(&number) {
                break;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let ahead = match state.last {
            Some((next, count)) if next == number => (count * 2).min(AHEAD),
            _ => 1,
        };
        let wanted = (last - number + 1).min(AT_ONCE).max(ahead);
        let end = self.size.div_ceil(UNIT);
        let count = (number..end)
            .take(wanted as usize)
            .take_while(|n| !state.units.contains_key(n) && !state.fetching.contains(n))
            .count() as u64;
        state.fetching.extend(number..number + count);
        drop(state);
        let fetching = Fetching {
            cache: self,
            units: number..number + count,
        };
        let start = number * UNIT;
        let length = (self.size - start).min(count * UNIT);
        let mut bytes = vec![0; length as usize];
        self.source.read_exact_at(&mut bytes, start)?;
        let mut state = self.lock();
        state.last = Some((number + count, count));
        for (at, part) in bytes.chunks(UNIT as usize).enumerate() {
            state.clock += 1;
            let used = state.clock;
            let bytes = Arc::from(part);
            state.units.insert(number + at as u64, Unit { bytes, used });
        }
        let first = state.units.get(&number).map(|u| Arc::clone(&u.bytes));
        while state.units.len() > self.capacity {
            let oldest = state.units.iter().min_by_key(|(_, u)| u.used);
            let Some((&oldest, _)) = oldest else { break };
            state.units.remove(&oldest);
        }
        drop(state);
        drop(fetching);
        first.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Units that are being read, until they are there or cannot be read.
struct Fetching<'a, R> {
    cache: &'a Cached<R>,
    units: std::ops::Range<u64>,
}

impl<R> Drop for Fetching<'_, R> {
    fn drop(&mut self) {
        let state = self.cache.state.lock();
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        for unit in self.units.clone() {
            state.fetching.remove(&unit);
        }
        drop(state);
        self.cache.changed.notify_all();
    }
}

impl<R: ReadAt> ReadAt for Cached<R> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        let Some(end) = end.filter(|&end| end <= self.size) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let unit = self.unit(at / UNIT, (end - 1) / UNIT)?;
            let part = unit
                .get((at % UNIT) as usize..)
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let n = part.len().min(buffer.len() - done);
            buffer[done..done + n].copy_from_slice(&part[..n]);
            done += n;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Bytes that tell their offset, and how often they were asked for.
    struct Source {
        bytes: Vec<u8>,
        reads: AtomicU64,
        read: AtomicU64,
        fail: bool,
    }

    impl Source {
        fn new(length: usize) -> Self {
            let bytes = (0..length).map(|i| (i * 31 + i / 251) as u8).collect();
            Self {
                bytes,
                reads: AtomicU64::new(0),
                read: AtomicU64::new(0),
                fail: false,
            }
        }
    }

    impl ReadAt for Source {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            match self.fail {
                true => Err(io::ErrorKind::ConnectionReset.into()),
                false => self.bytes.read_exact_at(buffer, offset),
            }
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }
    }

    #[test]
    fn what_is_read_is_what_is_there() {
        let length = 40 * UNIT as usize + 123;
        let cached = Cached::new(Source::new(length), 1 << 20).unwrap();
        let mut state = 1_u64;
        for _ in 0..2000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let offset = (state >> 20) as usize % length;
            let wanted = ((state >> 8) as usize % 300_000).min(length - offset);
            let mut buffer = vec![0; wanted];
            cached.read_exact_at(&mut buffer, offset as u64).unwrap();
            assert!(buffer == cached.source.bytes[offset..offset + wanted]);
            assert!(cached.lock().units.len() <= cached.capacity);
        }
        assert!(cached.lock().fetching.is_empty());
        for (offset, wanted) in [(length, 1), (length - 1, 2), (usize::MAX, 1)] {
            let error = cached.read_exact_at(&mut vec![0; wanted], offset as u64);
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        cached.read_exact_at(&mut [], length as u64).unwrap();
    }

    #[test]
    fn reads_that_follow_each_other_are_few() {
        let length = 64 * UNIT;
        let cached = Cached::new(Source::new(length as usize), 1 << 20).unwrap();
        let mut block = [0; 4096];
        for offset in (0..length).step_by(4096) {
            cached.read_exact_at(&mut block, offset).unwrap();
        }
        assert_eq!(cached.source.read.load(Ordering::Relaxed), length);
        assert!(cached.source.reads.load(Ordering::Relaxed) <= 2 + 64 / AHEAD);
        // One place alone takes one unit.
        let cached = Cached::new(Source::new(length as usize), 1 << 20).unwrap();
        for offset in [3 * UNIT, 3 * UNIT + 5000, 3 * UNIT + 100] {
            cached.read_exact_at(&mut block, offset).unwrap();
        }
        assert_eq!(cached.source.read.load(Ordering::Relaxed), UNIT);
    }

    #[test]
    fn threads_share_what_one_reads() {
        let cached = Cached::new(Source::new(16 * UNIT as usize), 1 << 20).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut all = vec![0; 16 * UNIT as usize];
                    cached.read_exact_at(&mut all, 0).unwrap();
                    assert!(all == cached.source.bytes);
                });
            }
        });
        assert_eq!(cached.source.read.load(Ordering::Relaxed), 16 * UNIT);
    }

    #[test]
    fn a_failure_is_not_kept() {
        let mut source = Source::new(1000);
        source.fail = true;
        let mut cached = Cached::new(source, 0).unwrap();
        let error = cached.read_exact_at(&mut [0; 10], 5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        cached.source.fail = false;
        cached.read_exact_at(&mut [0; 10], 5).unwrap();
    }
}
