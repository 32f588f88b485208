//! `lithify mount composefs:REPO[:NAME]`: images of repositories, as the kernel sees them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use lithify::composefs::oci::{self, NewImage};
use lithify::composefs::repository::{OpenOptions, Publication, Repository};
use lithify_testkit::{Allow, Kind, Snapshot, TarEntry, require, run, temp_dir};
use lithify_verity::file::{FileAlgorithm, FileDigest};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use rustix::io::Errno;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::repositories::{object, object_of, repository, store_tree};
use crate::common::{erofs, image, layer, lithify, lithify_output, stderr};

const ALGORITHM: FileAlgorithm = FileAlgorithm::Sha256;

/// Root, EROFS, and overlayfs with layers of data alone. (Names of attributes are escaped since Linux 6.7, which is not asked.)
fn can_mount() -> bool {
    require::kernel_erofs() && require::kernel_filesystem("overlay") && data_layers()
}

fn data_layers() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    require::met((next(), next()) >= (6, 7), "Linux 6.7")
}

/// A repository, and what is mounted of it until the test ends.
struct Place {
    tmp: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { tmp: temp_dir() };
        for directory in ["tree", "mnt"] {
            fs::create_dir(place.at(directory)).unwrap();
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    /// Stores the tree under a name.
    fn store(&self, name: &str) -> FileDigest {
        let repository = repository(&self.at("repository"), ALGORITHM);
        store_tree(&repository, &self.at("tree"), name)
    }

    fn source(&self, name: &str) -> String {
        format!("composefs:{}{name}", self.at("repository").display())
    }

    fn mount(&self, name: &str, options: &[&OsStr]) {
        let mut command = lithify();
        command.args(["-q", "mount"]).arg(self.source(name));
        run::ok(command.arg(self.at("mnt")).args(options));
    }

    #[track_caller]
    fn refused(&self, name: &str, options: &[&str], status: i32, message: &str) {
        let (source, point) = (self.source(name), self.at("mnt"));
        let mut arguments = vec!["mount", &source, point.to_str().unwrap()];
        arguments.extend(options);
        let output = lithify_output(arguments);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{error}");
        assert!(error.contains(message), "{error}");
        self.assert_clean();
    }

    fn unmount(&self) {
        run::ok(lithify().arg("umount").arg(self.at("mnt")));
        self.assert_clean();
    }

    #[track_caller]
    fn assert_clean(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let here = self.tmp.path().to_str().unwrap();
        assert!(!mounts.contains(here), "{mounts}");
    }

    /// The line that `lithify mounts` has of the mount.
    fn listed(&self) -> Value {
        let listed = run::text(lithify().args(["mounts", "--json"]));
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let point = self.at("mnt");
        let mut all = listed.as_array().unwrap().iter();
        all.find(|m| m["target"] == point.to_str().unwrap())
            .unwrap()
            .clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let here = self.tmp.path().to_str().unwrap_or_default();
        for _ in mounts.lines().filter(|line| line.contains(here)) {
            for point in ["nested", "mnt"] {
                let mut command = run::command("umount");
                drop(command.arg("--lazy").arg(self.at(point)).output());
            }
        }
    }
}

fn device(path: &Path, kind: FileType, major: u32, minor: u32) {
    mknodat(
        CWD,
        path,
        kind,
        Mode::from_raw_mode(0o640),
        makedev(major, minor),
    )
    .unwrap();
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn data(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i * 7 + i / 251 + length) as u8)
        .collect()
}

