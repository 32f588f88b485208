//! Trees as directories: what is written, what is refused, what is left behind.

use std::fs;
use std::os::unix::fs::{self as unix, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::common::*;
use lithify_hostfs::{
    DirTarget, MaterialiseError, MaterialiseOptions, NotSet, Ownership, SIDECAR_SUFFIX,
};
use lithify_tree::{
    ContentId, ContentSink, DataSegment, Device, EntryKind, LayerEntries, Merge, NodeId, TreePath,
};

fn options() -> MaterialiseOptions {
    MaterialiseOptions::default()
}

/// A valid ACL: user::rw-, user:1000:r--, group::r--, mask::r--, other::---.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";

/// `cap_net_raw+ep`, version 2.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn root_gets_everything_exactly() {
    if skip_unless(is_root(), "root") {
        return;
    }
    for work in filesystems() {
        let out = work.path().join("out");
        let mut items = vec![
            item("", meta(0o555), EntryKind::Directory),
            file("ping", meta(0o4755), b"elf"),
            file("sgid", meta(0o2711), b"elf"),
            dir("tmp", 0o1777),
            dir("shared", 0o2775),
            file("shared/inner", meta(0o640), b"x"),
            file("unreadable", meta(0), b"x"),
            item(
                "null",
                meta(0o666),
                EntryKind::CharDevice(Device { major: 1, minor: 3 }),
            ),
            item(
                "sda",
                meta(0o660),
                EntryKind::BlockDevice(Device { major: 8, minor: 0 }),
            ),
            item(
                "whiteout",
                meta(0o600),
                EntryKind::CharDevice(Device { major: 0, minor: 0 }),
            ),
            item("fifo", meta(0o604), EntryKind::Fifo),
            item("socket", meta(0o755), EntryKind::Socket),
            symlink("link", "/etc/passwd"),
            hard_link("null2", "null"),
            hard_link("link2", "link"),
            hard_link("ping2", "ping"),
            hard_link("fifo2", "fifo"),
        ];
        for (index, (entry, _)) in items.iter_mut().enumerate() {
            entry.metadata.uid = 1000 + index as u32;
            entry.metadata.gid = 4_000_000_000;
        }
        // Set before the owner, the capability would be dropped; set after the mode, the ACL would change it.
        items[1].0.metadata.xattrs = xattrs(&[("security.capability", CAPABILITY)]);
        items[4].0.metadata.xattrs = xattrs(&[("system.posix_acl_default", ACL)]);
        items[5].0.metadata.xattrs = xattrs(&[("system.posix_acl_access", ACL), ("user.x", b"")]);
        items[12].0.metadata.xattrs = xattrs(&[("trusted.link", b"yes")]);
        let target = DirTarget::create(&out, options()).unwrap();
        let (tree, contents) = build(&target, &items);
        let report = target.finish(&tree).unwrap();
        assert!(report.not_set.is_empty(), "{report:?}");
        assert_eq!((report.names, report.inodes), (17, 13));
        assert_eq!(manifest(&out), describe(&tree, &contents));
        assert_eq!(names(work.path()), ["out"]);
    }
}

/// Setting an ACL sets group bits of the mode; the mode has the last word.
#[test]
fn an_acl_that_contradicts_the_mode_does_not_change_it() {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let mut generous = ACL.to_vec();
    // The mask becomes rw-.
    generous[4 + 3 * 8 + 2] = 6;
    let mut items = [file("f", meta(0o644), b""), dir("d", 0o700)];
    for (entry, _) in &mut items {
        let m = &mut entry.metadata;
        m.xattrs = xattrs(&[("system.posix_acl_access", &generous)]);
        (m.uid, m.gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
    }
    let report = materialise(&out, &items);
    if skip_unless(report.not_set.other_xattrs == 0, "a filesystem with ACLs") {
        return;
    }
    for (name, mode) in [("f", 0o644), ("d", 0o700)] {
        let found = fs::metadata(out.join(name)).unwrap().mode() & 0o7777;
        assert_eq!(found, mode, "{name}: {found:o}");
    }
}

#[test]
fn nothing_is_inherited_from_the_directory_around() {
    if skip_unless(is_root(), "root") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    unix::chown(work.path(), None, Some(4242)).unwrap();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o2777)).unwrap();
    let directory = rustix::fs::open(
        work.path(),
        rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let none = rustix::fs::XattrFlags::empty();
    if rustix::fs::fsetxattr(&directory, "system.posix_acl_default", ACL, none).is_err() {
        eprintln!("skipped: needs a filesystem with ACLs");
    }
    let out = work.path().join("out");
    let target = DirTarget::create(&out, options()).unwrap();
    let mut items = [
        dir("d", 0o755),
        file("d/f", meta(0o644), b"x"),
        symlink("l", "x"),
        file("g", meta(0o644), b"x"),
        dir("e", 0o755),
    ];
    // What would be right without a change if the group were inherited.
    for index in [3, 4] {
        items[index].0.metadata.gid = 4242;
    }
    let (tree, contents) = build(&target, &items);
    target.finish(&tree).unwrap();
    assert_eq!(manifest(&out), describe(&tree, &contents));
}

