//! Signals, wherever a command waits: it ends, says so, and leaves things as they were.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lithify_testkit::registry::{Action, Answer, At, FakeDaemon, Faulty, Kind, On};
use lithify_testkit::{Layout, TarEntry, program, run, temp_dir};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{layer, stderr};

/// When a test gives up: nobody is waiting any more for what should have come long ago.
const LIMIT: Duration = Duration::from_secs(120);

fn lithify(dir: &Path) -> Command {
    started(dir, &[crate::common::lithify().get_program()])
}

/// A program that signals end: those a shell ignores in what it starts in the background, or `nohup`, are ignored by all that is
/// started from there.
fn started(dir: &Path, program: &[&OsStr]) -> Command {
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
fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < LIMIT, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The end of a command that is to end.
fn end(mut child: Child) -> Output {
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
fn interrupted(
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

fn check(output: &Output, signal: Signal, what: &str) {
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
fn listing(dir: &Path) -> BTreeSet<PathBuf> {
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
fn registry(dir: &Path) -> (Faulty, String) {
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

#[test]
fn a_pull_ends_wherever_the_registry_stalls() {
    let cases = [
        (Kind::Base, Action::Stall, Signal::INT),
        (Kind::Manifest, Action::Stall, Signal::TERM),
        (
            Kind::Manifest,
            Action::StallAt(At::Percent(50)),
            Signal::HUP,
        ),
        (Kind::Blob, Action::Stall, Signal::INT),
        (Kind::Blob, Action::StallAt(At::Percent(50)), Signal::INT),
    ];
    for (kind, action, signal) in cases {
        let what = format!("{kind:?} {action:?}");
        let tmp = temp_dir();
        let dir = tmp.path();
        let (faulty, name) = registry(dir);
        // The store is there before.
        run::ok(lithify(dir).args(["pull", "-q", &name]));
        run::ok(lithify(dir).args(["rm", "-q", &name]));
        run::ok(lithify(dir).args(["gc", "-q"]));
        let before = listing(dir);
        let hits = faulty.rule(On::kind(kind), action);
        interrupted(lithify(dir).args(["pull", &name]), signal, &what, || {
            hits.count() > 0
        });
        let mut after = listing(dir);
        // What arrived of blobs is gone on with next time.
        after.retain(|path| {
            !path.starts_with(dir.join("store/partial"))
                && !path.starts_with(dir.join("store/blobs"))
        });
        let before = before
            .into_iter()
            .filter(|path| {
                !path.starts_with(dir.join("store/partial"))
                    && !path.starts_with(dir.join("store/blobs"))
            })
            .collect::<BTreeSet<_>>();
        assert_eq!(after, before, "{what}");
    }
}

#[test]
fn a_build_that_is_interrupted_leaves_nothing() {
    for format in [
        "erofs",
        "squashfs",
        "erofs-layers",
        "squashfs-layers",
        "containerd-cache",
        "dir",
        "tar",
    ] {
        for (store, jobs) in [(true, "1"), (false, "4")] {
            let what = format!("{format} store={store} jobs={jobs}");
            let tmp = temp_dir();
            let dir = tmp.path();
            let (faulty, name) = registry(dir);
            std::fs::create_dir(dir.join("out")).unwrap();
            let before = listing(dir);
            // One layer comes, the other does not end.
            let hits = faulty.rule(
                On::kind(Kind::Blob).after(2),
                Action::StallAt(At::Percent(90)),
            );
            let mut command = lithify(dir);
            command.args([
                "build",
                &format!("docker://{name}"),
                "-f",
                format,
                "-j",
                jobs,
                "-o",
            ]);
            command.arg(dir.join("out/o"));
            if !store {
                command.arg("--no-store");
            }
            interrupted(&mut command, Signal::INT, &what, || hits.count() > 0);
            let mut after = listing(dir);
            // The store is made by the first who needs it, and keeps the layer that was whole.
            after.retain(|path| {
                !path.starts_with(dir.join("store")) || path.starts_with(dir.join("store/tmp/"))
            });
            after.remove(&dir.join("store/tmp"));
            after.remove(&dir.join("registries.toml"));
            assert_eq!(after, before, "{what}");
        }
    }
}

#[test]
fn a_copy_that_is_interrupted_leaves_nothing() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (faulty, name) = registry(dir);
    lithify(dir);
    let daemon = FakeDaemon::start();
    let loading = daemon.rule(On::kind(Kind::Load), Action::Stall);
    let source = format!("docker://{name}");
    let before = listing(dir);
    let place = |text: &str| format!("{text}{}", dir.join("place").display());
    // What is read stalls.
    for destination in [
        place("oci:") + ":x",
        place("oci-archive:") + ":x",
        place("docker-archive:") + ":x",
        "docker-daemon:x:1".to_owned(),
    ] {
        let hits = faulty.rule(
            On::kind(Kind::Blob).after(2),
            Action::StallAt(At::Percent(50)),
        );
        interrupted(
            lithify(dir)
                .env("DOCKER_HOST", daemon.host())
                .args(["copy", &source, &destination]),
            Signal::INT,
            &destination,
            || hits.count() > 0,
        );
        faulty.clear_rules();
        assert_eq!(listing(dir), before, "{destination}");
    }
    // What is written to stalls.
    interrupted(
        lithify(dir)
            .env("DOCKER_HOST", daemon.host())
            .args(["copy", &source, "docker-daemon:x:1"]),
        Signal::TERM,
        "loading",
        || loading.count() > 0,
    );
    let local = format!("oci:{}:latest", dir.join("image").display());
    for (on, what) in [
        (On::kind(Kind::Upload).method("POST"), "POST"),
        (On::kind(Kind::Upload).method("PUT"), "PUT"),
        (On::kind(Kind::Manifest).method("PUT"), "manifest"),
    ] {
        let other = Faulty::start();
        let hits = other.rule(on, Action::Stall);
        let destination = format!("docker://{}/b:1", other.address());
        interrupted(
            lithify(dir).args(["push", &local, &destination]),
            Signal::INT,
            what,
            || hits.count() > 0,
        );
    }
    assert_eq!(listing(dir), before);
}

#[test]
fn a_commit_or_mount_that_is_interrupted_leaves_nothing() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (faulty, name) = registry(dir);
    lithify(dir);
    std::fs::create_dir_all(dir.join("upper")).unwrap();
    std::fs::write(dir.join("upper/new"), "new").unwrap();
    std::fs::create_dir(dir.join("mnt")).unwrap();
    let before = listing(dir);
    let source = format!("docker://{name}");
    let destination = format!("oci:{}:x", dir.join("place").display());
    let upper = dir.join("upper");
    let commit = [
        "commit",
        upper.to_str().unwrap(),
        "--base",
        &source,
        "-o",
        &destination,
    ];
    let mnt = dir.join("mnt");
    let mount = ["mount", "--no-store", &source, mnt.to_str().unwrap()];
    for arguments in [&commit[..], &mount[..]] {
        let hits = faulty.rule(
            On::kind(Kind::Blob).after(1),
            Action::StallAt(At::Percent(50)),
        );
        interrupted(
            lithify(dir).args(arguments),
            Signal::INT,
            arguments[0],
            || hits.count() > 0,
        );
        faulty.clear_rules();
        assert_eq!(listing(dir), before, "{}", arguments[0]);
    }
}

#[test]
fn a_pipe_that_nobody_writes_to_ends_no_later() {
    for format in ["erofs", "squashfs", "dir", "tar", "erofs-layers"] {
        for jobs in ["1", "4"] {
            let tmp = temp_dir();
            let dir = tmp.path();
            let mut command = lithify(dir);
            command
                .args([
                    "build",
                    "--no-store",
                    "tar:-",
                    "-f",
                    format,
                    "-j",
                    jobs,
                    "-o",
                ])
                .arg(dir.join("o"))
                .stdin(Stdio::piped());
            let before = listing(dir);
            let mut child = command.spawn().unwrap();
            // More than a pipe holds is taken only by one who reads.
            let tar = layer([TarEntry::file("large", vec![7; 1 << 20])]);
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(&tar[..tar.len() - 8192]).unwrap();
            kill(&child, Signal::INT);
            let output = end(child);
            drop(stdin);
            check(&output, Signal::INT, format);
            assert_eq!(listing(dir), before, "{format}");
        }
    }
}

#[test]
fn output_that_nobody_reads_keeps_no_one() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let image = crate::common::image(dir, [layer([TarEntry::file("large", vec![7; 4 << 20])])]);
    for arguments in [
        &["build", "--no-store", "-f", "tar", "-o", "-", &image][..],
        &["cat", &image, "/large"][..],
    ] {
        let mut child = lithify(dir).args(arguments).spawn().unwrap();
        // It has come as far as writing.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        kill(&child, Signal::INT);
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < LIMIT, "{arguments:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130), "{arguments:?}");
    }
}

#[test]
fn a_registry_that_says_later_is_not_waited_for() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (faulty, name) = registry(dir);
    faulty.rule(
        On::kind(Kind::Manifest),
        Action::Answer(Answer::status(429).header("retry-after", "100")),
    );
    let remote = format!("docker://{name}");
    let archive = format!("oci-archive:{}", dir.join("archive").display());
    let verbs: [&[&str]; 9] = [
        &["pull", &name],
        &["build", &name, "-f", "tar", "-o", "/dev/null"],
        &["inspect", &name],
        &["inspect", "--json", &remote],
        &["ls", &remote],
        &["cat", &remote, "/a"],
        &["verify", &remote],
        &["copy", &remote, &archive],
        &["copy", "--all-platforms", &remote, &archive],
    ];
    for arguments in verbs {
        let mut child = lithify(dir).args(arguments).spawn().unwrap();
        // The wait is said, without being asked for, as a line.
        let mut said = Vec::new();
        let pipe = child.stderr.as_mut().unwrap();
        while !said.ends_with(b"\n") {
            let mut byte = [0];
            let read = pipe.read(&mut byte).unwrap();
            assert_eq!(read, 1, "{arguments:?}: {said:?}");
            said.push(byte[0]);
        }
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.contains("too many requests") && said.contains("trying again in 100.0 s"),
            "{arguments:?}: {said}"
        );
        kill(&child, Signal::TERM);
        let output = end(child);
        assert!(output.stdout.is_empty(), "{arguments:?}");
        check(&output, Signal::TERM, "Retry-After");
    }
}

#[test]
fn a_lock_of_the_store_is_not_waited_for() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let image = crate::common::image(dir, [layer([TarEntry::file("a", "a")])]);
    let out = dir.join("o");
    let build = |name: &Path| {
        let mut command = lithify(dir);
        command
            .args(["build", "-q", &image, "-f", "erofs-layers", "-o"])
            .arg(name);
        command
    };
    run::ok(&mut build(&dir.join("first")));
    std::fs::remove_dir_all(dir.join("store/artifacts")).unwrap();
    std::fs::create_dir(dir.join("store/artifacts")).unwrap();
    for name in ["store/locks/store.lock", "store"] {
        let path = dir.join(name);
        let lock = File::open(&path).unwrap();
        if name == "store" {
            // Whoever makes a store locks its directory.
            std::fs::remove_file(dir.join("store/lithify-store.json")).unwrap();
        }
        lock.lock().unwrap();
        let before = listing(dir);
        let mut command = build(&out);
        let child = command.spawn().unwrap();
        let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
        until(name, || {
            let open = std::fs::read_dir(&fds).into_iter().flatten().flatten();
            open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
                .any(|target| target == path)
        });
        kill(&child, Signal::INT);
        check(&end(child), Signal::INT, name);
        let of_place = |all: BTreeSet<PathBuf>| -> BTreeSet<PathBuf> {
            all.into_iter()
                .filter(|p| !p.starts_with(dir.join("store/artifacts")))
                .collect()
        };
        assert_eq!(of_place(listing(dir)), of_place(before), "{name}");
    }
}

