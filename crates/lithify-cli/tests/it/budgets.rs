//! What a few kilobytes may cost: budgets for the whole image, holes, and names that stand for many.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::common::stores::build_command;
use crate::common::{build, image, layer, lithify, lithify_output, names, stderr};
use lithify_testkit::{
    Allow, Blob, Compression, Layout, Snapshot, TarEntry, digest, require, run, temp_dir,
};

/// A directory in a directory, `levels` deep, each with the name of the next and one more: `x0` and `x1`.
fn ladder(levels: usize) -> Vec<u8> {
    let mut at = "d".to_owned();
    let mut entries = vec![TarEntry::directory(&at)];
    for _ in 0..levels {
        entries.push(TarEntry::directory(format!("{at}/x1")));
        at.push_str("/x0");
        entries.push(TarEntry::directory(&at));
    }
    layer(entries)
}

/// Has `x1` of every directory lead where `x0` leads, in an EROFS image: twice as many names with each level.
fn double(image: &mut [u8]) -> usize {
    // Names follow each other: of the directory itself, the one above, and these.
    let names: Vec<usize> = (0..image.len() - 7)
        .filter(|&at| image[at..].starts_with(b"...x0x1"))
        .collect();
    for &at in &names {
        // Four entries of twelve bytes stand before them; each begins with the number of an inode.
        let (x0, x1) = (at - 24, at - 12);
        image.copy_within(x0..x0 + 8, x1);
    }
    // The first block's checksum is not asked for.
    image[1024 + 8] &= !1;
    names.len()
}

fn of_erofs(dir: &Path, bytes: Vec<u8>) -> String {
    let diff_id = digest(&bytes);
    let media_type = "application/vnd.erofs.layer.v1".to_owned();
    Layout::new()
        .blob(Blob { media_type, bytes }, &diff_id)
        .write(dir);
    format!("oci:{}:latest", dir.display())
}

/// `ls` looked at every way through such a graph: 2²⁴ names of 8 KB.
#[test]
fn directories_reached_twice_are_refused_by_whoever_looks() {
    let tmp = temp_dir();
    let made = tmp.path().join("made.erofs");
    build(&image(tmp.path(), [ladder(24)]), "erofs", &made);
    let mut bytes = fs::read(made).unwrap();
    let honest = of_erofs(&tmp.path().join("honest"), bytes.clone());
    assert_eq!(double(&mut bytes), 24);
    let source = of_erofs(&tmp.path().join("doubled"), bytes);

    let paths = |source: &str| run::text(lithify().args(["-q", "ls", "-aR", source, "/d"]));
    assert!(paths(&honest).contains("x0"));
    let out = tmp.path().join("out");
    let out = out.to_str().unwrap();
    for args in [
        &["ls", "-R", &source][..],
        &["ls", "-R", &source, "/d/x0/x0"],
        &["ls", "--json", &source],
        &["verify", &source],
        &["build", &source, "-f", "tar", "-o", out],
        &["build", &source, "-f", "erofs-layers", "-o", out],
    ] {
        let output = lithify_output(["-q"].iter().chain(args));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(
            said.contains("is reached a second time"),
            "{args:?}: {said}"
        );
    }
    // What does not meet it is shown.
    run::ok(lithify().args(["-q", "ls", "-d", &source, "/d"]));
}

/// A file that is a hole but for one byte in its middle.
fn sparse(path: &str, size: u64) -> TarEntry {
    TarEntry::file(path, "x")
        .record("GNU.sparse.size", size.to_string())
        .record("GNU.sparse.numblocks", "1")
        .record("GNU.sparse.map", format!("{},1", size / 2))
}

const EVERY_FORMAT: [&str; 8] = [
    "erofs",
    "squashfs",
    "erofs-layers",
    "squashfs-layers",
    "containerd-cache",
    "dir",
    "tar",
    "cpio",
];

