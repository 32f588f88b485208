//! Directories as layers: order, kinds, links, holes, changes under the scan.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{self as unix, FileExt as _, PermissionsExt as _};
use std::path::Path;

use crate::common::*;
use lithify_hostfs::{
    Change, CopyError, ScanError, ScanOptions, Scanner, Summary, WhiteoutNames, snapshot,
};
use lithify_tree::{ContentId, ContentSink, DataSegment, Entry, EntryKind};

fn scan_with(dir: &Path, options: ScanOptions) -> Result<(Vec<Entry>, Summary), ScanError> {
    let mut scanner = Scanner::open(dir, options)?;
    let mut entries = Vec::new();
    while let Some(entry) = scanner.next_entry()? {
        entries.push(entry);
    }
    Ok((entries, scanner.finish()?))
}

fn scan(dir: &Path) -> (Vec<Entry>, Summary) {
    scan_with(dir, ScanOptions::default()).unwrap()
}

fn shown(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|e| {
            let kind = match &e.kind {
                EntryKind::File { size, .. } => format!("file {size}"),
                EntryKind::Directory => "dir".to_owned(),
                EntryKind::Symlink { target } => format!("-> {}", String::from_utf8_lossy(target)),
                EntryKind::HardLink { target } => format!("= {target}"),
                EntryKind::Whiteout => "whiteout".to_owned(),
                EntryKind::Opaque => "opaque".to_owned(),
                EntryKind::Fifo => "fifo".to_owned(),
                EntryKind::Socket => "socket".to_owned(),
                EntryKind::CharDevice(d) => format!("char {}:{}", d.major, d.minor),
                EntryKind::BlockDevice(d) => format!("block {}:{}", d.major, d.minor),
                _ => unreachable!(),
            };
            format!("{} {kind}", e.path)
        })
        .collect()
}

#[test]
fn directories_come_before_content_and_siblings_sorted() {
    let work = tempfile::tempdir().unwrap();
    for dir in ["b", "a-b", "a/z"] {
        fs::create_dir_all(work.path().join(dir)).unwrap();
    }
    for file in ["b/1", "a/0", "a.c", "\u{fc}"] {
        fs::write(work.path().join(file), "x").unwrap();
    }
    let (entries, summary) = scan(work.path());
    let order = [
        "/ dir",
        "/a dir",
        "/a/0 file 1",
        "/a/z dir",
        "/a-b dir",
        "/a.c file 1",
        "/b dir",
        "/b/1 file 1",
        "/\u{fc} file 1",
    ];
    assert_eq!(shown(&entries), order);
    assert_eq!((summary.entries, summary.bytes), (9, 4));
}

#[test]
fn special_files_are_seen_and_never_opened() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    // Opening a pipe without a writer would block, a socket fail.
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::from(0o600)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(at("sock")).unwrap());
    unix::symlink("/nonexistent/\u{1}target", at("link")).unwrap();
    if is_root() {
        use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
        let make = |name, kind, major, minor| {
            mknodat(
                CWD,
                at(name),
                kind,
                Mode::from(0o600),
                makedev(major, minor),
            )
            .unwrap();
        };
        make("null", FileType::CharacterDevice, 1, 3);
        make("loop", FileType::BlockDevice, 7, 1_000_000);
    } else {
        eprintln!("skipped: devices need root");
    }
    let (entries, _) = scan(work.path());
    let mut expected = vec!["/ dir", "/link -> /nonexistent/\u{1}target"];
    if is_root() {
        expected.extend(["/loop block 7:1000000", "/null char 1:3"]);
    }
    expected.extend(["/pipe fifo", "/sock socket"]);
    assert_eq!(shown(&entries), expected);
}