/// Writes a tree with everything a tree may have.
fn write_tree(top: &Path) {
    let at = |name: &str| top.join(name);
    fs::create_dir_all(at("d/sub")).unwrap();
    for length in [0, 1, 64, 65, 4096, 300_000] {
        fs::write(at(&format!("d/{length}")), data(length)).unwrap();
    }
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 2 << 20).unwrap();
    fs::hard_link(at("d/4096"), at("a-hard-link")).unwrap();
    fs::hard_link(at("d/64"), at("d/sub/hard")).unwrap();
    symlink("d/65", at("link")).unwrap();
    symlink("t".repeat(4000), at("long-link")).unwrap();
    fs::write(at("n".repeat(255).as_str()), data(100)).unwrap();
    // As names of directories of objects.
    fs::write(at("ab"), data(70)).unwrap();
    device(&at("null"), FileType::CharacterDevice, 1, 3);
    device(&at("block"), FileType::BlockDevice, 7, 200);
    device(&at("pipe"), FileType::Fifo, 0, 0);
    drop(UnixListener::bind(at("socket")).unwrap());
    let set = |name: &str, mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(at(name), mode).unwrap();
    };
    std::os::unix::fs::chown(at("d/300000"), Some(4_000_000_000), Some(70_000)).unwrap();
    set("d/65", 0o4755);
    set("d/sub", 0o1777);
    set("", 0o751);
    attribute(&at("d/65"), "user.empty", b"");
    attribute(&at("d/65"), "user.name", b"value\0\xff");
    attribute(&at("d"), "trusted.name", b"of a directory");
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    attribute(&at("d/4096"), "security.capability", capability);
    // An ACL: the owner, user 5, the group, a mask, others.
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (1_u16, 6_u16, !0),
        (2, 4, 5),
        (4, 4, !0),
        (16, 4, !0),
        (32, 0, !0_u32),
    ] {
        acl.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    attribute(&at("d/1"), "system.posix_acl_access", &acl);
    // The tree's own, which are nothing to the overlay it is mounted by.
    attribute(&at("d/sub"), "trusted.overlay.opaque", b"y");
    attribute(&at("d/65"), "trusted.overlay.redirect", b"/d/1");
    attribute(&at("d/64"), "trusted.overlay.metacopy", b"");
    attribute(&at("d/64"), "user.overlay.origin", b"x");
    let times = ["--no-dereference", "-d", "1950-02-03 04:05:06.789 UTC"];
    run::ok(run::command("touch").args(times).arg(at("d/65")));
    run::ok(run::command("touch").args(times).arg(at("link")));
    let times = ["-d", "2001-02-03 04:05:06.000000001 UTC"];
    run::ok(run::command("touch").args(times).arg(top));
}

#[test]
fn the_mounted_tree_is_the_one_that_was_stored() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    write_tree(&place.at("tree"));
    let expected = Snapshot::of(&place.at("tree"));
    let id = place.store("a/tree:1");
    let before = Snapshot::of(&place.at("repository"));
    place.mount(":a/tree:1", &[]);
    Snapshot::of(&place.at("mnt")).assert_same(&expected, &Allow::nothing());
    let refused = fs::write(place.at("mnt/new"), "x").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem);
    // A device is there and cannot be opened.
    assert!(fs::read(place.at("mnt/null")).is_err());
    let listed = place.listed();
    assert_eq!(listed["kind"], "composefs");
    assert_eq!(listed["source"], place.source(":a/tree:1"));
    assert_eq!(listed["writable"], Value::Null);
    place.unmount();
    let options = ["--dev", "--suid"].map(OsStr::new);
    place.mount(&format!(":{}", id.hex()), &options);
    assert!(fs::read(place.at("mnt/null")).unwrap().is_empty());
    place.unmount();

    // With changes, which come back; what is stored stays as it is.
    let changes = place.at("changes");
    let options = [OsStr::new("--rw"), changes.as_os_str()];
    place.mount(":a/tree:1", &options);
    Snapshot::of(&place.at("mnt")).assert_same(&expected, &Allow::nothing());
    fs::write(place.at("mnt/d/65"), "changed").unwrap();
    fs::write(place.at("mnt/d/new"), "new").unwrap();
    fs::remove_file(place.at("mnt/d/300000")).unwrap();
    fs::rename(place.at("mnt/d/sub"), place.at("mnt/renamed")).unwrap();
    std::os::unix::fs::chown(place.at("mnt/sparse"), Some(9), None).unwrap();
    let changed = Snapshot::of(&place.at("mnt"));
    assert_eq!(
        place.listed()["writable"],
        changes.canonicalize().unwrap().to_str().unwrap()
    );
    place.unmount();
    place.mount(":a/tree:1", &options);
    Snapshot::of(&place.at("mnt")).assert_same(&changed, &Allow::nothing());
    assert_eq!(fs::read(place.at("mnt/d/65")).unwrap(), b"changed");
    assert!(!place.at("mnt/d/300000").exists());
    assert_eq!(fs::metadata(place.at("mnt/sparse")).unwrap().uid(), 9);
    assert_eq!(changed.at("sparse").kind, expected.at("sparse").kind);
    place.unmount();
    Snapshot::of(&place.at("repository")).assert_same(&before, &Allow::nothing());
}

