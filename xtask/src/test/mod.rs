//! `cargo xtask test`: all that has to hold before a change is accepted.

mod args;
#[cfg(test)]
mod circles; // files that import each other
mod listing; // tests that failed or could not run
mod packages; // the referees, installed where that is possible

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

pub(crate) use args::Args;
use listing::Outcome;
use xtask::error::{self, At as _, Error};
use xtask::sh;

/// Runs every step, whatever became of the one before, and says at the end which failed.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let can_install = packages::can_install();
    plan(args, can_install);
    let mut steps = Steps::default();
    let mut fixtures = None;
    steps.step("locks", locks);
    if !args.quick {
        steps.step("referees", || packages::install(can_install));
        steps.step("workbench", || {
            sh::run(&mut sh::cargo(["build", "--package", "workbench"]))
        });
        fixtures = Some(std::thread::spawn(make_fixtures));
    }
    steps.step("format", || {
        sh::run(&mut sh::cargo(["fmt", "--all", "--check"]))
    });
    steps.step("lints", || {
        sh::run(&mut sh::cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    let test = || {
        let mut cargo = sh::cargo(["test", "--workspace", "--no-fail-fast"]);
        if args.quick {
            cargo.args(["--lib", "--bins"]);
        }
        if args.full {
            more_cases(&mut cargo);
        }
        cargo
    };
    steps.step("test programs", || sh::run(test().arg("--no-run")));
    if let Some(making) = fixtures {
        // Without them the tests that want them skip, which is what the end reports.
        steps.step("fixtures", || wait_for_fixtures(making));
    }
    if args.full {
        // Without it the tests that want it skip.
        steps.step("cfsctl", || build_cfsctl(can_install));
        steps.step("oci-delta", build_oci_delta);
    }
    let mut outcome = Outcome::default();
    steps.step("tests", || listing::collect(&mut test(), &mut outcome));
    if !args.quick {
        steps.step("documentation", || {
            let mut doc = sh::cargo(["doc", "--workspace", "--no-deps"]);
            sh::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        });
        steps.step("features", features);
        steps.step("embedder", embedder);
        steps.step("fuzz targets", fuzz_targets);
    }
    steps.report();
    let skips_count = !args.quick && can_install && !args.allow_skips;
    conclude(steps, &outcome, skips_count)
}

/// Says what will be done and what it takes, before it is done.
fn plan(args: &Args, can_install: bool) {
    if args.quick {
        println!("Format, lints and unit tests: about 3 minutes on two processors the first time.");
        return;
    }
    println!(
        "All checks and tests: 12 to 25 minutes and 8 GB under target/ on two processors the first time, 5 minutes afterwards.\n\
         In this order: install the programs tests compare with, compile, make real images (while compiling), test, document."
    );
    let missing = packages::missing();
    match (missing.is_empty(), can_install) {
        (true, _) => println!("Every program tests compare with is installed."),
        (false, true) => println!("To be installed with apt: {}", missing.join(" ")),
        (false, false) => println!(
            "Missing, and not to be installed without root and apt (tests that need them are skipped): {}",
            missing.join(" ")
        ),
    }
}

/// Ten times as many random inputs, other ones than in the run before, and inputs that take minutes.
fn more_cases(cargo: &mut Command) {
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    println!("random inputs of this run again: PROPTEST_RNG_SEED={seed} cargo test …");
    cargo
        .env("PROPTEST_RNG_SEED", seed.to_string())
        .env("PROPTEST_CASES", "2560")
        .env("LITHIFY_FULL", "1")
        .env("LITHIFY_UMOCI_CASES", "1500");
}

/// The other program for composefs repositories, which no distribution of the tests has. It is built once.
fn build_cfsctl(can_install: bool) -> Result<(), Error> {
    let root = sh::target().join("cfsctl");
    if root.join("bin/cfsctl").is_file() {
        return Ok(());
    }
    println!("building cfsctl, once: half an hour on two processors");
    if can_install {
        packages::install_for_cfsctl()?;
    }
    let mut install = sh::cargo(["install", "composefs-ctl", "--version", "0.9.4", "--locked"]);
    install.arg("--root").arg(&root);
    sh::run(install.arg("--target-dir").arg(root.join("build")))
}

/// The other program that applies deltas, from its library. It needs packages that `cfsctl` needs too. It is built once.
fn build_oci_delta() -> Result<(), Error> {
    let root = sh::target().join("referees/oci-delta");
    if root.join("bin/oci-delta-referee-image").is_file() {
        return Ok(());
    }
    let mut install = sh::cargo(["install", "--locked", "--path", "referees/oci-delta"]);
    install.arg("--root").arg(&root);
    sh::run(install.arg("--target-dir").arg(root.join("build")))
}

/// The fixtures' own output, which would mix with the compiler's.
fn fixtures_log() -> PathBuf {
    sh::target().join("fixtures.log")
}

/// Makes the fixtures while the compiler works.
fn make_fixtures() -> Result<(), Error> {
    let path = fixtures_log();
    let log = File::create(&path).at("create", &path)?;
    let program = sh::target().join("debug/workbench");
    let mut workbench = Command::new(program);
    workbench
        .arg("fixtures")
        .current_dir(sh::root())
        .stdout(log.try_clone().at("write", &path)?)
        .stderr(log);
    sh::run(&mut workbench)
}

fn wait_for_fixtures(making: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    let made = making
        .join()
        .unwrap_or(Err(Error::Panicked { task: "fixtures" }));
    if made.is_err() {
        let path = fixtures_log();
        println!("{}", std::fs::read_to_string(&path).at("read", &path)?);
    }
    made
}

/// The locks of the workspace and of the crates beside it, which depend on what its crates depend on.
fn locks() -> Result<(), Error> {
    for manifest in ["Cargo.toml", "examples/embed/Cargo.toml", "fuzz/Cargo.toml"] {
        let mut update = sh::cargo(["update", "--quiet", "--workspace", "--locked"]);
        sh::run(update.args(["--manifest-path", manifest]))?;
    }
    Ok(())
}

/// The fuzz crate is no member of the workspace; that its targets compile needs no fuzzer.
fn fuzz_targets() -> Result<(), Error> {
    let mut check = sh::cargo([
        "check",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target-dir",
    ]);
    sh::run(check.arg(sh::target().join("fuzz")))
}

/// The library without its features, and with each alone.
fn features() -> Result<(), Error> {
    for features in ["", "registry", "daemon", "mount", "squashfs"] {
        let mut check = sh::cargo(["clippy", "--package", "lithify", "--no-default-features"]);
        check.args(["--features", features, "--", "-D", "warnings"]);
        sh::run(&mut check)?;
    }
    Ok(())
}

/// A program outside the workspace that uses the library without its default features.
fn embedder() -> Result<(), Error> {
    let target = sh::target().join("embed");
    let mut run = sh::cargo([
        "run",
        "--locked",
        "--manifest-path",
        "examples/embed/Cargo.toml",
    ]);
    run.arg("--target-dir").arg(&target).arg("--");
    run.arg("oci:examples/hello")
        .arg(target.join("hello.erofs"))
        .arg("/etc/motd");
    sh::run(&mut run)
}

/// Names what was skipped, then what failed: the last lines are those a reader needs.
fn conclude(steps: Steps, outcome: &Outcome, skips_count: bool) -> Result<(), Error> {
    for line in &outcome.skipped {
        println!("{line}");
    }
    for test in &outcome.failed {
        println!("failed: {test}");
    }
    steps.result()?;
    if skips_count && !outcome.skipped.is_empty() {
        return Err(Error::Skipped {
            count: outcome.skipped.len(),
        });
    }
    Ok(())
}

/// Steps that ran, and how they went.
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
            eprintln!("{name}: {}", error::chain(error));
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
        let total: f64 = self.done.iter().map(|(_, seconds, _)| seconds).sum();
        println!("{:14} {:6} {total:6.1} s", "all", "");
    }

    /// Success, or the names of all steps that failed behind the first error.
    fn result(self) -> Result<(), Error> {
        self.done.into_iter().try_for_each(|(_, _, result)| result)
    }
}

/// Whether a command succeeds, without its output.
fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
