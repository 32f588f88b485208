//! The first things people type.

use crate::common::{image, layer, lithify, lithify_output, names, stderr};
use lithify_testkit::{TarEntry, require, run, temp_dir};
use serde_json::Value;

fn tree() -> Vec<u8> {
    layer([
        TarEntry::directory("etc"),
        TarEntry::directory("etc/.secret"),
        TarEntry::file("etc/.secret/key", "k"),
        TarEntry::file("etc/motd", "hello\n"),
        TarEntry::directory("etc/ssl"),
        TarEntry::file("etc/ssl/.hidden", ""),
        TarEntry::file("etc/ssl/cert", "c"),
        TarEntry::file(".dockerenv", ""),
        TarEntry::symlink("conf", "etc"),
    ])
}

#[test]
fn ls_does_what_hands_expect() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [tree()]);
    let erofs = tmp.path().join("x.erofs");
    crate::common::build(&source, "erofs", &erofs);
    let list = |subject: &str, args: &[&str], path: &[&str]| {
        let mut command = lithify();
        command
            .args(["-q", "ls"])
            .args(args)
            .arg(subject)
            .args(path);
        let text = run::text(&mut command);
        // With -l the path and what it leads to come last.
        let last = |line: &str| line.rsplit("Z /").next().unwrap_or(line).to_owned();
        text.lines().map(last).collect::<Vec<_>>()
    };
    for subject in [&source[..], erofs.to_str().unwrap()] {
        let list = |args: &[&str], path: &[&str]| list(subject, args, path);
        assert_eq!(list(&[], &[]), ["/conf", "/etc"]);
        assert_eq!(list(&[], &["/"]), ["/conf", "/etc"]);
        assert_eq!(list(&["-a"], &[]), ["/.dockerenv", "/conf", "/etc"]);
        assert_eq!(list(&[], &["/etc"]), ["/etc/motd", "/etc/ssl"]);
        assert_eq!(list(&[], &["etc/"]), ["/etc/motd", "/etc/ssl"]);
        assert_eq!(
            list(&["-R"], &["/etc"]),
            ["/etc/motd", "/etc/ssl", "/etc/ssl/cert"]
        );
        let all = [
            "/etc/.secret",
            "/etc/.secret/key",
            "/etc/motd",
            "/etc/ssl",
            "/etc/ssl/.hidden",
            "/etc/ssl/cert",
        ];
        assert_eq!(list(&["-aR"], &["/etc"]), all);
        assert_eq!(list(&["-a", "--depth", "2"], &["/etc"]), all);
        assert_eq!(
            list(&["--depth", "1"], &["/etc"]),
            ["/etc/motd", "/etc/ssl"]
        );
        // The thing itself.
        assert_eq!(list(&["-d"], &["/etc"]), ["/etc"]);
        assert_eq!(list(&["--depth", "0"], &["/etc"]), ["/etc"]);
        assert_eq!(list(&["-d"], &[]), ["/"]);
        assert_eq!(list(&[], &["/etc/motd"]), ["/etc/motd"]);
        assert_eq!(list(&[], &["/etc/ssl/.hidden"]), ["/etc/ssl/.hidden"]);
        // A link is described, or followed where it is listed.
        assert_eq!(list(&["-d"], &["/conf"]), ["/conf"]);
        assert_eq!(list(&["-l"], &["/conf"]), ["conf -> etc"]);
        assert_eq!(list(&["-l"], &["/conf/"]), ["etc/motd", "etc/ssl"]);
        assert_eq!(list(&[], &["/conf"]), ["/etc/motd", "/etc/ssl"]);
        // Data is of everything below, and of the path itself.
        let json = run::text(lithify().args(["-q", "ls", "--json", subject, "/etc"]));
        let paths: Vec<String> = json
            .lines()
            .map(|line| {
                let entry: Value = serde_json::from_str(line).unwrap();
                entry["path"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(paths[0], "/etc");
        assert_eq!(paths[1..], all);
    }
    for args in [["-R", "-d"], ["-d", "--depth=1"]] {
        let output = lithify_output([&["ls"], &args[..], &[&source]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
}

#[test]
fn a_store_nothing_is_in_yet_is_empty() {
    let tmp = temp_dir();
    let home = tmp.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let run_in = |args: &[&str]| {
        let mut command = lithify();
        command
            .env_remove("LITHIFY_STORE")
            .env_remove("XDG_DATA_HOME");
        run::output(command.env("HOME", &home).args(args))
    };
    for verb in ["images", "df", "gc", "fsck"] {
        let text = run_in(&[verb]);
        assert!(text.status.success(), "{verb}: {}", stderr(&text));
        assert!(stderr(&text).contains("nothing is stored"), "{verb}");
        let json = run_in(&[verb, "--json"]);
        assert!(json.status.success() && json.stderr.is_empty(), "{verb}");
        let value: Value = serde_json::from_slice(&json.stdout).unwrap();
        match verb {
            "images" => assert_eq!(value, serde_json::json!([])),
            "df" => assert_eq!(value["images"], 0),
            "gc" => assert_eq!(value["removed"], serde_json::json!([])),
            _ => assert_eq!(value["clean"], true),
        }
    }
    assert_eq!(names(&home), [""; 0]);
    // What is something else is no empty store.
    let output = run_in(&["images", "--store", "/etc"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

#[test]
fn commands_of_other_tools_get_a_hint() {
    for (verb, hint) in [
        ("extract", "lithify build IMAGE -f dir"),
        ("unpack", "lithify build IMAGE -f dir"),
        ("save", "docker-archive:"),
        ("load", "store:"),
        ("export", "-f tar"),
        ("import", "tar:FILE"),
        ("convert", "lithify build"),
        ("diff", "lithify ls -alR"),
        ("list-tags", "lithify images"),
        ("tags", "lithify images"),
        ("run", "lithify mount"),
        ("rmi", "lithify rm"),
        ("prune", "lithify gc"),
        ("history", "lithify inspect"),
    ] {
        let output = lithify_output([verb, "x"]);
        assert_eq!(output.status.code(), Some(2), "{verb}");
        let said = stderr(&output);
        assert!(
            said.contains("hint: ") && said.contains(hint),
            "{verb}: {said}"
        );
    }
    let output = lithify_output(["frobnicate"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("hint: "), "{}", stderr(&output));
}

#[test]
fn the_name_of_the_output_says_the_format() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [tree()]);
    let out = |name: &str| tmp.path().join(name);
    for (name, offset, magic) in [
        ("x.erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0][..]),
        ("x", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
        ("x.img", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
        ("x.squashfs", 0, b"hsqs"),
        ("x.sqfs", 0, b"hsqs"),
        ("x.tar", 257, b"ustar"),
    ] {
        run::ok(
            lithify()
                .args(["-q", "build", &source, "-o"])
                .arg(out(name)),
        );
        let bytes = std::fs::read(out(name)).unwrap();
        assert!(bytes[offset..].starts_with(magic), "{name}");
    }
    let tar = run::ok(lithify().args(["-q", "build", &source, "-o", "-"]));
    assert_eq!(tar, std::fs::read(out("x.tar")).unwrap());
    let before = names(tmp.path());
    for args in [
        &["-o", "y.tar.gz"][..],
        &["-o", "y.tgz"],
        &["-o", "y.vmdk"],
        &["-o", "y.iso"],
        &["-o", "y/"],
        &["-f", "erofs", "-o", "y/"],
        // Of the disks of layered builds.
        &["-f", "squashfs", "-o", "y", "--disk", "vmdk"],
        &["-o", "y", "--align", "4K"],
    ] {
        let mut command = lithify();
        command
            .current_dir(tmp.path())
            .args(["-q", "build", &source]);
        let output = run::output(command.args(args));
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert_eq!(names(tmp.path()), before, "{args:?}");
    }
    // What is said outright is done, and told.
    for (format, name) in [
        ("tar", "z.erofs"),
        ("erofs", "z.squashfs"),
        ("dir", "z.tar.gz"),
    ] {
        let mut command = lithify();
        command.current_dir(tmp.path()).args(["build", &source]);
        let output = run::output(command.args(["-f", format, "-o", name]));
        assert!(output.status.success(), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains(&format!("`{name}` is the name of")), "{said}");
        assert!(out(name).exists());
    }
}

#[test]
fn inspect_prints_json_as_json() {
    let tmp = temp_dir();
    let path = tmp.path().join("image");
    lithify_testkit::Layout::new()
        .gzip_layer(&tree())
        .config(
            "Cmd",
            serde_json::json!(["/bin/sh", "-c", "echo \"\\\u{202e}\u{9b}\u{7f}\""]),
        )
        .write(&path);
    let text = run::text(
        lithify()
            .arg("inspect")
            .arg(format!("oci:{}", path.display())),
    );
    let line = text.lines().find(|line| line.starts_with("Cmd: ")).unwrap();
    assert_eq!(
        line,
        r#"Cmd: ["/bin/sh","-c","echo \"\\\u202e\u009b\u007f\""]"#
    );
}

#[test]
fn disks_are_read_as_what_is_on_them() {
    let tmp = temp_dir();
    let upper = layer([TarEntry::file("etc/motd", "good evening\n")]);
    let source = image(tmp.path(), [tree(), upper]);
    for (name, options) in [
        ("plain", &[][..]),
        ("aligned", &["--align", "64K", "--verity"]),
    ] {
        let out = tmp.path().join(name);
        let mut command = lithify();
        command.args([
            "-q",
            "build",
            &source,
            "-f",
            "erofs-layers",
            "--disk",
            "vmdk,raw,gpt",
        ]);
        run::ok(command.args(options).arg("-o").arg(&out));
        let expected = crate::common::paths(&source);
        for disk in ["disk.vmdk", "disk.raw", "disk.gpt"] {
            let disk = out.join(disk);
            let disk = disk.to_str().unwrap();
            assert_eq!(crate::common::paths(disk), expected, "{disk}");
            let motd = run::text(lithify().args(["-q", "cat", disk, "/etc/motd"]));
            assert_eq!(motd, "good evening\n", "{disk}");
            run::ok(lithify().args(["-q", "verify", disk]));
            let described = run::text(lithify().args(["inspect", "--json", disk]));
            let described: Value = serde_json::from_str(&described).unwrap();
            assert_eq!(described["artifacts"][0]["path"], disk);
            if require::root() && require::kernel_erofs() {
                let at = tmp.path().join("mnt");
                std::fs::create_dir_all(&at).unwrap();
                run::ok(lithify().args(["mount", disk]).arg(&at));
                let motd = std::fs::read_to_string(at.join("etc/motd"));
                run::ok(lithify().arg("umount").arg(&at));
                assert_eq!(motd.unwrap(), "good evening\n", "{disk}");
            }
        }
        // A disk that lost a file, or a table, is no disk.
        let gpt = out.join("disk.gpt");
        let mut bytes = std::fs::read(&gpt).unwrap();
        bytes[512 + 20] ^= 1;
        std::fs::write(&gpt, bytes).unwrap();
        std::fs::rename(out.join("fsmeta.erofs"), out.join("elsewhere")).unwrap();
        for disk in ["disk.vmdk", "disk.gpt"] {
            let output = run::output(lithify().arg("verify").arg(out.join(disk)));
            assert_eq!(output.status.code(), Some(3), "{disk}: {}", stderr(&output));
            assert!(stderr(&output).contains(disk), "{}", stderr(&output));
        }
    }
}
