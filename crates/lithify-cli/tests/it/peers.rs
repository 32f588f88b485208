//! What shipping image pipelines got wrong, each as one test through the whole command, judged by the kernel's mount of the result.

use std::io::Write as _;
use std::path::Path;

use crate::common::{beside_lost_and_found, build, erofs, image, layer, lithify_output, stderr};
use lithify_testkit::{Blob, Kind, Layout, Mount, Snapshot, Tar, TarEntry, require, temp_dir};

type Entry = TarEntry;

/// The kernel's view of an image made of these layers; `None` where the kernel cannot say.
fn mounted(layers: impl IntoIterator<Item = Vec<u8>>) -> Option<Snapshot> {
    let tmp = temp_dir();
    let source = image(tmp.path(), layers);
    snapshot(&source, tmp.path())
}

fn snapshot(source: &str, dir: &Path) -> Option<Snapshot> {
    if !require::kernel_erofs() {
        return None;
    }
    let found = Snapshot::of(Mount::erofs(&erofs(source, dir)).path());
    if require::kernel_filesystem("ext4") {
        let path = dir.join("out.ext4");
        if found.nodes.values().any(|node| node.links > 65_000) {
            let path = path.to_str().expect("UTF-8");
            let output = lithify_output(["-q", "build", source, "-o", path]);
            assert!(stderr(&output).contains("65000"), "{}", stderr(&output));
            return Some(found);
        }
        build(source, "ext4", &path);
        let ext4 = Snapshot::of(Mount::image("ext4", &path).path());
        ext4.assert_same(&found, &beside_lost_and_found());
    }
    Some(found)
}

/// What `lithify build` says about layers it must refuse.
fn refused(layers: impl IntoIterator<Item = Vec<u8>>) -> String {
    let tmp = temp_dir();
    let source = image(tmp.path(), layers);
    let out = tmp.path().join("x.erofs");
    let output = lithify_output(["-q", "build", &source, "-o", out.to_str().expect("UTF-8")]);
    assert!(!output.status.success(), "the image was accepted");
    assert_eq!(
        crate::common::names(tmp.path()),
        ["image"],
        "something was left behind"
    );
    stderr(&output)
}

fn file(snapshot: &Snapshot, path: &str, data: &[u8]) {
    match &snapshot.at(path).kind {
        Kind::File { size, sha256: sum } => {
            assert_eq!((*size, sum), (data.len() as u64, &sha256(data)), "{path}")
        }
        other => panic!("{path} is {other:?}"),
    }
}

macro_rules! mounted {
    ($($layer:expr),+ $(,)?) => {
        match mounted([$(layer($layer)),+]) {
            Some(snapshot) => snapshot,
            None => return,
        }
    };
}

#[test]
fn files_with_the_same_first_block_stay_apart() {
    let start = vec![7; 128 << 10];
    let tree = mounted!([
        Entry::file("a", [&start[..], b"one"].concat()),
        Entry::file("b", [&start[..], b"another"].concat()),
    ]);
    file(&tree, "a", &[&start[..], b"one"].concat());
    file(&tree, "b", &[&start[..], b"another"].concat());
}

#[test]
fn empty_files_can_be_read() {
    let tree = mounted!([Entry::file("empty", ""), Entry::file("dev/full", "")]);
    file(&tree, "empty", b"");
    file(&tree, "dev/full", b"");
}

#[test]
fn whiteouts_reach_lower_layers_and_leave_no_marker() {
    let tree = mounted!(
        [
            Entry::directory("d"),
            Entry::file("d/secret", "s"),
            Entry::file("d/kept", "k")
        ],
        [
            Entry::directory("n"),
            Entry::whiteout("n/x"),
            Entry::whiteout("d/secret")
        ],
    );
    assert_eq!(
        tree.nodes
            .keys()
            .map(|k| String::from_utf8_lossy(k))
            .collect::<Vec<_>>(),
        ["", "d", "d/kept", "n"]
    );
}

