//! The command line contract: exit codes, JSON, names, streams.

use crate::common::{erofs, image, layer, lithify, lithify_output, paths, stderr};
use lithify_testkit::{Layout, Tar, TarEntry, run, temp_dir};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;

fn motd() -> Vec<u8> {
    layer([
        TarEntry::directory("etc"),
        TarEntry::file("etc/motd", "hello\n"),
    ])
}

#[test]
fn success_is_zero_and_quiet_is_quiet() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [motd()]);
    let out = tmp.path().join("x.erofs");
    let output = run::output(
        lithify()
            .args(["--quiet", "build", &source, "-o"])
            .arg(&out),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(paths(out.to_str().expect("UTF-8")), ["/etc", "/etc/motd"]);
}

#[test]
fn usage_errors_are_two() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [motd()]);
    for args in [
        vec!["frobnicate"],
        vec!["build", &source],
        vec!["build", &source, "-o", "x", "-f", "floppy"],
        vec!["build", &source, "-o", "x", "--jobs", "0"],
        vec!["build", &source, "-o", "x", "--limit", "nonsense=1"],
        vec!["build", &source, "-o", "x", "--limit", "entries"],
        vec!["build", &source, "-o", "x", "--platform", "a/b/c/d"],
        vec!["build", "dir:/x", "-o", "x"],
        vec!["build", &source, "-o", "-", "-f", "tar", "--json"],
        vec!["build", &source, "-o", "-", "-f", "ext4"],
        vec!["build", &source, "-o", "-", "-f", "erofs"],
        vec!["build", &source, "-o", "-", "-f", "squashfs-layers"],
        vec!["build", &source, "-o", "-", "-f", "containerd-cache"],
        vec!["build", &source, "-o", "-", "-f", "dir"],
        vec!["disk", "create", "-", "--size", "10M"],
    ] {
        let output = lithify_output(&args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(!output.stderr.is_empty(), "{args:?} says nothing");
    }
}

#[test]
fn failures_are_one_and_say_what_was_named() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [motd()]);
    let out = tmp.path().join("x.erofs").display().to_string();
    let missing = tmp.path().join("missing").display().to_string();
    let tagged = source.replace("latest", "nosuchtag");
    for (args, says) in [
        (
            vec![
                "build".to_owned(),
                format!("oci:{missing}"),
                "-o".into(),
                out.clone(),
            ],
            "missing",
        ),
        (
            vec!["build".to_owned(), tagged, "-o".into(), out.clone()],
            "nosuchtag",
        ),
        (
            vec![
                "build".to_owned(),
                format!("rootfs:{missing}"),
                "-o".into(),
                out.clone(),
            ],
            "missing",
        ),
        (
            vec![
                "build".to_owned(),
                format!("tar:{missing}"),
                "-o".into(),
                out.clone(),
            ],
            "missing",
        ),
        (
            vec![
                "build".to_owned(),
                source.clone(),
                "-o".into(),
                format!("{missing}/deep/x"),
            ],
            "missing",
        ),
        (
            vec!["ls".to_owned(), source.clone(), "/nosuchpath".into()],
            "nosuchpath",
        ),
        (
            vec!["inspect".to_owned(), format!("docker-archive:{missing}")],
            "missing",
        ),
        (
            vec![
                "build".to_owned(),
                "docker://example.com/x:1".into(),
                "-o".into(),
                out.clone(),
            ],
            "example.com",
        ),
    ] {
        let output = lithify_output(&args);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(says),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn verification_failures_are_three_and_leave_nothing() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [motd()]);
    let blobs = tmp.path().join("image/blobs/sha256");
    for entry in std::fs::read_dir(&blobs).expect("blobs") {
        let path = entry.expect("blob").path();
        let good = std::fs::read(&path).expect("blob");
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&path, &bad).expect("blob");
        let out = tmp.path().join("x.erofs");
        for command in ["build", "verify"] {
            let mut run = lithify();
            run.args([command, &source]);
            if command == "build" {
                run.arg("-o").arg(&out);
            }
            let output = run::output(&mut run);
            assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        }
        assert!(!out.exists());
        std::fs::write(&path, &good).expect("blob");
    }
    assert_eq!(crate::common::names(tmp.path()), ["image"]);
}

