//! Overlays are mounted and changed; their upper directories, as layers, make the same changes when umoci applies them.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lithify_hostfs::{
    CopyError, OverlayAttributes, UpperError, UpperOptions, UpperScanner, UpperSummary,
};
use lithify_tar::{TarWriter, WriteError};
use lithify_testkit::{
    Allow, Field, Layout, Mount, Snapshot, Tar, TarEntry, require, run, temp_dir,
};
use lithify_tree::{ContentId, ContentSink, DataSegment, EntryKind};
use tempfile::TempDir;

/// Data of files, into a tar.
struct Data<'a>(&'a mut TarWriter<Vec<u8>>);

impl ContentSink for Data<'_> {
    type Error = WriteError;

    fn begin(&mut self, _: u64, _: Option<&[DataSegment]>) -> Result<(), WriteError> {
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        self.0.data(data)
    }

    fn finish(&mut self) -> Result<ContentId, WriteError> {
        Ok(ContentId(0))
    }
}

/// An upper directory as a layer's tar.
fn commit(upper: &Path, options: UpperOptions) -> Result<(Vec<u8>, UpperSummary), UpperError> {
    let mut scanner = UpperScanner::open(upper, options)?;
    let mut tar = TarWriter::new(Vec::new());
    while let Some(entry) = scanner.next_entry()? {
        tar.append(&entry).unwrap();
        if matches!(entry.kind, EntryKind::File { .. }) {
            scanner
                .copy_into(&mut Data(&mut tar))
                .map_err(|e| match e {
                    CopyError::Scan(e) => UpperError::Scan(e),
                    other => panic!("{other}"),
                })?;
        } else {
            let none = scanner.copy_into(&mut Data(&mut tar));
            assert!(matches!(none, Err(CopyError::NoFile)));
        }
    }
    Ok((tar.finish().unwrap(), scanner.finish()?))
}

/// What umoci makes of layers.
fn unpacked(layers: &[&[u8]], dir: &Path) -> PathBuf {
    let mut layout = Layout::new();
    for tar in layers {
        layout = layout.gzip_layer(tar);
    }
    let image = dir.join("image");
    layout.write(&image);
    let bundle = dir.join("bundle");
    let mut umoci = run::command("umoci");
    umoci.args(["unpack", "--image"]);
    umoci
        .arg(format!("{}:latest", image.display()))
        .arg(&bundle);
    run::ok(&mut umoci);
    bundle.join("rootfs")
}

/// A base with something of everything that an overlay can change.
fn base() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.add(TarEntry::directory("./").mode(0o755).mtime(1000, 0));
    for dir in [
        "keep",
        "gone",
        "gone/deep",
        "again",
        "again/deep",
        "moved",
        "moved/deep",
        "meta",
        "types",
    ] {
        tar.add(
            TarEntry::directory(dir)
                .mode(0o750)
                .owner(3, 4)
                .mtime(1001, 5),
        );
    }
    for (path, data) in [
        ("keep/a", "a"),
        ("keep/b", "b"),
        ("gone/x", "x"),
        ("gone/deep/y", "y"),
        ("again/old", "old"),
        ("again/deep/old", "old"),
        ("moved/one", "one"),
        ("moved/two", "two"),
        ("moved/deep/three", "three"),
        ("meta/file", "data that stays"),
        ("meta/other", "other"),
        ("types/file", "file"),
        ("types/socket", "hidden by a socket"),
    ] {
        tar.add(
            TarEntry::file(path, data)
                .mode(0o640)
                .owner(5, 6)
                .mtime(1002, 7),
        );
    }
    tar.add(TarEntry::hard_link("keep/link", "keep/a"));
    tar.add(TarEntry::symlink("types/symlink", "file").mtime(1003, 0));
    tar.add(TarEntry::directory("types/directory").mtime(1004, 0));
    tar.add(TarEntry::file("types/directory/inside", "inside").mtime(1004, 0));
    tar.finish()
}

/// A base, and an overlay over it.
struct Overlay {
    dir: TempDir,
    base: Vec<u8>,
    mount: Option<Mount>,
}