/// A removed name in the tree is one to an overlay above it, not to the one it is mounted by.
#[test]
fn whiteouts_of_the_tree_remove_names_from_what_lies_below_it() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    for name in ["tree/d", "below/d", "below/e", "nested"] {
        fs::create_dir_all(place.at(name)).unwrap();
    }
    device(&place.at("tree/gone"), FileType::CharacterDevice, 0, 0);
    device(&place.at("tree/d/gone"), FileType::CharacterDevice, 0, 0);
    fs::write(place.at("tree/d/there"), data(100)).unwrap();
    for name in ["gone", "d/gone", "d/kept", "e/kept"] {
        fs::write(place.at("below").join(name), "below").unwrap();
    }
    place.store("upper");
    place.mount(":upper", &[]);
    let mounted = Snapshot::of(&place.at("mnt"));
    // As with `mount.composefs`: an empty file with the mark.
    for name in ["gone", "d/gone"] {
        let node = mounted.at(name);
        assert!(matches!(node.kind, Kind::File { size: 0, .. }), "{node}");
        assert_eq!(node.xattrs[&b"trusted.overlay.whiteout"[..]], b"");
    }
    let marks = &mounted.at("d").xattrs;
    assert_eq!(marks[&b"trusted.overlay.opaque"[..]], b"x");
    let layers = format!(
        "ro,lowerdir={}:{}",
        place.at("mnt").display(),
        place.at("below").display()
    );
    let mut command = run::command("mount");
    command.args(["-t", "overlay", "overlay", "-o", &layers]);
    run::ok(command.arg(place.at("nested")));
    let nested = Snapshot::of(&place.at("nested"));
    run::ok(run::command("umount").arg(place.at("nested")));
    let names: Vec<_> = nested
        .nodes
        .keys()
        .map(|n| String::from_utf8_lossy(n))
        .collect();
    assert_eq!(names, ["", "d", "d/kept", "d/there", "e", "e/kept"]);
    place.unmount();
}

#[test]
fn an_object_that_is_missing_is_an_error_of_its_file_alone() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    for length in [60, 65, 70_000] {
        fs::write(place.at(&format!("tree/{length}")), data(length)).unwrap();
    }
    place.store("a");
    fs::remove_file(object_of(&place.at("repository"), ALGORITHM, &data(65))).unwrap();
    place.mount(":a", &[]);
    let error = fs::read(place.at("mnt/65")).unwrap_err();
    // Which of them is said differs by the version of Linux.
    let errno = Errno::from_io_error(&error);
    assert!(matches!(errno, Some(Errno::IO | Errno::NOENT)), "{error}");
    assert_eq!(fs::metadata(place.at("mnt/65")).unwrap().len(), 65);
    for length in [60, 70_000] {
        let read = fs::read(place.at(&format!("mnt/{length}"))).unwrap();
        assert!(read == data(length));
    }
    place.unmount();
}

#[test]
fn an_image_that_is_not_what_its_id_says_is_not_mounted() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    fs::write(place.at("tree/file"), data(100)).unwrap();
    let good = place.store("good");
    fs::write(place.at("tree/file"), data(101)).unwrap();
    let bad = place.store("bad");
    let path = object(&place.at("repository"), &bad);
    let whole = fs::read(&path).unwrap();
    // The mode of the root directory: any kernel would mount that.
    let mut changed = whole.clone();
    changed[1152 + 4] ^= 0o22;
    fs::write(&path, changed).unwrap();
    place.refused(":bad", &[], 3, &bad.hex());
    fs::write(&path, &whole[..whole.len() - 4096]).unwrap();
    place.refused(":bad", &[], 3, &bad.hex());
    fs::remove_file(&path).unwrap();
    place.refused(":bad", &[], 3, &bad.hex());
    // Another image under its name.
    fs::write(&path, whole).unwrap();
    let link = place.at("repository/images").join(bad.hex());
    let target = fs::read_link(place.at("repository/images").join(good.hex())).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(target, &link).unwrap();
    place.refused(":bad", &[], 3, &bad.hex());
    // An object that is no image.
    let plain = repository(&place.at("repository"), ALGORITHM);
    let other = plain.store_object(&data(5000)).unwrap().id;
    let mut publication = Publication::new();
    publication.image(other);
    publication.image_reference("other", &other).unwrap();
    plain.publish(&publication).unwrap();
    place.refused(":other", &[], 1, "not one of composefs");
    place.mount(":good", &[]);
    assert!(fs::read(place.at("mnt/file")).unwrap() == data(100));
    place.unmount();
}