/// Runs a command that must be refused by a limit, at an entry, and leave nothing behind.
#[track_caller]
fn refused(dir: &Path, args: &[&str], limit: &str, expected: &[&str]) {
    let before = names(dir);
    let output = lithify_output([&["-q"][..], args, &["--no-store", "--limit", limit]].concat());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    let (option, _) = limit.split_once('=').unwrap();
    for text in [&[option, "for the whole image"][..], expected].concat() {
        assert!(said.contains(text), "{args:?}: {text}: {said}");
    }
    assert_eq!(names(dir), before, "{args:?}");
}

#[test]
fn budgets_are_those_of_all_layers() {
    let tmp = temp_dir();
    let one = |n: u32| {
        layer([
            TarEntry::directory(format!("d{n}")),
            TarEntry::file(format!("d{n}/file"), vec![n as u8; 5000]).xattr("user.a", "0123456789"),
            TarEntry::symlink(format!("d{n}/link"), "t".repeat(100)),
        ])
    };
    let source = image(tmp.path(), [one(1), one(2), one(3)]);
    let out = tmp.path().join("out");
    let out = out.to_str().unwrap();
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["verify", &source],
        vec!["ls", &source],
        vec!["cat", &source, "/d1/file"],
    ];
    for format in EVERY_FORMAT {
        if format == "dir" && !require::root() {
            continue;
        }
        commands.push(vec!["build", &source, "-f", format, "-o", out]);
    }
    // Made before, so that nothing more is left.
    let layout = tmp.path().join("layout");
    Layout::new().write(&layout);
    let layout = format!("oci:{}:v1", layout.display());
    commands.push(vec!["push", "--as", "erofs", &source, &layout]);
    for args in &commands {
        for (limit, expected) in [
            // One layer has three entries, 10 + 7 + 7 + 100 bytes of names, 16 of attributes.
            ("image_entries=8", &["layer ", "`/d"][..]),
            ("image_name_bytes=250", &["layer ", "`/d"]),
            ("image_xattr_bytes=40", &["layer ", "/file`"]),
            ("image_tar_bytes=25K", &["layer "]),
            ("memory_bytes=600", &["layer ", "`/d"]),
        ] {
            refused(tmp.path(), args, limit, expected);
        }
    }
    // Names take more in the merged filesystem than in their layer.
    let files = (0..100).map(|n| TarEntry::file(format!("{n:03}"), ""));
    let wide = image(&tmp.path().join("wide"), [layer(files)]);
    let merged = "bytes of memory for the merged filesystem";
    for args in [
        &["verify", &wide][..],
        &["cat", &wide, "/001"],
        &["build", &wide, "-f", "erofs-layers", "-o", out],
    ] {
        refused(tmp.path(), args, "memory_bytes=7000", &["layer 0", merged]);
    }
    for (limit, command) in [
        ("image_entries=9", "verify"),
        ("image_name_bytes=1K", "verify"),
        ("image_xattr_bytes=48", "verify"),
    ] {
        run::ok(lithify().args(["-q", command, "--limit", limit, &source]));
    }
}

#[test]
fn output_has_a_budget() {
    let tmp = temp_dir();
    let one = |n: u32| layer([TarEntry::file(format!("f{n}"), vec![n as u8; 300_000])]);
    let source = image(tmp.path(), [one(1), one(2), one(3)]);
    let out = tmp.path().join("out");
    let out = out.to_str().unwrap();
    for format in [
        "erofs",
        "erofs-layers",
        "containerd-cache",
        "dir",
        "tar",
        "cpio",
    ] {
        let args = ["build", &source, "-f", format, "-o", out];
        refused(tmp.path(), &args, "output_bytes=800K", &["layer ", "`/f"]);
    }
}