#[test]
fn whited_out_and_overwritten_data_is_not_in_the_image() {
    let tmp = temp_dir();
    let needle = b"the quick brown secret ".repeat(1000);
    let source = image(
        tmp.path(),
        [
            layer([
                Entry::directory("d"),
                Entry::file("d/secret", &needle),
                Entry::file("d/later", "x".repeat(9000)),
                Entry::file("d/replaced", &needle),
            ]),
            layer([
                Entry::whiteout("d/secret"),
                Entry::file("d/replaced", "harmless"),
            ]),
        ],
    );
    let bytes = std::fs::read(erofs(&source, tmp.path())).expect("image");
    assert!(
        !bytes.windows(16).any(|w| w == &needle[..16]),
        "dead bytes are in the image"
    );
    assert!(bytes.len() <= 8 * 4096, "{} bytes", bytes.len());
}

#[test]
fn opaque_directories_hide_lower_content_only() {
    let base = || {
        layer([
            Entry::directory("srv"),
            Entry::directory("srv/app").mode(0o700),
            Entry::file("srv/app/owned", "o"),
        ])
    };
    for upper in [
        vec![Entry::opaque("srv/app"), Entry::file("srv/app/new", "n")],
        vec![Entry::file("srv/app/new", "n"), Entry::opaque("srv/app")],
        vec![
            Entry::opaque("srv/app"),
            Entry::directory("srv/app").mode(0o700),
            Entry::file("srv/app/new", "n"),
        ],
    ] {
        let Some(tree) = mounted([base(), layer(upper)]) else {
            return;
        };
        assert!(!tree.has("srv/app/owned") && tree.has("srv/app/new"));
        assert_eq!(tree.at("srv/app").mode, 0o700);
    }
}

#[test]
fn an_opaque_root_hides_everything_below() {
    let tree = mounted!(
        [Entry::file("old", "o")],
        [Entry::file("new", "n"), Entry::opaque("")]
    );
    assert!(!tree.has("old") && tree.has("new"));
}

#[test]
fn a_path_added_again_after_a_whiteout_exists() {
    let tree = mounted!(
        [Entry::directory("a"), Entry::file("a/x", "1")],
        [Entry::whiteout("a/x")],
        [Entry::file("a/x", "third")],
    );
    file(&tree, "a/x", b"third");
}

#[test]
fn a_whiteout_never_removes_what_its_own_layer_brings() {
    for upper in [
        vec![Entry::whiteout("conf"), Entry::file("conf", "new")],
        vec![Entry::file("conf", "new"), Entry::whiteout("conf")],
    ] {
        let Some(tree) = mounted([layer([Entry::file("conf", "old!")]), layer(upper)]) else {
            return;
        };
        file(&tree, "conf", b"new");
    }
}

#[test]
fn truncated_layers_are_refused() {
    let whole = layer([
        Entry::file("a", "x".repeat(3000)),
        Entry::file("b", "y".repeat(3000)),
    ]);
    for length in [100, 512, 600, 2000, 4096, 5000] {
        let says = refused([whole[..length].to_vec()]);
        assert!(says.contains("layer 0"), "{length}: {says}");
    }
}

