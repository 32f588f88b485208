//! `cargo xtask test`: all that has to hold before a change is accepted.

mod packages; // the referees, installed where that is possible
mod skips; // tests that could not run

use std::process::Command;
use std::time::Instant;

use crate::error::Error;
use crate::{fixtures, sh};

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format, lints and unit tests only: no referees, no fixtures.
    #[arg(long)]
    quick: bool,
    /// Succeed although tests were skipped, also where everything can be installed (as root on Debian).
    #[arg(long)]
    allow_skips: bool,
}

/// Runs every step, whatever became of the one before, and says at the end which failed.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let can_install = packages::can_install();
    let mut steps = Steps::default();
    if !args.quick {
        steps.step("referees", || packages::install(can_install));
        // Without them the tests that want them skip, which is what the end reports.
        let made = fixtures::small();
        if let Err(error) = &made {
            eprintln!("no fixtures: {}", crate::error::chain(error));
        }
    }
    steps.step("format", || {
        sh::run(&mut sh::cargo(["fmt", "--all", "--check"]))
    });
    steps.step("lints", || {
        sh::run(&mut sh::cargo([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    let mut skipped = Vec::new();
    steps.step("tests", || {
        let mut cargo = sh::cargo(["test", "--workspace", "--no-fail-fast"]);
        if args.quick {
            cargo.args(["--lib", "--bins"]);
        }
        skips::collect(&mut cargo, &mut skipped)
    });
    if !args.quick {
        steps.step("documentation", || {
            let mut doc = sh::cargo(["doc", "--quiet", "--workspace", "--no-deps"]);
            sh::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        });
        steps.step("fuzz targets", fuzz_targets);
    }
    steps.report();
    for line in &skipped {
        println!("{line}");
    }
    let skips_count = !args.quick && can_install && !args.allow_skips;
    if skips_count && !skipped.is_empty() {
        return Err(Error::Skipped {
            count: skipped.len(),
        });
    }
    steps.result()
}

/// The fuzz crate is no member of the workspace; that its targets compile needs no fuzzer.
fn fuzz_targets() -> Result<(), Error> {
    let mut check = sh::cargo([
        "check",
        "--quiet",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target-dir",
    ]);
    sh::run(check.arg(sh::target().join("fuzz")))
}

/// What ran, and how it went.
#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, f64, Result<(), Error>)>,
}

impl Steps {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<(), Error>) {
        println!("== {name}");
        let start = Instant::now();
        let result = work();
        if let Err(error) = &result {
            eprintln!("{name}: {}", crate::error::chain(error));
        }
        self.done
            .push((name, start.elapsed().as_secs_f64(), result));
    }

    fn report(&self) {
        println!("== summary");
        for (name, seconds, result) in &self.done {
            let word = if result.is_ok() { "ok" } else { "FAILED" };
            println!("{name:14} {word:6} {seconds:6.1} s");
        }
    }

    fn result(self) -> Result<(), Error> {
        self.done.into_iter().try_for_each(|(_, _, result)| result)
    }
}

/// Whether a command succeeds, without its output.
fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
