//! Tests that could not run here.
//!
//! A test says so by printing a line `skipped: …` and returning. The test harness hides what a passing test prints, so
//! the tests run with `--show-output`, whose listing is searched for such lines and otherwise left out of sight.
//! `lithify_testkit::require` also writes its lines to the file `LITHIFY_SKIPS` names: a test's threads and the
//! programs it starts print past the harness.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{At as _, Error};
use crate::sh;

/// Runs `cargo test …`, showing its usual lines, and adds what was skipped to the list.
pub(super) fn collect(cargo: &mut Command, skipped: &mut Vec<String>) -> Result<(), Error> {
    let file = sh::root().join("target/skipped.txt");
    if let Err(error) = std::fs::remove_file(&file)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).at("remove", &file);
    }
    cargo.args(["--", "--show-output"]);
    cargo.env("LITHIFY_SKIPS", &file).stdout(Stdio::piped());
    let command = sh::show(cargo);
    eprintln!("$ {command}");
    let mut child = cargo.spawn().map_err(|source| Error::Start {
        command: command.clone(),
        source,
    })?;
    let mut listing = Listing::default();
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).split(b'\n'))
    {
        let line = line.at("read the output of", Path::new("cargo test"))?;
        let line = String::from_utf8_lossy(&line);
        if listing.shows(&line) {
            println!("{line}");
        }
    }
    let status = child.wait().at("wait for", Path::new("cargo test"))?;
    let noted = match std::fs::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        result => result.at("read", &file)?,
    };
    listing.skipped.extend(noted.lines().map(String::from));
    skipped.extend(listing.skipped);
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed { command, status })
    }
}

/// Reads the output of test binaries line by line.
#[derive(Default)]
struct Listing {
    /// Inside the output of passed tests.
    hidden: bool,
    /// The test whose output is being listed.
    test: String,
    skipped: BTreeSet<String>,
}

impl Listing {
    /// Takes note of a line; whether it is one to show.
    fn shows(&mut self, line: &str) -> bool {
        if line == "successes:" {
            self.hidden = true;
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.hidden = false;
        }
        if let Some(name) = line.strip_prefix("---- ") {
            self.test = name.trim_end_matches(" stdout ----").into();
        }
        if let Some(what) = line.strip_prefix("skipped: ") {
            // The test kit's lines name their test already.
            let named = what
                .split_once(" needs ")
                .is_some_and(|(test, _)| !test.is_empty());
            self.skipped.insert(if named {
                line.into()
            } else {
                format!("skipped: {} {what}", self.test)
            });
        }
        !self.hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_passed_tests_is_searched_and_hidden() {
        let output = "\
running 2 tests
test a ... ok
test b ... FAILED

successes:

---- a stdout ----
noise
skipped: needs a moon
skipped: binary::a needs the program `x`


successes:
    a

failures:

---- b stdout ----
a message

test result: FAILED. 1 passed; 1 failed
";
        let mut listing = Listing::default();
        let shown: Vec<_> = output.lines().filter(|line| listing.shows(line)).collect();
        assert!(!shown.contains(&"noise") && !shown.contains(&"    a"));
        assert!(
            shown.contains(&"a message")
                && shown.contains(&"test result: FAILED. 1 passed; 1 failed")
        );
        let skipped: Vec<_> = listing.skipped.into_iter().collect();
        assert_eq!(
            skipped,
            [
                "skipped: a needs a moon",
                "skipped: binary::a needs the program `x`"
            ]
        );
    }
}