#[test]
fn members_of_gzip_and_frames_of_zstd_belong_together() {
    let tmp = temp_dir();
    let tar = layer((0..50).map(|n| Entry::file(format!("f{n:02}"), format!("content {n}"))));
    let diff_id = format!("sha256:{}", sha256(&tar));
    let gzip: Vec<u8> = tar
        .chunks(700)
        .flat_map(|part| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(part).expect("memory");
            encoder.finish().expect("memory")
        })
        .collect();
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
    Layout::new()
        .blob(
            Blob {
                media_type,
                bytes: gzip,
            },
            &diff_id,
        )
        .write(&tmp.path().join("gzip"));
    let source = format!("oci:{}", tmp.path().join("gzip").display());
    assert_eq!(crate::common::paths(&source).len(), 50);
    if !require::tool("zstd") {
        return;
    }
    let mut zstd = b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec();
    for part in tar.chunks(900) {
        std::fs::write(tmp.path().join("part"), part).expect("part");
        zstd.extend(lithify_testkit::run::ok(
            lithify_testkit::run::command("zstd")
                .arg("-qc")
                .arg(tmp.path().join("part")),
        ));
    }
    zstd.extend(b"\x5e\x2a\x4d\x18\x03\0\0\0end");
    let media_type = "application/vnd.oci.image.layer.v1.tar+zstd".to_owned();
    Layout::new()
        .blob(
            Blob {
                media_type,
                bytes: zstd,
            },
            &diff_id,
        )
        .write(&tmp.path().join("zstd"));
    let source = format!("oci:{}", tmp.path().join("zstd").display());
    assert_eq!(crate::common::paths(&source).len(), 50);
}

