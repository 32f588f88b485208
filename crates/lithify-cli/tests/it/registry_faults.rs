//! Registries that fail, lie and trick: a pull ends right or says what is wrong, and nothing wrong is stored.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::common::{layer, stderr};
use lithify_testkit::registry::{Action, Answer, At, Faulty, Framing, Kind, On};
use lithify_testkit::{Layout, TarEntry, run, temp_dir};

/// How a pull is to end.
enum End {
    /// With the image.
    Well,
    /// With this exit code, and these words.
    Badly(i32, &'static str),
}

fn lithify(dir: &Path) -> Command {
    let mut command = crate::common::lithify();
    command
        .env("LITHIFY_STORE", dir.join("store"))
        .env("HOME", dir.join("home"))
        .env("LITHIFY_REGISTRIES", dir.join("registries.toml"))
        .arg("-q");
    command
}

fn pull(dir: &Path, name: &str) -> Output {
    run::output(lithify(dir).args(["pull", "--retries", "2", name]))
}

/// What the registry does, and how a pull then ends.
fn case(what: &str, rules: Vec<(On, Action)>, end: &End) {
    let tmp = temp_dir();
    let dir = tmp.path();
    std::fs::write(
        dir.join("registries.toml"),
        "timeouts = { connect = 2, idle = 1 }\n",
    )
    .unwrap();
    let noise: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let lower = layer([TarEntry::file("noise", noise)]);
    let upper = layer([TarEntry::file("motd", "hello\n")]);
    Layout::new()
        .gzip_layer(&lower)
        .gzip_layer(&upper)
        .write(&dir.join("image"));
    let faulty = Faulty::start();
    faulty.add_layout(&dir.join("image"), "team/app", "1");
    let name = format!("{}/team/app:1", faulty.address());
    for (on, action) in rules {
        faulty.rule(on, action);
    }

    let output = pull(dir, &name);
    let said = stderr(&output);
    match end {
        End::Well => assert!(output.status.success(), "{what}: {said}"),
        End::Badly(code, words) => {
            assert_eq!(output.status.code(), Some(*code), "{what}: {said}");
            assert!(said.contains(words), "{what}: {said}");
            // Nothing has the name, and a build from the wire ends no better and leaves nothing.
            let images = run::text(lithify(dir).args(["images"]));
            assert_eq!(images, "", "{what}");
            let out = dir.join("out.erofs");
            let remote = format!("docker://{name}");
            let built = run::output(
                lithify(dir)
                    .args(["build", "--retries", "2", &remote, "-o"])
                    .arg(&out),
            );
            assert_eq!(
                built.status.code(),
                Some(*code),
                "{what}: {}",
                stderr(&built)
            );
            assert!(!out.exists(), "{what}");
        }
    }
    run::ok(lithify(dir).args(["fsck"]));
    // With an honest registry, what is there is gone on with.
    faulty.clear_rules();
    let output = pull(dir, &name);
    assert!(output.status.success(), "{what}: {}", stderr(&output));
    let motd = run::text(lithify(dir).args(["cat", "--pull", "never", &name, "/motd"]));
    assert_eq!(motd, "hello\n", "{what}");
}

#[test]
fn a_registry_that_hardly_sends_is_left_and_gone_on_with() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let layer = layer([TarEntry::file("motd", "hello\n")]);
    Layout::new().gzip_layer(&layer).write(&dir.join("image"));
    let faulty = Faulty::start();
    faulty.add_layout(&dir.join("image"), "team/app", "1");
    let name = format!("{}/team/app:1", faulty.address());
    let pause = Duration::from_millis(50);
    for (on, times, words) in [
        (
            manifest(),
            "answer = 0.3",
            "its whole answer was not there in time",
        ),
        (
            blob(),
            "min-rate = 1000, window = 0.3",
            "less than the 1000 bytes per second",
        ),
    ] {
        std::fs::write(
            dir.join("registries.toml"),
            format!("timeouts = {{ {times} }}\n"),
        )
        .unwrap();
        faulty.clear_rules();
        faulty.rule(on, Action::Drip(1, pause));
        let output = pull(dir, &name);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
    run::ok(lithify(dir).args(["fsck"]));
    faulty.clear_rules();
    std::fs::write(dir.join("registries.toml"), "").unwrap();
    let output = pull(dir, &name);
    assert!(output.status.success(), "{}", stderr(&output));
}

fn blob() -> On {
    On::kind(Kind::Blob).method("GET")
}

fn manifest() -> On {
    On::kind(Kind::Manifest).method("GET")
}

fn answer(status: u16) -> Action {
    Action::Answer(Answer::status(status))
}

/// A name, what the registry does, and how a pull then ends.
type Case = (&'static str, Vec<(On, Action)>, End);

/// Runs cases side by side: most of their time is waiting.
fn all(cases: Vec<Case>) {
    std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .into_iter()
            .map(|(what, rules, end)| (what, scope.spawn(move || case(what, rules, &end))))
            .collect();
        for (what, thread) in running {
            assert!(thread.join().is_ok(), "{what}");
        }
    });
}