#[test]
fn later_names_of_a_file_are_hard_links() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/one"), "data").unwrap();
    fs::hard_link(at("d/one"), at("d/two")).unwrap();
    fs::hard_link(at("d/one"), at("a")).unwrap();
    unix::symlink("x", at("l1")).unwrap();
    fs::hard_link(at("l1"), at("l2")).unwrap();
    // A second name outside the directory is no link inside.
    let outside = tempfile::tempdir_in(work.path().parent().unwrap()).unwrap();
    fs::write(at("single"), "").unwrap();
    fs::hard_link(at("single"), outside.path().join("other")).unwrap();
    let (entries, summary) = scan(work.path());
    let expected = [
        "/ dir",
        "/a file 4",
        "/d dir",
        "/d/one = /a",
        "/d/two = /a",
        "/l1 -> x",
        "/l2 = /l1",
        "/single file 0",
    ];
    assert_eq!(shown(&entries), expected);
    assert_eq!(summary.bytes, 4, "the data counts once");
    let lines = snapshot(work.path()).unwrap();
    let groups: Vec<_> = lines.iter().map(|l| l.link_group.as_deref()).collect();
    let (a, l) = (Some(&b"a"[..]), Some(&b"l1"[..]));
    assert_eq!(groups, [None, a, None, a, a, l, l, None]);
}

#[test]
fn symbolic_links_are_not_followed_not_even_to_directories() {
    let work = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    unix::symlink(outside.path(), work.path().join("dir")).unwrap();
    unix::symlink(".", work.path().join("self")).unwrap();
    let (entries, _) = scan(work.path());
    assert_eq!(entries.len(), 3);
    // The directory itself may be reached through one.
    let (through, _) = scan(&work.path().join("self"));
    assert_eq!(shown(&through), shown(&entries));
}

#[test]
fn whiteout_names_mean_what_they_mean_in_layers() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    fs::create_dir_all(at("d/.wh..wh.plnk")).unwrap();
    for name in [
        "d/.wh.gone",
        "d/.wh..wh..opq",
        "d/.wh..wh.plnk/123.4",
        "d/x.wh.y",
    ] {
        fs::write(at(name), "").unwrap();
    }
    let (entries, summary) = scan(work.path());
    let expected = [
        "/ dir",
        "/d dir",
        "/d opaque",
        "/d/gone whiteout",
        "/d/x.wh.y file 0",
    ];
    assert_eq!(shown(&entries), expected);
    let mut literal = ScanOptions::default();
    literal.whiteouts = WhiteoutNames::Literal;
    let (entries, other) = scan_with(work.path(), literal).unwrap();
    assert_eq!(entries.len(), 7);
    assert_ne!(summary.digest, other.digest);

    fs::write(at("d/.wh..."), "").unwrap();
    let error = scan_with(work.path(), ScanOptions::default()).unwrap_err();
    assert!(matches!(error, ScanError::Whiteout { .. }), "{error}");
}

#[test]
fn xattrs_of_every_file_type_are_read() {
    if skip_unless(is_root(), "root") {
        return;
    }
    for work in filesystems() {
        let at = |name: &str| work.path().join(name);
        let mut items = vec![
            file("file", meta(0o000), b"x"),
            dir("dir", 0o000),
            symlink("link", "target"),
            item("fifo", meta(0o600), EntryKind::Fifo),
            item("socket", meta(0o600), EntryKind::Socket),
        ];
        for (entry, _) in &mut items {
            entry.metadata.xattrs = xattrs(&[("trusted.empty", b""), ("trusted.t", b"\x00\xff")]);
        }
        items[0]
            .0
            .metadata
            .xattrs
            .set(b"user.big", &[7; 2000])
            .unwrap();
        materialise(&at("out"), &items);
        let (entries, _) = scan(&at("out"));
        for (entry, _) in &items {
            let found = entries.iter().find(|e| e.path == entry.path).unwrap();
            assert_eq!(
                found.metadata.xattrs, entry.metadata.xattrs,
                "{}",
                entry.path
            );
        }
        let mut options = ScanOptions::default();
        options.exclude_xattrs = vec![b"trusted.t".to_vec(), b"trusted.empty".to_vec()];
        let (entries, _) = scan_with(&at("out"), options).unwrap();
        let left: usize = entries.iter().map(|e| e.metadata.xattrs.len()).sum();
        assert_eq!(left, 1);
    }
}

