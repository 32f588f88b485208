//! The tests' output: shown as it comes, with note of what failed and what could not run.
//!
//! A test that cannot run says so by printing a line `skipped: …` and returning. The test harness hides what a passing
//! test prints, so the tests run with `--show-output`, whose listing is searched for such lines and otherwise left out of
//! sight. `lithify_testkit::require` also writes its lines to the file `LITHIFY_SKIPS` names: a test's threads and the
//! programs it starts print past the harness.
//!
//! Cargo's own lines (`Running …`) are errors' output and the harness' are not; both come through one pipe, so that each
//! test is known to belong to the program named before it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::Path;
use std::process::Command;

use xtask::error::{At as _, Error};
use xtask::sh;

/// Tests that did not pass.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// `package: test`, in the order they failed.
    pub(super) failed: Vec<String>,
    /// Lines `skipped: TEST needs …`.
    pub(super) skipped: Vec<String>,
}

/// Runs `cargo test …`, showing its usual lines, and adds what failed and what was skipped to the outcome.
pub(super) fn collect(cargo: &mut Command, outcome: &mut Outcome) -> Result<(), Error> {
    let file = sh::target().join("skipped.txt");
    if let Err(error) = std::fs::remove_file(&file)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).at("remove", &file);
    }
    cargo.args(["--", "--show-output"]);
    let command = sh::show(cargo);
    eprintln!("$ {command}");
    let pipe = Path::new("the pipe of cargo test");
    let (output, input) = std::io::pipe().at("make", pipe)?;
    cargo
        .env("LITHIFY_SKIPS", &file)
        .stdout(input.try_clone().at("use", pipe)?)
        .stderr(input);
    let mut child = cargo.spawn().map_err(|source| Error::Start {
        command: command.clone(),
        source,
    })?;
    // The command holds writing ends of the pipe, whose reader would wait for them.
    *cargo = Command::new("true");
    let mut listing = Listing::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.at("read", pipe)?;
        let line = String::from_utf8_lossy(&line);
        if let Some(program) = running(&line) {
            listing.package = package(program).unwrap_or_else(|| program.into());
        }
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
    outcome.skipped.extend(listing.skipped);
    outcome.failed.extend(listing.failed);
    if status.success() {
        Ok(())
    } else if outcome.failed.is_empty() {
        Err(Error::Failed { command, status })
    } else {
        Err(Error::Tests {
            count: outcome.failed.len(),
        })
    }
}

/// The program of a line `Running tests/it/main.rs (target/debug/deps/it-0123456789abcdef)`, or the package of a line
/// `Doc-tests package`.
fn running(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix("Running ") {
        return rest.strip_suffix(')')?.rsplit_once('(').map(|(_, p)| p);
    }
    line.strip_prefix("Doc-tests ")
}

/// The package of a test program, from the sources the compiler noted beside it.
fn package(program: &str) -> Option<String> {
    let notes = sh::root().join(format!("{program}.d"));
    let notes = std::fs::read_to_string(notes).ok()?;
    let source = notes
        .split_whitespace()
        .find(|word| word.ends_with(".rs"))?;
    let inside = source.split(['/', '\\']).collect::<Vec<_>>();
    let at = inside
        .iter()
        .position(|part| *part == "src" || *part == "tests")?;
    inside.get(at.checked_sub(1)?).map(|name| (*name).into())
}

/// Reads the output of test programs line by line.
#[derive(Default)]
struct Listing {
    /// The package whose tests are running.
    package: String,
    /// Inside the output of passed tests.
    hidden: bool,
    /// The test whose output is being listed.
    test: String,
    failed: Vec<String>,
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
        if !self.hidden
            && let Some(rest) = line.strip_prefix("test ")
            && let Some(name) = rest.strip_suffix(" ... FAILED")
        {
            self.failed.push(format!("{}: {name}", self.package));
        }
        if let Some(what) = line.strip_prefix("skipped: ") {
            // The test kit's lines name their test already.
            let named = what
                .split_once(" needs ")
                .is_some_and(|(test, _)| !test.is_empty());
            self.skipped.insert(if named {
                line.into()
            } else {
                format!("skipped: {}::{} {what}", self.package, self.test)
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
test of something ... FAILED
skipped: needs a moon
skipped: binary::a needs the program `x`


successes:
    a

failures:

---- b stdout ----
a message

test result: FAILED. 1 passed; 1 failed
";
        let mut listing = Listing {
            package: "crate".into(),
            ..Listing::default()
        };
        let shown: Vec<_> = output.lines().filter(|line| listing.shows(line)).collect();
        assert!(!shown.contains(&"noise") && !shown.contains(&"    a"));
        assert!(
            shown.contains(&"a message")
                && shown.contains(&"test result: FAILED. 1 passed; 1 failed")
        );
        assert_eq!(listing.failed, ["crate: b"]);
        let skipped: Vec<_> = listing.skipped.into_iter().collect();
        assert_eq!(
            skipped,
            [
                "skipped: binary::a needs the program `x`",
                "skipped: crate::a needs a moon"
            ]
        );
    }

    #[test]
    fn cargo_names_the_program_that_runs() {
        let line = "     Running tests/it/main.rs (target/debug/deps/it-0123)";
        assert_eq!(running(line), Some("target/debug/deps/it-0123"));
        assert_eq!(running("   Doc-tests lithify_tree"), Some("lithify_tree"));
        assert_eq!(running("running 3 tests"), None);
        // This very program is one of this package.
        let program = std::env::current_exe().unwrap();
        assert_eq!(package(program.to_str().unwrap()).unwrap(), "xtask");
    }
}