#[test]
fn sparse_files_stay_sparse() {
    for work in filesystems() {
        let out = work.path().join("out");
        let items = [
            sparse("middle", 1 << 20, &[(65536, 4096), (524_288, 5000)]),
            sparse("hole", 1 << 20, &[]),
            sparse("end", (1 << 20) + 17, &[((1 << 20), 17)]),
            sparse("empty-segment", 8192, &[(0, 0), (4096, 4096), (8192, 0)]),
        ];
        let target = DirTarget::create(&out, options()).unwrap();
        let (tree, contents) = build(&target, &items);
        target.finish(&tree).unwrap();
        assert_eq!(names(&out).len(), 4);
        for (entry, data) in &items {
            let path = out.join(std::str::from_utf8(entry.path.as_bytes()).unwrap());
            assert_eq!(&fs::read(&path).unwrap(), data, "{path:?}");
            let allocated = fs::metadata(&path).unwrap().blocks() * 512;
            assert!(allocated <= 16384, "{path:?} takes {allocated} bytes");
        }
        drop(contents);
    }
}

#[test]
fn targets_that_hold_something_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let create = |path: &Path| DirTarget::create(path, options()).unwrap_err();
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/.hidden"), "x").unwrap();
    fs::write(at("file"), "x").unwrap();
    fs::create_dir(at("empty")).unwrap();
    unix::symlink("empty", at("link")).unwrap();
    unix::symlink("nowhere", at("dangling")).unwrap();
    assert!(matches!(
        create(&at("full")),
        MaterialiseError::TargetNotEmpty { .. }
    ));
    for name in ["file", "link", "dangling"] {
        assert!(
            matches!(
                create(&at(name)),
                MaterialiseError::TargetNotDirectory { .. }
            ),
            "{name}"
        );
    }
    for name in [Path::new("/"), &at("..")] {
        assert!(matches!(create(name), MaterialiseError::TargetName { .. }));
    }
    assert!(matches!(
        create(&at("missing/out")),
        MaterialiseError::Target {
            operation: "open",
            ..
        }
    ));
    assert_eq!(
        names(work.path()),
        ["dangling", "empty", "file", "full", "link"]
    );
    // An empty directory becomes the target, its own mode does not matter.
    materialise(&at("empty"), &[file("f", meta(0o644), b"x")]);
    assert_eq!(names(&at("empty")), ["f"]);
}

#[test]
fn a_mount_point_is_no_target() {
    if skip_unless(is_root(), "root") {
        return;
    }
    let mount = |args: &[&std::ffi::OsStr]| {
        assert!(
            std::process::Command::new(args[0])
                .args(&args[1..])
                .status()
                .unwrap()
                .success()
        );
    };
    let work = tempfile::tempdir().unwrap();
    let os = std::ffi::OsStr::new;
    let (tmpfs, bind) = (work.path().join("tmpfs"), work.path().join("bind"));
    for dir in [&tmpfs, &bind] {
        fs::create_dir(dir).unwrap();
    }
    mount(&[
        os("mount"),
        os("-t"),
        os("tmpfs"),
        os("none"),
        tmpfs.as_os_str(),
    ]);
    mount(&[
        os("mount"),
        os("--bind"),
        bind.as_os_str(),
        bind.as_os_str(),
    ]);
    let early = DirTarget::create(&tmpfs, options()).map(drop);
    let target = DirTarget::create(&bind, options()).unwrap();
    let (tree, _) = build(&target, &[]);
    let late = target.finish(&tree).map(drop);
    for dir in [&tmpfs, &bind] {
        mount(&[os("umount"), os("--lazy"), dir.as_os_str()]);
    }
    for result in [early, late] {
        assert!(
            matches!(result, Err(MaterialiseError::TargetMountPoint { .. })),
            "{result:?}"
        );
    }
    assert_eq!(names(work.path()), ["bind", "tmpfs"]);
}