fn sha256(bytes: &[u8]) -> String {
    let tmp = temp_dir();
    std::fs::write(tmp.path().join("x"), bytes).expect("x");
    let text = lithify_testkit::run::text(
        lithify_testkit::run::command("sha256sum").arg(tmp.path().join("x")),
    );
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn modes_owners_times_and_attributes_arrive() {
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tree = mounted!([
        Entry::directory("./")
            .mode(0o555)
            .owner(3, 4)
            .mtime(1_234_567_890, 987_654_321),
        Entry::file("su", "x").mode(0o4755).owner(0, 42),
        Entry::directory("shared")
            .mode(0o3777)
            .owner(u64::from(u32::MAX - 1), 70_000),
        Entry::file("ping", "x").xattr("security.capability", capability),
        Entry::file("empty-xattr", "x").xattr("user.empty", b""),
        Entry::file("binary-xattr", "x").xattr("user.bin", b"\0\n=\xff"),
        Entry::directory("dir-xattr").xattr("trusted.t", b"v"),
        Entry::symlink("link-xattr", "su").xattr("trusted.t", b"v"),
        Entry::char_device("dev-xattr", 1, 3).xattr("trusted.t", b"v"),
        Entry::file("old", "x").mtime(-5, 500_000_000),
    ]);
    let root = tree.at("");
    assert_eq!(
        (root.mode, root.uid, root.gid, root.mtime),
        (0o555, 3, 4, (1_234_567_890, 987_654_321))
    );
    assert_eq!((tree.at("su").mode, tree.at("su").gid), (0o4755, 42));
    let shared = tree.at("shared");
    assert_eq!(
        (shared.mode, shared.uid, shared.gid),
        (0o3777, u32::MAX - 1, 70_000)
    );
    assert_eq!(
        tree.at("ping").xattrs[&b"security.capability"[..]],
        capability
    );
    assert_eq!(tree.at("empty-xattr").xattrs[&b"user.empty"[..]], b"");
    assert_eq!(
        tree.at("binary-xattr").xattrs[&b"user.bin"[..]],
        b"\0\n=\xff"
    );
    for path in ["dir-xattr", "link-xattr", "dev-xattr"] {
        assert_eq!(tree.at(path).xattrs[&b"trusted.t"[..]], b"v", "{path}");
    }
    assert_eq!(tree.at("old").mtime, (-5, 500_000_000));
}

#[test]
fn devices_and_pipes_stay_what_they_are() {
    let tree = mounted!([
        Entry::char_device("null", 1, 3),
        Entry::block_device("disk", 259, 1_048_575),
        Entry::fifo("pipe"),
        Entry::char_device("zero-zero", 0, 0),
    ]);
    assert_eq!(tree.at("null").kind, Kind::CharDevice(1, 3));
    assert_eq!(tree.at("disk").kind, Kind::BlockDevice(259, 1_048_575));
    assert_eq!(tree.at("pipe").kind, Kind::Fifo);
    assert_eq!(
        tree.at("zero-zero").kind,
        Kind::CharDevice(0, 0),
        "a real device is no whiteout"
    );
}

#[test]
fn hard_links_reach_everywhere() {
    let tree = mounted!(
        [
            Entry::hard_link("forward", "late"),
            Entry::file("late", "data"),
            Entry::symlink("sym", "late"),
            Entry::char_device("null", 1, 3),
            Entry::file("old", "old content"),
        ],
        [
            Entry::hard_link("cross", "late"),
            Entry::hard_link("chain", "cross"),
            Entry::hard_link("sym2", "sym"),
            Entry::hard_link("null2", "null"),
            Entry::hard_link("old", "late"),
        ],
        [Entry::whiteout("late")],
    );
    assert!(!tree.has("late"));
    for path in ["chain", "cross", "forward", "old"] {
        assert_eq!(tree.at(path).links, 4, "{path}");
        file(&tree, path, b"data");
    }
    assert_eq!(
        tree.at("forward").same_as.as_deref(),
        tree.at("cross").same_as.as_deref()
    );
    assert_eq!((tree.at("sym").links, tree.at("null2").links), (2, 2));
}

#[test]
fn a_hard_link_to_nothing_is_refused() {
    let says = refused([layer([Entry::hard_link("link", "nowhere")])]);
    assert!(
        says.contains("/link") && says.contains("/nowhere"),
        "{says}"
    );
}

#[test]
fn a_type_may_change_between_and_within_layers() {
    let tree = mounted!(
        [
            Entry::directory("lib"),
            Entry::file("lib/x", "x"),
            Entry::file("f", "f"),
            Entry::directory("usr/lib")
        ],
        [
            Entry::symlink("lib", "usr/lib"),
            Entry::directory("f"),
            Entry::file("f/inside", "i")
        ],
        [
            Entry::file("lib/y", "y"),
            Entry::file("twice", "1"),
            Entry::directory("twice"),
            Entry::symlink("twice", "f")
        ],
    );
    assert_eq!(tree.at("lib").kind, Kind::Symlink(b"usr/lib".to_vec()));
    assert!(tree.has("usr/lib/y") && tree.has("f/inside") && !tree.has("usr/lib/x"));
    assert_eq!(tree.at("twice").kind, Kind::Symlink(b"f".to_vec()));
}

#[test]
fn entries_below_absolute_links_land_inside_the_image() {
    let tree = mounted!(
        [
            Entry::directory("run").mode(0o710),
            Entry::directory("var"),
            Entry::symlink("var/run", "/run")
        ],
        [
            Entry::file("var/run/app.pid", "1"),
            Entry::whiteout("var/run/none")
        ],
    );
    file(&tree, "run/app.pid", b"1");
    assert_eq!(tree.at("var/run").kind, Kind::Symlink(b"/run".to_vec()));
    assert_eq!(tree.at("run").mode, 0o710);
}

#[test]
fn missing_parents_take_nothing_from_lower_ones() {
    let tree = mounted!(
        [Entry::directory("private").mode(0o700).owner(7, 7)],
        [
            Entry::file("private/x", "x"),
            Entry::file("fresh/deep/y", "y")
        ],
    );
    assert_eq!(
        (tree.at("private").mode, tree.at("private").uid),
        (0o700, 7)
    );
    assert_eq!(
        (
            tree.at("fresh/deep").mode,
            tree.at("fresh").uid,
            tree.at("fresh").mtime
        ),
        (0o755, 0, (0, 0))
    );
}

#[test]
fn whiteouts_that_name_no_file_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh..."] {
        let says = refused([layer([Entry::directory("d"), Entry::file(name, "")])]);
        assert!(says.contains(".wh."), "{name}: {says}");
    }
}

