//! Layers that are no tars where no media type says so, and what stands behind the end of a tar.

use std::fs;
use std::path::Path;

use crate::common::documents::{Documents, documents};
use crate::common::{build, erofs, image, layer, lithify, lithify_output, names, paths, stderr};
use lithify_testkit::registry::{FakeDaemon, Faulty};
use lithify_testkit::{Compression, Tar, TarEntry, digest, require, run, temp_dir};
use serde_json::{Value, json};

fn tree() -> Vec<u8> {
    layer([
        TarEntry::directory("etc").mode(0o711).owner(3, 4),
        TarEntry::file("etc/hello", "hello").xattr("user.note", "v"),
        TarEntry::hard_link("etc/again", "etc/hello"),
        TarEntry::symlink("link", "etc/hello"),
        TarEntry::file("big", vec![7; 100_000]),
    ])
}

/// Names and metadata, one line of JSON each.
fn listed(name: &str) -> String {
    run::text(lithify().args(["-q", "ls", "--json", name]))
}

fn json_of(args: &[&str]) -> Value {
    serde_json::from_slice(&run::ok(lithify().arg("-q").args(args))).unwrap()
}

/// They were empty filesystems, and `verify` said ok: an EROFS image begins with 1024 zero bytes, the end of a tar.
#[test]
fn erofs_images_are_layers_wherever_no_media_type_says_so() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let made = erofs(&image(tmp.path(), [tree()]), tmp.path());
    let bytes = fs::read(&made).unwrap();
    let expected = listed(made.to_str().unwrap());
    assert!(expected.contains("hello"));

    let compressed = |compression: Compression| {
        let id = json!({ "type": "layers", "diff_ids": [digest(&bytes)] });
        let blob = compression.compress(&bytes);
        Documents::new(id).layer(crate::common::documents::TAR, &blob, json!({}))
    };
    let mut sources = vec![format!("tar:{}", made.display())];
    for (name, compression) in [
        ("plain", Compression::None),
        ("gzip", Compression::Gzip),
        ("zstd", Compression::Zstd),
    ] {
        let mut image = compressed(compression);
        sources.push(image.write(&at(name)));
        // As containerd exports it; with and without the word of the config.
        if name == "plain" {
            image.config["os.features"] = json!(["erofs"]);
        }
        let archive = at(&format!("{name}.tar"));
        fs::write(&archive, image.export(&at(&format!("{name}.d")))).unwrap();
        sources.push(format!("docker-archive:{}", archive.display()));
        sources.push(format!("oci-archive:{}:t", archive.display()));
        let compressed = at(&format!("blob.{name}"));
        fs::write(&compressed, compression.compress(&bytes)).unwrap();
        sources.push(format!("tar:{}", compressed.display()));
    }
    for source in &sources {
        assert_eq!(listed(source), expected, "{source}");
        let verified = json_of(&["verify", "--json", source]);
        assert!(
            verified["entries"].as_u64().unwrap() >= 6,
            "{source}: {verified}"
        );
        assert_eq!(
            run::ok(lithify().args(["-q", "cat", source, "/etc/again"])),
            b"hello",
            "{source}"
        );
    }
    // Those that can be looked at beforehand say what they are.
    for source in sources.iter().filter(|s| !s.starts_with("tar:")) {
        let said = json_of(&["inspect", "--json", source]);
        assert_eq!(said["layers"][0]["filesystem"], "erofs", "{source}");
        let text = run::text(lithify().args(["-q", "inspect", source]));
        assert!(text.contains("(erofs image)"), "{text}");
    }
    for (number, source) in sources.iter().enumerate() {
        for format in ["erofs", "squashfs", "erofs-layers", "squashfs-layers"] {
            let out = at(&format!("{number}.{format}"));
            build(source, format, &out);
            let found = listed(out.to_str().unwrap());
            assert_eq!(found, expected, "{source} as {format}");
        }
    }
    // Images of layers are the layers.
    let docker = sources.iter().find(|s| s.starts_with("docker-archive:"));
    let out = at("as-is");
    build(docker.unwrap(), "erofs-layers", &out);
    let kept = names(&out.join("layers"));
    assert_eq!(kept.len(), 1);
    assert!(fs::read(out.join("layers").join(&kept[0])).unwrap() == bytes);
}