#[test]
fn holes_are_segments() {
    for work in filesystems() {
        let at = |name: &str| work.path().join(name);
        let make = |name: &str, size: u64, data: &[u64]| {
            let mut file = File::create(at(name)).unwrap();
            file.set_len(size).unwrap();
            for &offset in data {
                file.seek(SeekFrom::Start(offset)).unwrap();
                file.write_all(&[b'x'; 4096]).unwrap();
            }
        };
        make("all-hole", 1 << 40, &[]);
        make("dense", 8192, &[0, 4096]);
        make("islands", 1 << 30, &[1 << 20, 1 << 29]);
        make("tail", (1 << 20) + 4096, &[1 << 20]);
        let (entries, summary) = scan(work.path());
        let segments =
            |name: &str| match &entries.iter().find(|e| e.path == path(name)).unwrap().kind {
                EntryKind::File { segments, .. } => segments.clone(),
                _ => unreachable!(),
            };
        let at_4k = |offset| DataSegment {
            offset,
            length: 4096,
        };
        assert_eq!(segments("all-hole"), Some(vec![]));
        assert_eq!(segments("dense"), None);
        assert_eq!(
            segments("islands"),
            Some(vec![at_4k(1 << 20), at_4k(1 << 29)])
        );
        assert_eq!(segments("tail"), Some(vec![at_4k(1 << 20)]));
        assert_eq!(summary.bytes, 5 * 4096, "holes are not read");
    }
}

#[test]
fn the_digest_is_that_of_the_content_alone() {
    let items = || {
        vec![
            dir("", 0o755),
            dir("d", 0o711),
            file("d/f", meta(0o644), b"data"),
            symlink("d/l", "f"),
            hard_link("d/g", "d/f"),
        ]
    };
    let digest = |items: &[Item]| {
        let work = tempfile::tempdir().unwrap();
        materialise(&work.path().join("out"), items);
        let (all, summary) = scan(&work.path().join("out"));
        drop(all);
        summary.digest
    };
    let same = digest(&items());
    assert_eq!(digest(&items()), same, "not of where it lies");
    let mut reversed = items();
    reversed.reverse();
    assert_eq!(digest(&reversed), same, "not of the order it was made in");
    let mut changes: Vec<(&str, Vec<Item>)> = Vec::new();
    let mut change = |what, edit: &dyn Fn(&mut Vec<Item>)| {
        let mut changed = items();
        edit(&mut changed);
        changes.push((what, changed));
    };
    change("data", &|i| i[2].1[0] = b'D');
    change("mode", &|i| i[2].0.metadata.mode = 0o600);
    change("time", &|i| i[1].0.metadata.mtime.nanoseconds += 1);
    change("root", &|i| i[0].0.metadata.mode = 0o700);
    change("target", &|i| i[3] = symlink("d/l", "g"));
    change("link", &|i| i[4] = file("d/g", meta(0o644), b"data"));
    change("name", &|i| i[3] = symlink("d/m", "f"));
    change("attribute", &|i| {
        i[2].0.metadata.xattrs = xattrs(&[("user.a", b"")]);
    });
    change("attribute's value", &|i| {
        i[2].0.metadata.xattrs = xattrs(&[("user.a", b"1")]);
    });
    if is_root() {
        change("owner", &|i| i[2].0.metadata.uid = 1);
        change("group", &|i| i[2].0.metadata.gid = 1);
    }
    let mut seen = vec![same];
    for (what, changed) in changes {
        let digest = digest(&changed);
        assert!(
            !seen.contains(&digest),
            "{what} does not matter to the digest"
        );
        seen.push(digest);
    }
}

#[test]
fn the_digest_does_not_depend_on_who_reads() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("a"), vec![1; 3_000_000]).unwrap();
    fs::write(work.path().join("b"), "b").unwrap();
    let (_, unread) = scan(work.path());
    let lines = snapshot(work.path()).unwrap();
    assert_eq!(lines.len(), 3);
    let mut scanner = Scanner::open(work.path(), ScanOptions::default()).unwrap();
    let mut total = Total(0);
    scanner.next_entry().unwrap();
    assert!(matches!(
        scanner.copy_into(&mut total),
        Err(CopyError::NoFile)
    ));
    scanner.next_entry().unwrap();
    scanner.copy_into(&mut total).unwrap();
    assert!(matches!(
        scanner.copy_into(&mut total),
        Err(CopyError::NoFile)
    ));
    // The rest is left to `finish`.
    let read = scanner.finish().unwrap();
    assert_eq!(read, unread);
    assert_eq!(total.0, 3_000_000);
}

struct Total(u64);

impl ContentSink for Total {
    type Error = std::convert::Infallible;
    fn begin(&mut self, _: u64, _: Option<&[DataSegment]>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn write(&mut self, data: &[u8]) -> Result<(), Self::Error> {
        self.0 += data.len() as u64;
        Ok(())
    }
    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        Ok(ContentId(0))
    }
}

