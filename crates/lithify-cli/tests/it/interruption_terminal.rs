//! Terminals: how they are left, and what is not written to them.

use std::fs::File;
use std::io::Read as _;

use crate::common::signals::{LIMIT, check, end, kill, lithify, registry, until};
use crate::common::{layer, stderr};
use lithify_testkit::registry::{Action, At, Kind, On};
use lithify_testkit::{TarEntry, temp_dir};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

#[test]
fn a_password_that_was_not_given_leaves_the_terminal_as_it_was() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};

    let tmp = temp_dir();
    let dir = tmp.path();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let echo = || {
        tcgetattr(&terminal)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    };
    assert!(echo());
    let child = lithify(dir)
        .args(["login", "-u", "me", "127.0.0.1:1"])
        .stdin(terminal.try_clone().unwrap())
        .spawn()
        .unwrap();
    until("the echo is off", || !echo());
    kill(&child, Signal::INT);
    check(&end(child), Signal::INT, "login");
    assert!(echo());
}

/// A terminal: what is on the other side of it, and itself.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    (master.into(), terminal)
}

/// All that a terminal shows until everybody who writes to it is gone.
fn shown(master: &mut File) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    // A terminal that nobody has open is an error to who reads (`pty(7)`).
    while let Ok(read @ 1..) = master.read(&mut buffer) {
        all.extend_from_slice(&buffer[..read]);
    }
    all
}

#[test]
fn a_dumb_terminal_gets_no_escapes() {
    for (term, escapes) in [(Some("dumb"), false), (None, false), (Some("xterm"), true)] {
        let tmp = temp_dir();
        let dir = tmp.path();
        let (faulty, name) = registry(dir);
        let (_, manifest) = faulty.manifest("team/app", "1").unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        // One blob after the other, and this is the last.
        let last = manifest["layers"][1]["digest"].as_str().unwrap();
        let hits = faulty.rule(
            On::kind(Kind::Blob).path(last),
            Action::StallAt(At::Percent(50)),
        );
        let (mut master, terminal) = terminal();
        let mut command = lithify(dir);
        command
            .args(["pull", "--transfers", "1", &name])
            .stderr(terminal);
        match term {
            Some(term) => command.env("TERM", term),
            None => command.env_remove("TERM"),
        };
        let child = command.spawn().unwrap();
        // It has this side of the terminal too.
        drop(command);
        until("the last blob", || hits.count() > 0);
        let mut first = Vec::new();
        // What came before is said to be done, or drawn, before anything is interrupted.
        let awaited = if escapes { b'\x1b' } else { b'\n' };
        while first.last() != Some(&awaited) {
            let mut ready = [PollFd::new(&master, PollFlags::IN)];
            let limit = Timespec::try_from(LIMIT).unwrap();
            let there = poll(&mut ready, Some(&limit)).unwrap();
            assert_eq!(there, 1, "{term:?}: nothing is drawn: {first:?}");
            let mut byte = [0];
            master.read_exact(&mut byte).unwrap();
            first.push(byte[0]);
        }
        let before = String::from_utf8_lossy(&first).into_owned();
        assert!(!before.contains("interrupted"), "{term:?}: {before:?}");
        kill(&child, Signal::INT);
        first.extend(shown(&mut master));
        let output = end(child);
        assert_eq!(output.status.code(), Some(130), "{term:?}");
        let text = String::from_utf8_lossy(&first);
        assert_eq!(text.contains('\x1b'), escapes, "{term:?}: {text:?}");
        assert!(text.contains("interrupted"), "{term:?}: {text:?}");
    }
}

#[test]
fn a_tar_is_not_written_to_a_terminal() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let image = crate::common::image(dir, [layer([TarEntry::file("a", "a")])]);
    let (mut master, terminal) = terminal();
    let mut command = lithify(dir);
    command
        .args(["build", "--no-store", "-f", "tar", "-o", "-", &image])
        .stdout(terminal);
    let child = command.spawn().unwrap();
    drop(command);
    assert_eq!(shown(&mut master), b"");
    let output = end(child);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("a terminal cannot show a tar"), "{said}");
}
