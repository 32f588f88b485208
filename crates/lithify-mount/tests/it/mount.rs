//! Against the kernel, with images `mkfs.erofs` made.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{Place, run};
use lithify_mount::{MountError, MountOptions, User, mount, mount_file, umount};
use lithify_testkit::program;

/// Says that a test is skipped; true if it is.
fn skip() -> bool {
    crate::place::skip(&["mkfs.erofs", "losetup"])
}

/// A place with an image.
fn place_with_image() -> Place {
    place_within(&std::env::temp_dir())
}

/// The image lies in `directory`.
fn place_within(directory: &Path) -> Place {
    let place = Place::within(directory);
    let root = place.at("root");
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::write(root.join("file"), "from the image").unwrap();
    fs::write(root.join("dir/gone"), "from the image").unwrap();
    fs::write(root.join("su"), "").unwrap();
    fs::set_permissions(root.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    run(Command::new("mknod")
        .arg(root.join("null"))
        .args(["c", "1", "3"]));
    fs::set_permissions(&root, fs::Permissions::from_mode(0o751)).unwrap();
    let times = ["-d", "2001-02-03 04:05:06.789 UTC"];
    run(Command::new("touch").args(times).arg(&root));
    run(Command::new("mkfs.erofs")
        .arg("--quiet")
        .arg(place.image())
        .arg(&root));
    place
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

fn writable(place: &Place, name: &str) -> MountOptions {
    let writable = Some(place.at(name));
    MountOptions {
        writable,
        ..MountOptions::default()
    }
}

#[test]
fn a_file_is_mounted_read_only_and_harmless() {
    if skip() {
        return;
    }
    let place = place_with_image();
    mount(&place.image(), &place.target(), &MountOptions::default()).unwrap();
    assert_eq!(read(place.target().join("file")), "from the image");
    let error = fs::write(place.target().join("new"), "").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    // The device is there, with its number, and cannot be opened.
    let null = place.target().join("null");
    assert_eq!(fs::metadata(&null).unwrap().rdev(), 1 << 8 | 3);
    let error = File::open(&null).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    let mounts = place.mounts();
    assert_eq!(mounts.len(), 1);
    assert!(mounts[0].contains("nosuid,nodev"), "{mounts:?}");
    umount(&place.target()).unwrap();
    place.assert_clean();
}

#[test]
fn what_the_image_brings_works_if_asked_for() {
    if skip() {
        return;
    }
    let place = place_with_image();
    let options = MountOptions {
        setuid: true,
        devices: true,
        ..MountOptions::default()
    };
    mount(&place.image(), &place.target(), &options).unwrap();
    assert_eq!(fs::read(place.target().join("null")).unwrap(), b"");
    assert!(!place.mounts()[0].contains("nosuid"));
    umount(&place.target()).unwrap();
    place.assert_clean();
}

/// tmpfs cannot back an EROFS mount by itself, on any kernel: the way over a loop device.
#[test]
fn a_file_on_tmpfs_gets_a_loop_device_that_goes_away() {
    let shm = Path::new("/dev/shm");
    if skip() || !shm.is_dir() {
        return;
    }
    let place = place_within(shm);
    for options in [MountOptions::default(), writable(&place, "rw")] {
        mount(&place.image(), &place.target(), &options).unwrap();
        assert_eq!(read(place.target().join("file")), "from the image");
        assert_eq!(place.loop_devices().len(), 1);
        umount(&place.target()).unwrap();
        place.assert_clean();
    }
}

#[test]
fn a_file_without_a_name_is_mounted_too() {
    if skip() {
        return;
    }
    for directory in [std::env::temp_dir(), "/dev/shm".into()] {
        let place = place_within(&directory);
        let file = File::open(place.image()).unwrap();
        fs::remove_file(place.image()).unwrap();
        mount_file(&file, &place.target(), &MountOptions::default()).unwrap();
        drop(file);
        assert_eq!(read(place.target().join("file")), "from the image");
        umount(&place.target()).unwrap();
        place.assert_clean();
    }
}

#[test]
fn changes_are_kept_and_come_back() {
    if skip() {
        return;
    }
    let place = place_with_image();
    let before = fs::read(place.image()).unwrap();
    let options = writable(&place, "changes");
    mount(&place.image(), &place.target(), &options).unwrap();
    assert_eq!(place.mounts().len(), 1, "only the overlay is in the table");
    let top = fs::metadata(place.target()).unwrap();
    assert_eq!(top.mode() & 0o7777, 0o751, "the top looks like the image's");
    assert_eq!((top.mtime(), top.mtime_nsec()), (981_173_106, 789_000_000));

    fs::write(place.target().join("file"), "changed").unwrap();
    fs::write(place.target().join("new"), "new").unwrap();
    fs::remove_file(place.target().join("dir/gone")).unwrap();
    fs::remove_dir(place.target().join("dir/sub")).unwrap();
    assert_eq!(read(place.at("changes/upper/new")), "new");
    let whiteout = fs::symlink_metadata(place.at("changes/upper/dir/gone")).unwrap();
    assert_eq!(
        (whiteout.mode() & 0o170_000, whiteout.rdev()),
        (0o020_000, 0)
    );
    umount(&place.target()).unwrap();
    place.assert_clean();
    assert_eq!(fs::read_dir(place.target()).unwrap().count(), 0);

    mount(&place.image(), &place.target(), &options).unwrap();
    assert_eq!(read(place.target().join("file")), "changed");
    assert_eq!(read(place.target().join("new")), "new");
    assert!(!place.target().join("dir/gone").exists());
    assert!(!place.target().join("dir/sub").exists());
    umount(&place.target()).unwrap();
    place.assert_clean();
    assert_eq!(
        fs::read(place.image()).unwrap(),
        before,
        "the image is as it was"
    );
}

#[test]
fn one_directory_keeps_the_changes_of_one_mount() {
    if skip() {
        return;
    }
    let place = place_with_image();
    let options = writable(&place, "rw");
    mount(&place.image(), &place.target(), &options).unwrap();
    let second = place.at("second");
    fs::create_dir(&second).unwrap();
    let error = mount(&place.image(), &second, &options).unwrap_err();
    match error {
        MountError::WritableInUse { mounted, .. } => assert_eq!(mounted, place.target()),
        other => panic!("{other}"),
    }
    // The same image, with changes of its own, is fine.
    mount(&place.image(), &second, &writable(&place, "rw2")).unwrap();
    umount(&second).unwrap();
    umount(&place.target()).unwrap();
    place.assert_clean();
}

#[test]
fn odd_paths_are_no_options() {
    if skip() {
        return;
    }
    let place = place_with_image();
    let odd = "a b,upperdir=:\\\u{fc}\n";
    let target = place.at(&format!("mnt {odd}"));
    fs::create_dir(&target).unwrap();
    let image = place.at(&format!("image {odd}"));
    fs::rename(place.image(), &image).unwrap();
    let options = writable(&place, odd);
    mount(&image, &target, &options).unwrap();
    fs::write(target.join("new"), "x").unwrap();
    let mounts = lithify_mount::mounts().unwrap();
    let mounted = mounts.iter().find(|m| m.target == target).unwrap();
    assert_eq!(mounted.writable.as_deref(), Some(&*place.at(odd)));
    // The kernel would only warn.
    let error = mount(&image, &place.target(), &options).unwrap_err();
    assert!(matches!(error, MountError::WritableInUse { .. }), "{error}");
    umount(&target).unwrap();
    assert_eq!(read(place.at(odd).join("upper/new")), "x");
    mount(&image, &target, &MountOptions::default()).unwrap();
    umount(&target).unwrap();
    place.assert_clean();
}

#[test]
fn only_images_are_unmounted() {
    if skip() {
        return;
    }
    let place = place_with_image();
    let error = umount(&place.target()).unwrap_err();
    assert!(matches!(error, MountError::NotMounted { .. }), "{error}");
    let error = umount(&place.at("missing")).unwrap_err();
    assert!(matches!(error, MountError::Unmount { .. }), "{error}");
    run(Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(place.target()));
    let error = umount(&place.target()).unwrap_err();
    match error {
        MountError::Foreign { filesystem, .. } => assert_eq!(filesystem, "tmpfs"),
        other => panic!("{other}"),
    }
    // An image over it can be taken off again, and leaves it.
    mount(&place.image(), &place.target(), &MountOptions::default()).unwrap();
    umount(&place.target()).unwrap();
    run(Command::new("umount").arg("--lazy").arg(place.target()));
    // Someone else's overlay.
    for dir in ["l", "u", "w"] {
        fs::create_dir(place.at(dir)).unwrap();
    }
    let here = place.work.path().display();
    let options = format!("lowerdir={here}/l,upperdir={here}/u,workdir={here}/w");
    run(Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(place.target()));
    let error = umount(&place.target()).unwrap_err();
    run(Command::new("umount").arg("--lazy").arg(place.target()));
    assert!(matches!(error, MountError::Foreign { .. }), "{error}");
    place.assert_clean();
}

#[test]
fn a_busy_mount_says_by_whom() {
    if skip() {
        return;
    }
    let place = place_with_image();
    mount(&place.image(), &place.target(), &MountOptions::default()).unwrap();
    let open = File::open(place.target().join("file")).unwrap();
    run(Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(place.target().join("dir")));
    let error = umount(&place.target()).unwrap_err();
    run(Command::new("umount")
        .arg("--lazy")
        .arg(place.target().join("dir")));
    match error {
        MountError::Busy { users, .. } => {
            assert!(
                users.contains(&User::Mount(place.target().join("dir"))),
                "{users:?}"
            );
            let me = std::process::id();
            let found = users
                .iter()
                .any(|u| matches!(u, User::Process { pid, .. } if *pid == me));
            assert!(found, "{users:?}");
        }
        other => panic!("{other}"),
    }
    drop(open);
    umount(&place.target()).unwrap();
    place.assert_clean();
}

#[test]
fn what_cannot_be_mounted_is_said_and_leaves_nothing() {
    if skip() {
        return;
    }
    let place = place_with_image();
    let none = MountOptions::default();
    let try_mount = |image: &Path, target: &Path| mount(image, target, &none).unwrap_err();
    let error = try_mount(&place.at("missing"), &place.target());
    assert!(matches!(error, MountError::Image { .. }), "{error}");
    for (name, content) in [("empty", vec![]), ("zeros", vec![0; 8192])] {
        fs::write(place.at(name), content).unwrap();
        let error = try_mount(&place.at(name), &place.target());
        assert!(matches!(error, MountError::NotImage { .. }), "{error}");
    }
    let error = try_mount(&place.image(), &place.at("missing"));
    assert!(matches!(error, MountError::Target { .. }), "{error}");
    let error = try_mount(&place.image(), &place.image());
    assert!(matches!(error, MountError::Target { .. }), "{error}");
    // Right at the magic, wrong behind it: the kernel's word, and why.
    let mut image = fs::read(place.image()).unwrap();
    image[1028..1152].fill(0xff);
    fs::write(place.at("broken"), image).unwrap();
    let error = try_mount(&place.at("broken"), &place.target());
    assert!(matches!(error, MountError::Refused { .. }), "{error}");
    // A layer for changes that is no directory; one on a filesystem overlays cannot use.
    fs::write(place.at("file"), "").unwrap();
    let error = mount(&place.image(), &place.target(), &writable(&place, "file")).unwrap_err();
    assert!(matches!(error, MountError::Writable { .. }), "{error}");
    let on_proc = MountOptions {
        writable: Some("/proc/self/fd".into()),
        ..MountOptions::default()
    };
    let error = mount(&place.image(), &place.target(), &on_proc).unwrap_err();
    assert!(matches!(error, MountError::Writable { .. }), "{error}");
    place.assert_clean();
}

/// What an unprivileged user gets to read. The test runs itself again as one.
#[test]
fn without_privileges_it_says_so() {
    if let Some(place) = std::env::var_os("LITHIFY_TEST_PLACE") {
        let place = Path::new(&place);
        let none = MountOptions::default();
        let error = mount(&place.join("image.erofs"), &place.join("mnt"), &none).unwrap_err();
        assert!(matches!(error, MountError::Permission), "{error}");
        assert!(error.to_string().contains("root"));
        return;
    }
    let has = Command::new("setpriv").arg("--version").output().is_ok();
    if skip() || !has {
        eprintln!("skipped: needs setpriv");
        return;
    }
    let place = place_with_image();
    fs::set_permissions(place.work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // This program may lie where that user cannot reach it.
    program::copy_self(&place.at("test"));
    run(Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(place.at("test"))
        .args(program::arguments("mount::without_privileges_it_says_so"))
        .env("LITHIFY_TEST_PLACE", place.work.path()));
    mount(&place.image(), &place.target(), &MountOptions::default()).unwrap();
    run(Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(place.at("test"))
        .args(program::arguments(
            "mount::umount_without_privileges_says_so",
        ))
        .env("LITHIFY_TEST_PLACE", place.work.path()));
    umount(&place.target()).unwrap();
    place.assert_clean();
}

/// Second half of the above.
#[test]
fn umount_without_privileges_says_so() {
    let Some(place) = std::env::var_os("LITHIFY_TEST_PLACE") else {
        return;
    };
    let error = umount(&Path::new(&place).join("mnt")).unwrap_err();
    assert!(matches!(error, MountError::Permission), "{error}");
}