#[test]
fn a_target_that_appears_meanwhile_is_not_overwritten() {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let target = DirTarget::create(&out, options()).unwrap();
    let (tree, _) = build(&target, &[file("f", meta(0o644), b"mine")]);
    fs::create_dir(&out).unwrap();
    fs::write(out.join("g"), "theirs").unwrap();
    let error = target.finish(&tree).unwrap_err();
    assert!(matches!(error, MaterialiseError::TargetNotEmpty { .. }));
    assert_eq!(names(&out), ["g"]);
    assert_eq!(names(work.path()), ["out"]);
}

#[test]
fn an_abandoned_target_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    let target = DirTarget::create(work.path().join("out"), options()).unwrap();
    let work_name = names(work.path()).pop().unwrap();
    assert!(work_name.starts_with(".out.lithify-"), "{work_name}");
    let mode = fs::metadata(work.path().join(&work_name)).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700, "others must not see half-made files");
    let mut sink = target.sink();
    sink.begin(10, None).unwrap();
    sink.write(b"12345").unwrap();
    drop(target);
    assert_eq!(names(work.path()), [""; 0]);
    // The sink may outlive it; its data goes nowhere.
    sink.write(b"12345").unwrap();
    sink.finish().unwrap();
}

#[test]
fn a_failed_build_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    let target = DirTarget::create(work.path().join("out"), options()).unwrap();
    let mut layer = LayerEntries::new();
    // A directory without any permission, then a file whose data nobody stored.
    for (entry, _) in [dir("a", 0), file("a/x", meta(0), b""), dir("b", 0o555)] {
        layer.push(&entry, None).unwrap();
    }
    layer
        .push(&file("b/lost", meta(0o644), b"data").0, None)
        .unwrap();
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    let error = target.finish(&merge.finish()).unwrap_err();
    match error {
        MaterialiseError::ContentMissing { path, size } => {
            assert_eq!((&path[..], size), (&b"b/lost"[..], 4))
        }
        other => panic!("{other}"),
    }
    assert_eq!(names(work.path()), [""; 0]);
}

/// The test runs itself again, and that process ends without cleaning up, as if killed.
#[test]
fn what_a_killed_process_leaves_the_next_one_removes() {
    let test = "materialise::what_a_killed_process_leaves_the_next_one_removes";
    if let Some(dir) = std::env::var_os("LITHIFY_TEST_KILLED") {
        let target = DirTarget::create(Path::new(&dir).join("out"), options()).unwrap();
        let mut sink = target.sink();
        sink.begin(1, None).unwrap();
        std::process::exit(9);
    }
    let work = tempfile::tempdir().unwrap();
    let alive = DirTarget::create(work.path().join("out"), options()).unwrap();
    for name in [".out.lithify-notours", ".other.lithify-0123456789ab"] {
        fs::create_dir(work.path().join(name)).unwrap();
    }
    let before = names(work.path());
    let status = lithify_testkit::program::again(test)
        .env("LITHIFY_TEST_KILLED", work.path())
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(9));
    assert_eq!(names(work.path()).len(), before.len() + 1);
    let next = DirTarget::create(work.path().join("out"), options()).unwrap();
    drop(next);
    assert_eq!(names(work.path()), before, "one at work is left alone");
    let (tree, _) = build(&alive, &[file("f", meta(0o644), b"x")]);
    alive.finish(&tree).unwrap();
}