impl Overlay {
    fn new(options: &str) -> Self {
        let dir = temp_dir();
        let base = base();
        let lower = unpacked(&[&base], dir.path());
        for name in ["upper", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let path = |name: &str| dir.path().join(name).display().to_string();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}{options}",
            lower.display(),
            path("upper"),
            path("work")
        );
        let args = ["-t", "overlay", "overlay", "-o", &options].map(OsStr::new);
        let mount = Mount::with(args).unwrap_or_else(|report| panic!("{report}"));
        Self {
            dir,
            base,
            mount: Some(mount),
        }
    }

    fn view(&self) -> &Path {
        self.mount.as_ref().unwrap().path()
    }

    fn upper(&self) -> PathBuf {
        self.dir.path().join("upper")
    }

    fn run(&self, script: &str) {
        let mut bash = run::command("bash");
        run::ok(bash.args(["-ec", script]).current_dir(self.view()));
    }

    /// The upper directory, applied to the base, is what the overlay shows; and the same bytes each time.
    fn check(&mut self, options: UpperOptions) -> UpperSummary {
        let shown = Snapshot::of(self.view());
        let (tar, summary) = commit(&self.upper(), options.clone()).unwrap();
        let (again, _) = commit(&self.upper(), options.clone()).unwrap();
        assert!(tar == again);
        if options.view.is_none() {
            // Not mounted, and in another place, where names are listed in another order.
            self.mount = None;
            let copy = self.dir.path().join("copy");
            let args = ["-a", "--sparse=always"];
            run::ok(run::command("cp").args(args).args([&self.upper(), &copy]));
            let (again, _) = commit(&copy, options).unwrap();
            assert!(tar == again);
        }
        let place = temp_dir();
        let applied = unpacked(&[&self.base, &tar], place.path());
        let allow = Allow::nothing()
            .also("a tar holds no sockets", |d| {
                d.field == Field::Presence && d.left.contains("socket")
            })
            .also(
                "a file that is copied up parts from its other names, which still count it",
                |d| d.field == Field::Links && d.path == b"keep/link",
            )
            .also(
                "umoci leaves out what looks like an overlay's",
                |d| matches!(&d.field, Field::Xattr(name) if name.starts_with(b"trusted.overlay.")),
            );
        shown.assert_same(&Snapshot::of(&applied), &allow);
        summary
    }
}

fn available() -> bool {
    require::root() && require::tool("umoci") && require::kernel_filesystem("overlay")
}

const EDITS: &str = r#"
    echo changed > keep/b; chown 70000:80000 keep/b; chmod 4711 keep/b
    rm -r gone
    rm -r again; mkdir -m 711 again; echo new > again/new; mkdir again/deep; ln again/new again/link
    rm types/file; mkdir types/file; echo x > types/file/x
    rm types/symlink; ln -s 'else where' types/symlink
    rm -r types/directory; echo file > types/directory
    rm types/socket
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("types/socket")'
    mkfifo -m 600 types/pipe; mknod types/null c 1 3; mknod types/disk b 7 300
    truncate -s 1M types/hole; echo end >> types/hole
    mkdir -p new/a/b/c; ln -s /etc new/a/link
    ln meta/file new/hard; ln new/a/link new/a/link-2; mv meta/other new/other; ln keep/a new/a-too
    printf '\xff\n' > "new/$(printf 'odd\xff\nname')"
    setfattr -n user.note -v text keep/b; setfattr -n trusted.mine -v mine new
    setcap cap_net_raw+ep keep/b
    setfacl -m u:9:rwx new
    touch -d @-1.5 new/a
    chmod 700 .
"#;

#[test]
fn every_kind_of_change() {
    if !available() || !require::tool("setcap") || !require::tool("setfacl") {
        return;
    }
    let mut overlay = Overlay::new(",redirect_dir=off,metacopy=off,index=off");
    overlay.run(EDITS);
    let summary = overlay.check(UpperOptions::default());
    assert_eq!(summary.sockets, 1);
    assert_eq!((summary.redirected, summary.metacopies), (0, 0));
    // `gone`, `meta/other`, and the socket.
    assert_eq!(summary.whiteouts, 3);
    // `again`, `types/file`, and what is new in the overlay: nothing below it is to be seen either.
    assert!(summary.opaque >= 2, "{summary:?}");
}

#[test]
fn an_overlay_that_nothing_changed() {
    if !available() {
        return;
    }
    let mut overlay = Overlay::new("");
    let summary = overlay.check(UpperOptions::default());
    assert_eq!(summary.entries, 1);
}

