//! A connection whose two directions are looked at together: an answer that comes while a request is still being sent is
//! seen at once.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, ShutdownHandle, Transport};

use super::pace::Pace;

/// How long nothing may be taken while an answer waits to be read before it is read instead.
const STALLED: Duration = Duration::from_secs(3);

/// What a connection is made of.
pub(crate) trait Stream: Send + Sync + 'static {
    fn descriptor(&self) -> BorrowedFd<'_>;
    fn set_nonblocking(&self) -> io::Result<()>;
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn send(&self, data: &[u8]) -> io::Result<usize>;
    fn close(&self) -> io::Result<()>;
}

macro_rules! stream {
    ($type:ty) => {
        impl Stream for $type {
            fn descriptor(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }

            fn set_nonblocking(&self) -> io::Result<()> {
                Self::set_nonblocking(self, true)
            }

            fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
                (&mut &*self).read(buffer)
            }

            fn send(&self, data: &[u8]) -> io::Result<usize> {
                (&mut &*self).write(data)
            }

            fn close(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Both)
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

/// A stream, and what its transport and who uses that tell each other.
pub(crate) struct Line {
    stream: Box<dyn Stream>,
    /// Nothing more is to be read or written.
    closed: AtomicBool,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    pub(crate) fn new(stream: impl Stream) -> io::Result<Arc<Self>> {
        stream.set_nonblocking()?;
        Ok(Arc::new(Self {
            stream: Box::new(stream),
            closed: AtomicBool::new(false),
        }))
    }

    /// Whether bytes, or the end, are there to be read.
    pub(crate) fn has_input(&self) -> bool {
        self.ready(PollFlags::IN, Some(Duration::ZERO))
            .is_ok_and(|found| found.contains(PollFlags::IN))
    }

    /// Waits for one of several things; nothing if the time is over.
    fn ready(&self, what: PollFlags, time: Option<Duration>) -> io::Result<PollFlags> {
        let until = time.and_then(|time| Instant::now().checked_add(time));
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            let descriptor = self.stream.descriptor();
            let mut fds = [PollFd::new(&descriptor, what)];
            match poll(&mut fds, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
                Ok(_) => return Ok(fds[0].revents()),
            }
        }
    }
}

impl ShutdownHandle for Line {
    fn shutdown(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // One that is closed already is what is wanted.
        self.stream.close().ok();
    }
}

/// The lowest layer of a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    line: Arc<Line>,
    buffers: LazyBuffers,
    /// Of what is sent. What is received is counted by who reads it, and knows how much there is.
    pace: Pace,
}

impl Socket {
    pub(crate) fn new(line: &Arc<Line>, config: &ureq::config::Config, pace: Pace) -> Self {
        Self {
            line: Arc::clone(line),
            pace,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        }
    }

    fn open(&self) -> Result<(), Error> {
        match self.line.closed.load(Ordering::SeqCst) {
            true => Err(io::Error::from(ErrorKind::NotConnected).into()),
            false => Ok(()),
        }
    }
}

/// The time there is; `None` for any.
fn allowed(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    if timeout.after.is_not_happening() {
        return Ok(None);
    }
    match timeout.after.is_zero() {
        true => Err(Error::Timeout(timeout.reason)),
        false => Ok(Some(*timeout.after)),
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let time = allowed(timeout)?;
        let mut at = 0;
        while at < amount {
            self.open()?;
            match self.line.stream.send(&self.buffers.output()[at..amount]) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(sent) => {
                    at += sent;
                    self.pace
                        .count(Duration::ZERO, sent)
                        .map_err(io::Error::other)?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let started = Instant::now();
                    let mut until_slow = self.pace.left();
                    // Who answers and does not go on reading has nothing more to hear.
                    let patience = STALLED.min(time.unwrap_or(STALLED));
                    let taken = self
                        .line
                        .ready(PollFlags::OUT, Some(patience.min(until_slow)))?;
                    if taken.is_empty() && patience < until_slow {
                        if self.line.has_input() {
                            return Err(io::Error::from(ErrorKind::BrokenPipe).into());
                        }
                        until_slow = until_slow.saturating_sub(patience);
                        let left = time.map_or(Duration::MAX, |time| time.saturating_sub(patience));
                        let found = self
                            .line
                            .ready(PollFlags::OUT | PollFlags::IN, Some(left.min(until_slow)))?;
                        if found.is_empty() && left < until_slow {
                            return Err(Error::Timeout(timeout.reason));
                        }
                    }
                    self.pace
                        .count(started.elapsed(), 0)
                        .map_err(io::Error::other)?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let time = allowed(timeout)?;
        let amount = loop {
            self.open()?;
            match self.line.stream.receive(self.buffers.input_append_buf()) {
                Ok(amount) => break amount,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if self.line.ready(PollFlags::IN, time)?.is_empty() {
                        return Err(Error::Timeout(timeout.reason));
                    }
                }
                Err(e) => return Err(e.into()),
            }
        };
        self.open()?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Nothing was asked for, so nothing may be there to read.
        self.open().is_ok()
            && matches!(
                self.line.stream.receive(&mut [0]),
                Err(e) if e.kind() == ErrorKind::WouldBlock
            )
    }
}