#[test]
fn a_corrupt_artifact_fails_verification() {
    let tmp = temp_dir();
    let path = erofs(&image(tmp.path(), [motd()]), tmp.path());
    run::ok(lithify().arg("verify").arg(&path));
    let mut bytes = std::fs::read(&path).expect("image");
    bytes[1024 + 40] ^= 1;
    std::fs::write(&path, &bytes).expect("image");
    let output = run::output(lithify().arg("verify").arg(&path));
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn build_json_describes_image_and_artifact() {
    let tmp = temp_dir();
    let path = tmp.path().join("image");
    Layout::new()
        .gzip_layer(&motd())
        .config("Env", json!(["PATH=/bin"]))
        .config("Entrypoint", json!(["/init"]))
        .config("Cmd", json!(["-x"]))
        .config("WorkingDir", json!("/srv"))
        .config("User", json!("1000:1000"))
        .config("Labels", json!({"a": "b"}))
        .config("StopSignal", json!("SIGINT"))
        .config("ExposedPorts", json!({"80/tcp": {}}))
        .config("Volumes", json!({"/data": {}}))
        .config("Healthcheck", json!({"Test": ["CMD", "true"]}))
        .write(&path);
    let source = format!("oci:{}:latest", path.display());
    let out = tmp.path().join("x.erofs");
    let text = run::text(lithify().args(["build", &source, "--json", "-o"]).arg(&out));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["reference"], json!(source));
    let digest = value["manifest_digest"].as_str().expect("manifest digest");
    assert!(
        path.join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
            .exists()
    );
    assert_eq!(value["platform"]["os"], "linux");
    assert_eq!(value["platform"]["architecture"], "amd64");
    for (key, expected) in [
        ("Env", json!(["PATH=/bin"])),
        ("Entrypoint", json!(["/init"])),
        ("Cmd", json!(["-x"])),
        ("WorkingDir", json!("/srv")),
        ("User", json!("1000:1000")),
        ("Labels", json!({"a": "b"})),
        ("StopSignal", json!("SIGINT")),
        ("ExposedPorts", json!({"80/tcp": {}})),
        ("Volumes", json!({"/data": {}})),
        ("Healthcheck", json!({"Test": ["CMD", "true"]})),
    ] {
        assert_eq!(value["config"][key], expected, "{key}");
    }
    let artifact = &value["artifacts"][0];
    assert_eq!(artifact["format"], "erofs");
    assert_eq!(artifact["path"], json!(out.display().to_string()));
    let bytes = std::fs::read(&out).expect("artifact");
    assert_eq!(artifact["size"], json!(bytes.len()));
    let sum = run::text(run::command("sha256sum").arg(&out));
    assert_eq!(artifact["sha256"].as_str(), sum.split_whitespace().next());
    assert!(artifact["writer_version"].is_string() && artifact["options"].is_object());
    assert_eq!(value["layers"][0]["entries"], 2);
}

#[test]
fn inspect_shows_what_the_image_is_and_escapes_it() {
    let tmp = temp_dir();
    let path = tmp.path().join("image");
    Layout::new()
        .gzip_layer(&motd())
        .config("Labels", json!({"evil": "\u{1b}[31m\u{202e}"}))
        .write(&path);
    let source = format!("oci:{}", path.display());
    let text = run::text(lithify().args(["inspect", &source]));
    assert!(
        text.contains("linux/amd64") && text.contains("sha256:"),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text:?}"
    );
    let value: Value =
        serde_json::from_str(&run::text(lithify().args(["inspect", "--json", &source])))
            .expect("JSON");
    assert_eq!(value["config"]["Labels"]["evil"], "\u{1b}[31m\u{202e}");
    assert!(value.get("artifacts").is_none());
}