/// Overlays link one whiteout everywhere.
#[test]
fn many_whiteouts() {
    if !available() {
        return;
    }
    let mut overlay = Overlay::new(",redirect_dir=off,metacopy=off");
    overlay.run("rm keep/a keep/b keep/link moved/one moved/two; rm -r gone/deep");
    let summary = overlay.check(UpperOptions::default());
    assert_eq!(summary.whiteouts, 6);
}

#[test]
fn attributes_of_users() {
    if !available() {
        return;
    }
    let mut overlay = Overlay::new(",userxattr");
    overlay.run("rm -r again; mkdir again; echo new > again/new; rm gone/x; echo b > keep/b");
    // Root sees both kinds, and cannot know.
    let ambiguous = commit(&overlay.upper(), UpperOptions::default());
    assert!(matches!(ambiguous, Err(UpperError::Ambiguous { .. })));
    let mut options = UpperOptions::default();
    options.attributes = OverlayAttributes::User;
    let summary = overlay.check(options);
    assert!(summary.opaque >= 1 && summary.whiteouts >= 1);
}

/// What a user of the overlay set in the overlay's own namespace is the image's.
#[test]
fn attributes_that_only_look_like_the_overlays() {
    if !available() {
        return;
    }
    let mut overlay = Overlay::new(",redirect_dir=off,metacopy=off");
    overlay.run("setfattr -n user.overlay.opaque -v y keep");
    // Kernels before 6.7 refuse this.
    let mut set = run::command("setfattr");
    set.args(["-n", "trusted.overlay.opaque", "-v", "y", "moved"]);
    let escapes = run::output(set.current_dir(overlay.view()))
        .status
        .success();
    let mut options = UpperOptions::default();
    options.attributes = OverlayAttributes::Trusted;
    let mut scanner = UpperScanner::open(overlay.upper(), options.clone()).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = scanner.next_entry().unwrap() {
        assert_ne!(entry.kind, EntryKind::Opaque);
        for (name, value) in entry.metadata.xattrs.iter() {
            assert_eq!(value, b"y");
            let path = String::from_utf8_lossy(entry.path.as_bytes());
            found.push(format!("{path} {}", String::from_utf8_lossy(name)));
        }
    }
    let expected = ["keep user.overlay.opaque", "moved trusted.overlay.opaque"];
    assert_eq!(found, expected[..1 + usize::from(escapes)]);
    overlay.check(options);
}

const RENAMES: &str = r#"
    mv moved elsewhere
    echo changed > elsewhere/one; rm elsewhere/two; mkdir elsewhere/new; echo n > elsewhere/new/n
    mv elsewhere/deep keep/deeper
    mkdir moved; echo m > moved/m
    mv keep/deeper/three keep/three
"#;

#[test]
fn renamed_directories_are_read_from_the_overlay() {
    if !available() {
        return;
    }
    let mut overlay = Overlay::new(",redirect_dir=on,metacopy=off");
    overlay.run(RENAMES);
    let refused = commit(&overlay.upper(), UpperOptions::default());
    let said = refused.as_ref().unwrap_err().to_string();
    assert!(said.contains("(`--view DIR`)"), "{said}");
    let Err(UpperError::Redirect { path, from }) = refused else {
        panic!("a renamed directory is no layer");
    };
    assert_eq!(path.as_bytes(), b"elsewhere");
    assert_eq!(from, b"moved");
    let mut options = UpperOptions::default();
    options.view = Some(overlay.view().into());
    let summary = overlay.check(options);
    assert_eq!(summary.redirected, 2);
}

#[test]
fn files_without_their_data_are_read_from_the_overlay() {
    if !available() {
        return;
    }
    let mut overlay = Overlay::new(",redirect_dir=on,metacopy=on");
    overlay.run("chmod 600 meta/file; chown 1:2 meta/other; echo more >> meta/other; touch keep/a");
    let error = commit(&overlay.upper(), UpperOptions::default()).unwrap_err();
    assert!(matches!(&error, UpperError::Metacopy { .. }), "{error}");
    let mut options = UpperOptions::default();
    options.view = Some(overlay.view().into());
    let summary = overlay.check(options);
    assert!(summary.metacopies >= 1, "{summary:?}");
}

