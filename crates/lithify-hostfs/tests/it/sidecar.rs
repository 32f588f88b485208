//! What a directory lacks of its image, read back: without privileges, an image goes to a directory and comes back whole; a
//! file that is another one now gets nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::common::*;
use lithify_hostfs::{
    RecordedSummary, SIDECAR_SUFFIX, ScanError, ScanOptions, Scanner, SidecarError, SidecarFault,
    UpperOptions, UpperScanner, WhiteoutNames, check_sidecar, snapshot_with,
};
use lithify_tree::{Device, Entry, EntryKind};
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// The directory handed over by the privileged run of the same test, if this is the unprivileged one.
fn inside(test: &str) -> Option<PathBuf> {
    match std::env::var_os("LITHIFY_TEST_DIR") {
        Some(work) => Some(work.into()),
        None => {
            for work in filesystems() {
                rerun_unprivileged(&format!("sidecar::{test}"), work.path());
            }
            None
        }
    }
}

fn capability() -> lithify_tree::Xattrs {
    xattrs(&[
        (
            "security.capability",
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
        ("trusted.t", b"t"),
        ("user.u", b"u"),
    ])
}

/// One of everything that an unprivileged user cannot make.
fn an_image() -> Vec<Item> {
    let mut ping = file("usr/ping", meta(0o755), b"capable");
    ping.0.metadata.xattrs = capability();
    let mut dated = file("dated", meta(0o600), b"x");
    dated.0.metadata.mtime = time(-(1 << 50), 5);
    (dated.0.metadata.uid, dated.0.metadata.gid) = (u32::MAX, 7);
    let mut attributed = symlink("attributed", "usr/\u{fc}");
    attributed.0.metadata.xattrs = xattrs(&[("trusted.x", b""), ("user.x", b"y")]);
    let device = |major, minor| Device { major, minor };
    let mut root = item("", meta(0o555), EntryKind::Directory);
    root.0.metadata.xattrs = xattrs(&[("trusted.root", b"r")]);
    vec![
        root,
        dir("usr", 0o555),
        ping,
        file("usr/sudo", meta(0o4511), b"setuid"),
        file("usr/empty", meta(0o6755), b""),
        file("usr/shadow", meta(0), b"secret"),
        dir("locked", 0),
        dir("group", 0o2311),
        dated,
        attributed,
        item("null", meta(0o666), EntryKind::CharDevice(device(1, 3))),
        hard_link("null2", "null"),
        item("sda", meta(0o640), EntryKind::BlockDevice(device(8, 0))),
        item("gone", meta(0), EntryKind::CharDevice(device(0, 0))),
        item("fifo", meta(0o600), EntryKind::Fifo),
        item("socket", meta(0o4600), EntryKind::Socket),
        file("name %=\"\n\\", meta(0o644), b"odd"),
    ]
}

/// The directory as the scanner sees it with its sidecar.
fn seen(out: &Path) -> Vec<String> {
    let mut options = ScanOptions::default();
    options.whiteouts = WhiteoutNames::Literal;
    let lines = snapshot_with(out, options).unwrap();
    lines.iter().map(ToString::to_string).collect()
}

fn scanned(out: &Path) -> (Vec<Entry>, RecordedSummary) {
    let mut scanner = Scanner::open(out, ScanOptions::default()).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = scanner.next_entry().unwrap() {
        entries.push(entry);
    }
    let summary = scanner.finish().unwrap().recorded;
    (entries, summary.expect("a sidecar"))
}

fn entry<'a>(entries: &'a [Entry], name: &str) -> &'a Entry {
    let found = entries.iter().find(|e| e.path == path(name));
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn sidecar_of(out: &Path) -> PathBuf {
    PathBuf::from(format!("{}{SIDECAR_SUFFIX}", out.display()))
}

