//! What the library says while it works, on standard error.

use std::time::Instant;

use log::{LevelFilter, Log, Metadata, Record};

use crate::failure::Failure;

/// Only what this project says: libraries below it print what is of no use here, and might print what is secret.
const OURS: &str = "lithify";

struct Logger {
    level: LevelFilter,
    started: Instant,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level && metadata.target().starts_with(OURS)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let level = record.level().as_str().to_ascii_lowercase();
        let line = crate::terminal::message(&format!("{seconds:.3} {level}: {}", record.args()));
        crate::progress::print(&line);
    }

    fn flush(&self) {}
}

/// Starts listening: to what `-v` asks for, else to what `$LITHIFY_LOG` does, else to warnings.
pub(crate) fn init(quiet: bool, verbose: u8) -> Result<(), Failure> {
    let level = match (verbose, std::env::var("LITHIFY_LOG")) {
        (0, Ok(text)) if !text.is_empty() => text.parse().map_err(|_| {
            Failure::Usage(format!(
                "$LITHIFY_LOG is `{}`: use off, error, warn, info, debug or trace",
                lithify::Escaped(&text)
            ))
        })?,
        (0, _) if quiet => LevelFilter::Error,
        (0, _) => LevelFilter::Warn,
        (1, _) => LevelFilter::Info,
        (2, _) => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let logger = Logger {
        level,
        started: Instant::now(),
    };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}
