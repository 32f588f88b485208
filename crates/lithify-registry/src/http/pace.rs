//! Transfers that are kept up by a byte now and then.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::deadline::Deadline;
use crate::config::Timeouts;

/// Why a transfer is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it {} no more than {bytes} bytes in {:.1} s, less than the {rate} bytes per second that are the least (`min-rate`, over \
     `window`)", if *.is_sending { "took" } else { "sent" }, .waited.as_secs_f64()
)]
pub(crate) struct TooSlow {
    is_sending: bool,
    bytes: u64,
    waited: Duration,
    rate: u64,
}

/// The least pace of a transfer, over windows of the time that is spent waiting for the other side: what this side does
/// meanwhile does not count against the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    rate: u64,
    window: Duration,
    idle: Duration,
    is_sending: bool,
    /// Of the window that is not over.
    waited: Duration,
    bytes: u64,
    /// Whether anything came yet: the other side may take its time to begin, as long as `idle` allows.
    has_begun: bool,
}

impl Pace {
    /// That of what is received.
    pub(crate) fn receiving(timeouts: &Timeouts) -> Self {
        // Without a window there is nothing to measure over.
        let rate = match timeouts.window.is_zero() {
            true => 0,
            false => timeouts.min_rate,
        };
        Self {
            rate,
            window: timeouts.window,
            idle: timeouts.idle,
            is_sending: false,
            waited: Duration::ZERO,
            bytes: 0,
            has_begun: false,
        }
    }

    /// That of what is sent.
    pub(crate) fn sending(timeouts: &Timeouts) -> Self {
        Self {
            is_sending: true,
            has_begun: true,
            ..Self::receiving(timeouts)
        }
    }

    /// Another connection goes on with the transfer. What came of the ones before still counts, so that a server does not get
    /// more time by hanging up.
    pub(crate) fn goes_on(&mut self) {
        self.has_begun = false;
    }

    /// How long may still be waited before that decides.
    pub(crate) fn left(&self) -> Duration {
        match self.rate {
            0 => Duration::MAX,
            _ => self.window.saturating_sub(self.waited),
        }
    }

    /// Counts what came of a wait; an error at the end of a window with too little.
    pub(crate) fn count(&mut self, waited: Duration, bytes: usize) -> Result<(), TooSlow> {
        if self.has_begun {
            self.waited += waited;
        }
        self.has_begun |= bytes > 0;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.rate == 0 || self.waited < self.window {
            return Ok(());
        }
        let found = self.found(self.waited);
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        match (found.bytes as f64) < self.rate as f64 * found.waited.as_secs_f64() {
            true => Err(found),
            false => Ok(()),
        }
    }

    fn found(&self, waited: Duration) -> TooSlow {
        TooSlow {
            is_sending: self.is_sending,
            bytes: self.bytes,
            waited,
            rate: self.rate,
        }
    }

    /// Reads from a body, at this pace at least.
    pub(crate) fn read(&mut self, body: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        // Content that is decompressed on its way may take many bytes to become one.
        let longest = match self.rate {
            0 => Duration::MAX,
            _ => self.idle.saturating_add(self.window),
        };
        let deadline = Deadline::after(longest);
        let read = body.read(buffer);
        drop(deadline);
        let waited = started.elapsed();
        match read {
            // The end is no slowness.
            Ok(0) => Ok(0),
            Ok(read) => {
                self.count(waited, read).map_err(io::Error::other)?;
                Ok(read)
            }
            Err(_) if waited >= longest => Err(io::Error::other(self.found(waited))),
            Err(error) => Err(error),
        }
    }
}

/// A body that is read at a least pace.
#[derive(Debug)]
pub(crate) struct Paced<R> {
    pub(crate) body: R,
    pub(crate) pace: Pace,
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pace.read(&mut self.body, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::receiving(&Timeouts {
            min_rate: 100,
            window: Duration::from_secs(10),
            ..Timeouts::default()
        })
    }

    #[test]
    fn windows_are_judged_at_their_end() {
        let (mut pace, second) = (pace(), Duration::from_secs(1));
        // Before the first byte only `idle` counts.
        pace.count(60 * second, 1).unwrap();
        // Nine seconds of nothing, and then enough.
        for _ in 0..9 {
            pace.count(second, 0).unwrap();
        }
        pace.count(second, 1000).unwrap();
        // What came before is no merit in the next window.
        for _ in 0..9 {
            pace.count(second, 99).unwrap();
        }
        let error = pace.count(second, 99).unwrap_err();
        assert_eq!(error.bytes, 990);
        assert!(
            error
                .to_string()
                .starts_with("it sent no more than 990 bytes in 10.0 s")
        );
        // A window that is long over is not judged by its nominal length.
        pace.count(100 * second, 1001).unwrap_err();
        // Another connection does not begin anew.
        pace.count(9 * second, 1).unwrap();
        pace.goes_on();
        pace.count(60 * second, 1).unwrap();
        pace.count(second, 1).unwrap_err();
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut pace = Pace { rate: 0, ..pace() };
        for _ in 0..100 {
            pace.count(Duration::from_secs(3600), 1).unwrap();
        }
        assert_eq!(pace.left(), Duration::MAX);
    }
}
