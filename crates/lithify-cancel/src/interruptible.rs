//! Pipes, terminals and sockets, read and written without waiting longer than is wanted.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::token::NAP;
use crate::{CancelToken, Cancelled};

/// A file that is read as long as the work goes on. One that can make its reader wait (a pipe, a terminal, a device)
/// gives an error that is [`Cancelled`] when the work is stopped.
#[derive(Debug)]
pub struct Interruptible {
    file: File,
    /// Whether reading may wait.
    waits: bool,
    token: CancelToken,
}

impl Interruptible {
    /// Opens a file. A named pipe is opened at once, and waits for a writer when it is read.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(path: &Path, token: &CancelToken) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Self::new(open(path, flags, Mode::empty())?, token)
    }

    /// Standard input, past what [`std::io::stdin`] has taken of it already.
    ///
    /// # Errors
    /// What the system said.
    pub fn stdin(token: &CancelToken) -> io::Result<Self> {
        Self::new(io::stdin().as_fd().try_clone_to_owned()?, token)
    }

    fn new(fd: OwnedFd, token: &CancelToken) -> io::Result<Self> {
        Ok(Self {
            waits: waits(&fd)?,
            file: File::from(fd),
            token: token.clone(),
        })
    }

    /// The file, where reading it never waits for anybody.
    ///
    /// # Errors
    /// The reader itself, where it does.
    pub fn into_regular(self) -> Result<File, Self> {
        match self.waits {
            true => Err(self),
            false => Ok(self.file),
        }
    }
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.waits {
                ready(&self.file, PollFlags::IN, &self.token)?;
            }
            match self.file.read(buffer) {
                // Someone else who has the same pipe was faster.
                Err(e) if e.kind() == ErrorKind::WouldBlock && self.waits => {}
                other => return other,
            }
        }
    }
}

/// Standard output, written as long as the work goes on: who has stopped reading it keeps no one waiting.
#[derive(Debug)]
pub struct OutputPipe {
    file: File,
    /// Whether this is an opening of its own that never waits.
    own: bool,
    token: CancelToken,
}

impl OutputPipe {
    /// Standard output, past what [`std::io::stdout`] still has to write.
    ///
    /// # Errors
    /// What the system said.
    pub fn stdout(token: &CancelToken) -> io::Result<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        // Others have the same opening, whose flags are not ours to change. What is no pipe (a socket) cannot be opened
        // anew, and is written as it is.
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let own = match waits(&stdout)? {
            true => open("/proc/self/fd/1", flags, Mode::empty()).ok(),
            false => None,
        };
        Ok(Self {
            own: own.is_some(),
            file: File::from(own.unwrap_or(stdout)),
            token: token.clone(),
        })
    }
}

impl Write for OutputPipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock && self.own => {
                    ready(&self.file, PollFlags::OUT, &self.token)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn waits(fd: impl AsFd) -> io::Result<bool> {
    let mode = fstat(fd)?.st_mode;
    Ok(!matches!(
        FileType::from_raw_mode(mode),
        FileType::RegularFile | FileType::Directory | FileType::BlockDevice
    ))
}

/// Waits until a file can be read or written, or has an error to tell.
fn ready(fd: impl AsFd, what: PollFlags, token: &CancelToken) -> io::Result<()> {
    let nap = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(NAP.subsec_nanos()),
    };
    loop {
        if token.is_cancelled() {
            return Err(Cancelled.into());
        }
        let mut fds = [PollFd::new(&fd, what)];
        match poll(&mut fds, Some(&nap)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_pipe_nobody_writes_to_keeps_no_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        let token = CancelToken::new();
        let mut reader = Interruptible::open(&path, &token).unwrap();
        let stop = token.clone();
        let (started, begun) = mpsc::channel();
        let waiting = std::thread::spawn(move || {
            started.send(()).unwrap();
            reader.read(&mut [0])
        });
        begun.recv().unwrap();
        stop.cancel();
        let error = waiting.join().unwrap().unwrap_err();
        assert!(error.get_ref().unwrap().is::<Cancelled>(), "{error}");
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut reader = Interruptible::new(reader, &CancelToken::new()).unwrap();
        let writing = std::thread::spawn(move || {
            File::from(writer).write_all(&[7; 100_000]).unwrap();
        });
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        writing.join().unwrap();
        assert_eq!(bytes, [7; 100_000]);
    }

    #[test]
    fn a_file_is_read_as_any_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let reader = Interruptible::open(&path, &CancelToken::new()).unwrap();
        assert!(reader.into_regular().is_ok());
    }
}
