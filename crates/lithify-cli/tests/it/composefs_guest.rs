//! Repositories under fs-verity, mounted in a guest: the host's kernel may not have it.
//!
//! Debian's kernel of the fixture (6.1) has fs-verity, but no overlays of composefs; a later one in its place
//! (`LITHIFY_FIXTURES`) is told apart.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use lithify::composefs::repository::VerityMode;
use lithify_testkit::{program, require, run, temp_dir, vm};
use lithify_verity::file::FileAlgorithm;

use crate::common::repositories::{object, object_of, repository, repository_with, store_tree};

const ALGORITHM: FileAlgorithm = FileAlgorithm::Sha256;

/// For the guest: a directory of a filesystem that has fs-verity.
const DIRECTORY: &str = "LITHIFY_TEST_VERITY";

/// The script of the guest. `say` writes a line for each answer of a mount.
const SCRIPT: &str = r#"
mkdir /disk && mount /dev/vda /disk || exit 1
DIRECTORY=/disk /disk/it ARGUMENTS || exit 1
export LITHIFY_STORE=/disk/store
say() {
    name=$1 file=$2
    shift 2
    if /disk/lithify -q mount composefs:/disk/$name /mnt "$@" 2>/disk/error; then
        grep -q verity=require /proc/mounts && name="$name compared"
        echo "$name: $(cat /mnt/$file 2>&1 | head -c 60)"
        /disk/lithify umount /mnt || exit 1
    else
        echo "$name: refused with $?: $(cat /disk/error)"
    fi
    grep -q -e erofs -e overlay /proc/mounts && echo "$name: left behind"
}
say secure:tree whole
say secure:tree whole --verity require
say secure:tree whole --verity off
say secure:tree whole --rw /disk/changes
say insecure:tree whole
say insecure:tree whole --verity require
say secure:tree unwatched
say secure:tree unwatched --verity off
say secure:tree other
say secure:tree other --verity off
say secure:damaged whole
say secure:unwatched whole
/disk/lithify -q build rootfs:/disk/tree -f composefs -o /disk/built:tree || exit 1
say built:tree whole --verity require
cat /sys/block/loop*/loop/backing_file 2>/dev/null
uname -r
exit 0
"#;

#[test]
fn the_kernel_compares_files_of_a_repository_under_fs_verity() {
    if !require::vm() || !require::tool("mkfs.ext4") {
        return;
    }
    let tmp = temp_dir();
    let (disk, content) = (tmp.path().join("disk"), tmp.path().join("content"));
    fs::create_dir(&content).unwrap();
    let this = std::env::current_exe().unwrap();
    let lithify = env!("CARGO_BIN_EXE_lithify");
    let programs = [(this.as_os_str(), "it"), (OsStr::new(lithify), "lithify")];
    for (program, name) in programs {
        fs::copy(program, content.join(name)).unwrap();
    }
    let mut command = run::command("mkfs.ext4");
    command.args(["-q", "-b", "4096", "-O", "verity", "-d"]);
    run::ok(command.arg(&content).arg(&disk).arg("640M"));
    let arguments = program::arguments("composefs_guest::guest").join(" ");
    let script = SCRIPT.replace("DIRECTORY", DIRECTORY);
    let mut guest =
        vm::BootSpec::new(&script.replace("ARGUMENTS", &arguments)).writable_disk(&disk);
    for module in ["ext4", "loop", "erofs", "overlay"] {
        guest = guest.module(module);
    }
    let libraries = [this.to_str().unwrap(), lithify].map(vm::program).concat();
    let is_library = |path: &str| {
        !programs
            .iter()
            .any(|(p, _)| path == p.to_str().unwrap().trim_start_matches('/'))
    };
    for (path, data) in libraries.iter().filter(|(path, _)| is_library(path)) {
        guest = guest.file(path, 0o755, data);
    }
    let output = guest.boot();
    println!("{output}");
    assert_eq!(output.status, Some(0), "{output}");
    assert!(!output.console.contains("left behind"), "{output}");
    let release = output
        .console
        .lines()
        .rev()
        .find(|line| line.contains("-amd64"));
    let mut numbers = release.unwrap().split('.').map(|n| n.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    let said = |line: &str| assert!(output.console.contains(line), "{line} is not in {output}");
    if version < (6, 5) {
        let needs = "refused with 1: lithify: this kernel's overlayfs has no layers of data alone";
        said(&format!("secure:tree: {needs}"));
        said(&format!("insecure:tree: {needs}"));
        said(&format!("built:tree: {needs}"));
        said("use Linux 6.5 or later");
    } else if version >= (6, 6) {
        let whole = "what is whole";
        let compared = format!("secure:tree compared: {whole}");
        let counted = output.console.matches(&compared).count();
        assert_eq!(counted, 3, "{output}");
        said(&format!("secure:tree: {whole}"));
        said("secure:tree compared: cat: can't open '/mnt/unwatched': Input/output error");
        said("secure:tree: what nobody watches");
        said("secure:tree compared: cat: can't open '/mnt/other': Input/output error");
        said(&format!("insecure:tree: {whole}"));
        said(&format!("built:tree compared: {whole}"));
    }
    said("insecure:tree: refused with 1: lithify: fs-verity is required");
    said("secure:damaged: refused with 3: ");
    said("secure:unwatched: refused with 3: ");
    run::ok(run::command("e2fsck").args(["-f", "-n"]).arg(&disk));
}

/// Not a test by itself: what the guest does.
#[test]
fn guest() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let tree = directory.join("tree");
    fs::create_dir(&tree).unwrap();
    let data = |name: &str| format!("what {name}\n{}", "x".repeat(5000));
    let files = [
        ("whole", "is whole"),
        ("unwatched", "nobody watches"),
        ("other", "is other"),
    ];
    for (name, text) in files {
        fs::write(tree.join(name), data(text)).unwrap();
    }
    let (secure, insecure) = (directory.join("secure"), directory.join("insecure"));
    store_tree(&repository(&insecure, ALGORITHM), &tree, "tree");
    let opened = repository_with(&secure, ALGORITHM, VerityMode::Require);
    assert!(opened.is_secure());
    store_tree(&opened, &tree, "tree");
    let [whole, unwatched, other] =
        files.map(|(_, text)| object_of(&secure, ALGORITHM, data(text).as_bytes()));
    let replace = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        bytes
    };
    // Images whose objects are like that.
    for name in ["damaged", "unwatched"] {
        fs::write(tree.join("name"), name).unwrap();
        let image = object(&secure, &store_tree(&opened, &tree, name));
        let bytes = replace(&image);
        match name {
            "damaged" => fs::hard_link(&whole, &image).unwrap(),
            _ => fs::write(&image, bytes).unwrap(),
        }
    }
    // The right bytes, which the kernel does not watch; and those of another file, which it does.
    let bytes = replace(&unwatched);
    fs::write(&unwatched, bytes).unwrap();
    replace(&other);
    fs::hard_link(&whole, &other).unwrap();
}