#[test]
fn a_helper_that_hangs_is_ended() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (faulty, name) = registry(dir);
    faulty.rule(
        On::any(),
        Action::Answer(Answer::status(401).header("www-authenticate", "Basic realm=\"x\"")),
    );
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let started = dir.join("started");
    let script = format!(
        "#!/bin/sh\necho $$ >{0}.new; mv {0}.new {0}\nexec sleep 3600\n",
        started.display()
    );
    program::script(&bin.join("docker-credential-hangs"), &script);
    let docker = dir.join("home/.docker");
    std::fs::create_dir_all(&docker).unwrap();
    std::fs::write(docker.join("config.json"), "{\"credsStore\":\"hangs\"}").unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    interrupted(
        lithify(dir)
            .env("PATH", path)
            .env_remove("XDG_RUNTIME_DIR")
            .args(["pull", &name]),
        Signal::INT,
        "helper",
        || started.exists(),
    );
    let helper = std::fs::read_to_string(&started).unwrap();
    assert!(!Path::new(&format!("/proc/{}", helper.trim())).exists());
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (faulty, name) = registry(dir);
    let hits = faulty.rule(On::kind(Kind::Manifest), Action::Stall);
    let plain = crate::common::lithify();
    let script = "trap '' HUP; exec \"$0\" pull \"$1\"";
    let program = [OsStr::new("sh"), OsStr::new("-c"), OsStr::new(script)];
    let mut command = started(dir, &[&program[..], &[plain.get_program()]].concat());
    command.arg(&name).stdout(Stdio::null());
    let child = command.spawn().unwrap();
    until("manifest", || hits.count() > 0);
    kill(&child, Signal::HUP);
    kill(&child, Signal::TERM);
    check(&end(child), Signal::TERM, "nohup");
}

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