#[test]
fn aufs_leftovers_are_not_part_of_the_image() {
    let tree = mounted!([
        Entry::directory(".wh..wh.plnk"),
        Entry::file(".wh..wh.plnk/1.2", "x"),
        Entry::file(".wh..wh.aufs", ""),
        Entry::file("kept", "k"),
    ]);
    assert_eq!(tree.nodes.len(), 2);
}

#[test]
fn sparse_files_keep_their_content() {
    let mut tar = Tar::new();
    let map = b"2\n0\n512\n1048576\n4\n";
    let mut body = map.to_vec();
    body.resize(512, 0);
    body.extend([b's'; 512]);
    body.extend(b"end!");
    tar.add(
        Entry::file("GNUSparseFile.1/sparse.bin", &body)
            .record("GNU.sparse.major", "1")
            .record("GNU.sparse.minor", "0")
            .record("GNU.sparse.name", "sparse.bin")
            .record("GNU.sparse.realsize", "2097152"),
    );
    let Some(tree) = mounted([tar.finish()]) else {
        return;
    };
    let mut expected = vec![0; 2 << 20];
    expected[..512].fill(b's');
    expected[1 << 20..(1 << 20) + 4].copy_from_slice(b"end!");
    match &tree.at("sparse.bin").kind {
        Kind::File { size, sha256: sum } => {
            assert_eq!(*size, 2 << 20);
            assert_eq!(*sum, sha256(&expected));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tree.nodes.len(), 2);
}

#[test]
fn odd_but_honest_names_are_cleaned() {
    let tree = mounted!([
        Entry::file("a/./b", "1"),
        Entry::file("././c", "2"),
        Entry::file("/abs//path", "3")
    ]);
    for path in ["a/b", "c", "abs/path"] {
        assert!(tree.has(path), "{path}");
    }
}

#[test]
fn names_that_cannot_exist_are_refused() {
    let long = "x".repeat(256);
    let deep = format!("{}f", "d/".repeat(2100));
    for name in ["a/../b", "..", &long, &deep] {
        let says = refused([layer([Entry::file(name, "x")])]);
        assert!(says.contains("layer 0"), "{says}");
    }
    let Some(tree) = mounted([layer([
        Entry::file("x".repeat(255), "x"),
        Entry::file(b"\xff\xfe\n", "odd"),
    ])]) else {
        return;
    };
    assert!(tree.has("x".repeat(255)) && tree.has(b"\xff\xfe\n"));
}

#[test]
fn the_root_can_only_be_a_directory() {
    for name in [".", "/", "./."] {
        let says = refused([
            layer([Entry::symlink(name, "/etc")]),
            layer([Entry::file("passwd", "x")]),
        ]);
        assert!(says.contains("root"), "{says}");
    }
}

#[test]
fn long_symlink_targets_survive() {
    let target = "t/".repeat(2000);
    let tree = mounted!([
        Entry::symlink("short", "x".repeat(300)),
        Entry::symlink("long", &target)
    ]);
    assert_eq!(tree.at("short").kind, Kind::Symlink(vec![b'x'; 300]));
    assert_eq!(tree.at("long").kind, Kind::Symlink(target.into_bytes()));
}

#[test]
fn the_wrong_platform_is_an_error_that_says_what_is_there() {
    let tmp = temp_dir();
    Layout::new()
        .gzip_layer(&layer([Entry::file("a", "x")]))
        .image_config("architecture", "s390x".into())
        .write(&tmp.path().join("image"));
    let source = format!("oci:{}", tmp.path().join("image").display());
    let output = lithify_output(["inspect", &source]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("linux/s390x"),
        "{}",
        stderr(&output)
    );
    let output = lithify_output(["inspect", &source, "--platform", "linux/s390x"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn more_than_65535_hard_links_are_counted() {
    let links = (0..70_000).map(|n| Entry::hard_link(format!("l{n}"), "file"));
    let tree = mounted!(std::iter::once(Entry::file("file", "x")).chain(links));
    assert_eq!(tree.at("file").links, 70_001);
}
