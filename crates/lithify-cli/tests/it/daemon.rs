//! Images of a Docker daemon.

use std::process::{Command, Output};

use crate::common::{build, image, layer, lithify, names, stderr};
use lithify_testkit::registry::{Action, Answer, At, FakeDaemon, Framing, Kind, On};
use lithify_testkit::{Layout, TarEntry, require, run, temp_dir};
use serde_json::Value;

const NAME: &str = "docker-daemon:team/app:1";

fn layers() -> [Vec<u8>; 2] {
    let noise: Vec<u8> = (0..100_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    [
        layer([
            TarEntry::directory("etc"),
            TarEntry::file("etc/noise", noise),
        ]),
        layer([TarEntry::file("etc/motd", "hello\n")]),
    ]
}

fn daemon() -> FakeDaemon {
    let daemon = FakeDaemon::start();
    let layout = layers()
        .iter()
        .fold(Layout::new(), |layout, tar| layout.gzip_layer(tar));
    daemon.add_image("team/app:1", layout.docker_archive("team/app:1"));
    daemon
}

fn with(daemon: &FakeDaemon) -> Command {
    let mut command = lithify();
    command.env("DOCKER_HOST", daemon.host()).arg("-q");
    command
}

fn ls(daemon: &FakeDaemon, name: &str) -> Output {
    run::output(with(daemon).args(["ls", name]))
}

#[test]
fn every_verb_reads_from_it() {
    let dir = temp_dir();
    let daemon = daemon();
    let local = image(dir.path(), layers());
    let here = dir.path().join("here.erofs");
    build(&local, "erofs", &here);
    let there = dir.path().join("there.erofs");
    let args = ["build", "--no-fsync", NAME, "-f", "erofs", "-o"];
    run::ok(with(&daemon).args(args).arg(&there));
    assert!(std::fs::read(here).unwrap() == std::fs::read(there).unwrap());

    let listed = run::text(with(&daemon).args(["ls", "-aR", NAME]));
    assert_eq!(
        listed,
        run::text(lithify().args(["-q", "ls", "-aR", &local]))
    );
    let motd = run::ok(with(&daemon).args(["cat", NAME, "/etc/motd"]));
    assert_eq!(motd, b"hello\n");
    run::ok(with(&daemon).args(["verify", NAME]));

    let json = run::ok(with(&daemon).args(["inspect", "--json", NAME]));
    let said: Value = serde_json::from_slice(&json).unwrap();
    let id = said["config_digest"].as_str().unwrap();
    let by_id = format!("docker-daemon:{id}");
    assert_eq!(listed, run::text(with(&daemon).args(["ls", "-aR", &by_id])));
    // A name without a tag is one image, not all of that name.
    daemon.add_image("solo", image_archive());
    run::ok(with(&daemon).args(["ls", "docker-daemon:solo"]));
    let saved = daemon.requests();
    assert!(
        saved
            .iter()
            .any(|r| r.path.ends_with("/images/solo:latest/get"))
    );
    // It is spoken to in its own newest version.
    assert!(saved.iter().any(|r| r.path.starts_with("/v1.43/images/")));
}

fn image_archive() -> Vec<u8> {
    Layout::new()
        .gzip_layer(&layer([TarEntry::file("x", "y")]))
        .docker_archive("solo:latest")
}

#[test]
fn what_is_loaded_is_read_back_by_skopeo() {
    if !require::tool("skopeo") {
        return;
    }
    let dir = temp_dir();
    let daemon = FakeDaemon::start();
    let local = image(dir.path(), layers());
    run::ok(with(&daemon).args(["copy", &local, "docker-daemon:copy"]));
    let host = format!("--daemon-host={}", daemon.host());
    let skopeo = ["inspect", &host, "docker-daemon:copy:latest"];
    let said: Value =
        serde_json::from_slice(&run::ok(run::command("skopeo").args(skopeo))).unwrap();
    assert_eq!(said["Layers"].as_array().unwrap().len(), 2);
}

#[test]
fn an_image_that_breaks_off_is_not_written() {
    let dir = temp_dir();
    let daemon = daemon();
    let store = dir.path().join("store");
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    for action in [
        Action::ResetAt(At::Percent(50)),
        Action::Truncate(At::Percent(50)),
        Action::Truncate(At::Byte(100)),
        Action::ResetAt(At::Byte(0)),
    ] {
        daemon.clear_rules();
        let hits = daemon.rule(On::kind(Kind::Save), action.clone());
        for target in ["oci-archive:", "docker-archive:", "store"] {
            let target = match target {
                "store" => "store:kept/x:1".to_owned(),
                kind => format!("{kind}{}", out.join("x").display()),
            };
            let mut command = with(&daemon);
            command.env("LITHIFY_STORE", &store);
            let failed = run::output(command.args(["copy", NAME, &target]));
            assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
            let said = stderr(&failed);
            assert!(said.contains("broke off after"), "{action:?}: {said}");
            assert!(said.contains("docker.sock"), "{said}");
        }
        assert!(hits.count() > 0);
        let built = out.join("x.erofs");
        let args = ["build", NAME, "-f", "erofs", "-o"];
        let failed = run::output(with(&daemon).args(args).arg(&built));
        assert!(!failed.status.success());
        assert!(names(&out).is_empty(), "{:?}", names(&out));
    }
}

#[test]
fn answers_that_mean_no() {
    let daemon = daemon();
    let missing = ls(&daemon, "docker-daemon:none:1");
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("has no image `none:1`"));

    daemon.set_versions((1, 12), (1, 20));
    let old = stderr(&ls(&daemon, NAME));
    assert!(old.contains("`1.20`") && old.contains("1.24"), "{old}");
    // One that takes nothing but the newest is spoken to in that.
    daemon.set_versions((1, 60), (1, 60));
    assert!(ls(&daemon, NAME).status.success());
    daemon.set_versions((1, 12), (1, 43));

    let said = |kind, action| {
        daemon.clear_rules();
        daemon.rule(On::kind(kind), action);
        let output = ls(&daemon, NAME);
        assert!(!output.status.success());
        let said = stderr(&output);
        assert!(!said.contains("panicked"), "{said}");
        said
    };
    let header = |value: &str| Action::Header("Api-Version".into(), value.into());
    for version in ["", "x", "1", "2.0", "1.99999999999", "1.43/../x", "-1.43"] {
        let said = said(Kind::Ping, header(version));
        assert!(said.contains("its API has version"), "{said}");
    }
    let refused =
        Answer::status(500).json(&serde_json::json!({ "message": "no \u{1b}[31m space" }));
    for kind in [Kind::Inspect, Kind::Save] {
        let said = said(kind, Action::Answer(refused.clone()));
        assert!(said.contains("status 500"), "{said}");
        assert!(said.contains("space") && !said.contains('\u{1b}'), "{said}");
    }
    let endless = said(Kind::Inspect, Action::Endless(Framing::Chunked));
    assert!(endless.contains("more bytes"), "{endless}");
    let nonsense = said(Kind::Inspect, Action::Body(b"{".to_vec()));
    assert!(nonsense.contains("no description"), "{nonsense}");
    said(Kind::Ping, Action::Raw(b"SSH-2.0\r\n".to_vec()));
    said(Kind::Ping, Action::Close);
    said(Kind::Ping, Action::EndlessHeaders);
    // A redirect leads nowhere.
    let away = said(
        Kind::Save,
        Action::RedirectTo(307, "http://127.0.0.1:1".into()),
    );
    assert!(away.contains("status 307"), "{away}");
    let other = said(Kind::Save, Action::Body(b"no tar at all".repeat(100)));
    assert!(other.contains("tar archive"), "{other}");
    let error = b"{\"errorDetail\":{\"message\":\"x\"}}\r\n".to_vec();
    said(Kind::Save, Action::Body(error));
    // Before 1.13 only `/version` said the version.
    daemon.clear_rules();
    daemon.rule(
        On::kind(Kind::Ping).path("_ping"),
        Action::NoHeader("Api-Version".into()),
    );
    assert!(ls(&daemon, NAME).status.success());
}

