//! Interruption: the first signal stops the work and what it has begun is cleared away; a second one ends the process at once.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lithify::CancelToken;
use rustix::termios::{OptionalActions, Termios, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::{flag, iterator::Signals, low_level};

use crate::failure::Failure;

/// How long a process whose work has ended may take to print what came of it: somebody may have stopped reading.
const PRINTING: Duration = Duration::from_millis(500);

/// What the thread that receives signals and the others know of each other.
#[derive(Default)]
struct State {
    token: CancelToken,
    /// The signal that was received; 0 for none.
    received: AtomicI32,
    /// Pieces of work under way, each of which stops and clears up by itself.
    work: Mutex<usize>,
    changed: Condvar,
    /// How the terminal was before a password was asked for.
    terminal: Mutex<Option<Termios>>,
}

static STATE: LazyLock<State> = LazyLock::new(State::default);

impl State {
    fn work(&self) -> MutexGuard<'_, usize> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terminal(&self) -> MutexGuard<'_, Option<Termios>> {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that stops when it is told to. The process is not ended before it has.
pub(crate) struct AtWork(());

impl Drop for AtWork {
    fn drop(&mut self) {
        *STATE.work() -= 1;
        STATE.changed.notify_all();
    }
}

/// Begins such work.
pub(crate) fn at_work() -> AtWork {
    *STATE.work() += 1;
    AtWork(())
}

/// What stops the work.
pub(crate) fn token() -> CancelToken {
    STATE.token.clone()
}

/// Keeps how the terminal is to be left, whatever happens; `None` once it is so again.
pub(crate) fn restore_terminal(modes: Option<Termios>) {
    *STATE.terminal() = modes;
}

/// Starts listening.
pub(crate) fn listen() -> Result<(), Failure> {
    let failed = |e| Failure::Other(format!("cannot listen to signals: {e}"));
    let ignored = ignored();
    let wanted: Vec<i32> = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        // Whoever started this so (`nohup`, a shell in the background) meant it.
        .filter(|signal| ignored & (1 << (signal - 1)) == 0)
        .collect();
    let again = Arc::new(AtomicBool::new(false));
    for &signal in &wanted {
        // In this order: the first time the flag is not set yet.
        flag::register_conditional_default(signal, Arc::clone(&again)).map_err(failed)?;
        flag::register(signal, Arc::clone(&again)).map_err(failed)?;
    }
    let mut signals = Signals::new(&wanted).map_err(failed)?;
    std::thread::Builder::new()
        .name("lithify-signals".to_owned())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                stop(signal);
            }
        })
        .map_err(failed)?;
    Ok(())
}

/// Stops the work, and the process if its main thread does not end it.
fn stop(signal: i32) {
    STATE.received.store(signal, Ordering::SeqCst);
    let was_at_work = *STATE.work() > 0;
    STATE.token.cancel();
    if was_at_work {
        let mut work = STATE.work();
        loop {
            while *work > 0 {
                work = STATE
                    .changed
                    .wait(work)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let (next, waited) = STATE
                .changed
                .wait_timeout(work, PRINTING)
                .unwrap_or_else(PoisonError::into_inner);
            work = next;
            if waited.timed_out() && *work == 0 {
                break;
            }
        }
    }
    if let Some(modes) = STATE.terminal().as_ref() {
        // A terminal that is gone needs nothing.
        tcsetattr(std::io::stdin(), OptionalActions::Now, modes).ok();
        // What was typed ends nowhere.
        std::io::stderr().lock().write_all(b"\n").ok();
    }
    say(signal);
    std::process::exit(128 + signal);
}

/// Says why nothing came of it. There may be nobody left to hear it.
fn say(signal: i32) {
    let name = low_level::signal_name(signal).unwrap_or("a signal");
    let line = format!("lithify: interrupted by {name}\n");
    std::io::stderr().lock().write_all(line.as_bytes()).ok();
}

/// The end of a command that did not do what it was to, if that is because of a signal.
pub(crate) fn interrupted() -> Option<ExitCode> {
    let signal = STATE.received.load(Ordering::SeqCst);
    let code = u8::try_from(128 + signal).ok().filter(|_| signal > 0)?;
    say(signal);
    Some(ExitCode::from(code))
}

/// Ends the process as other tools end whose output nobody reads any more.
pub(crate) fn broken_pipe() -> ExitCode {
    // Where that cannot be, the status a shell would show for it.
    low_level::emulate_default_handler(SIGPIPE).ok();
    ExitCode::from(128 + 13)
}

/// The signals this process was started to ignore, as a set of bits (`proc_pid_status(5)`).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0)
}
