//! Other programs, and where things are.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// The workspace's root directory.
#[must_use]
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().unwrap_or(&package).into()
}

/// The path of a program on `PATH` or in the system directories users without root often lack.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// The directory cargo builds into.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A command in the C locale and UTC, run in the workspace's root.
pub fn command<I: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = I>) -> Command {
    let found = find_program(program);
    let mut command = Command::new(found.as_deref().unwrap_or(Path::new(program)));
    command
        .args(args)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir(root());
    command
}

/// The `cargo` that runs this task.
pub fn cargo<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Shows the command, runs it with our own output, and fails if it fails.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(command: &mut Command) -> Result<(), Error> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command.status().map_err(|source| Error::Start {
        command: shown.clone(),
        source,
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            command: shown,
            status,
        })
    }
}

/// A choice of the lines to show.
pub trait Filter {
    /// Takes note of a line; whether to show it.
    fn shows(&mut self, line: &str) -> bool;
}

/// As [`run()`], with lines of the command's standard error left out.
///
/// # Errors
/// As [`run()`].
pub fn run_filtered(command: &mut Command, mut filter: impl Filter) -> Result<(), Error> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let start = |source| Error::Start {
        command: shown.clone(),
        source,
    };
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(start)?;
    for line in child
        .stderr
        .take()
        .into_iter()
        .flat_map(|err| BufReader::new(err).split(b'\n'))
    {
        let line = line.map_err(start)?;
        let line = String::from_utf8_lossy(&line);
        if filter.shows(&line) {
            eprintln!("{line}");
        }
    }
    let status = child.wait().map_err(start)?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            command: shown,
            status,
        })
    }
}

/// Runs the command for its standard output.
///
/// # Errors
/// As [`run()`].
pub fn output(command: &mut Command) -> Result<String, Error> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Start {
            command: shown.clone(),
            source,
        })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Failed {
            command: shown,
            status: output.status,
        })
    }
}

/// The command as one would type it.
#[must_use]
pub fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words
        .map(|word| {
            let word = word.to_string_lossy();
            if word.is_empty() || word.contains([' ', '\'', '"', '$', '\n', '*']) {
                format!("'{}'", word.replace('\'', r"'\''"))
            } else {
                word.into_owned()
            }
        })
        .collect();
    words.join(" ")
}