#[test]
fn what_passes_is_waited_out() {
    all(vec![
        (
            "503 twice for each",
            vec![
                (blob().times(2), answer(503)),
                (manifest().times(2), answer(503)),
            ],
            End::Well,
        ),
        (
            "429 with a pause",
            vec![(
                manifest().times(1),
                Action::Answer(Answer::status(429).header("Retry-After", 1)),
            )],
            End::Well,
        ),
        (
            "closed before an answer",
            vec![(blob().times(2), Action::Close)],
            End::Well,
        ),
        (
            "reset in the middle",
            vec![(blob().times(3), Action::ResetAt(At::Percent(50)))],
            End::Well,
        ),
        (
            "truncated",
            vec![(blob().times(2), Action::Truncate(At::Percent(30)))],
            End::Well,
        ),
        (
            "stalls",
            vec![(blob().times(1), Action::StallAt(At::Percent(60)))],
            End::Well,
        ),
        (
            "resets and no ranges",
            vec![
                (blob().times(2), Action::ResetAt(At::Percent(50))),
                (blob(), Action::IgnoreRange),
            ],
            End::Well,
        ),
        (
            "without lengths",
            vec![(blob(), Action::Framing(Framing::Chunked))],
            End::Well,
        ),
    ]);
}

#[test]
fn what_does_not_pass_is_an_error_that_says_so() {
    all(vec![
        (
            "500 for ever",
            vec![(blob(), answer(500))],
            End::Badly(1, "500"),
        ),
        (
            "429 for ever",
            vec![(manifest(), answer(429))],
            End::Badly(1, "too many requests"),
        ),
        (
            "denied",
            vec![(blob(), answer(403))],
            End::Badly(1, "denied"),
        ),
        (
            "come back tomorrow",
            vec![(
                manifest(),
                Action::Answer(Answer::status(429).header("Retry-After", 86_400)),
            )],
            End::Badly(1, "86400 s"),
        ),
        (
            "no manifest",
            vec![(manifest(), answer(404))],
            End::Badly(1, "not there"),
        ),
        (
            "no blobs",
            vec![(blob(), answer(404))],
            End::Badly(1, "missing"),
        ),
        (
            "another length",
            vec![(blob(), Action::Length(7))],
            End::Badly(3, "the descriptor says"),
        ),
        (
            "endless",
            vec![(blob(), Action::Endless(Framing::Chunked))],
            End::Badly(3, ""),
        ),
        (
            "another content",
            vec![(blob(), Action::FlipBit(99))],
            End::Badly(3, "digest"),
        ),
        (
            "another manifest",
            vec![(manifest(), Action::FlipBit(9))],
            End::Badly(3, "digest"),
        ),
        (
            "in a circle",
            vec![(blob(), Action::RedirectLoop(307))],
            End::Badly(1, "redirects"),
        ),
        (
            "wrong ranges",
            vec![
                (blob().ranged(false), Action::ResetAt(At::Percent(50))),
                (blob().ranged(true), Action::ShiftRange(1)),
            ],
            End::Badly(3, "the descriptor says"),
        ),
        (
            "not HTTP",
            vec![(blob(), Action::Raw(b"hello\r\n\r\n".to_vec()))],
            End::Badly(1, "no HTTP"),
        ),
    ]);
}

/// A registry and a mirror of it that both have an image of one incompressible layer; the image's name.
fn mirrored(dir: &Path) -> (Faulty, Faulty, String) {
    let noise: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let tar = layer([TarEntry::file("noise", noise)]);
    Layout::new().gzip_layer(&tar).write(&dir.join("image"));
    let (origin, mirror) = (Faulty::start(), Faulty::start());
    for registry in [&origin, &mirror] {
        registry.add_layout(&dir.join("image"), "team/app", "1");
    }
    std::fs::write(
        dir.join("registries.toml"),
        format!(
            "[[registry]]\nprefix = {:?}\nmirror = [{{ location = {:?} }}]\n",
            origin.address(),
            mirror.address()
        ),
    )
    .unwrap();
    let name = format!("{}/team/app:1", origin.address());
    (origin, mirror, name)
}

/// A mirror that lies is turned away from, in the middle of a pull too.
#[test]
fn a_mirror_that_lies_is_left() {
    // All of a blob, or the beginning of one that its registry ends.
    for breaks_off in [false, true] {
        let tmp = temp_dir();
        let dir = tmp.path();
        let (origin, mirror, name) = mirrored(dir);
        mirror.rule(blob(), Action::FlipBit(50));
        if breaks_off {
            mirror.rule(blob().ranged(true), Action::Answer(Answer::status(404)));
            mirror.rule(blob(), Action::Truncate(At::Percent(60)));
        }
        let output = pull(dir, &name);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(!mirror.requests_on(&blob()).is_empty() && !origin.requests_on(&blob()).is_empty());
        run::ok(lithify(dir).args(["fsck"]));
    }
}

/// The hosts that gave wrong bytes are named if none has the right ones.
#[test]
fn mirrors_that_lie_are_named() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (origin, mirror, name) = mirrored(dir);
    // The layer alone is so long.
    mirror.rule(blob(), Action::FlipBit(2000));
    // A build reads each layer once, from the mirror.
    let output = run::output(
        lithify(dir)
            .args(["build", "-f", "erofs", "-o"])
            .arg(dir.join("x.erofs"))
            .arg(format!("docker://{name}")),
    );
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains(&format!("what {} sent", mirror.address())),
        "{said}"
    );
    assert!(!dir.join("x.erofs").exists());
    // A pull asks the registry too.
    origin.rule(blob(), Action::FlipBit(2001));
    let output = pull(dir, &name);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&origin.address()), "{said}");
    run::ok(lithify(dir).args(["fsck"]));
}