/// The map of a terabyte of holes, or its list of blocks, takes megabytes: known before any is written.
#[test]
fn holes_count_for_what_the_format_says_of_them() {
    let tmp = temp_dir();
    let source = image(
        tmp.path(),
        [layer([
            TarEntry::file("before", "x"),
            sparse("hole", 1 << 40),
        ])],
    );
    let out = tmp.path().join("out");
    let out = out.to_str().unwrap();
    for format in ["erofs", "squashfs", "erofs-layers", "squashfs-layers"] {
        let args = ["build", &source, "-f", format, "-o", out];
        refused(
            tmp.path(),
            &args,
            "output_bytes=2M",
            &["layer 0", "`/hole`"],
        );
        // Four megabytes in EROFS, half of them a map, and a map in the merged image too; in squashfs 32, all alike.
        let enough = ["--limit", "output_bytes=40M"];
        run::ok(
            lithify()
                .args(["-q", "build", "--no-store", "--no-fsync", &source])
                .args(["-f", format, "-o", out])
                .args(enough),
        );
        run::ok(lithify().args(["-q", "verify", out]));
        match fs::metadata(out).unwrap().is_dir() {
            true => fs::remove_dir_all(out).unwrap(),
            false => fs::remove_file(out).unwrap(),
        }
    }
    // In an archive they are zeros.
    let source = image(tmp.path(), [layer([sparse("hole", 1 << 24)])]);
    for format in ["tar", "cpio"] {
        let args = ["build", &source, "-f", format, "-o", out];
        refused(tmp.path(), &args, "output_bytes=2M", &["`/hole`"]);
    }

    // A layer that is an EROFS image with such a file: nobody reads half a terabyte of zeros.
    let made = tmp.path().join("made.erofs");
    build(
        &image(tmp.path(), [layer([sparse("hole", 1 << 40)])]),
        "erofs",
        &made,
    );
    let source = of_erofs(&tmp.path().join("native"), fs::read(&made).unwrap());
    let again = tmp.path().join("again.erofs");
    build(&source, "erofs", &again);
    assert_eq!(
        fs::read(&again).unwrap().len(),
        fs::read(&made).unwrap().len()
    );
    run::ok(lithify().args(["-q", "verify", &source]));
}

/// Layers of which one comes again, where it means something else each time, and hides what it brought before.
fn stack() -> [Vec<u8>; 6] {
    let again = layer([
        TarEntry::file("l/blocks", b"text ".repeat(4000)),
        TarEntry::file("l/tail", b"t".repeat(5000)),
        TarEntry::file("l/short", "short"),
        TarEntry::file("empty", ""),
        TarEntry::file("same", b"same ".repeat(3000)),
        TarEntry::hard_link("l/other", "l/blocks"),
        TarEntry::whiteout("gone"),
        sparse("sparse", 10 << 20),
    ]);
    let between = |n: u8, to: &str| {
        layer([
            TarEntry::symlink("l", to),
            TarEntry::file("gone", vec![n; 9000]),
            TarEntry::file(format!("only{n}"), vec![n; 70_000]),
        ])
    };
    [
        layer([
            TarEntry::directory("d1"),
            TarEntry::directory("d2"),
            TarEntry::symlink("l", "d1"),
            TarEntry::file("gone", "x"),
        ]),
        again.clone(),
        between(1, "d2"),
        again.clone(),
        between(2, "d1"),
        again,
    ]
}

