//! Progress on standard error: a bar per layer on a terminal, a line per layer elsewhere.

use std::io::{IsTerminal, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lithify::registry::Pause;
use lithify::{Event, Printable, Progress};

use crate::human;

/// How often a terminal is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Bars shown at once; more layers than that are counted, not drawn.
const MAX_BARS: usize = 12;

/// The screen in use, which whatever else is printed has to go round.
static SCREEN: Mutex<Weak<Screen>> = Mutex::new(Weak::new());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Bars, redrawn in place.
    Terminal,
    /// A line when a layer is done.
    Lines,
    Quiet,
}

/// Renders [`Event`]s.
#[derive(Debug)]
pub(crate) struct Renderer {
    style: Style,
    screen: Arc<Screen>,
}

/// What is drawn, by whoever has something new and by a thread when time has passed.
#[derive(Debug)]
struct Screen {
    state: Mutex<State>,
    /// The renderer is gone.
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    layers: Vec<Layer>,
    started: Instant,
    /// Columns of each line of the last drawing, to go back over.
    drawn: Vec<usize>,
    /// Whether there is something to draw.
    shown: bool,
    finishing: bool,
    /// When a registry was waited for.
    pauses: Vec<Paused>,
    gone: bool,
}

#[derive(Clone, Copy, Debug)]
struct Paused {
    since: Instant,
    time: Duration,
}

#[derive(Debug)]
struct Layer {
    index: usize,
    name: String,
    size: Option<u64>,
    read: u64,
    /// Bytes of data in the target.
    written: u64,
    started: Instant,
    last_read: Instant,
    /// Time until then in which nothing could come.
    idle: Duration,
    done: bool,
}

impl Renderer {
    pub(crate) fn new(quiet: bool) -> Self {
        let style = match (quiet, std::io::stderr().is_terminal() && has_cursor()) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Terminal,
            (false, false) => Style::Lines,
        };
        let screen = Arc::new(Screen {
            state: Mutex::new(State::new()),
            ended: Condvar::new(),
        });
        if style == Style::Terminal {
            *current() = Arc::downgrade(&screen);
            let drawing = Arc::clone(&screen);
            // Without the thread there are fewer drawings.
            std::thread::Builder::new()
                .name("lithify-progress".to_owned())
                .spawn(move || drawing.keep_drawing())
                .ok();
        }
        Self { style, screen }
    }

    /// Removes the bars, so that a result or an error starts on a clean line.
    pub(crate) fn clear(&self) {
        if self.style == Style::Terminal {
            let mut state = self.screen.state();
            state.shown = false;
            write_stderr(&state.erase(width()));
        }
    }

    /// Says what is waited for.
    pub(crate) fn pause(&self, pause: &Pause<'_>) {
        if self.style == Style::Quiet {
            return;
        }
        let (reason, seconds) = (pause.reason, pause.time.as_secs_f64());
        self.screen.state().pauses.push(Paused {
            since: Instant::now(),
            time: pause.time,
        });
        let line = format!("{reason}; trying again in {seconds:.1} s");
        print(&crate::terminal::message(&line));
    }
}

impl Drop for Renderer {
    fn drop(&mut self) {
        self.screen.state().gone = true;
        self.screen.ended.notify_all();
    }
}

/// Prints a line, above the bars if there are any.
pub(crate) fn print(line: &str) {
    let screen = current().upgrade();
    match screen {
        Some(screen) => {
            let mut state = screen.state();
            screen.redraw(&mut state, line);
        }
        None => write_stderr(line),
    }
}

fn current() -> MutexGuard<'static, Weak<Screen>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the terminal is one whose cursor can be moved (`term(7)`).
fn has_cursor() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Columns of the terminal at the moment.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(80)
}

