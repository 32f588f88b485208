//! Without privileges: the tests run themselves again as another user.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use crate::common::*;
use lithify_hostfs::{
    DirTarget, MaterialiseError, MaterialiseOptions, NotSet, ScanError, ScanOptions, Scanner,
};
use lithify_tree::{Device, EntryKind, LayerEntries, Merge};

/// The directory handed over by the privileged run of the same test, if this is the unprivileged one.
fn inside() -> Option<PathBuf> {
    let dir = std::env::var_os("LITHIFY_TEST_DIR")?;
    assert!(!is_root());
    Some(dir.into())
}

fn an_image() -> Vec<Item> {
    let mut own = file("own", meta(0o4755), b"mine");
    (own.0.metadata.uid, own.0.metadata.gid) = (65534, 65534);
    let mut capable = file("usr/ping", meta(0o4755), b"elf");
    capable.0.metadata.xattrs = xattrs(&[
        (
            "security.capability",
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
        ("trusted.t", b"t"),
        ("user.u", b"u"),
    ]);
    let mut locked = file("usr/shadow", meta(0), b"secret");
    locked.0.metadata.gid = 42;
    locked.0.metadata.xattrs = xattrs(&[("user.locked", b"")]);
    vec![
        item("", meta(0o555), EntryKind::Directory),
        dir("usr", 0o555),
        capable,
        locked,
        dir("empty", 0),
        dir("group", 0o2755),
        own,
        item(
            "null",
            meta(0o666),
            EntryKind::CharDevice(Device { major: 1, minor: 3 }),
        ),
        hard_link("null2", "null"),
        item(
            "sda",
            meta(0o640),
            EntryKind::BlockDevice(Device { major: 8, minor: 0 }),
        ),
        item(
            "gone",
            meta(0o600),
            EntryKind::CharDevice(Device { major: 0, minor: 0 }),
        ),
        item("fifo", meta(0o600), EntryKind::Fifo),
        item("socket", meta(0o600), EntryKind::Socket),
        symlink("link", "usr/\u{fc}"),
    ]
}

const RECORD: &str = r#"{"format":"lithify-metadata","version":2}
{"path":"empty","uid":0,"gid":0,"mode":"0000","is":"dir"}
{"path":"fifo","uid":0,"gid":0,"is":"fifo","size":0,"at":[1000000000,123456789]}
{"path":"gone","uid":0,"gid":0,"is":"char","size":0,"at":[1000000000,123456789]}
{"path":"group","uid":0,"gid":0,"is":"dir"}
{"path":"link","uid":0,"gid":0,"is":"symlink","size":6,"at":[1000000000,123456789]}
{"path":"null","type":"char","major":1,"minor":3,"uid":0,"gid":0,"is":"file","size":0,"at":[1000000000,123456789]}
{"path":"null2","link":"null"}
{"path":"sda","type":"block","major":8,"minor":0,"uid":0,"gid":0,"is":"file","size":0,"at":[1000000000,123456789]}
{"path":"socket","uid":0,"gid":0,"is":"socket","size":0,"at":[1000000000,123456789]}
{"path":"usr/ping","uid":0,"gid":0,"mode":"4755","xattrs":{"security.capability":"0100000200200000000000000000000000000000","trusted.t":"74"},"is":"file","size":3,"at":[1000000000,123456789],"sha256":"780d84b20d7ae7e6292919399348bdbf96025270136198083fc8a4da398b5ca9"}
{"path":"usr/shadow","uid":0,"gid":42,"mode":"0000","is":"file","size":6,"at":[1000000000,123456789],"sha256":"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}
{"path":"usr","uid":0,"gid":0,"is":"dir"}
{"path":"","uid":0,"gid":0,"is":"dir"}
"#;

#[test]
fn an_image_without_privileges() {
    let Some(work) = inside() else {
        for work in filesystems() {
            rerun_unprivileged("rootless::an_image_without_privileges", work.path());
        }
        return;
    };
    let out = work.join("out");
    let report = materialise(&out, &an_image());
    let mut expected = NotSet::default();
    expected.owners = 12;
    expected.devices = 2;
    expected.modes = 3;
    expected.capabilities = 1;
    expected.trusted_xattrs = 1;
    assert_eq!(report.not_set, expected);
    let record = fs::read_to_string(report.sidecar.unwrap()).unwrap();
    assert_eq!(record, RECORD);

    let mode = |name: &str| fs::symlink_metadata(out.join(name)).unwrap().mode() & 0o7777;
    assert_eq!(mode(""), 0o555);
    assert_eq!(mode("usr"), 0o555);
    assert_eq!(mode("usr/ping"), 0o755, "must not run as its new owner");
    assert_eq!(
        mode("usr/shadow"),
        0o400,
        "must be readable to be read back"
    );
    assert_eq!(mode("empty"), 0o500);
    assert_eq!(mode("group"), 0o2755);
    assert_eq!(mode("own"), 0o4755, "its owner is the one the image says");
    let null = fs::symlink_metadata(out.join("null")).unwrap();
    assert!(null.is_file() && null.len() == 0 && null.nlink() == 2);
    assert_eq!(null.mode() & 0o7777, 0o666);
    assert_eq!(
        (null.mtime(), null.mtime_nsec()),
        (1_000_000_000, 123_456_789)
    );

    let lines = manifest(&out);
    assert_eq!(lines.len(), 14);
    let ping = lines.iter().find(|l| l.starts_with("usr/ping ")).unwrap();
    assert!(ping.contains(" xattr.user.u=75 "), "{ping}");
}

#[test]
fn failures_clean_up_without_privileges() {
    let Some(work) = inside() else {
        let work = tempfile::tempdir().unwrap();
        rerun_unprivileged(
            "rootless::failures_clean_up_without_privileges",
            work.path(),
        );
        return;
    };
    let target = DirTarget::create(work.join("out"), MaterialiseOptions::default()).unwrap();
    let mut layer = LayerEntries::new();
    for (entry, _) in [
        dir("a", 0),
        dir("a/b", 0o555),
        file("a/b/c", meta(0), b""),
        dir("z", 0o755),
    ] {
        layer.push(&entry, None).unwrap();
    }
    layer
        .push(&file("z/lost", meta(0o644), b"data").0, None)
        .unwrap();
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    assert!(target.finish(&merge.finish()).is_err());
    assert_eq!(names(&work), [""; 0]);

    let mut strict = MaterialiseOptions::default();
    strict.strict = true;
    let error = materialise_with(&work.join("out"), &an_image(), strict).unwrap_err();
    assert!(matches!(error, MaterialiseError::NotSettable { .. }));
    assert_eq!(names(&work), [""; 0]);

    fs::create_dir(work.join("closed")).unwrap();
    fs::set_permissions(work.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let error = DirTarget::create(work.join("closed/out"), MaterialiseOptions::default());
    match error.map(drop) {
        Err(MaterialiseError::Target { source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tight_umask_changes_nothing() {
    let Some(work) = inside() else {
        let work = tempfile::tempdir().unwrap();
        rerun_unprivileged("rootless::a_tight_umask_changes_nothing", work.path());
        return;
    };
    // This process runs this one test only, so its mask is nobody else's.
    rustix::process::umask(rustix::fs::Mode::from(0o777));
    let error = DirTarget::create(work.join("out"), MaterialiseOptions::default()).map(drop);
    assert!(
        matches!(error, Err(MaterialiseError::Target { .. })),
        "{error:?}"
    );
    assert_eq!(names(&work), [""; 0]);
    for mask in [0o077, 0o027, 0] {
        rustix::process::umask(rustix::fs::Mode::from(mask));
        let out = work.join(format!("{mask:o}"));
        let mut items = vec![
            item("", meta(0o750), EntryKind::Directory),
            dir("d", 0o777),
            file("d/f", meta(0o666), b"x"),
            file("d/e", meta(0o644), b""),
            item("p", meta(0o622), EntryKind::Fifo),
            symlink("l", "d"),
        ];
        for (entry, _) in &mut items {
            (entry.metadata.uid, entry.metadata.gid) = (65534, 65534);
        }
        let target = DirTarget::create(&out, MaterialiseOptions::default()).unwrap();
        let (tree, contents) = build(&target, &items);
        let report = target.finish(&tree).unwrap();
        assert!(report.not_set.is_empty());
        assert_eq!(manifest(&out), describe(&tree, &contents), "umask {mask:o}");
    }
}

#[test]
fn scanning_says_what_it_may_not_read() {
    let Some(work) = inside() else {
        let work = tempfile::tempdir().unwrap();
        let out = work.path().join("out");
        if is_root() {
            materialise(&out, &[file("shadow", meta(0), b"x")]);
        }
        rerun_unprivileged("rootless::scanning_says_what_it_may_not_read", work.path());
        return;
    };
    let mut scanner = Scanner::open(work.join("out"), ScanOptions::default()).unwrap();
    scanner.next_entry().unwrap();
    match scanner.next_entry() {
        Err(ScanError::Io {
            operation,
            path,
            source,
        }) => {
            assert_eq!(operation, "open");
            assert!(path.ends_with("shadow"));
            assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
        }
        other => panic!("{other:?}"),
    }
}