/// Does something to the directory in the middle of a file.
struct Meddle<F: FnMut()>(F);

impl<F: FnMut()> ContentSink for Meddle<F> {
    type Error = std::convert::Infallible;
    fn begin(&mut self, _: u64, _: Option<&[DataSegment]>) -> Result<(), Self::Error> {
        (self.0)();
        Ok(())
    }
    fn write(&mut self, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }
    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        Ok(ContentId(0))
    }
}

/// Scans `f` of a fresh directory with something happening while it is read; returns the error.
fn meddle(action: impl Fn(&Path)) -> ScanError {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("f"), vec![b'x'; 3 << 20]).unwrap();
    fs::create_dir(work.path().join("z")).unwrap();
    // Kernels before 6.13 count change times in clock ticks of up to 10 ms.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut scanner = Scanner::open(work.path(), ScanOptions::default()).unwrap();
    scanner.next_entry().unwrap();
    scanner.next_entry().unwrap();
    match scanner.copy_into(&mut Meddle(|| action(work.path()))) {
        Ok(_) => scanner.finish().unwrap_err(),
        Err(CopyError::Scan(e)) => e,
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn a_file_that_changes_is_an_error_that_names_it() {
    let open = |dir: &Path| File::options().write(true).open(dir.join("f")).unwrap();
    let change = |error| match error {
        ScanError::Changed { path, change } => (path, change),
        other => panic!("{other}"),
    };
    let (path, shrunk) = change(meddle(|dir| open(dir).set_len(2 << 20).unwrap()));
    assert!(path.ends_with("f"));
    let (expected, found) = (3 << 20, 2 << 20);
    assert_eq!(shrunk, Change::Size { expected, found });
    let (_, grown) = change(meddle(|dir| open(dir).set_len(4 << 20).unwrap()));
    let (expected, found) = (3 << 20, 4 << 20);
    assert_eq!(grown, Change::Size { expected, found });
    let (_, written) = change(meddle(|dir| open(dir).write_all_at(b"y", 0).unwrap()));
    assert_eq!(written, Change::Modified);
    let (_, mode) = change(meddle(|dir| {
        fs::set_permissions(dir.join("f"), fs::Permissions::from_mode(0o600)).unwrap();
    }));
    assert_eq!(mode, Change::Modified);
}

#[test]
fn a_directory_that_changes_is_an_error_that_names_it() {
    let changed = |error, expected| match error {
        ScanError::Changed { change, .. } => assert_eq!(change, expected),
        other => panic!("{other}"),
    };
    changed(
        meddle(|dir| fs::write(dir.join("new"), "").unwrap()),
        Change::Modified,
    );
    changed(
        meddle(|dir| fs::remove_dir(dir.join("z")).unwrap()),
        Change::Replaced,
    );
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let work = tempfile::tempdir().unwrap();
    let missing = Scanner::open(work.path().join("no"), ScanOptions::default()).unwrap_err();
    assert!(matches!(
        missing,
        ScanError::Io {
            operation: "open",
            ..
        }
    ));
    fs::write(work.path().join("f"), "").unwrap();
    let file = Scanner::open(work.path().join("f"), ScanOptions::default()).unwrap_err();
    assert!(matches!(file, ScanError::NotDirectory { .. }));
    let mut options = ScanOptions::default();
    options.entries_max = 1;
    let many = scan_with(work.path(), options).unwrap_err();
    assert!(matches!(many, ScanError::TooManyEntries { limit: 1, .. }));
}

#[test]
fn paths_end_at_the_limit_of_linux() {
    let work = tempfile::tempdir().unwrap();
    // 16 names of 255 bytes are 4095 with their slashes; the directory can be made because each step is relative.
    let name = "n".repeat(255);
    let flags = rustix::fs::OFlags::DIRECTORY;
    let mut at = rustix::fs::open(work.path(), flags, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..16 {
        rustix::fs::mkdirat(&at, &name, rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, flags, rustix::fs::Mode::empty()).unwrap();
    }
    let (entries, _) = scan(work.path());
    assert_eq!(entries.last().unwrap().path.as_bytes().len(), 4095);
    rustix::fs::mkdirat(&at, "x", rustix::fs::Mode::RWXU).unwrap();
    let error = scan_with(work.path(), ScanOptions::default()).unwrap_err();
    assert!(matches!(error, ScanError::Path { .. }), "{error}");
}

#[test]
fn a_thousand_levels_do_not_run_out_of_descriptors() {
    let work = tempfile::tempdir().unwrap();
    let deep = (0..1500).fold(String::new(), |p, _| p + "d/");
    let items = [file(&format!("{deep}f"), meta(0o644), b"x")];
    materialise(&work.path().join("out"), &items);
    let (entries, _) = scan(&work.path().join("out"));
    assert_eq!(entries.len(), 1502);
    assert_eq!(entries.last().unwrap().metadata, items[0].0.metadata);
}

#[test]
fn other_filesystems_are_walked_unless_told_otherwise() {
    let mounts = is_root()
        && std::process::Command::new("mount")
            .arg("-V")
            .output()
            .is_ok();
    if skip_unless(mounts, "root and mount") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let inner = work.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        let status = std::process::Command::new(program)
            .args(args)
            .status()
            .unwrap();
        assert!(status.success());
    };
    let os = std::ffi::OsStr::new;
    run(
        "mount",
        &[os("-t"), os("tmpfs"), os("none"), inner.as_os_str()],
    );
    fs::write(inner.join("f"), "x").unwrap();
    let all = scan_with(work.path(), ScanOptions::default());
    let mut options = ScanOptions::default();
    options.one_file_system = true;
    let one = scan_with(work.path(), options);
    run("umount", &[os("--lazy"), inner.as_os_str()]);
    assert_eq!(
        shown(&all.unwrap().0),
        ["/ dir", "/inner dir", "/inner/f file 1"]
    );
    assert_eq!(shown(&one.unwrap().0), ["/ dir", "/inner dir"]);
}

#[test]
fn hostile_names_are_escaped_in_messages() {
    let work = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b".wh.\x1b[31m\n\xff");
    fs::create_dir(work.path().join(name)).unwrap();
    fs::write(work.path().join(name).join(".wh..."), "").unwrap();
    let error = scan_with(work.path(), ScanOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\x1b') && !text.contains('\n'), "{text:?}");
}

/// A second thread keeps exchanging a directory with a symbolic link to one outside, and a file with one: whatever the
/// scan sees, it never sees what is outside (CVE-2018-15664, `docker cp`).
#[test]
fn a_race_never_leads_outside() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering};
    let work = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "SECRET").unwrap();
    let at = |name: &str| work.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/inner"), "fine").unwrap();
    unix::symlink(outside.path(), at("s")).unwrap();
    fs::write(at("f"), "fine").unwrap();
    unix::symlink(outside.path().join("secret"), at("t")).unwrap();
    let stop = AtomicBool::new(false);
    let (mut finished, mut failed) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (a, b) in [("d", "s"), ("f", "t")] {
                    renameat_with(CWD, at(a), CWD, at(b), RenameFlags::EXCHANGE).unwrap();
                }
            }
        });
        for _ in 0..2000 {
            let mut scanner = Scanner::open(work.path(), ScanOptions::default()).unwrap();
            let mut seen = Seen(Vec::new());
            let outcome = loop {
                match scanner.next_entry() {
                    Ok(Some(entry)) if matches!(entry.kind, EntryKind::File { .. }) => {
                        if let Err(CopyError::Scan(e)) = scanner.copy_into(&mut seen) {
                            break Err(e);
                        }
                    }
                    Ok(Some(entry)) => assert!(!entry.path.as_bytes().ends_with(b"secret")),
                    Ok(None) => break scanner.finish(),
                    Err(e) => break Err(e),
                }
            };
            assert!(!seen.0.windows(6).any(|w| w == b"SECRET"));
            match outcome {
                Ok(_) => finished += 1,
                Err(ScanError::Changed { .. }) => failed += 1,
                Err(e) => panic!("{e}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    eprintln!("{finished} scans finished, {failed} noticed the change");
}

struct Seen(Vec<u8>);

impl ContentSink for Seen {
    type Error = std::convert::Infallible;
    fn begin(&mut self, _: u64, _: Option<&[DataSegment]>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn write(&mut self, data: &[u8]) -> Result<(), Self::Error> {
        self.0.extend_from_slice(data);
        Ok(())
    }
    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        Ok(ContentId(0))
    }
}