/// Waits until a command has a file open, of which its path says that it is the one.
fn until_open(child: &Child, what: &str, is_it: impl Fn(&Path) -> bool) {
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    until(what, || {
        let open = std::fs::read_dir(&fds).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|target| is_it(&target))
    });
}

/// More than can be read while anybody waits.
const ENDLESS: u64 = 1 << 39;

#[test]
fn a_verification_is_interrupted() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let source = crate::common::image(dir, [layer([TarEntry::file("a", "a")])]);
    let out = dir.join("out");
    crate::common::build(&source, "squashfs-layers", &out);
    let json = std::fs::read_to_string(out.join("image.json")).unwrap();
    let mut description: serde_json::Value = serde_json::from_str(&json).unwrap();
    let first = &mut description["artifacts"][0];
    let path = out.join(first["path"].as_str().unwrap());
    first["size"] = ENDLESS.into();
    std::fs::write(out.join("image.json"), description.to_string()).unwrap();
    // It may share its data with the store.
    std::fs::remove_file(&path).unwrap();
    let file = File::create(&path).unwrap();
    file.set_len(ENDLESS).unwrap();
    lithify(dir);
    let before = listing(dir);
    let child = lithify(dir).arg("verify").arg(&out).spawn().unwrap();
    until_open(&child, "the layer", |target| target == path);
    kill(&child, Signal::INT);
    check(&end(child), Signal::INT, "verify");
    assert_eq!(listing(dir), before);
}

