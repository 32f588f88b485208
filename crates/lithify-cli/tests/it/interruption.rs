//! Signals, wherever a command waits: it ends, says so, and leaves things as they were.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::signals::{
    LIMIT, check, end, interrupted, kill, listing, lithify, registry, started, until,
};
use crate::common::{layer, stderr};
use lithify_testkit::registry::{Action, Answer, At, FakeDaemon, Faulty, Kind, On};
use lithify_testkit::{TarEntry, program, run, temp_dir};
use rustix::process::Signal;

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
    for format in ["erofs", "squashfs", "dir", "tar", "cpio", "erofs-layers"] {
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
        &["build", "--no-store", "-f", "cpio", "-o", "-", &image][..],
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