#[test]
fn ls_lists_images_and_artifacts_alike() {
    let tmp = temp_dir();
    let source = image(
        tmp.path(),
        [layer([
            TarEntry::directory("./"),
            TarEntry::directory("usr/lib"),
            TarEntry::symlink("lib", "usr/lib"),
            TarEntry::file("usr/lib/a\nb\u{1b}[2J", "x").mode(0o4755),
            TarEntry::hard_link("usr/lib/second", "usr/lib/a\nb\u{1b}[2J"),
            TarEntry::char_device("null", 1, 3),
        ])],
    );
    let artifact = erofs(&source, tmp.path()).display().to_string();
    for args in [
        vec![],
        vec!["-l"],
        vec!["-alR"],
        vec!["-d"],
        vec!["--json"],
        vec!["--depth", "2"],
    ] {
        let of_image = run::text(lithify().args(["-q", "ls"]).args(&args).arg(&source));
        let of_artifact = run::text(lithify().args(["-q", "ls"]).args(&args).arg(&artifact));
        let numberless = |text: &str| {
            // Inode numbers are the subject's own.
            let lines = text
                .lines()
                .map(|l| match serde_json::from_str::<Value>(l) {
                    Ok(mut v) => {
                        v["inode"] = Value::Null;
                        v.to_string()
                    }
                    Err(_) => l.to_owned(),
                });
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(numberless(&of_image), numberless(&of_artifact), "{args:?}");
        assert!(!of_image.contains('\u{1b}'));
    }
    assert_eq!(paths(&source)[3], r"/usr/lib");
    let below = run::text(lithify().args(["-q", "ls", &artifact, "/lib"]));
    assert_eq!(below, "/usr/lib/a\\nb\\x1b[2J\n/usr/lib/second\n");
    let long = run::text(lithify().args(["-q", "ls", "-lR", &artifact]));
    assert!(
        long.contains("-rwsr-xr-x") && long.contains("/lib -> usr/lib") && long.contains("1,3"),
        "{long}"
    );
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let tmp = temp_dir();
    let source = image(
        tmp.path(),
        [layer(
            (0..20_000).map(|n| TarEntry::file(format!("f{n}"), "content")),
        )],
    );
    for arguments in [
        &["ls", &source][..],
        &["ls", "--json", &source],
        &["cat", &source, "/f0"],
        &["inspect", &source],
        &["inspect", "--json", &source],
        &["build", "-f", "tar", "-o", "-", &source],
        &["man"],
        &["completions", "bash"],
        &["--help"],
    ] {
        // Nobody reads it, from the first byte on.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run::output(lithify().arg("-q").args(arguments).stdout(writer));
        assert_eq!(stderr(&output), "", "{arguments:?}");
        // As other tools end.
        assert_eq!(
            output.status.signal(),
            Some(13),
            "{arguments:?}: {}",
            output.status
        );
    }
}

#[test]
fn tar_from_standard_input() {
    let tmp = temp_dir();
    let tar = tmp.path().join("root.tar");
    std::fs::write(&tar, motd()).expect("tar");
    let out = tmp.path().join("x.erofs");
    let stdin = std::fs::File::open(&tar).expect("tar");
    run::ok(
        lithify()
            .args(["-q", "build", "tar:-", "-o"])
            .arg(&out)
            .stdin(stdin),
    );
    let from_file = tmp.path().join("y.erofs");
    run::ok(
        lithify()
            .args(["-q", "build"])
            .arg(format!("tar:{}", tar.display()))
            .arg("-o")
            .arg(&from_file),
    );
    assert_eq!(
        std::fs::read(&out).expect("x"),
        std::fs::read(&from_file).expect("y")
    );
}

#[test]
fn completions_and_manual_pages_come_from_the_arguments() {
    for shell in ["bash", "zsh", "fish"] {
        let text = run::text(lithify().args(["completions", shell]));
        assert!(
            text.contains("inspect") && text.contains("platform"),
            "{shell}"
        );
    }
    let page = run::text(lithify().arg("man"));
    assert!(page.contains(".TH lithify 1"));
    let tmp = temp_dir();
    let directory = tmp.path().join("share/man1");
    run::ok(lithify().args(["man", "-o"]).arg(&directory));
    let names = crate::common::names(&directory);
    assert!(names.contains(&"lithify-build.1".to_owned()));
    let known = [
        "IP", "TH", "SH", "SS", "TP", "PP", "br", "ie", "el", "RS", "RE", "nf", "fi",
    ];
    for name in names {
        let page = std::fs::read_to_string(directory.join(&name)).expect("text");
        // What begins a line with a dot or a quote is a request; not all readers know other characters than ASCII.
        for line in page.lines().filter(|l| l.starts_with(['.', '\''])) {
            let request = line[1..].split(' ').next().unwrap_or_default();
            assert!(
                line.starts_with('.') && known.contains(&request),
                "{name}: {line}"
            );
        }
        assert!(page.is_ascii(), "{name}");
    }
}

#[test]
fn what_is_printed_of_a_build_is_a_line_whatever_the_names_are() {
    let tmp = temp_dir();
    let directory = tmp.path().join("x\nlithify: all is well\u{1b}[2J");
    std::fs::create_dir(&directory).expect("a directory");
    let name = "system.x\nlithify: all is well";
    let source = image(
        &tmp.path().join("image"),
        [layer([TarEntry::file("f", "x").xattr(name, "v")])],
    );
    for format in ["erofs", "squashfs", "erofs-layers", "tar"] {
        let out = directory.join(format);
        let mut command = lithify();
        command.args([
            "build",
            &source,
            "--no-store",
            "--drop-xattrs",
            "-f",
            format,
        ]);
        let output = run::output(command.arg("-o").arg(&out));
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("x\\nlithify: all is well"), "{said}");
        assert!(said.lines().all(|l| !l.starts_with("lithify:")), "{said}");
        let verified = run::output(lithify().arg("verify").arg(match format {
            "tar" => format!("tar:{}", out.display()).into(),
            _ => out.into_os_string(),
        }));
        assert!(verified.status.success(), "{}", stderr(&verified));
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// Limits of archives too have the names by which errors call them.
#[test]
fn an_archive_over_a_limit_names_the_limit_and_passes_with_it_raised() {
    let tmp = temp_dir();
    let mut tar = Tar::new();
    for number in 0..200 {
        tar.add(TarEntry::file(format!("{number:0>200}"), ""));
    }
    tar.add(TarEntry::file("manifest.json", "[]"));
    let archive = tmp.path().join("names.tar");
    std::fs::write(&archive, tar.finish()).expect("a tar");
    let source = format!("docker-archive:{}", archive.display());
    let inspect = |limit: &str| {
        let output = lithify_output(["-q", "inspect", "--limit", limit, &source]);
        (output.status.code(), stderr(&output))
    };
    let (code, said) = inspect("archive_names=10000");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("limit `archive_names`"), "{said}");
    // What is wrong with it then is something else.
    let (_, said) = inspect("archive_names=1M");
    assert!(!said.contains("limit"), "{said}");
    let help = lithify_output(["build", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.contains("archive_names") && help.contains("document_bytes"),
        "{help}"
    );
}

#[test]
fn an_image_over_a_limit_names_the_limit_and_passes_with_it_raised() {
    let tmp = temp_dir();
    let source = image(
        tmp.path(),
        [layer((0..50).map(|n| {
            TarEntry::file(format!("f{n}"), "x".repeat(1000))
        }))],
    );
    for limit in ["entries=10", "tar_bytes=4K", "file_bytes=999"] {
        let name = limit.split('=').next().expect("a name");
        let output = lithify_output(["-q", "verify", &source, "--limit", limit]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{limit}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(name),
            "{limit}: {}",
            stderr(&output)
        );
    }
    run::ok(lithify().args([
        "-q",
        "verify",
        &source,
        "--limit",
        "entries=50",
        "--limit",
        "tar_bytes=1M",
    ]));
}