/// Wrapped as a tar with gzip, nobody could find out what it was.
#[test]
fn a_copy_of_an_erofs_layer_is_one() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let made = erofs(&image(tmp.path(), [tree()]), tmp.path());
    let bytes = fs::read(&made).unwrap();
    let tar = layer([TarEntry::file("below", "tar")]);
    let ids = json!({ "type": "layers", "diff_ids": [digest(&tar), digest(&bytes)] });
    for (name, compression, media_type) in [
        ("plain", Compression::None, "application/vnd.erofs.layer.v1"),
        ("gzip", Compression::Gzip, "application/vnd.erofs.layer.v1"),
        (
            "zstd",
            Compression::Zstd,
            "application/vnd.erofs.layer.v1+zstd",
        ),
    ] {
        let plain = crate::common::documents::TAR;
        let image = Documents::new(ids.clone())
            .layer(plain, &tar, json!({}))
            .layer(plain, &compression.compress(&bytes), json!({}));
        let archive = at(&format!("{name}.tar"));
        fs::write(&archive, image.export(&at(&format!("{name}.d")))).unwrap();
        let source = format!("docker-archive:{}", archive.display());
        let copy = at(&format!("{name}.copy"));
        let copied = format!("oci:{}:t", copy.display());
        run::ok(lithify().args(["-q", "copy", "--no-fsync", &source, &copied]));
        let (manifest, _) = documents(&copy);
        let [below, above] = manifest["layers"].as_array().unwrap().as_slice() else {
            panic!("{manifest}");
        };
        assert_eq!(
            below["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+gzip"
        );
        assert_eq!(above["mediaType"], media_type);
        if compression != Compression::Zstd {
            assert_eq!(above["digest"], digest(&bytes));
        }
        assert_eq!(paths(&copied), paths(&source));
        // An archive as Docker writes it has no word for it, and neither has its daemon.
        let refused = at("refused.tar");
        for from in [
            &source,
            &copied,
            &format!("oci:{}:t", at(&format!("{name}.d")).display()),
        ] {
            let to = format!("docker-archive:{}:x:1", refused.display());
            let output = lithify_output(["-q", "copy", "--no-fsync", from, &to]);
            assert_eq!(output.status.code(), Some(1));
            assert!(stderr(&output).contains("EROFS"), "{}", stderr(&output));
            assert!(!refused.exists());
        }
    }
}

#[test]
fn a_daemon_with_erofs_layers_is_understood() {
    let tmp = temp_dir();
    let made = erofs(&image(tmp.path(), [tree()]), tmp.path());
    let bytes = fs::read(&made).unwrap();
    let daemon = FakeDaemon::start();
    let export = Documents::of(&[bytes]).export(&tmp.path().join("export"));
    daemon.add_image("app:1", export);
    let mut command = lithify();
    command.env("DOCKER_HOST", daemon.host());
    let found = run::text(command.args(["-q", "ls", "-aR", "docker-daemon:app:1"]));
    let expected = paths(made.to_str().unwrap());
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}

/// In a registry nothing is looked at beforehand: what arrives is what it is.
#[test]
fn a_registry_with_mislabelled_erofs_layers_is_understood() {
    let tmp = temp_dir();
    let made = erofs(&image(tmp.path(), [tree()]), tmp.path());
    let bytes = fs::read(&made).unwrap();
    let ids = json!({ "type": "layers", "diff_ids": [digest(&bytes)] });
    let plain = crate::common::documents::TAR;
    let registry = Faulty::start();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let blob = compression.compress(&bytes);
        let image = Documents::new(ids.clone()).layer(plain, &blob, json!({}));
        let name = format!("{compression:?}").to_lowercase();
        let source = image.write(&tmp.path().join(&name));
        let there = format!("docker://{}/{name}:1", registry.address());
        run::ok(lithify().args(["-q", "copy", "--no-fsync", &source, &there]));
        assert_eq!(listed(&there), listed(made.to_str().unwrap()));
        for format in ["erofs", "erofs-layers"] {
            let out = tmp.path().join(format!("{name}.{format}"));
            build(&there, format, &out);
            assert_eq!(paths(out.to_str().unwrap()), paths(&source));
        }
        // Found at once where it is at hand, and not mixed up with what was made of it from afar.
        let out = tmp.path().join(format!("{name}.here"));
        build(&source, "erofs-layers", &out);
        assert_eq!(paths(out.to_str().unwrap()), paths(&source));
    }
}