/// The header of a file in GNU's form, which has room for the length of any file.
fn header(name: &str, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &[0x80]);
    put(128, &size.to_be_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar  \0");
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Layers of a docker-archive are compressed before anything is sent.
#[test]
fn a_layer_that_is_compressed_to_be_copied_is_interrupted() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let archive = dir.join("archive.tar");
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))] },
    });
    let manifest =
        serde_json::json!([{ "Config": "c.json", "RepoTags": ["x:1"], "Layers": ["layer.tar"] }]);
    let mut start = Vec::new();
    for (name, text) in [
        ("c.json", config.to_string()),
        ("manifest.json", manifest.to_string()),
    ] {
        start.extend(header(name, text.len() as u64));
        start.extend(text.as_bytes());
        start.resize(start.len().next_multiple_of(512), 0);
    }
    // Its end, and the end of the archive, are zeros as its file is.
    let length = 512 + ENDLESS + 1024;
    start.extend(header("layer.tar", length));
    let length = start.len() as u64 + length + 1024;
    start.extend(header("zeros", ENDLESS));
    std::fs::write(&archive, start).unwrap();
    let file = File::options().write(true).open(&archive).unwrap();
    file.set_len(length).unwrap();
    lithify(dir);
    let before = listing(dir);
    let mut command = lithify(dir);
    command
        .args(["copy", "--limit", "tar_bytes=1099511627776"])
        .arg(format!("docker-archive:{}", archive.display()))
        .arg(format!("oci:{}:x", dir.join("place").display()));
    let child = command.spawn().unwrap();
    // The file without a name into which the layer is compressed.
    until_open(&child, "the scratch file", |target| {
        target.starts_with(dir) && target.to_string_lossy().ends_with(" (deleted)")
    });
    kill(&child, Signal::TERM);
    check(&end(child), Signal::TERM, "copy");
    assert_eq!(listing(dir), before);
}

