//! Answers that come before the request is sent.
//!
//! A server that refuses (413, 401, 500 with its reason) need not read what it refuses. It answers, and closes the
//! connection or lets it be: sending fails or stalls, and what failed is not what matters. Its answer is (RFC 9112,
//! section 9.6; RFC 9110, section 7.5): it is read, and what is left of the request is not sent.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::deadline;
use super::head::{self, Arrived};
use super::socket::Line;

/// How long an answer is waited for once sending has failed.
const ANSWER: Duration = Duration::from_secs(5);

/// The highest layer of a connection.
pub(crate) struct Attentive {
    inner: Box<dyn Transport>,
    /// What is below, if that is known.
    line: Option<Arc<Line>>,
    /// Why nothing is sent any more.
    unsent: Option<Unsent>,
    /// An answer has come that the client was not shown yet, or looked at for another purpose: it would wait for more.
    held: bool,
    /// What comes next is the head of an answer.
    head: bool,
    /// How much of that is known not to be its end.
    seen: usize,
}

/// Why a request is not sent to its end.
#[derive(Debug)]
enum Unsent {
    /// It is answered already.
    Answered,
    /// It cannot be; taken when that is told.
    Failed(Option<Error>),
}

impl fmt::Debug for Attentive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attentive")
            .field("unsent", &self.unsent)
            .finish_non_exhaustive()
    }
}

impl Attentive {
    pub(crate) fn new(inner: Box<dyn Transport>, line: Option<Arc<Line>>) -> Self {
        Self {
            inner,
            line,
            unsent: None,
            held: false,
            head: false,
            seen: 0,
        }
    }

    /// Waits for more; the head of an answer is not shown before all of it is there.
    fn receive(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        // The time is for all of it.
        let end = match timeout.after.is_not_happening() {
            true => None,
            false => Instant::now().checked_add(*timeout.after),
        };
        let mut timeout = timeout;
        loop {
            if let Some(end) = end {
                timeout.after = end.saturating_duration_since(Instant::now()).into();
            }
            let more = self.inner.await_input(deadline::until(timeout))?;
            if !self.head || !more {
                return Ok(more);
            }
            let buffers = self.inner.buffers();
            if head::arrived(buffers, &mut self.seen)? == Arrived::All {
                // What follows `100 Continue` and the like is another head.
                self.head = status(buffers.input()).is_none();
                return Ok(true);
            }
        }
    }

    fn give_up(&mut self, unsent: Unsent) {
        // Also where sending failed: all of the answer may have been seen before that.
        self.held = true;
        self.unsent = Some(unsent);
        Notes::add(|notes| notes.unsent = true);
    }

    /// Whether the server has refused what is being sent.
    fn is_refused(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let refused = |input: &[u8]| status(input).is_some_and(|status| status >= 300);
        if refused(self.inner.buffers().input()) {
            return Ok(true);
        }
        // Half a record of TLS is nothing yet, and is not waited for.
        let soon = NextTimeout {
            after: Duration::from_millis(1).into(),
            reason: Timeout::PerRead,
            ..timeout
        };
        while self.line.as_ref().is_some_and(|line| line.has_input()) {
            if self.inner.buffers().input_append_buf().is_empty() {
                break;
            }
            let more = self.inner.await_input(soon);
            if refused(self.inner.buffers().input()) {
                return Ok(true);
            }
            match more {
                Ok(true) => {}
                // The end of what it sends is not yet the end of what it takes.
                Ok(false) | Err(Error::Timeout(_)) => break,
                Err(Error::Io(e)) if is_timeout(&e) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }
}

/// Whether an error, on its way through TLS, is that nothing came.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    ) || error
        .get_ref()
        .and_then(|e| e.downcast_ref::<Error>())
        .is_some_and(|e| matches!(e, Error::Timeout(_)))
}

/// The status of an answer, once its first line has come; not that of `100 Continue` and the like, which are none yet.
fn status(mut input: &[u8]) -> Option<u16> {
    loop {
        let digits = input.strip_prefix(b"HTTP/1.")?.get(2..5)?;
        let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        if !(100..200).contains(&status) {
            return Some(status);
        }
        let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        input = &input[end + 4..];
    }
}

thread_local! {
    static NOTES: Cell<Notes> = const {
        Cell::new(Notes {
            unsent: false,
            waited_in_vain: false,
            head: false,
        })
    };
}

/// What came of a request besides its answer. The client sends a body and reads its answer on the thread of whoever
/// asks, but has no way of its own to tell this.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notes {
    /// It was answered before all of it was sent.
    pub(crate) unsent: bool,
    /// `100 Continue` was waited for in vain.
    pub(crate) waited_in_vain: bool,
    /// Nothing of it was sent yet.
    head: bool,
}