/// `cfsctl` 0.9.4 requires fs-verity of what is mounted by name, also where there is none: then no file can be read.
#[test]
fn a_repository_without_fs_verity_is_mounted_by_name_and_read() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    fs::write(place.at("tree/file"), data(5000)).unwrap();
    let id = place.store("name");
    let by_id = format!(":{}", id.hex());
    for name in ["", ":name", &by_id] {
        for verity in ["auto", "off"] {
            place.mount(name, &["--verity", verity].map(OsStr::new));
            assert!(fs::read(place.at("mnt/file")).unwrap() == data(5000));
            place.unmount();
        }
    }
    place.refused(":name", &["--verity", "require"], 1, "is not under it");
    place.refused(":name", &["--verity", "perhaps"], 2, "auto");
    place.refused(":other", &[], 1, "other");
    fs::write(place.at("tree/more"), "").unwrap();
    place.store("second");
    place.refused("", &[], 2, "name, second");
    // fs-verity of what has none is not passed over.
    let (tree, point) = (place.at("tree"), place.at("mnt"));
    let rootfs = format!("rootfs:{}", tree.display());
    let arguments = [
        "mount",
        &rootfs,
        point.to_str().unwrap(),
        "--verity",
        "require",
    ];
    let output = lithify_output(arguments);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    place.assert_clean();
}

/// The kernel takes no file of tmpfs as an image, and 255 bytes of a name.
#[test]
fn a_repository_on_tmpfs_and_below_a_long_path_is_mounted() {
    if !can_mount() || !require::met(Path::new("/dev/shm").is_dir(), "/dev/shm") {
        return;
    }
    let mut place = Place::new();
    fs::write(place.at("tree/file"), data(5000)).unwrap();
    let expected = Snapshot::of(&place.at("tree"));
    let tmpfs = tempfile::tempdir_in("/dev/shm").unwrap();
    let long = tmpfs.path().join("l".repeat(200)).join("l".repeat(200));
    fs::create_dir_all(&long).unwrap();
    let path = long.join("repository");
    store_tree(
        &repository(&path, FileAlgorithm::Sha512),
        &place.at("tree"),
        "a",
    );
    symlink(&path, place.at("repository")).unwrap();
    for (name, options) in [
        (":a", &[][..]),
        ("", &[OsStr::new("--rw"), long.join("rw").as_os_str()]),
    ] {
        place.mount(name, options);
        Snapshot::of(&place.at("mnt")).assert_same(&expected, &Allow::nothing());
        assert_eq!(place.listed()["kind"], "composefs");
        place.unmount();
    }
    let loops = run::text(run::command("losetup").args(["--list", "--noheadings"]));
    assert!(!loops.contains(tmpfs.path().to_str().unwrap()), "{loops}");
    place.tmp = temp_dir();
}

/// An image built of layers is mounted by its tag, its manifest and its id, as the image that has its data is; changes to it
/// become a layer.
#[test]
fn an_image_of_containers_is_mounted_as_its_flat_image_is() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let layers = [
        layer([
            TarEntry::directory("d").mtime(1_000_000_000, 7),
            TarEntry::file("d/gone", data(100)),
            TarEntry::file("d/kept", data(70_000)).mtime(-5, 500_000_000),
            TarEntry::file("d/short", data(64)),
            TarEntry::hard_link("hard", "d/kept"),
            TarEntry::directory("e"),
            TarEntry::file("e/renamed", data(300)),
            TarEntry::symlink("link", "d/kept"),
            TarEntry::file("su", data(65))
                .mode(0o4755)
                .xattr("user.a", b"b"),
        ]),
        layer([
            TarEntry::whiteout("d/gone"),
            TarEntry::file("d/new", data(5000)),
        ]),
    ];
    let source = image(place.tmp.path(), layers);
    let repository = place.source(":app");
    let mut command = lithify();
    command.args(["-q", "build", "--json", &source, "-f", "composefs", "-o"]);
    let built: Value = serde_json::from_str(&run::text(command.arg(&repository))).unwrap();
    let id = built["artifacts"][0]["image_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let manifest = built["manifest_digest"].as_str().unwrap().to_owned();
    let flat = erofs(&source, place.tmp.path());
    run::ok(
        lithify()
            .args(["-q", "mount"])
            .arg(&flat)
            .arg(place.at("mnt")),
    );
    let expected = Snapshot::of(&place.at("mnt"));
    place.unmount();
    for name in [":app", "", &format!("@{manifest}"), &format!(":{id}")] {
        place.mount(name, &[]);
        Snapshot::of(&place.at("mnt")).assert_same(&expected, &Allow::nothing());
        place.unmount();
    }
    let said = run::text(lithify().args(["verify", &repository]));
    assert!(
        said.contains(&format!("composefs image sha256:{id}")),
        "{said}"
    );

    let changes = place.at("changes");
    place.mount(":app", &[OsStr::new("--rw"), changes.as_os_str()]);
    fs::write(place.at("mnt/d/new"), "changed").unwrap();
    fs::rename(place.at("mnt/e"), place.at("mnt/f")).unwrap();
    std::os::unix::fs::chown(place.at("mnt/su"), Some(5), None).unwrap();
    let expected = Snapshot::of(&place.at("mnt"));
    let (committed, point) = (place.source(":changed"), place.at("mnt"));
    let mut command = lithify();
    command
        .args(["-q", "commit"])
        .arg(&changes)
        .arg("--view")
        .arg(&point);
    run::ok(command.args(["--base", &repository, "-o", &committed]));
    place.unmount();
    place.mount(":changed", &[]);
    Snapshot::of(&place.at("mnt")).assert_same(&expected, &Allow::nothing());
    place.unmount();
    run::ok(lithify().args(["-q", "verify", &committed]));

    // Damage is what `verify` finds, by the names of files.
    fs::write(
        object_of(&place.at("repository"), ALGORITHM, &data(5000)),
        data(4999),
    )
    .unwrap();
    let output = lithify_output(["verify", &repository]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("/d/new -> objects/"), "{said}");
}