#[test]
fn data_nobody_needs_is_gone_and_shards_fill_up() {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let target = DirTarget::create(&out, options()).unwrap();
    let mut lower = LayerEntries::new();
    let mut upper = LayerEntries::new();
    // Two sinks side by side, each with more files than one staging directory takes.
    let (mut a, mut b) = (target.sink(), target.sink());
    for n in 0..5000 {
        let (old, _) = file(&format!("{n:04}"), meta(0o644), b"oldest");
        lower.push(&old, store(&mut a, &old, b"oldest")).unwrap();
        let data = n.to_string();
        let (new, _) = file(&format!("{n:04}"), meta(0o600), data.as_bytes());
        upper
            .push(&new, store(&mut b, &new, data.as_bytes()))
            .unwrap();
    }
    let mut merge = Merge::new();
    merge.apply(lower).unwrap();
    merge.apply(upper).unwrap();
    target.finish(&merge.finish()).unwrap();
    assert_eq!(names(&out).len(), 5000);
    for n in [0, 1, 4095, 4096, 4999] {
        assert_eq!(
            fs::read_to_string(out.join(format!("{n:04}"))).unwrap(),
            n.to_string()
        );
    }
    assert_eq!(names(work.path()), ["out"]);
}

#[test]
fn sinks_check_what_they_are_told() {
    let work = tempfile::tempdir().unwrap();
    let target = DirTarget::create(work.path().join("out"), options()).unwrap();
    let mut sink = target.sink();
    assert!(matches!(sink.write(b"x"), Err(MaterialiseError::NotBegun)));
    assert!(matches!(sink.finish(), Err(MaterialiseError::NotBegun)));
    sink.begin(2, None).unwrap();
    sink.write(b"1").unwrap();
    assert!(matches!(
        sink.write(b"23"),
        Err(MaterialiseError::DataLength {
            expected: 2,
            found: 3
        })
    ));
    sink.begin(2, None).unwrap();
    sink.write(b"1").unwrap();
    assert!(matches!(
        sink.finish(),
        Err(MaterialiseError::DataLength {
            expected: 2,
            found: 1
        })
    ));
    let segment = |offset, length| DataSegment { offset, length };
    for bad in [
        vec![segment(0, 11)],
        vec![segment(11, 0)],
        vec![segment(u64::MAX, 2)],
        vec![segment(4, 2), segment(5, 1)],
        vec![segment(4, 2), segment(0, 1)],
    ] {
        assert!(
            matches!(
                sink.begin(10, Some(&bad)),
                Err(MaterialiseError::Segment { .. })
            ),
            "{bad:?}"
        );
    }
}