/// A look at what a file is does not depend on its length.
#[test]
fn a_file_of_zeros_is_no_image_at_once() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let path = dir.join("x.img");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    for verb in ["ls", "inspect", "verify"] {
        let output = end(lithify(dir).arg(verb).arg(&path).spawn().unwrap());
        let said = stderr(&output);
        assert!(said.contains("x.img"), "{verb}: {said}");
        assert!(
            matches!(output.status.code(), Some(1..=3)),
            "{verb}: {said}"
        );
    }
}

/// The signals a process was sent and has not been given yet (`proc_pid_status(5)`).
fn pending(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    of("SigPnd:") | of("ShdPnd:")
}

/// The first signal cannot end it: it is to be said on a standard error that is full and that nobody reads. So what ends
/// it is the second one.
#[test]
fn a_second_signal_ends_at_once() {
    use rustix::fs::{OFlags, fcntl_setfl};

    let tmp = temp_dir();
    let dir = tmp.path();
    let (faulty, name) = registry(dir);
    let hits = faulty.rule(On::kind(Kind::Manifest), Action::Stall);
    for (index, (first, second)) in [
        (Signal::INT, Signal::INT),
        (Signal::TERM, Signal::INT),
        (Signal::HUP, Signal::TERM),
    ]
    .into_iter()
    .enumerate()
    {
        let (_reader, mut writer) = std::io::pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        while writer.write(&[b'x'; 4096]).is_ok() {}
        while writer.write(b"x").is_ok() {}
        fcntl_setfl(&writer, OFlags::empty()).unwrap();
        let mut child = lithify(dir)
            .args(["pull", &name])
            .stderr(writer)
            .spawn()
            .unwrap();
        until("manifest", || hits.count() > index);
        kill(&child, first);
        // Two of one kind that are not given yet are one.
        until("the first signal", || pending(&child) == 0);
        assert!(child.try_wait().unwrap().is_none());
        kill(&child, second);
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < LIMIT, "{first:?} {second:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(second.as_raw()),
            "{first:?} {second:?}"
        );
    }
}

#[test]
fn a_check_of_the_store_is_interrupted() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (_faulty, name) = registry(dir);
    run::ok(lithify(dir).args(["pull", "-q", &name]));
    // More than can be read while anybody waits.
    let path = dir.join("store/blobs/sha256").join("0".repeat(64));
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let before = listing(dir);
    let mut command = lithify(dir);
    let child = command.arg("fsck").spawn().unwrap();
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    until("the blob", || {
        let open = std::fs::read_dir(&fds).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|target| target == path)
    });
    kill(&child, Signal::INT);
    check(&end(child), Signal::INT, "fsck");
    assert_eq!(listing(dir), before);
}

#[test]
fn who_has_the_lock_of_the_store_is_said() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (_faulty, name) = registry(dir);
    run::ok(lithify(dir).args(["pull", "-q", &name]));
    let path = dir.join("store/locks/store.lock");
    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    for arguments in [&["gc"][..], &["rm", &name][..]] {
        lock.lock().unwrap();
        let mut child = lithify(dir).args(arguments).spawn().unwrap();
        let mut said = Vec::new();
        let pipe = child.stderr.as_mut().unwrap();
        while !said.ends_with(b"\n") {
            let mut byte = [0];
            pipe.read_exact(&mut byte).unwrap();
            said.push(byte[0]);
        }
        let said = String::from_utf8(said).unwrap();
        let holder = format!("waiting for process {}", std::process::id());
        let other = "waiting for another process";
        // A system does not tell where its `/proc` names files otherwise.
        assert!(said.contains(&holder) || said.contains(other), "{said}");
        assert!(said.contains("store.lock"), "{said}");
        lock.unlock().unwrap();
        let output = end(child);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}