#[test]
fn an_image_of_containers_that_nothing_was_made_of_is_said_to_be_one() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let source = image(place.tmp.path(), [layer([TarEntry::file("f", data(100))])]);
    let repository = place.source(":app");
    let mut command = lithify();
    command.args(["-q", "build", &source, "-f", "composefs", "-o"]);
    run::ok(command.arg(&repository));
    // As a program writes it that makes no images.
    let opened = Repository::open(place.at("repository"), &OpenOptions::new()).unwrap();
    let app = oci::Image::open_tag(&opened, "app").unwrap();
    let layers = app.layers.iter().map(|layer| (layer.digest, layer.id));
    let new = NewImage {
        digest: app.digest,
        manifest: &app.manifest,
        config: &app.config,
        layers: &layers.collect(),
        images: &BTreeMap::new(),
        kept: &[],
    };
    let stored = oci::store_image(&opened, &new).unwrap();
    let mut publication = Publication::new();
    stored.publish(&mut publication).unwrap();
    opened.publish(&publication).unwrap();
    drop(opened);
    place.refused(":app", &[], 1, "`lithify build -f composefs` makes one");
    let said = run::text(lithify().args(["verify", &repository]));
    assert!(
        said.contains(": ok, ") && !said.contains("composefs image"),
        "{said}"
    );
}

/// Its own mounts of our repositories, and ours of its own.
#[test]
fn cfsctl_mounts_the_same_tree() {
    if !can_mount() {
        return;
    }
    let Some(program) = require::cfsctl() else {
        return;
    };
    let place = Place::new();
    write_tree(&place.at("tree"));
    // It takes its root directory's metadata from there.
    fs::create_dir(place.at("tree/usr")).unwrap();
    let id = place.store("ours");
    let theirs = place.at("theirs");
    let cfsctl = |repository: &Path| {
        let mut command = run::command(program.to_str().unwrap());
        command.arg("--repo").arg(repository);
        command
    };
    let mounted = |repository: &Path, id: &str| {
        let point = place.at("mnt");
        run::ok(cfsctl(repository).args(["mount", id]).arg(&point));
        let tree = Snapshot::of(&point);
        run::ok(run::command("umount").arg(&point));
        tree
    };
    let by_cfsctl = mounted(&place.at("repository"), &id.hex());
    place.mount(":ours", &[]);
    Snapshot::of(&place.at("mnt")).assert_same(&by_cfsctl, &Allow::nothing());
    place.unmount();

    run::ok(cfsctl(&theirs).args(["init", "--insecure"]));
    let made = run::text(
        cfsctl(&theirs)
            .arg("create-image")
            .arg(place.at("tree"))
            .arg("a"),
    );
    let made = made.trim().rsplit(':').next().unwrap().to_owned();
    let by_cfsctl = mounted(&theirs, &made);
    fs::rename(place.at("repository"), place.at("ours")).unwrap();
    fs::rename(&theirs, place.at("repository")).unwrap();
    for name in [":a", &format!(":{made}")] {
        place.mount(name, &[]);
        Snapshot::of(&place.at("mnt")).assert_same(&by_cfsctl, &Allow::nothing());
        place.unmount();
    }
    run::ok(lithify().args(["-q", "verify", &place.source(":a")]));
}