#[test]
fn a_layer_named_again_is_the_same_as_one_read_again() {
    let tmp = temp_dir();
    let once = tmp.path().join("once");
    let layers = stack();
    let layout = |compressions: [Compression; 6]| {
        layers
            .iter()
            .zip(compressions)
            .fold(Layout::new(), |layout, (tar, compression)| {
                layout.layer(tar, compression)
            })
    };
    layout([Compression::Gzip; 6]).write(&once);
    let once = format!("oci:{}:latest", once.display());
    // The same tars as other blobs: each is read.
    let thrice = tmp.path().join("thrice");
    let [gzip, zstd, none] = [Compression::Gzip, Compression::Zstd, Compression::None];
    layout([gzip, zstd, gzip, none, gzip, gzip]).write(&thrice);
    let thrice = format!("oci:{}:latest", thrice.display());

    let lists = |source: &str| run::text(lithify().args(["-q", "ls", "--json", source]));
    assert_eq!(lists(&once), lists(&thrice));
    for args in [
        &["-f", "erofs"][..],
        &["-f", "erofs", "--compress", "lz4"],
        &["-f", "erofs", "--compress", "zstd"],
        &["-f", "squashfs"],
        &["-f", "tar"],
        &["-f", "tar", "--sparse"],
        &["-f", "cpio"],
    ] {
        let made = |source: &str, name: &str, jobs: &str| {
            let path = tmp.path().join(name);
            let mut command = lithify();
            command.args(["-q", "build", "--no-fsync", "--json", "-j", jobs, source]);
            let said = run::ok(command.args(args).arg("-o").arg(&path));
            let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
            let mut statistics = said["artifacts"][0]["statistics"].clone();
            // What was copied differs, not what came of it.
            if let Some(statistics) = statistics.as_object_mut() {
                statistics.remove("moved_bytes");
            }
            (fs::read(path).unwrap(), statistics)
        };
        let expected = made(&thrice, "thrice.img", "1");
        for jobs in ["1", "2"] {
            assert!(made(&once, "once.img", jobs) == expected, "{args:?} {jobs}");
        }
    }
    for path in ["/d1/blocks", "/d2/tail", "/only2", "/same"] {
        let text = |source: &str| run::ok(lithify().args(["-q", "cat", source, path]));
        assert!(text(&once) == text(&thrice), "{path}");
    }
    if require::root() {
        let made = |source: &str, name: &str| {
            let path = tmp.path().join(name);
            build(source, "dir", &path);
            Snapshot::of(&path)
        };
        made(&once, "once.d").assert_same(&made(&thrice, "thrice.d"), &Allow::nothing());
        let hole = |name: &str| {
            fs::metadata(tmp.path().join(name).join("sparse"))
                .unwrap()
                .blocks()
        };
        assert!(hole("once.d") <= hole("thrice.d") + 8);
    }
    // Read once, that is; each time it is merged it counts.
    let mut read = layers.to_vec();
    read.dedup();
    read.sort();
    read.dedup();
    let few = format!(
        "image_tar_bytes={}",
        read.iter().map(Vec::len).sum::<usize>()
    );
    let few = &*few;
    for args in [
        &["verify", &once][..],
        &["ls", &once],
        &["cat", &once, "/d2/tail"],
    ] {
        run::ok(lithify().arg("-q").args(args).args(["--limit", few]));
    }
    for args in [
        &["-f", "erofs"][..],
        &["-f", "erofs", "--compress", "lz4"],
        &["-f", "squashfs"],
        &["-f", "tar"],
    ] {
        let mut command = lithify();
        command.args(["-q", "build", "--no-fsync", &once, "--limit", few]);
        command.args(args).arg("-o").arg(tmp.path().join("few"));
        run::ok(&mut command);
    }
    let output = lithify_output(["-q", "verify", &thrice, "--limit", few]);
    assert!(stderr(&output).contains("image_tar_bytes"));
}

