//! Commands that are interrupted: they are started, waited for until they wait themselves, and signalled.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{layer, stderr};
use lithify_testkit::registry::Faulty;
use lithify_testkit::{Layout, TarEntry, run};
use rustix::process::{Pid, Signal, kill_process};

/// When a test gives up: nobody is waiting any more for what should have come long ago.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn lithify(dir: &Path) -> Command {
    started(dir, &[crate::common::lithify().get_program()])
}

/// A program that signals end: those a shell ignores in what it starts in the background, or `nohup`, are ignored by all that is
/// started from there.
pub(crate) fn started(dir: &Path, program: &[&OsStr]) -> Command {
    let mut command = run::command("env");
    command.arg("--default-signal=HUP,INT,TERM").args(program);
    for (name, value) in crate::common::lithify().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("LITHIFY_STORE", dir.join("store"))
        .env("HOME", dir.join("home"))
        .env("TMPDIR", dir)
        .env("LITHIFY_REGISTRIES", dir.join("registries.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Nothing but the signal ends a wait.
    let patient = "timeouts = { connect = 3600, idle = 3600 }\n";
    std::fs::write(dir.join("registries.toml"), patient).unwrap();
    command
}

/// Waits for what is to become true.
pub(crate) fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < LIMIT, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn kill(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The end of a command that is to end.
pub(crate) fn end(mut child: Child) -> Output {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!(
                "it did not end: {}",
                stderr(&child.wait_with_output().unwrap())
            );
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Interrupts a command once it waits, and checks how it ends.
pub(crate) fn interrupted(
    command: &mut Command,
    signal: Signal,
    what: &str,
    is_waiting: impl FnMut() -> bool,
) {
    let child = command.spawn().unwrap();
    until(what, is_waiting);
    kill(&child, signal);
    check(&end(child), signal, what);
}

pub(crate) fn check(output: &Output, signal: Signal, what: &str) {
    let said = stderr(output);
    assert_eq!(output.status.signal(), None, "{what}: {said}");
    assert_eq!(
        output.status.code(),
        Some(128 + signal.as_raw()),
        "{what}: {said}"
    );
    assert!(said.contains("interrupted"), "{what}: {said}");
}

/// All paths below a directory, but for those of locks.
pub(crate) fn listing(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for item in std::fs::read_dir(next).unwrap() {
            let item = item.unwrap();
            if item.file_type().unwrap().is_dir() {
                todo.push(item.path());
            }
            found.insert(item.path());
        }
    }
    found
}

/// A registry with an image of two layers, the upper of which is large.
pub(crate) fn registry(dir: &Path) -> (Faulty, String) {
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    Layout::new()
        .gzip_layer(&layer([TarEntry::file("motd", "hello\n")]))
        .gzip_layer(&layer([TarEntry::file("noise", noise)]))
        .write(&dir.join("image"));
    let faulty = Faulty::start();
    faulty.add_layout(&dir.join("image"), "team/app", "1");
    let name = format!("{}/team/app:1", faulty.address());
    (faulty, name)
}
