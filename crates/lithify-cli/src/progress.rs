//! Progress on standard error: a bar per layer on a terminal, a line per layer elsewhere.

use std::io::{IsTerminal, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lithify::{Event, Progress};

use crate::human;

/// How often a terminal is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Bars shown at once; more layers than that are counted, not drawn.
const MAX_BARS: usize = 12;

#[derive(Debug)]
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
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    layers: Vec<Layer>,
    started: Instant,
    drawn_at: Option<Instant>,
    /// Lines of the last drawing, to go back over.
    drawn_lines: usize,
    finishing: bool,
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
    done: bool,
}

impl Renderer {
    pub(crate) fn new(quiet: bool) -> Self {
        let style = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Terminal,
            (false, false) => Style::Lines,
        };
        let state = State {
            layers: Vec::new(),
            started: Instant::now(),
            drawn_at: None,
            drawn_lines: 0,
            finishing: false,
        };
        Self {
            style,
            state: Mutex::new(state),
        }
    }

    /// Removes the bars, so that a result or an error starts on a clean line.
    pub(crate) fn clear(&self) {
        if matches!(self.style, Style::Terminal) {
            let mut state = self.lock();
            let text = state.erase();
            write_stderr(&text);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Progress is a courtesy: nobody listening is no reason to fail.
fn write_stderr(text: &str) {
    std::io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// `sha256:` and twelve characters are enough to recognise a layer.
fn short(name: &str) -> String {
    let hex = name.split_once(':').map_or(name, |(_, hex)| hex);
    hex.chars().take(12).collect()
}

impl State {
    fn erase(&mut self) -> String {
        let lines = std::mem::take(&mut self.drawn_lines);
        if lines == 0 {
            String::new()
        } else {
            format!("\x1b[{lines}A\r\x1b[J")
        }
    }

    fn draw(&mut self, width: usize) -> String {
        let mut text = self.erase();
        let now = Instant::now();
        let done = self.layers.iter().filter(|l| l.done).count();
        let active: Vec<&Layer> = self.layers.iter().filter(|l| !l.done).collect();
        let mut lines = Vec::new();
        for layer in active.iter().take(MAX_BARS) {
            lines.push(layer.bar(now, width));
        }
        let elapsed = now.duration_since(self.started).as_secs_f64();
        let state = if self.finishing {
            ", writing metadata"
        } else {
            ""
        };
        lines.push(format!(
            "{done}/{} layers in {elapsed:.1} s{state}",
            self.layers.len()
        ));
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn_lines = lines.len();
        self.drawn_at = Some(now);
        text
    }
}

impl Layer {
    fn bar(&self, now: Instant, width: usize) -> String {
        let seconds = now.duration_since(self.started).as_secs_f64();
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
        if matches!(self.style, Style::Quiet) {
            return;
        }
        let mut state = self.lock();
        let mut line = None;
        match event {
            Event::Started { .. } => state.started = Instant::now(),
            Event::Layer {
                index,
                name,
                blob_size,
            } => {
                let (name, started) = (name.to_owned(), Instant::now());
                state.layers.push(Layer {
                    index,
                    name,
                    size: blob_size,
                    read: 0,
                    written: 0,
                    started,
                    done: false,
                });
            }
            Event::Read { index, blob_bytes } => {
                if let Some(layer) = state.layers.iter_mut().find(|l| l.index == index) {
                    layer.read = blob_bytes;
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
                if let Some(line) = line {
                    write_stderr(&line);
                }
            }
            Style::Terminal => {
                if line.is_some() || state.drawn_at.is_none_or(|at| at.elapsed() >= REDRAW) {
                    let width = rustix::termios::tcgetwinsize(std::io::stderr())
                        .map_or(80, |size| usize::from(size.ws_col).max(40));
                    let text = state.draw(width);
                    write_stderr(&text);
                }
            }
            Style::Quiet => {}
        }
    }
}