/// Whiteouts as files with an attribute, which Linux reads in lower layers: made by hand.
#[test]
fn whiteouts_as_files() {
    if !available() {
        return;
    }
    let dir = temp_dir();
    let script = "
        mkdir -p marked plain
        setfattr -n trusted.overlay.opaque -v x marked
        for dir in marked plain; do
            touch $dir/gone; ln $dir/gone $dir/too; echo data > $dir/full
            setfattr -n trusted.overlay.whiteout -v y $dir/gone $dir/full
        done
    ";
    run::ok(
        run::command("bash")
            .args(["-ec", script])
            .current_dir(dir.path()),
    );
    let mut scanner = UpperScanner::open(dir.path(), UpperOptions::default()).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = scanner.next_entry().unwrap() {
        assert!(entry.metadata.xattrs.is_empty());
        let kind = match entry.kind {
            EntryKind::Whiteout => "whiteout",
            EntryKind::Directory => "directory",
            EntryKind::File { .. } => "file",
            EntryKind::HardLink { .. } => "link",
            other => panic!("{other:?}"),
        };
        let path = String::from_utf8_lossy(entry.path.as_bytes());
        found.push(format!("{kind} {path}"));
    }
    let expected = [
        "directory ",
        "directory marked",
        "file marked/full",
        "whiteout marked/gone",
        "whiteout marked/too",
        "directory plain",
        "file plain/full",
        "file plain/gone",
        "link plain/too",
    ];
    let found: Vec<_> = found
        .iter()
        .map(|line| line.trim_end_matches('/'))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn names_that_would_be_whiteouts() {
    if !require::root() {
        return;
    }
    for name in [".wh.x", ".wh..wh..opq", ".wh."] {
        let dir = temp_dir();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d").join(name), "").unwrap();
        let (Err(UpperError::ReservedName { path }) | Err(UpperError::FuseOverlayfs { path, .. })) =
            commit(dir.path(), UpperOptions::default())
        else {
            panic!("{name} is not for a layer to say");
        };
        assert_eq!(path.as_bytes(), format!("d/{name}").as_bytes());
    }
}

#[test]
fn a_view_that_is_another_directory() {
    if !available() {
        return;
    }
    let overlay = Overlay::new(",redirect_dir=on,metacopy=on");
    overlay.run("mv moved elsewhere");
    let mut options = UpperOptions::default();
    options.view = Some(overlay.upper());
    // The upper directory has that name too, but not what is in it; only a directory without it can be told.
    let other = temp_dir();
    options.view = Some(other.path().into());
    let error = commit(&overlay.upper(), options.clone()).unwrap_err();
    assert!(matches!(error, UpperError::View { .. }), "{error}");
    std::os::unix::fs::symlink(overlay.view(), other.path().join("elsewhere")).unwrap();
    let error = commit(&overlay.upper(), options).unwrap_err();
    assert!(matches!(error, UpperError::View { .. }), "{error}");
}

/// What a scan yields, as lines: kind, path, owner, mode, attributes.
fn yielded(upper: &Path, fuse: Option<bool>) -> Result<Vec<String>, UpperError> {
    let mut options = UpperOptions::default();
    options.fuse_overlayfs = fuse;
    let mut scanner = UpperScanner::open(upper, options)?;
    let mut lines = Vec::new();
    while let Some(entry) = scanner.next_entry()? {
        let kind = match &entry.kind {
            EntryKind::File { size, .. } => format!("file:{size}"),
            EntryKind::Directory => "dir".to_owned(),
            EntryKind::Whiteout => "gone".to_owned(),
            EntryKind::Opaque => "opaque".to_owned(),
            EntryKind::CharDevice(d) => format!("char:{}:{}", d.major, d.minor),
            other => format!("{other:?}"),
        };
        let m = &entry.metadata;
        let mut line = format!("{kind} {}", String::from_utf8_lossy(entry.path.as_bytes()));
        if !matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque) {
            line.push_str(&format!(" {}:{} {:o}", m.uid, m.gid, m.mode));
        }
        for (name, value) in m.xattrs.iter() {
            let (name, value) = (
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value),
            );
            line.push_str(&format!(" {name}={value}"));
        }
        lines.push(line);
    }
    Ok(lines)
}

fn set(path: &Path, name: &str, value: &str) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, name, value.as_bytes(), flags).unwrap();
}