/// Committed upon, it stays what it is.
#[test]
fn a_commit_keeps_erofs_layers() {
    let tmp = temp_dir();
    let made = erofs(&image(tmp.path(), [tree()]), tmp.path());
    let source = Documents::of(&[fs::read(&made).unwrap()]).write(&tmp.path().join("base"));
    let upper = tmp.path().join("up");
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::write(upper.join("etc/new"), "new").unwrap();
    let new = tmp.path().join("new");
    let name = format!("oci:{}:n", new.display());
    let mut command = lithify();
    command.args(["-q", "commit", "--base", &source, "-o", &name]);
    run::ok(command.arg(&upper));
    let (manifest, _) = documents(&new);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers[0]["mediaType"], "application/vnd.erofs.layer.v1");
    assert!(paths(&name).iter().any(|p| p.ends_with("etc/new")));
    assert!(paths(&name).iter().any(|p| p.ends_with("etc/hello")));
}

/// Everything else a person could hand in is named.
#[test]
fn other_filesystems_are_named() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [tree()]);
    let squashfs = tmp.path().join("x.squashfs");
    build(&source, "squashfs", &squashfs);
    let mut ext4 = vec![0; 8192];
    ext4[1080..1082].copy_from_slice(b"\x53\xef");
    for (name, blob, says) in [
        ("squashfs", fs::read(&squashfs).unwrap(), "a squashfs image"),
        ("ext4", ext4, "an ext2, ext3 or ext4 filesystem"),
    ] {
        let file = tmp.path().join(name);
        fs::write(&file, &blob).unwrap();
        let layout = tmp.path().join(format!("{name}.d"));
        let archive = tmp.path().join(format!("{name}.tar"));
        fs::write(
            &archive,
            Documents::of(std::slice::from_ref(&blob)).export(&layout),
        )
        .unwrap();
        let copy = tmp.path().join("copy");
        let to = format!("oci:{}:t", copy.display());
        for source in [
            format!("tar:{}", file.display()),
            format!("oci:{}:t", layout.display()),
            format!("docker-archive:{}", archive.display()),
        ] {
            let output = lithify_output(["-q", "verify", &source]);
            assert_eq!(output.status.code(), Some(1), "{source}");
            assert!(stderr(&output).contains(says), "{}", stderr(&output));
        }
        let docker = format!("docker-archive:{}", archive.display());
        let output = lithify_output(["-q", "copy", "--no-fsync", &docker, &to]);
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}

/// Nothing to Go, Python and GNU tar, entries to `tar --ignore-zeros`: it was thrown away unseen.
#[test]
fn data_behind_the_end_of_a_tar_is_an_error() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let first = layer([TarEntry::file("seen", "1")]);
    let mut both = first.clone();
    both.extend(layer([TarEntry::file("hidden", "2")]));
    fs::write(at("both.tar"), &both).unwrap();
    let layers = Documents::of(&[both]);
    let export = Documents::of(&[first]).export(&at("export"));
    for (name, archive) in [
        ("data", [&export[..], b"x"].concat()),
        ("zeros", [&export[..], &[0; 70_001]].concat()),
        ("far", [&export[..], &vec![0; 300_000][..], b"x"].concat()),
    ] {
        fs::write(at(name), archive).unwrap();
    }
    let refused = [
        format!("tar:{}", at("both.tar").display()),
        layers.write(&at("layout")),
        format!("oci-archive:{}:t", at("data").display()),
        format!("docker-archive:{}", at("data").display()),
        format!("oci-archive:{}:t", at("far").display()),
    ];
    for source in &refused {
        let output = lithify_output(["-q", "verify", source]);
        assert_eq!(output.status.code(), Some(1), "{source}");
        let says = stderr(&output);
        assert!(says.contains("follows the end of the archive"), "{says}");
    }
    assert_eq!(
        paths(&format!("docker-archive:{}", at("zeros").display())),
        ["/seen"]
    );
}