impl Notes {
    /// Those of this thread's request, which ends with that.
    pub(crate) fn take() -> Self {
        NOTES.take()
    }

    /// Those of a request that was given up are over.
    pub(crate) fn begin() {
        NOTES.set(Self {
            head: true,
            ..Self::default()
        });
    }

    /// Whether what is sent next is the start of a request.
    pub(crate) fn take_head() -> bool {
        let mut is_head = false;
        Self::add(|notes| is_head = std::mem::take(&mut notes.head));
        is_head
    }

    fn add(change: impl FnOnce(&mut Self)) {
        let mut notes = NOTES.get();
        change(&mut notes);
        NOTES.set(notes);
    }
}

/// A body that is no longer read once nobody is sent it.
pub(crate) struct Sendable<'a> {
    inner: &'a mut dyn Read,
    left: u64,
}

impl<'a> Sendable<'a> {
    /// So many bytes.
    pub(crate) fn new(inner: &'a mut dyn Read, length: u64) -> Self {
        Self {
            inner,
            left: length,
        }
    }
}

impl Read for Sendable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match NOTES.get().unsent {
            // The client counts what it hands on; what is in it goes nowhere.
            true => buffer
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX)),
            false => self.inner.read(buffer)?,
        };
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Transport for Attentive {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.unsent.is_some() {
            return Ok(());
        }
        (self.head, self.seen) = (true, 0);
        let sent = match self.is_refused(timeout) {
            Ok(true) => {
                self.give_up(Unsent::Answered);
                return Ok(());
            }
            Ok(false) => self.inner.transmit_output(amount, timeout),
            Err(e) => Err(e),
        };
        if let Err(error) = sent {
            log::debug!("a request cannot be sent to its end: {error}");
            self.give_up(Unsent::Failed(Some(error)));
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = deadline::until(timeout);
        if std::mem::take(&mut self.held) && !self.inner.buffers().input().is_empty() {
            let is_part =
                self.head && head::arrived(self.inner.buffers(), &mut self.seen)? == Arrived::Part;
            if !is_part {
                return Ok(true);
            }
        }
        let Some(Unsent::Failed(_)) = &self.unsent else {
            let found = self.receive(timeout);
            let asked = timeout.reason == Timeout::Await100;
            self.held = asked && status(self.inner.buffers().input()).is_some();
            if let Err(Error::Timeout(Timeout::Await100)) = found {
                Notes::add(|notes| notes.waited_in_vain = true);
            }
            return found;
        };
        let mut soon = timeout;
        if soon.after.is_not_happening() || *soon.after > ANSWER {
            soon.after = ANSWER.into();
        }
        let received = self.receive(soon);
        let Some(Unsent::Failed(why)) = &mut self.unsent else {
            return received;
        };
        match received {
            Ok(true) => {
                *why = None;
                Ok(true)
            }
            // No answer: what went wrong first is the reason.
            other => why.take().map_or(other, Err),
        }
    }

    fn is_open(&mut self) -> bool {
        self.unsent.is_none() && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(status(b"HTTP/1.1 413 Payload"), Some(413));
        assert_eq!(status(b"HTTP/1.0 500"), Some(500));
        let late = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 ";
        assert_eq!(status(late), Some(413));
        assert_eq!(status(&late[..30]), None);
        for none in [&b""[..], b"HTTP/1.1 41", b"HTTP/1.1 x13 ", b"\x16\x03\x03"] {
            assert_eq!(status(none), None);
        }
    }
}
