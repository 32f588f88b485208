//! `cargo xtask fuzz`: fuzz targets, built and run with the stable toolchain.
//!
//! What cargo-fuzz needs a nightly compiler for is the sanitizers. Coverage, without which fuzzing is blind, is an LLVM
//! pass that any rustc runs when asked; so the targets are built with the flags cargo-fuzz would give, and run as the
//! libFuzzer programs they are.

mod built; // seeds that programs make
mod composefs; // seeds of composefs
mod deltas; // seeds of deltas
mod qcow2; // seeds of disks
mod seeds; // where the fuzzer starts
mod snapshots; // seeds of snapshots

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sh;
use xtask::error::{At as _, Error};

/// The targets in `fuzz/fuzz_targets`.
const TARGETS: [&str; 23] = [
    "inflate",
    "decoder",
    "tar",
    "manifest",
    "archive",
    "erofs",
    "squashfs",
    "ext4",
    "verity",
    "dir_sidecar",
    "disk",
    "qcow2",
    "store",
    "challenge",
    "registry_headers",
    "certificate",
    "composefs_image",
    "composefs_meta",
    "dumpfile",
    "splitstream",
    "tar_diff",
    "delta_manifest",
    "snapshot_manifest",
];

/// What makes libFuzzer see where an input leads (SanitizerCoverage, with comparisons).
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Branches folded together look like one to the fuzzer.
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
];

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The target; each in turn without.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    target: Option<String>,
    /// How long to run each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Build with AddressSanitizer (asks the stable compiler for an unstable flag).
    #[arg(long)]
    asan: bool,
    /// Run this input instead of fuzzing.
    #[arg(long, value_name = "FILE", requires = "target")]
    reproduce: Option<PathBuf>,
}

/// Builds and runs the targets.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let targets = match &args.target {
        Some(target) => vec![target.as_str()],
        None => TARGETS.to_vec(),
    };
    for target in targets {
        let program = build(target, args.asan)?;
        match &args.reproduce {
            Some(input) => sh::run(Command::new(program).arg(input))?,
            None => fuzz(target, &program, args.seconds)?,
        }
    }
    Ok(())
}

fn build(target: &str, asan: bool) -> Result<PathBuf, Error> {
    let triple = host()?;
    let dir = sh::target().join(if asan { "fuzz-asan" } else { "fuzz" });
    // With `--target` the flags reach the targets and what they link, but not build scripts and macros.
    let mut cargo = sh::cargo([
        "build",
        "--release",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--bin",
        target,
    ]);
    cargo.args(["--target", &triple, "--target-dir"]).arg(&dir);
    let mut flags = COVERAGE.join(" ");
    if asan {
        flags.push_str(" -Zsanitizer=address");
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    sh::run(cargo.env("RUSTFLAGS", flags))?;
    Ok(dir.join(triple).join("release").join(target))
}

fn fuzz(target: &str, program: &Path, seconds: u32) -> Result<(), Error> {
    let fuzz = sh::root().join("fuzz");
    let (corpus, artifacts) = (
        fuzz.join("corpus").join(target),
        fuzz.join("artifacts").join(target),
    );
    for dir in [&corpus, &artifacts] {
        std::fs::create_dir_all(dir).at("make", dir)?;
    }
    seeds::write(target, &corpus)?;
    let mut libfuzzer = Command::new(program);
    libfuzzer
        .current_dir(&fuzz)
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=25", "-rss_limit_mb=4096", "-print_final_stats=1"]);
    let dictionary = fuzz.join("dictionaries").join(format!("{target}.dict"));
    if dictionary.exists() {
        libfuzzer.arg(format!("-dict={}", dictionary.display()));
    }
    sh::run_filtered(&mut libfuzzer, Reports::default())
}

/// Leaves out of libFuzzer's report what it says hundreds of times.
#[derive(Default)]
struct Reports {
    dictionary: bool,
}

impl sh::Filter for Reports {
    fn shows(&mut self, line: &str) -> bool {
        if line.starts_with("###### Recommended dictionary") {
            self.dictionary = true;
        } else if line.starts_with("###### End of recommended dictionary") {
            self.dictionary = false;
            return false;
        }
        let count = line
            .strip_prefix('#')
            .and_then(|rest| rest.split('\t').next());
        let event = count.is_some_and(|count| count.bytes().all(|b| b.is_ascii_digit()));
        let milestone = ["INITED", "pulse", "DONE"]
            .iter()
            .any(|word| line.contains(word));
        !self.dictionary && (!event || milestone)
    }
}

/// The triple of the machine this runs on.
fn host() -> Result<String, Error> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let text = sh::output(Command::new(rustc).arg("-vV").current_dir(sh::root()))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(String::from).ok_or_else(|| Error::Needs {
        task: "fuzzing",
        need: "a rustc that tells its host".into(),
    })
}