/// Progress is a courtesy: nobody listening is no reason to fail.
fn write_stderr(text: &str) {
    std::io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// `sha256:` and twelve characters are enough to recognise a layer.
fn short(name: &str) -> String {
    let hex = name.split_once(':').map_or(name, |(_, hex)| hex);
    let start: String = hex.chars().take(12).collect();
    Printable(&start).to_string()
}

/// How much of a time nothing could come in, because a registry was waited for.
fn idle(pauses: &[Paused], from: Instant, to: Instant) -> Duration {
    let mut idle = Duration::ZERO;
    let mut at = from;
    // They are in the order in which they began, and may overlap.
    for pause in pauses {
        // What came in since then did not wait for it.
        let (start, end) = (pause.since.max(at), (pause.since + pause.time).min(to));
        if pause.since >= from && end > start {
            idle += end - start;
            at = end;
        }
    }
    idle
}

/// A line without what the terminal has no room for. The last column stays empty: a character there makes some
/// terminals begin a new line.
fn cut(line: &str, width: usize) -> String {
    line.chars().take(width.saturating_sub(1).max(1)).collect()
}

impl Screen {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws at intervals, so that time is seen to pass.
    fn keep_drawing(&self) {
        let mut state = self.state();
        while !state.gone {
            let (next, waited) = self
                .ended
                .wait_timeout(state, REDRAW)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() && !state.gone {
                self.redraw(&mut state, "");
            }
        }
    }

    /// Draws anew, below a line that stays.
    fn redraw(&self, state: &mut State, line: &str) {
        let width = width();
        let mut text = state.erase(width);
        text.push_str(line);
        if state.shown {
            for line in state.lines(Instant::now(), width) {
                state.drawn.push(line.chars().count());
                text.push_str(&line);
                text.push('\n');
            }
        }
        if !text.is_empty() {
            write_stderr(&text);
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            layers: Vec::new(),
            started: Instant::now(),
            drawn: Vec::new(),
            shown: false,
            finishing: false,
            pauses: Vec::new(),
            gone: false,
        }
    }

    /// What takes the last drawing away, also where the terminal has been made narrower since and broke its lines.
    fn erase(&mut self, width: usize) -> String {
        let rows = |columns: usize| columns.div_ceil(width).max(1);
        match std::mem::take(&mut self.drawn).into_iter().map(rows).sum() {
            0_usize => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }

    fn lines(&self, now: Instant, width: usize) -> Vec<String> {
        let done = self.layers.iter().filter(|l| l.done).count();
        let active = self.layers.iter().filter(|l| !l.done);
        let mut lines: Vec<String> = active
            .take(MAX_BARS)
            .map(|layer| layer.bar(&self.pauses, now, width))
            .collect();
        let elapsed = now.saturating_duration_since(self.started).as_secs_f64();
        let waiting = self.pauses.iter().filter_map(|pause| {
            let end = pause.since + pause.time;
            (pause.since <= now && now < end).then(|| end - now)
        });
        let state = match (waiting.max(), self.finishing) {
            (Some(left), _) => format!(", waiting {:.0} s", left.as_secs_f64().ceil()),
            (None, true) => ", writing metadata".to_owned(),
            (None, false) => String::new(),
        };
        lines.push(format!(
            "{done}/{} layers in {elapsed:.1} s{state}",
            self.layers.len()
        ));
        lines.iter().map(|line| cut(line, width)).collect()
    }
}

impl Layer {
    fn bar(&self, pauses: &[Paused], now: Instant, width: usize) -> String {
        let idle = self.idle + idle(pauses, self.last_read, now);
        let elapsed = now.saturating_duration_since(self.started);
        let seconds = elapsed.saturating_sub(idle).as_secs_f64();
        let rate = if seconds > 0.0 {
            self.read as f64 / seconds
        } else {
            0.0
        };
        let name = short(&self.name);
        let read = human::bytes(self.read);
        let rate_text = human::bytes(rate as u64);
        // What has arrived on the left, what became of it on the right.
        let written = match self.written {
            0 => String::new(),
            bytes => format!(" -> {:>8}", human::bytes(bytes)),
        };
        let Some(size) = self.size.filter(|&s| s > 0) else {
            return format!("{name:12}  {read:>8}  {rate_text:>8}/s{written}");
        };
        let fraction = (self.read as f64 / size as f64).min(1.0);
        let eta = if rate > 0.0 {
            size.saturating_sub(self.read) as f64 / rate
        } else {
            0.0
        };
        let tail = format!(
            "{read:>8} of {:<8} {rate_text:>8}/s  {eta:>4.0} s{written}",
            human::bytes(size)
        );
        let cells = width.saturating_sub(tail.len() + 18).clamp(0, 40);
        let filled = (fraction * cells as f64) as usize;
        format!(
            "{name:12} [{}{}] {tail}",
            "=".repeat(filled),
            " ".repeat(cells - filled)
        )
    }
}

impl Progress for Renderer {
    fn event(&self, event: Event<'_>) {
        if self.style == Style::Quiet {
            return;
        }
        let now = Instant::now();
        let mut state = self.screen.state();
        state.shown = true;
        let mut line = None;
        match event {
            Event::Started { .. } => state.started = now,
            Event::Layer {
                index,
                name,
                blob_size,
            } => {
                state.layers.push(Layer {
                    index,
                    name: name.to_owned(),
                    size: blob_size,
                    read: 0,
                    written: 0,
                    started: now,
                    last_read: now,
                    idle: Duration::ZERO,
                    done: false,
                });
            }
            Event::Read { index, blob_bytes } => {
                let State { layers, pauses, .. } = &mut *state;
                if let Some(layer) = layers.iter_mut().find(|l| l.index == index) {
                    layer.idle += idle(pauses, layer.last_read, now);
                    (layer.read, layer.last_read) = (blob_bytes, now);
                }
            }
            Event::Written { index, data_bytes } => {
                if let Some(layer) = state.layers.iter_mut().find(|l| l.index == index) {
                    layer.written = data_bytes;
                }
            }
            Event::LayerDone {
                index,
                tar_bytes,
                entries,
            } => {
                if let Some(layer) = state.layers.iter_mut().find(|l| l.index == index) {
                    layer.done = true;
                    let seconds = layer.started.elapsed().as_secs_f64();
                    let (name, size) = (short(&layer.name), human::bytes(tar_bytes));
                    let rate = human::bytes((tar_bytes as f64 / seconds.max(1e-9)) as u64);
                    line = Some(format!(
                        "layer {index} {name}: {entries} entries, {size} in {seconds:.1} s ({rate}/s)\n"
                    ));
                }
            }
            Event::BlobDone {
                index,
                name,
                bytes,
                copied,
            } => {
                let started = match state.layers.iter_mut().find(|l| l.index == index) {
                    Some(layer) => {
                        layer.done = true;
                        Some(layer.started)
                    }
                    None => None,
                };
                let (name, size) = (short(name), human::bytes(bytes));
                line = Some(match (copied, started) {
                    (true, Some(started)) => {
                        let seconds = started.elapsed().as_secs_f64();
                        let rate = human::bytes((bytes as f64 / seconds.max(1e-9)) as u64);
                        format!("blob {name}: {size} in {seconds:.1} s ({rate}/s)\n")
                    }
                    _ => format!("blob {name}: {size}, there already\n"),
                });
            }
            Event::Finishing => state.finishing = true,
            _ => {}
        }
        match self.style {
            Style::Lines => {
                drop(state);
                if let Some(line) = line {
                    write_stderr(&line);
                }
            }
            Style::Terminal if line.is_some() => self.screen.redraw(&mut state, ""),
            // The rest is drawn when it is time.
            Style::Terminal | Style::Quiet => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(now: Instant) -> State {
        let mut state = State::new();
        state.started = now - Duration::from_secs(30);
        state.shown = true;
        state.layers.push(Layer {
            index: 0,
            name: "sha256:0123456789abcdef".to_owned(),
            size: Some(40 << 20),
            read: 10 << 20,
            written: 10 << 20,
            started: now - Duration::from_secs(30),
            last_read: now - Duration::from_secs(20),
            idle: Duration::ZERO,
            done: false,
        });
        state
    }

    #[test]
    fn lines_fit_terminals_that_are_narrow() {
        let now = Instant::now();
        let mut state = state(now);
        state.pauses.push(Paused {
            since: now,
            time: Duration::from_secs(9),
        });
        for width in 1..120 {
            for line in state.lines(now, width) {
                assert!(line.chars().count() < width.max(2), "{width}: {line:?}");
            }
        }
        assert!(state.lines(now, 30)[0].starts_with("0123456789ab"));
    }

    #[test]
    fn waiting_is_neither_slow_nor_long() {
        let now = Instant::now();
        let mut state = state(now);
        let unhindered = state.lines(now - Duration::from_secs(20), 100)[0].clone();
        assert!(unhindered.contains("1.05 MB/s"), "{unhindered}");
        // For all the time since then a registry had asked to wait.
        state.pauses.push(Paused {
            since: now - Duration::from_secs(20),
            time: Duration::from_secs(60),
        });
        let lines = state.lines(now, 100);
        assert_eq!(lines[0], unhindered);
        assert!(lines[1].contains("waiting 40 s"), "{}", lines[1]);
    }

    #[test]
    fn what_a_narrower_terminal_made_of_the_lines_is_taken_back() {
        let mut state = State::new();
        state.drawn = vec![60, 20];
        assert_eq!(state.erase(80), "\u{1b}[2A\r\u{1b}[J");
        state.drawn = vec![60, 20];
        assert_eq!(state.erase(30), "\u{1b}[3A\r\u{1b}[J");
        assert_eq!(state.erase(30), "");
    }
}