#[test]
fn foreign_content_ids_are_an_error() {
    let work = tempfile::tempdir().unwrap();
    let target = DirTarget::create(work.path().join("out"), options()).unwrap();
    let mut layer = LayerEntries::new();
    layer
        .push(&file("f", meta(0o644), b"x").0, Some(ContentId(77)))
        .unwrap();
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    let error = target.finish(&merge.finish()).unwrap_err();
    assert!(
        matches!(
            error,
            MaterialiseError::Entry {
                operation: "put in place",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_disk_being_full_is_an_error() {
    if skip_unless(is_root(), "root") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let small = |what: &str| {
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", what, "none"])
            .arg(work.path())
            .status();
        assert!(status.unwrap().success());
    };
    let unmount = || {
        let status = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(work.path())
            .status();
        assert!(status.unwrap().success());
    };
    small("size=1m");
    let target = DirTarget::create(work.path().join("out"), options()).unwrap();
    let mut sink = target.sink();
    sink.begin(2 << 20, None).unwrap();
    let error = sink.write(&vec![1; 2 << 20]).unwrap_err();
    drop((sink, target));
    let left = names(work.path());
    unmount();
    match error {
        MaterialiseError::Data { source, .. } => {
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull)
        }
        other => panic!("{other}"),
    }
    assert_eq!(left, [""; 0]);

    small("size=1m,nr_inodes=20");
    let many: Vec<Item> = (0..50).map(|n| dir(&n.to_string(), 0o755)).collect();
    let error = materialise_with(&work.path().join("out"), &many, options()).unwrap_err();
    let left = names(work.path());
    unmount();
    match &error {
        MaterialiseError::Entry {
            operation,
            path,
            source,
        } => {
            assert_eq!(*operation, "create directory");
            assert!(!path.is_empty());
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        }
        other => panic!("{other}"),
    }
    assert_eq!(left, [""; 0]);
}

#[test]
fn what_root_cannot_set_is_recorded_or_an_error_if_strict() {
    if skip_unless(is_root(), "root") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let mut link = symlink("link", "x");
    link.0.metadata.xattrs = xattrs(&[("user.a", b"\x01"), ("trusted.fine", b"")]);
    let mut nobody = file("nobody", meta(0o4755), b"");
    nobody.0.metadata.uid = u32::MAX;
    let mut made_up = file("made-up", meta(0o644), b"");
    made_up.0.metadata.xattrs = xattrs(&[("os2.ea", b"\xff")]);
    let items = [link, nobody, made_up];
    let report = materialise(&out, &items);
    let mut expected = NotSet::default();
    expected.owners = 1;
    expected.modes = 1;
    expected.other_xattrs = 2;
    assert_eq!(report.not_set, expected);
    let sidecar = report.sidecar.unwrap();
    assert_eq!(sidecar, work.path().join(format!("out{SIDECAR_SUFFIX}")));
    let text = fs::read_to_string(&sidecar).unwrap();
    assert_eq!(
        text,
        r#"{"format":"lithify-metadata","version":2}
{"path":"link","xattrs":{"user.a":"01"},"is":"symlink","size":1,"at":[1000000000,123456789]}
{"path":"made-up","xattrs":{"os2.ea":"ff"},"is":"file","size":0,"at":[1000000000,123456789],"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
{"path":"nobody","uid":4294967295,"gid":0,"mode":"4755","is":"file","size":0,"at":[1000000000,123456789],"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
"#
    );
    let mut strict = options();
    strict.strict = true;
    for item in items {
        let out = work.path().join("strict");
        let error = materialise_with(&out, &[item], strict.clone()).unwrap_err();
        assert!(
            matches!(error, MaterialiseError::NotSettable { .. }),
            "{error}"
        );
        assert!(!out.exists());
    }
    // A record of an earlier directory of that name would lie about the next.
    fs::remove_dir_all(&out).unwrap();
    assert_eq!(materialise(&out, &[]).sidecar, None);
    assert!(!sidecar.exists());
}

#[test]
fn times_a_filesystem_cannot_hold_are_recorded() {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let mut ancient = file("ancient", meta(0o644), b"");
    // Before 1901, where ext4 stops; others hold it.
    ancient.0.metadata.mtime = time(-100_000_000_000, 5);
    let report = materialise(&out, &[ancient]);
    let seconds = fs::metadata(out.join("ancient")).unwrap().mtime();
    if seconds == -100_000_000_000 {
        assert_eq!(report.not_set.times, 0);
    } else {
        assert_eq!(report.not_set.times, 1);
        let text = fs::read_to_string(report.sidecar.unwrap()).unwrap();
        assert!(
            text.contains(
                r#"{"path":"ancient","mtime":[-100000000000,5],"is":"file","size":0,"at":["#
            ),
            "{text}"
        );
    }
}

#[test]
fn record_leaves_everything_to_the_caller() {
    if skip_unless(is_root(), "root") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let mut record = options();
    record.ownership = Ownership::Record;
    record.sync = true;
    let mut suid = file("su", meta(0o6755), b"");
    (suid.0.metadata.uid, suid.0.metadata.gid) = (7, 0);
    let report = materialise_with(&out, &[suid], record).unwrap();
    let found = fs::metadata(out.join("su")).unwrap();
    // Its group is the caller's and can stay, its owner is not.
    assert_eq!((found.uid(), found.mode() & 0o7777), (0, 0o2755));
    assert_eq!((report.not_set.owners, report.not_set.modes), (1, 1));
}

#[test]
fn long_names_and_deep_trees_fit() {
    let work = tempfile::tempdir().unwrap();
    let long = "o".repeat(255);
    let out = work.path().join(&long);
    let name = "n".repeat(255);
    let deep = vec![name.as_str(); 14].join("/");
    materialise(&out, &[file(&deep, meta(0o644), b"x")]);
    assert_eq!(fs::read(out.join(deep)).unwrap(), b"x");
    assert_eq!(names(work.path()), [long]);
}

#[test]
fn the_root_without_entries_is_a_directory_still() {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let target = DirTarget::create(&out, options()).unwrap();
    let tree = Merge::new().finish();
    assert_eq!(tree.path(NodeId::ROOT), TreePath::root().as_bytes());
    let report = target.finish(&tree).unwrap();
    assert_eq!((report.names, report.inodes), (1, 1));
    let found = fs::metadata(&out).unwrap();
    assert_eq!((found.mode() & 0o7777, found.mtime()), (0o755, 0));
}