/// A layer of 200 MB of link targets, named 1,024 times, took minutes, in layers more than a quarter of an hour: reading it once does not
/// merge it once.
#[test]
fn a_layer_named_again_counts_each_time_it_is_merged() {
    let tmp = temp_dir();
    // Three entries, 1 + 6 + 6 + 100 bytes of names, 16 of attributes.
    let again = layer([
        TarEntry::directory("d"),
        TarEntry::file("d/file", "x").xattr("user.a", "0123456789"),
        TarEntry::symlink("d/link", "t".repeat(100)),
    ]);
    let top = |name| layer([TarEntry::directory(name)]);
    let source = image(
        &tmp.path().join("thrice"),
        [again.clone(), again.clone(), again.clone(), top("t")],
    );
    let out = tmp.path().join("out");
    let out = out.to_str().unwrap();
    let layout = tmp.path().join("layout");
    Layout::new().write(&layout);
    let layout = format!("oci:{}:v1", layout.display());
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["verify", &source],
        vec!["ls", &source],
        vec!["cat", &source, "/d/file"],
        vec!["push", "--as", "erofs", &source, &layout],
    ];
    for format in EVERY_FORMAT {
        if format == "dir" && !require::root() {
            continue;
        }
        let mut args = vec!["build", &source, "-f", format, "-o", out];
        // Which counts attributes all the same.
        args.extend((format == "cpio").then_some("--drop-xattrs"));
        commands.push(args);
    }
    for args in &commands {
        for limit in [
            "image_entries=9",
            "image_name_bytes=339",
            "image_xattr_bytes=47",
        ] {
            refused(tmp.path(), args, limit, &["layer "]);
        }
    }
    let enough = [
        "image_entries=10",
        "image_name_bytes=340",
        "image_xattr_bytes=48",
    ];
    let enough = enough.map(|limit| ["--limit", limit]).concat();
    for args in &commands {
        let mut command = lithify();
        run::ok(command.arg("-q").args(args).arg("--no-store").args(&enough));
        match fs::metadata(out) {
            Ok(made) if made.is_dir() => fs::remove_dir_all(out).unwrap(),
            Ok(_) => fs::remove_file(out).unwrap(),
            Err(_) => {}
        }
    }

    // What is taken from the store is merged as often.
    let store = tmp.path().join("store");
    let once = image(&tmp.path().join("once"), [again.clone(), top("u")]);
    run::ok(&mut build_command(
        &store,
        &once,
        &tmp.path().join("once.d"),
    ));
    let mut command = build_command(&store, &source, Path::new(out));
    let output = run::output(command.args(["--limit", "image_entries=9"]));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("image_entries"), "{said}");
    let mut command = build_command(&store, &source, Path::new(out));
    run::ok(command.args(&enough));

    // So is what only a merged image is made of, and what a directory says its layers are.
    let source = image(
        &tmp.path().join("only"),
        [again.clone(), again.clone(), again],
    );
    let out = tmp.path().join("only.d");
    let out = out.to_str().unwrap();
    let too_few = "image_entries=8";
    let args = ["build", &source, "-f", "erofs-layers", "-o", out];
    refused(tmp.path(), &args, too_few, &["layer 2"]);
    let mut command = lithify();
    let args = [
        "-q",
        "build",
        "--no-store",
        "--no-fsync",
        &source,
        "-o",
        out,
    ];
    run::ok(command.args(args).args(["-f", "squashfs-layers"]));
    for args in [&["ls", out][..], &["cat", out, "/d/file"]] {
        refused(tmp.path(), args, too_few, &["layer 2"]);
        // With the root directories of images.
        let enough = ["--limit", "image_entries=12"];
        run::ok(lithify().arg("-q").args(args).args(enough));
    }
}

/// A layer of 53 KB, 100,000 entries over one name with targets of 4 KB: it took 0.4 GB for each time it was named.
#[test]
fn one_name_replaced_again_and_again_takes_no_more_for_each_layer() {
    let tmp = temp_dir();
    let over = |target: &str| {
        let target = target.repeat(4000);
        layer((0..500).map(|_| TarEntry::symlink("x", &target)))
    };
    let layers: Vec<_> = (0..16).map(|_| over("a")).collect();
    let source = image(tmp.path(), layers);
    let limits = [
        "--limit",
        "image_name_bytes=32M",
        "--limit",
        "memory_bytes=5M",
    ];
    let out = tmp.path().join("out");
    run::ok(lithify().args(["-q", "verify", &source]).args(limits));
    for format in ["erofs", "squashfs", "tar"] {
        let mut command = lithify();
        command.args(["-q", "build", "--no-fsync", &source, "-f", format, "-o"]);
        run::ok(command.arg(&out).args(limits));
    }
    // Others that do the same count together.
    let source = image(tmp.path(), ["a", "b", "c"].map(over));
    let args = ["verify", &source];
    refused(
        tmp.path(),
        &args,
        "image_name_bytes=4200K",
        &["layer 0", "`/x`"],
    );
    run::ok(lithify().args(["-q", "verify", &source, "--limit", "image_name_bytes=7M"]));
}