/// What tools fill up their records with is read over, whatever their number.
#[test]
fn the_padding_of_other_tools_is_read_over() {
    if !require::tool("bsdtar") {
        return;
    }
    let tmp = temp_dir();
    let root = tmp.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("f"), "data").unwrap();
    let made = |program: &str, options: &[&str]| {
        let path = tmp.path().join("made.tar");
        let mut command = run::command(program);
        command.args(options).arg("-cf").arg(&path);
        run::ok(command.arg("-C").arg(&root).arg("f"));
        fs::read(&path).unwrap()
    };
    for (program, options) in [
        ("tar", &["-b", "1"][..]),
        ("tar", &["-b", "20"]),
        ("tar", &["-b", "2000"]),
        ("bsdtar", &["-b", "1"]),
        ("bsdtar", &["-b", "200"]),
    ] {
        let tar = made(program, options);
        let file = tmp.path().join("x.tar");
        fs::write(&file, tar).unwrap();
        assert_eq!(
            paths(&format!("tar:{}", file.display())),
            ["/f"],
            "{program} {options:?}"
        );
    }
}

/// Dropped in silence, they were lost: nothing lies below a root filesystem that a whiteout could remove.
#[test]
fn files_with_reserved_names_are_errors_in_root_filesystems() {
    let tmp = temp_dir();
    for (number, name) in [
        ".wh.x",
        "d/.wh.x",
        ".wh..wh..opq",
        ".wh..wh.aufs",
        ".wh..wh.plnk/1.2",
    ]
    .into_iter()
    .enumerate()
    {
        let root = tmp.path().join(format!("root{number}"));
        let file = root.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "real").unwrap();
        let tar = tmp.path().join("root.tar");
        run::ok(
            run::command("tar")
                .arg("-cf")
                .arg(&tar)
                .arg("-C")
                .arg(&root)
                .arg("."),
        );
        for source in [
            format!("rootfs:{}", root.display()),
            format!("tar:{}", tar.display()),
        ] {
            for format in ["erofs", "squashfs", "erofs-layers", "tar", "cpio", "dir"] {
                let out = tmp.path().join("out");
                let mut command = lithify();
                command.args(["-q", "build", "--no-fsync", &source, "-f", format, "-o"]);
                let output = run::output(command.arg(&out));
                assert_eq!(output.status.code(), Some(1), "{source} {name} {format}");
                let says = stderr(&output);
                assert!(says.contains("whiteout"), "{says}");
                assert!(
                    says.contains(
                        Path::new(name)
                            .components()
                            .next()
                            .unwrap()
                            .as_os_str()
                            .to_str()
                            .unwrap()
                    ),
                    "{says}"
                );
                assert!(!out.exists());
            }
        }
        // As a layer, the same tar says what it always said.
        let read =
            Documents::of(&[fs::read(&tar).unwrap()]).write(&tmp.path().join(format!("{number}")));
        run::ok(lithify().args(["-q", "verify", &read]));
    }
}

/// Docker's layers of the days of AUFS: the files of hard links are in AUFS' own directory.
#[test]
fn hard_links_into_the_books_of_aufs_have_their_data() {
    let tmp = temp_dir();
    let mut tar = Tar::new();
    tar.add(TarEntry::directory(".wh..wh.plnk").mode(0o700));
    tar.add(TarEntry::file(".wh..wh.plnk/12.34", "shared").mode(0o640));
    tar.add(TarEntry::directory("d"));
    tar.add(TarEntry::hard_link("d/a", "./.wh..wh.plnk/12.34"));
    tar.add(TarEntry::hard_link("b", ".wh..wh.plnk/12.34"));
    let source = image(tmp.path(), [tar.finish()]);
    assert_eq!(paths(&source), ["/b", "/d", "/d/a"]);
    for format in ["erofs", "squashfs", "erofs-layers", "squashfs-layers"] {
        let out = tmp.path().join(format);
        build(&source, format, &out);
        let out = out.to_str().unwrap();
        assert_eq!(paths(out), ["/b", "/d", "/d/a"], "{format}");
        let data = run::ok(lithify().args(["-q", "cat", out, "/d/a"]));
        assert_eq!(data, b"shared");
        let found = listed(out);
        assert_eq!(
            found
                .matches("\"size\":6,\"mtime\":1600000000,\"mtime_nsec\":0,\"nlink\":2")
                .count(),
            2,
            "{found}"
        );
    }
    let dir = tmp.path().join("dir");
    build(&source, "dir", &dir);
    assert_eq!(names(&dir), ["b", "d"]);
    assert_eq!(fs::read(dir.join("b")).unwrap(), b"shared");
}