/// Gives a file back its old modification time.
fn backdate(path: &Path, like: &fs::Metadata) {
    let time = Timespec {
        tv_sec: like.mtime(),
        tv_nsec: like.mtime_nsec() as _,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn an_image_comes_back_whole_without_privileges() {
    let Some(work) = inside("an_image_comes_back_whole_without_privileges") else {
        return;
    };
    let out = work.join("out");
    let target = lithify_hostfs::DirTarget::create(&out, Default::default()).unwrap();
    let (tree, contents) = build(&target, &an_image());
    let expected = describe(&tree, &contents);
    let report = target.finish(&tree).unwrap();
    let lines = fs::read_to_string(report.sidecar.unwrap())
        .unwrap()
        .lines()
        .count()
        - 1;
    assert_eq!(seen(&out), expected);
    let (_, summary) = scanned(&out);
    // One line is of a further name.
    assert_eq!(summary.restored, lines as u64 - 1);
    assert_eq!((summary.changed, summary.gone), (0, 0));
    // Attributes that are not wanted do not come from there either.
    let mut options = ScanOptions::default();
    options.exclude_xattrs = vec![b"security.capability".to_vec(), b"trusted.root".to_vec()];
    let mut scanner = Scanner::open(&out, options).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = scanner.next_entry().unwrap() {
        entries.push(entry);
    }
    let names = |name: &str| {
        let xattrs = &entry(&entries, name).metadata.xattrs;
        xattrs
            .iter()
            .map(|(name, _)| name.to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("usr/ping"),
        [b"trusted.t".to_vec(), b"user.u".to_vec()]
    );
    assert_eq!(names(""), [b""; 0]);
    // By any name of the directory, and moved with its file.
    assert_eq!(seen(&work.join("out/.")), expected);
    std::os::unix::fs::symlink("out", work.join("link")).unwrap();
    assert_eq!(seen(&work.join("link")), expected);
    fs::rename(&out, work.join("moved")).unwrap();
    fs::rename(sidecar_of(&out), sidecar_of(&work.join("moved"))).unwrap();
    assert_eq!(seen(&work.join("moved")), expected);
    // As the upper directory of a commit too.
    let mut upper = UpperScanner::open(work.join("moved"), UpperOptions::default()).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = upper.next_entry().unwrap() {
        entries.push(entry);
    }
    let sudo = entry(&entries, "usr/sudo");
    assert_eq!((sudo.metadata.uid, sudo.metadata.mode), (0, 0o4511));
    assert!(matches!(
        entry(&entries, "null").kind,
        EntryKind::CharDevice(_)
    ));
    assert_eq!(upper.finish().unwrap().recorded.unwrap().changed, 0);
}

/// What its owner may not read in the image was written so, where the owner happened to be who wrote it.
#[test]
fn what_its_owner_may_not_read_comes_back_too() {
    let Some(work) = inside("what_its_owner_may_not_read_comes_back_too") else {
        return;
    };
    let own = |(mut entry, data): Item| {
        (entry.metadata.uid, entry.metadata.gid) = (65534, 65534);
        (entry, data)
    };
    let mut attributed = own(file("attributed", meta(0o200), b""));
    attributed.0.metadata.xattrs = xattrs(&[("user.u", b"u"), ("trusted.t", b"t")]);
    let device = Device { major: 1, minor: 3 };
    for mode in [0, 0o111, 0o300, 0o500, 0o755] {
        for root in [
            item("", meta(mode), EntryKind::Directory),
            own(item("", meta(mode), EntryKind::Directory)),
        ] {
            let items = [
                root,
                own(file("none", meta(0), b"x")),
                own(file("written", meta(0o200), b"x")),
                own(file("run", meta(0o4111), b"x")),
                own(file("empty", meta(0o2011), b"")),
                attributed.clone(),
                own(dir("entered", 0o300)),
                own(file("entered/file", meta(0o600), b"x")),
                dir("listed", 0o400),
                own(item("null", meta(0o200), EntryKind::CharDevice(device))),
                item("other", meta(0), EntryKind::CharDevice(device)),
            ];
            let out = work.join("out");
            let target = lithify_hostfs::DirTarget::create(&out, Default::default()).unwrap();
            let (tree, contents) = build(&target, &items);
            let expected = describe(&tree, &contents);
            let report = target.finish(&tree).unwrap();
            assert_eq!(seen(&out), expected, "{mode:o}");
            let (_, summary) = scanned(&out);
            assert_eq!((summary.changed, summary.gone), (0, 0), "{mode:o}");
            let text = fs::read_to_string(report.sidecar.unwrap()).unwrap();
            assert!(
                text.contains(r#"{"path":"run","mode":"4111","is":"file""#),
                "{text}"
            );
            fs::set_permissions(&out, PermissionsExt::from_mode(0o700)).unwrap();
            fs::remove_dir_all(&out).unwrap();
            fs::remove_file(sidecar_of(&out)).unwrap();
        }
    }
}

#[test]
fn a_file_that_is_another_one_now_gets_nothing() {
    let Some(work) = inside("a_file_that_is_another_one_now_gets_nothing") else {
        return;
    };
    let out = work.join("out");
    materialise(&out, &an_image());
    let sudo = out.join("usr/sudo");
    let ping = out.join("usr/ping");
    let before = |path: &Path| fs::symlink_metadata(path).unwrap();
    fs::set_permissions(out.join("usr"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&out, PermissionsExt::from_mode(0o755)).unwrap();
    let own = rustix::process::geteuid().as_raw();

    // Replaced, and made to look the same: size, time, mode.
    let old = before(&sudo);
    fs::remove_file(&sudo).unwrap();
    fs::write(&sudo, "attack").unwrap();
    fs::set_permissions(&sudo, old.permissions()).unwrap();
    backdate(&sudo, &old);
    // Written to in place.
    let old = before(&ping);
    fs::write(&ping, "CAPABLE").unwrap();
    backdate(&ping, &old);
    // An owner is not lent to set-user-ID bits that were set since.
    let odd = out.join("name %=\"\n\\");
    fs::set_permissions(&odd, PermissionsExt::from_mode(0o4755)).unwrap();
    // Of another size, of another time, of another type.
    fs::write(out.join("usr/shadow.new"), "secret").unwrap();
    fs::rename(out.join("usr/shadow.new"), out.join("usr/shadow")).unwrap();
    fs::write(out.join("null"), "data").unwrap();
    fs::remove_file(out.join("sda")).unwrap();
    std::os::unix::fs::symlink("x", out.join("sda")).unwrap();
    fs::remove_file(out.join("attributed")).unwrap();
    fs::create_dir(out.join("attributed")).unwrap();
    // Removed and added.
    fs::remove_file(out.join("fifo")).unwrap();
    fs::write(out.join("added"), "x").unwrap();

    let (entries, summary) = scanned(&out);
    for name in [
        "usr/sudo",
        "usr/ping",
        "usr/shadow",
        "null",
        "sda",
        "attributed",
        "added",
    ] {
        let metadata = &entry(&entries, name).metadata;
        assert_eq!((metadata.uid, metadata.mode & 0o6000), (own, 0), "{name}");
        let special = metadata
            .xattrs
            .iter()
            .any(|(name, _)| !name.starts_with(b"user."));
        assert!(!special, "{name}");
    }
    let odd = entry(&entries, "name %=\"\n\\");
    assert_eq!((odd.metadata.uid, odd.metadata.mode), (own, 0o4755));
    assert!(matches!(
        entry(&entries, "null").kind,
        EntryKind::File { size: 4, .. }
    ));
    assert!(matches!(
        entry(&entries, "null2").kind,
        EntryKind::HardLink { .. }
    ));
    assert!(matches!(
        entry(&entries, "sda").kind,
        EntryKind::Symlink { .. }
    ));
    assert_eq!((summary.changed, summary.gone), (7, 1));
    assert_eq!(summary.examples.len(), 7);
    // What was left alone is still right.
    let empty = &entry(&entries, "usr/empty").metadata;
    assert_eq!((empty.uid, empty.mode), (0, 0o6755));
    assert_eq!(entry(&entries, "usr").metadata.uid, 0);
    let socket = entry(&entries, "socket");
    assert_eq!((socket.metadata.uid, &socket.kind), (0, &EntryKind::Socket));
}

/// A file has what was written about it by each of its names, not only by the first.
#[test]
fn a_file_whose_first_name_was_removed_is_whole_by_the_others() {
    let Some(work) = inside("a_file_whose_first_name_was_removed_is_whole_by_the_others") else {
        return;
    };
    let out = work.join("out");
    let mut ping = file("ping", meta(0o755), b"capable");
    ping.0.metadata.xattrs = capability();
    let device = Device { major: 1, minor: 3 };
    let image = [
        item("", meta(0o755), EntryKind::Directory),
        dir("old", 0o755),
        file("old/f", meta(0o644), b"f"),
        item("null", meta(0o666), EntryKind::CharDevice(device)),
        hard_link("null2", "null"),
        ping,
        hard_link("ping2", "ping"),
        hard_link("ping3", "ping"),
        file("su", meta(0o4755), b"setuid"),
        hard_link("su2", "su"),
        file("twin", meta(0o4755), b"twin"),
        hard_link("twin2", "twin"),
    ];
    materialise(&out, &image);
    for name in ["null", "ping", "su"] {
        fs::remove_file(out.join(name)).unwrap();
    }
    let (entries, summary) = scanned(&out);
    assert_eq!((summary.changed, summary.gone), (0, 0));
    assert_eq!(entry(&entries, "null2").kind, EntryKind::CharDevice(device));
    let su = &entry(&entries, "su2").metadata;
    assert_eq!((su.uid, su.mode), (0, 0o4755));
    let ping = &entry(&entries, "ping2").metadata;
    assert!(ping.xattrs.get(b"security.capability").is_some());
    assert_eq!(
        entry(&entries, "ping3").kind,
        EntryKind::HardLink {
            target: path("ping2")
        }
    );
    // The names of a copy that does not keep hard links, and a forged one: content counts for each.
    let twin = out.join("twin");
    let old = fs::symlink_metadata(&twin).unwrap();
    fs::remove_file(&twin).unwrap();
    fs::write(&twin, "TWIN").unwrap();
    fs::set_permissions(&twin, PermissionsExt::from_mode(0o755)).unwrap();
    backdate(&twin, &old);
    // Renamed, with what is in it; named before its other name.
    fs::rename(out.join("old"), out.join("new")).unwrap();
    fs::hard_link(out.join("su2"), out.join("a")).unwrap();
    let (entries, summary) = scanned(&out);
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(entry(&entries, "twin").metadata.uid, own);
    let twin2 = &entry(&entries, "twin2").metadata;
    assert_eq!((twin2.uid, twin2.mode), (0, 0o4755));
    assert_eq!(
        (summary.changed, &summary.examples),
        (1, &vec![path("twin")])
    );
    // Each directory stands behind what is in it.
    let gone = ["old/f", "old", "su"].map(path).to_vec();
    assert_eq!((summary.gone, &summary.gone_examples), (3, &gone));
}

/// As root the file of another user is an attack on the directory's owner, and so is one anybody may write.
#[test]
fn somebody_elses_sidecar_is_refused() {
    use std::os::unix::fs::chown;
    if skip_unless(is_root(), "root") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    fs::create_dir(&out).unwrap();
    let sidecar = sidecar_of(&out);
    let open = || match Scanner::open(&out, ScanOptions::default()) {
        Ok(_) => None,
        Err(ScanError::Sidecar(e)) => Some(*e),
        Err(e) => panic!("{e}"),
    };
    fs::write(
        &sidecar,
        "{\"format\":\"lithify-metadata\",\"version\":2}\n",
    )
    .unwrap();
    assert!(open().is_none());
    chown(&sidecar, Some(12345), None).unwrap();
    assert!(matches!(
        open(),
        Some(SidecarError::Owner {
            owner: 12345,
            expected: 0,
            ..
        })
    ));
    chown(&out, Some(12345), None).unwrap();
    assert!(open().is_none(), "the directory is the same user's");
    fs::set_permissions(&sidecar, PermissionsExt::from_mode(0o664)).unwrap();
    assert!(matches!(
        open(),
        Some(SidecarError::Writable { mode: 0o664, .. })
    ));
    // A file of that name which cannot be one: neither followed nor waited for.
    fs::remove_file(&sidecar).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &sidecar).unwrap();
    assert!(matches!(open(), Some(SidecarError::NotFile { .. })));
    fs::remove_file(&sidecar).unwrap();
    rustix::fs::mknodat(
        CWD,
        &sidecar,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(matches!(open(), Some(SidecarError::NotFile { .. })));
    fs::remove_file(&sidecar).unwrap();
    fs::create_dir(&sidecar).unwrap();
    assert!(matches!(open(), Some(SidecarError::NotFile { .. })));
    let mut options = ScanOptions::default();
    options.sidecar = false;
    assert!(Scanner::open(&out, options).is_ok());
}

const HEADER: &str = "{\"format\":\"lithify-metadata\",\"version\":2}\n";

#[test]
fn hostile_sidecars_are_refused_with_the_line() {
    let file = r#""is":"file","size":0,"at":[0,0]"#;
    for (text, line) in [
        ("", 1),
        ("{}\n", 1),
        ("{\"format\":\"lithify-metadata\",\"version\":1}\n", 1),
        (
            "{\"format\":\"lithify-metadata\",\"version\":2,\"more\":1}\n",
            1,
        ),
        ("{\"format\":\"lithify-metadata\",\"version\":2}", 1),
    ] {
        match check_sidecar(text.as_bytes()) {
            Err(SidecarError::Line { line: found, .. }) => assert_eq!(found, line, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    for line in [
        "\n".to_owned(),
        "null\n".to_owned(),
        "[]\n".to_owned(),
        format!("{{\"path\":\"a\",{file}}}"),
        format!("{{\"path\":\"../a\",{file}}}\n"),
        format!("{{\"path\":\"a/../../b\",{file}}}\n"),
        format!("{{\"path\":\"/etc/passwd\",{file}}}\n"),
        format!("{{\"path\":\"a//b\",{file}}}\n"),
        format!("{{\"path\":\"a%00b\",{file}}}\n"),
        format!("{{\"path\":\"a%0\",{file}}}\n"),
        format!("{{\"path\":\"a\\u0000\",{file}}}\n"),
        format!("{{\"path\":\"{}\",{file}}}\n", "a".repeat(256)),
        format!("{{\"path\":\"a\",\"path\":\"b\",{file}}}\n"),
        format!("{{\"path\":\"a\",\"extra\":1,{file}}}\n"),
        format!("{{\"path\":\"a\",\"mode\":\"10000\",{file}}}\n"),
        format!("{{\"path\":\"a\",\"mode\":\"+755\",{file}}}\n"),
        format!("{{\"path\":\"a\",\"mode\":\"888\",{file}}}\n"),
        format!("{{\"path\":\"a\",\"uid\":1,{file}}}\n"),
        format!("{{\"path\":\"a\",\"uid\":-1,\"gid\":0,{file}}}\n"),
        format!("{{\"path\":\"a\",\"uid\":4294967296,\"gid\":0,{file}}}\n"),
        format!("{{\"path\":\"a\",\"mtime\":[0,1000000000],{file}}}\n"),
        format!("{{\"path\":\"a\",\"mtime\":[0],{file}}}\n"),
        format!("{{\"path\":\"a\",\"xattrs\":{{\"\":\"\"}},{file}}}\n"),
        format!("{{\"path\":\"a\",\"xattrs\":{{\"a%00\":\"\"}},{file}}}\n"),
        format!("{{\"path\":\"a\",\"xattrs\":{{\"a\":\"0\"}},{file}}}\n"),
        format!("{{\"path\":\"a\",\"xattrs\":{{\"a\":\"\",\"%61\":\"\"}},{file}}}\n"),
        format!(
            "{{\"path\":\"a\",\"xattrs\":{{\"a\":\"{}\"}},{file}}}\n",
            "00".repeat(65537)
        ),
        format!("{{\"path\":\"a\",\"type\":\"char\",{file}}}\n"),
        format!("{{\"path\":\"a\",\"type\":\"fifo\",\"major\":1,\"minor\":1,{file}}}\n"),
        "{\"path\":\"a\",\"type\":\"fifo\",\"is\":\"file\",\"size\":1,\"at\":[0,0]}\n".to_owned(),
        "{\"path\":\"a\",\"type\":\"fifo\",\"is\":\"dir\"}\n".to_owned(),
        "{\"path\":\"a\",\"is\":\"file\"}\n".to_owned(),
        "{\"path\":\"a\",\"is\":\"dir\",\"size\":0,\"at\":[0,0]}\n".to_owned(),
        format!("{{\"path\":\"a\",\"sha256\":\"../../x\",{file}}}\n"),
        format!("{}{}", "[".repeat(100_000), "\n"),
        "{\"path\":\"b\",\"link\":\"a\"}\n".to_owned(),
        "{\"path\":\"b\",\"link\":\"b\"}\n".to_owned(),
        format!("{{\"path\":\"b\",\"link\":\"a\",{file}}}\n"),
    ] {
        match check_sidecar(format!("{HEADER}{line}").as_bytes()) {
            Err(SidecarError::Line { line: 2, .. }) => {}
            other => panic!("{line}: {other:?}"),
        }
    }
    let twice = format!("{HEADER}{{\"path\":\"a\",{file}}}\n{{\"path\":\"%61\",{file}}}\n");
    assert!(matches!(
        check_sidecar(twice.as_bytes()),
        Err(SidecarError::Line {
            line: 3,
            fault: SidecarFault::Twice(_),
            ..
        })
    ));
    for second in [
        r#"{"path":"a","link":"a"}"#,
        r#"{"path":"b","link":"../a"}"#,
        r#"{"path":"b","link":"c"}"#,
        r#"{"path":"b","link":"d"}"#,
        r#"{"path":"b","link":"a","uid":0,"gid":0}"#,
        r#"{"path":"b","link":"a","xattrs":{"a":""}}"#,
    ] {
        let dir = r#"{"path":"d","is":"dir"}"#;
        let text = format!("{HEADER}{{\"path\":\"a\",{file}}}\n{dir}\n{second}\n");
        match check_sidecar(text.as_bytes()) {
            Err(SidecarError::Line { line: 4, .. }) => {}
            other => panic!("{second}: {other:?}"),
        }
    }
    let chain = format!(
        "{HEADER}{{\"path\":\"a\",{file}}}\n{{\"path\":\"b\",\"link\":\"a\"}}\n{{\"path\":\"c\",\"link\":\"b\"}}\n"
    );
    assert!(check_sidecar(chain.as_bytes()).is_err());
    let good = format!("{HEADER}{{\"path\":\"\",\"is\":\"dir\"}}\n{{\"path\":\"a%20b\",{file}}}\n");
    assert_eq!(check_sidecar(good.as_bytes()).unwrap(), 2);
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(line in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(check_sidecar(&line));
        drop(check_sidecar(&[HEADER.as_bytes(), &line, b"\n"].concat()));
    }
}
