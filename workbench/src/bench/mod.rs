//! `cargo xtask bench`: what a build costs here, and what the same job costs other programs.
//!
//! Numbers are only comparable within one run: commands of a group take turns, so that a slow minute of the machine
//! hits them all. Nothing is asserted.

mod cases; // what is compared
mod composefs; // what is compared: composefs repositories
mod deltas; // what is compared: deltas of images
mod inputs; // with which images
mod layered; // what is compared: layers and the store
mod measure; // one command's cost
mod registry; // what is compared: images of a registry
mod report; // tables and JSON
pub(crate) mod speed; // single steps
pub(crate) mod synthetic; // archives made on the fly

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use self::cases::{Case, Group, Programs};
use self::inputs::Inputs;
use self::measure::{Sample, measure};
use crate::sh;
use xtask::error::{At as _, Error};

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON on standard output instead of tables.
    #[arg(long)]
    json: bool,
    /// Run each command this often.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only the groups whose name contains this, in any case (repeatable).
    #[arg(long = "group", value_name = "TEXT")]
    groups: Vec<String>,
    /// Measure this `lithify` instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Only our own commands.
    #[arg(long)]
    ours: bool,
    /// Also stream a single file of 8 GiB (needs that much free disk).
    #[arg(long)]
    big: bool,
}

/// Runs everything and prints what it cost.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let programs = Programs {
        lithify: match &args.binary {
            Some(binary) => binary.canonicalize().at("find", binary)?,
            None => build("lithify-cli", "lithify")?,
        },
        workbench: build("workbench", "workbench")?,
    };
    let place = sh::target().join("bench");
    std::fs::create_dir_all(&place).at("make", &place)?;
    let inputs = Inputs::prepare(&place)?;
    let mut groups = programs.groups(&inputs, args.big);
    groups.retain(|group| {
        let name = group.name.to_lowercase();
        args.groups.is_empty()
            || args
                .groups
                .iter()
                .any(|text| name.contains(&text.to_lowercase()))
    });
    let mut results = Vec::new();
    let mut used = Vec::new();
    if !args.json {
        report::header(&inputs, args.runs);
    }
    for group in &mut groups {
        if args.ours {
            group.cases.retain(|case| case.script.contains("lithify"));
        }
        eprintln!("{}", group.name);
        let samples = group_samples(group, args.runs, &place, &mut used)?;
        if !args.json {
            report::table(group, &samples);
        }
        results.push(report::json(group, &samples));
    }
    if args.json {
        report::print_json(&inputs, results);
    }
    Ok(())
}

/// Builds one package for release; its program. One by one: built together, each would get the features the other asks of
/// their dependencies.
fn build(package: &str, program: &str) -> Result<PathBuf, Error> {
    sh::run(&mut sh::cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        package,
    ]))?;
    Ok(sh::target().join("release").join(program))
}

/// Samples by case. The cases take turns. The directories they ran in are added to `used`.
fn group_samples(
    group: &Group,
    runs: usize,
    place: &Path,
    used: &mut Vec<TempDir>,
) -> Result<Vec<Vec<Sample>>, Error> {
    let mut samples = vec![Vec::new(); group.cases.len()];
    for _ in 0..runs {
        for (case, samples) in group.cases.iter().zip(&mut samples) {
            match sample(case, place, used) {
                Ok(found) => samples.extend(found),
                // A program that cannot do the job here must not cost the figures of those that can.
                Err(error @ Error::Failed { .. }) => eprintln!("{}: {error}", case.name),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(samples)
}

/// Prepares a directory for a case and runs the case in it, once or several times.
///
/// Afterwards the files in it are empty, but there: for at least a minute ext4 uses no inode again that was removed, and looks
/// through all of them for each new one (`recently_deleted` in `fs/ext4/ialloc.c`). Of 30,000 files that made the next run take
/// twice as long.
fn sample(case: &Case, place: &Path, used: &mut Vec<TempDir>) -> Result<Vec<Sample>, Error> {
    let dir = tempfile::tempdir_in(place).at("write in", place)?;
    let samples = samples(case, dir.path());
    empty(dir.path())?;
    used.push(dir);
    samples
}

fn samples(case: &Case, dir: &Path) -> Result<Vec<Sample>, Error> {
    if let Some(setup) = &case.setup {
        once(setup, dir)?;
    }
    let mut samples = Vec::new();
    for _ in 0..case.times {
        for path in outputs(dir)? {
            sh::output(sh::command("rm", ["-rf", "--"]).arg(path))?;
        }
        let mut sample = once(&case.script, dir)?;
        let outputs = outputs(dir)?;
        if !outputs.is_empty() {
            sample.output = Some(
                outputs
                    .iter()
                    .map(|path| bytes(path))
                    .sum::<Result<_, _>>()?,
            );
        }
        samples.push(sample);
    }
    Ok(samples)
}

/// Takes what is in the files in a directory, and leaves the files.
fn empty(dir: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).at("list", dir)? {
        let entry = entry.at("list", dir)?;
        let path = entry.path();
        let found = path.symlink_metadata().at("look at", &path)?;
        // One with more names may be an input.
        if found.is_dir() {
            empty(&path)?;
        } else if found.is_file() && found.nlink() == 1 {
            // What is under fs-verity is not written to, and stays.
            std::fs::File::create(&path).ok();
        }
    }
    Ok(())
}

/// What a script made: whatever is called `out` or `out.*`.
fn outputs(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).at("list", dir)? {
        let path = entry.at("list", dir)?.path();
        found.extend(
            path.file_stem()
                .is_some_and(|stem| stem == "out")
                .then_some(path),
        );
    }
    Ok(found)
}

/// Bytes of a file, or of all files in a directory.
fn bytes(path: &Path) -> Result<u64, Error> {
    let data = path.symlink_metadata().at("look at", path)?;
    if !data.is_dir() {
        return Ok(if data.is_file() { data.len() } else { 0 });
    }
    let entries = std::fs::read_dir(path).at("list", path)?;
    entries
        .map(|entry| bytes(&entry.at("list", path)?.path()))
        .sum()
}

fn once(script: &str, dir: &Path) -> Result<Sample, Error> {
    // What others left to be written must not be waited for by this one.
    sh::output(&mut sh::command("sync", [""; 0]))?;
    let mut bash = sh::command("bash", ["-o", "pipefail", "-c", script]);
    let errors = dir.join("stderr");
    let stderr = std::fs::File::create(&errors).at("create", &errors)?;
    bash.current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    let result = measure(&mut bash);
    if result.is_err() {
        eprintln!("{}", std::fs::read_to_string(&errors).unwrap_or_default());
    }
    result
}