#[test]
fn limits_hold_for_what_it_sends() {
    let daemon = daemon();
    let limited = run::output(with(&daemon).args(["ls", "--limit", "spool_bytes=1K", NAME]));
    assert!(
        stderr(&limited).contains("spool_bytes"),
        "{}",
        stderr(&limited)
    );
    daemon.rule(On::kind(Kind::Save), Action::Endless(Framing::Chunked));
    // What begins as no tar is not waited for.
    let endless = stderr(&ls(&daemon, NAME));
    assert!(endless.contains("not a tar archive"), "{endless}");
    daemon.clear_rules();
    let other = run::output(with(&daemon).args(["ls", "--platform", "linux/riscv64", NAME]));
    assert!(stderr(&other).contains("riscv64"), "{}", stderr(&other));
}

#[test]
fn images_it_does_not_take() {
    let dir = temp_dir();
    let daemon = FakeDaemon::start();
    let local = image(dir.path(), layers());
    let load = |action| {
        daemon.clear_rules();
        daemon.rule(On::kind(Kind::Load), action);
        let output = run::output(with(&daemon).args(["copy", &local, "docker-daemon:x:1"]));
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    let line =
        |json: &str| Action::Body(format!("{{\"stream\":\"x\"}}\r\n{json}\r\n").into_bytes());
    let said = load(line(
        r#"{"errorDetail":{"message":"disk full"},"error":"disk full"}"#,
    ));
    assert!(
        said.contains("does not take the image: disk full"),
        "{said}"
    );
    let said = load(line("nonsense"));
    assert!(said.contains("no JSON"), "{said}");
    let refused = Answer::status(403).json(&serde_json::json!({ "message": "policy" }));
    assert!(load(Action::Answer(refused)).contains("policy"));
    load(Action::ResetUpload(1000));
    load(Action::LoseAnswer);
    load(Action::Endless(Framing::Chunked));
}

#[test]
fn daemons_that_are_not_there() {
    let dir = temp_dir();
    let try_host = |host: &str| {
        let mut command = lithify();
        command.env("DOCKER_HOST", host);
        let output = run::output(command.args(["-q", "ls", NAME]));
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    let none = format!("unix://{}", dir.path().join("none").display());
    assert!(try_host(&none).contains("DOCKER_HOST"));
    let tcp = try_host("tcp://user:secret@127.0.0.1:2375");
    assert!(
        tcp.contains("only unix://") && !tcp.contains("secret"),
        "{tcp}"
    );
    // A socket nobody listens at, and something that is none.
    let dead = dir.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let said = try_host(&format!("unix://{}", dead.display()));
    assert!(said.contains("is the daemon running"), "{said}");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let said = try_host(&format!("unix://{}", file.display()));
    assert!(said.contains("nothing answers"), "{said}");

    // Without DOCKER_HOST the sockets of the user are looked at too.
    let runtime = dir.path().join("run");
    std::fs::create_dir_all(runtime.join("podman")).unwrap();
    let daemon = daemon();
    std::os::unix::fs::symlink(daemon.path(), runtime.join("podman/podman.sock")).unwrap();
    let mut command = lithify();
    command
        .env_remove("DOCKER_HOST")
        .env("XDG_RUNTIME_DIR", &runtime)
        .args(["-q", "ls", NAME]);
    // A machine with a daemon of its own finds that first.
    if !std::path::Path::new("/var/run/docker.sock").exists() {
        run::ok(&mut command);
    }
}