/// An upper directory as fuse-overlayfs 1.10 left it after files and directories were removed, replaced and given owners,
/// with devices for removed names.
fn fuse_upper(dir: &Path) -> PathBuf {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let upper = dir.join("upper");
    let whiteout = |name: &str| {
        mknodat(
            CWD,
            upper.join(name),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )
        .unwrap();
    };
    for name in ["", "d", "keep"] {
        std::fs::create_dir(upper.join(name)).unwrap();
    }
    whiteout("d/.wh..opq");
    whiteout("gone");
    std::fs::write(upper.join("d/.wh..wh..opq"), "").unwrap();
    std::fs::write(upper.join("d/n"), "n\n").unwrap();
    std::fs::write(upper.join("keep/x"), "3\n").unwrap();
    std::fs::write(upper.join("keep/.wh.y"), "").unwrap();
    std::fs::write(upper.join("null"), "").unwrap();
    set(&upper.join("d"), "trusted.overlay.opaque", "y");
    set(&upper.join("keep/x"), "user.fuseoverlayfs.origin", "keep/x");
    for name in ["", "d", "d/n", "keep", "keep/x", "null"] {
        let path = upper.join(name);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
    }
    upper
}

/// Following the hint to rename `.wh.` files brought deleted files back.
#[test]
fn an_upper_directory_of_fuse_overlayfs_is_understood_or_refused() {
    if !require::root() {
        return;
    }
    let dir = temp_dir();
    let upper = fuse_upper(dir.path());
    for entry in ["keep", "null"] {
        // Without those, the first mark in the way is each time another.
        let found = yielded(&upper, None).unwrap_err().to_string();
        assert!(found.contains("--fuse-overlayfs true"), "{entry}: {found}");
    }
    assert!(matches!(
        yielded(&upper, Some(false)),
        Err(UpperError::ReservedName { .. })
    ));
    let expected = [
        "dir  0:0 755",
        "dir d 0:0 755",
        "opaque d",
        "gone d/.opq",
        "file:2 d/n 0:0 644",
        "gone gone",
        "dir keep 0:0 755",
        "gone keep/y",
        "file:2 keep/x 0:0 644",
        "file:0 null 0:0 644",
    ];
    assert_eq!(yielded(&upper, Some(true)).unwrap(), expected);

    // Owners and modes in attributes, where the top directory has one too; an attribute of a user's with such a name.
    set(
        &upper.join("d/n"),
        "user.containers.override_stat",
        "5:6:104711",
    );
    set(
        &upper.join("null"),
        "user.containers.override_stat",
        "0:0:0666:char-1-3",
    );
    set(
        &upper.join("keep/x"),
        "user.containers.override_user.overlay.x",
        "own",
    );
    let expected = |lines: &[String], line: &str| {
        assert!(lines.iter().any(|l| l == line), "{line} in {lines:#?}");
    };
    let lines = yielded(&upper, Some(true)).unwrap();
    expected(
        &lines,
        "file:2 d/n 0:0 644 user.containers.override_stat=5:6:104711",
    );
    expected(&lines, "file:2 keep/x 0:0 644 user.overlay.x=own");
    set(&upper, "user.containers.override_stat", "7:8:0700:dir");
    let lines = yielded(&upper, Some(true)).unwrap();
    expected(&lines, "dir  7:8 700");
    expected(&lines, "file:2 d/n 5:6 4711");
    expected(&lines, "char:1:3 null 0:0 666");
    set(
        &upper.join("d/n"),
        "user.containers.override_stat",
        "0:0:0666:char-1-3",
    );
    assert!(matches!(
        yielded(&upper, Some(true)),
        Err(UpperError::OverrideStat { .. })
    ));
    set(
        &upper.join("d/n"),
        "user.containers.override_stat",
        "0:0:0666",
    );
    set(&upper.join("d"), "user.fuseoverlayfs.redirect", "/else");
    assert!(matches!(
        yielded(&upper, Some(true)),
        Err(UpperError::Redirect { .. })
    ));
}

#[test]
fn attributes_of_fuse_overlayfs_are_not_taken_for_the_images() {
    let dir = temp_dir();
    for (name, value) in [
        ("user.fuseoverlayfs.opaque", "y"),
        ("user.fuseoverlayfs.origin", "x"),
        ("user.containers.override_stat", "0:0:4755"),
    ] {
        let upper = dir.path().join(name);
        std::fs::create_dir_all(upper.join("d")).unwrap();
        set(&upper.join("d"), name, value);
        match yielded(&upper, None) {
            Err(UpperError::FuseOverlayfs { mark, .. }) => assert!(mark.contains(name), "{mark}"),
            other => panic!("{name}: {other:?}"),
        }
        // Said to be data, it is.
        let lines = yielded(&upper, Some(false)).unwrap();
        assert!(lines[1].ends_with(&format!("{name}={value}")), "{lines:?}");
    }
}
