//! Another program that is told something and answers, in bounded time and size.
//!
//! What it started in its turn may live on and hold its output open, as a keyring's agent does: the program's own end is
//! what counts then, not that of its output.

use std::io::{self, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use lithify_cancel::{CancelToken, Stopped};

/// How often it is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);
/// How long what it wrote may take to arrive once it has ended, where somebody else holds its output open.
const GRACE: Duration = Duration::from_secs(2);

/// What a program may use up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) time: Duration,
    /// Bytes of each of its outputs.
    pub(super) output: usize,
}

/// A program's answer.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) success: bool,
    /// How it ended, in words.
    pub(super) status: String,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The system's error, or that the work was stopped.
    Io(io::Error),
    /// It has not ended in time.
    Late,
    /// It wrote more than is read.
    TooLong,
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs a program, feeds it and waits for it; one that is given up is killed with its whole process group. Once it has
/// ended, and what it wrote is whole by `is_whole`, nothing more is waited for.
pub(super) fn ask(
    mut command: Command,
    input: Vec<u8>,
    limits: Limits,
    is_whole: impl Fn(&[u8]) -> bool,
    cancel: &CancelToken,
) -> Result<Output, Unanswered> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut process = Process {
        child: command.spawn()?,
        status: None,
    };
    let answer = process.converse(input, limits, is_whole, cancel);
    if answer.is_err() {
        process.kill();
    }
    answer
}

struct Process {
    child: Child,
    /// How it ended, once it was waited for.
    status: Option<ExitStatus>,
}

impl Process {
    /// Feeds it and waits for it. The threads end when the pipes close; nobody waits for them, because a descendant could
    /// hold a pipe open for ever.
    fn converse(
        &mut self,
        input: Vec<u8>,
        limits: Limits,
        is_whole: impl Fn(&[u8]) -> bool,
        cancel: &CancelToken,
    ) -> Result<Output, Unanswered> {
        let deadline = Instant::now() + limits.time;
        if let Some(mut stdin) = self.child.stdin.take() {
            spawn(move || {
                // Who does not read its input tells us more by its status than by a broken pipe.
                if let Err(error) = stdin.write_all(&input) {
                    log::debug!("a credential helper did not read its input: {error}");
                }
            })?;
        }
        let (sender, receiver) = mpsc::channel();
        listen(self.child.stdout.take(), sender.clone(), Stream::Stdout)?;
        listen(self.child.stderr.take(), sender, Stream::Stderr)?;
        let mut heard = Heard::default();
        let mut until = deadline;
        loop {
            if self.status.is_none() {
                self.status = self.child.try_wait()?;
                until = match self.status {
                    Some(_) => deadline.min(Instant::now() + GRACE),
                    None => deadline,
                };
            }
            let is_late = Instant::now() >= until;
            match self.status {
                Some(status) if is_late || heard.open.is_empty() || is_whole(&heard.stdout) => {
                    return Ok(heard.output(status));
                }
                None if is_late => return Err(Unanswered::Late),
                _ => {}
            }
            heard.more(&receiver, cancel, limits.output)?;
        }
    }

    /// Ends it and what it started. Once it was waited for its number may be that of others, who are left alone.
    fn kill(&mut self) {
        if self.status.is_some() {
            return;
        }
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process_group};
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            if let Some(group) = group
                && let Err(error) = kill_process_group(group, Signal::KILL)
            {
                log::debug!("cannot kill a credential helper's group: {error}");
            }
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            log::debug!("cannot end a credential helper: {error}");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// A piece of what a program writes; an empty one is the end.
type Piece = (Stream, io::Result<Vec<u8>>);

/// What has arrived so far.
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// The streams that have not ended.
    open: Vec<Stream>,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            stdout: Vec::new(),
            stderr: Vec::new(),
            open: vec![Stream::Stdout, Stream::Stderr],
        }
    }
}

impl Heard {
    /// Waits a little for the next piece.
    fn more(
        &mut self,
        pieces: &Receiver<Piece>,
        cancel: &CancelToken,
        most: usize,
    ) -> Result<(), Unanswered> {
        let cancelled = |why| Unanswered::Io(io::Error::from(why));
        if self.open.is_empty() {
            return cancel.wait(POLL).map_err(cancelled);
        }
        let (stream, piece) = match cancel.receive(pieces, Some(Instant::now() + POLL)) {
            Ok(piece) => piece,
            Err(Stopped::TimedOut) => return Ok(()),
            Err(Stopped::Cancelled) => return Err(cancelled(lithify_cancel::Cancelled)),
            Err(Stopped::Gone) => {
                self.open.clear();
                return Ok(());
            }
        };
        let piece = piece?;
        if piece.is_empty() {
            self.open.retain(|open| *open != stream);
            return Ok(());
        }
        let bytes = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        bytes.extend_from_slice(&piece);
        match bytes.len() > most {
            true => Err(Unanswered::TooLong),
            false => Ok(()),
        }
    }

    fn output(self, status: ExitStatus) -> Output {
        Output {
            success: status.success(),
            status: status.to_string(),
            stdout: self.stdout,
            stderr: self.stderr,
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name("credential-helper".to_owned())
        .spawn(work)
        .map(drop)
}

/// Hands over what comes from a pipe, as it comes, until nobody takes it any more.
fn listen(
    pipe: Option<impl Read + Send + 'static>,
    pieces: Sender<Piece>,
    stream: Stream,
) -> io::Result<()> {
    let Some(mut pipe) = pipe else {
        return Err(io::Error::other("no pipe to the helper"));
    };
    spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let piece = match pipe.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map(|read| buffer[..read].to_vec()),
            };
            let is_last = piece.as_ref().map_or(true, Vec::is_empty);
            if pieces.send((stream, piece)).is_err() || is_last {
                return;
            }
        }
    })
}
