//! The `lithify` command. All it does itself is to read arguments and show results; the work is the library's.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod failure;
mod human;
mod log;
mod progress;
mod signals;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use failure::Failure;

/// The operation failed.
const FAILED: u8 = 1;
/// The arguments make no sense (clap exits with the same code).
const USAGE: u8 = 2;
/// Something is not what its digest, size or checksum says.
const VERIFICATION: u8 = 3;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let hint = other_verb(&error);
            // Help and version are no errors, and go to standard output; clap exits with the right code.
            match error.print() {
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                    return signals::broken_pipe();
                }
                Err(unprinted) => terminal::say(&unprinted.to_string()),
                Ok(()) => {}
            }
            if let Some(hint) = hint {
                terminal::say(&format!("hint: {hint}"));
            }
            return match error.use_stderr() {
                true => ExitCode::from(USAGE),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let Err(failure) = signals::listen().and_then(|()| commands::run(cli)) else {
        return ExitCode::SUCCESS;
    };
    if let Some(code) = signals::interrupted() {
        return code;
    }
    match failure {
        Failure::Usage(message) => {
            terminal::say(&message);
            ExitCode::from(USAGE)
        }
        Failure::Library(error) => {
            terminal::say(&error.report());
            ExitCode::from(if error.is_verification() {
                VERIFICATION
            } else {
                FAILED
            })
        }
        Failure::Damaged(message) => {
            terminal::say(&message);
            ExitCode::from(VERIFICATION)
        }
        Failure::Other(message) => {
            terminal::say(&message);
            ExitCode::from(FAILED)
        }
        // Whoever read the output has gone; like other tools in a pipe, say nothing.
        Failure::ClosedPipe => signals::broken_pipe(),
    }
}

/// For a command that does not exist here but in other tools, what to type instead.
fn other_verb(error: &clap::Error) -> Option<&'static str> {
    if error.kind() != clap::error::ErrorKind::InvalidSubcommand {
        return None;
    }
    use clap::error::{ContextKind, ContextValue};
    let ContextValue::String(name) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    // The verb before it, if it has verbs of its own.
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    match usage.contains(" composefs ") {
        true => args::other_composefs_verb(name),
        false => args::other_verb(name),
    }
}
