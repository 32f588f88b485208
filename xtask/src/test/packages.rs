//! The programs tests ask for a second opinion, by the Debian package that has each.

use std::path::Path;

use xtask::error::Error;
use xtask::sh;

use super::succeeds;

/// Program and package. A program here is one that some test starts.
const REFEREES: &[(&str, &str)] = &[
    ("mkfs.erofs", "erofs-utils"),
    ("fsck.erofs", "erofs-utils"),
    ("umoci", "umoci"),
    ("skopeo", "skopeo"),
    ("buildah", "buildah"),
    ("docker-registry", "docker-registry"),
    ("htpasswd", "apache2-utils"),
    ("openssl", "openssl"),
    ("update-ca-certificates", "ca-certificates"),
    ("mksquashfs", "squashfs-tools"),
    ("unsquashfs", "squashfs-tools"),
    ("tar2sqfs", "squashfs-tools-ng"),
    ("veritysetup", "cryptsetup-bin"),
    ("fsverity", "fsverity"),
    ("sgdisk", "gdisk"),
    ("sfdisk", "fdisk"),
    // First: where another release's qemu-utils is installed, apt only finds the way to QEMU if this is named.
    ("qemu-system-x86_64", "qemu-system-common"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("busybox", "busybox-static"),
    ("lz4", "lz4"),
    ("getcap", "libcap2-bin"),
    ("setpriv", "util-linux"),
    ("debootstrap", "debootstrap"),
    ("setfattr", "attr"),
    ("setfacl", "acl"),
    ("setcap", "libcap2-bin"),
    ("bsdtar", "libarchive-tools"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
    ("pigz", "pigz"),
    ("xz", "xz-utils"),
    ("jq", "jq"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("losetup", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("python3", "python3"),
    ("cpio", "cpio"),
    ("tar", "tar"),
    ("gzip", "gzip"),
    ("git", "git"),
    ("c++", "g++"),
    ("bzip2", "bzip2"),
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("strace", "strace"),
];

/// Root, with apt: where every referee can be had and nothing may be skipped.
pub(super) fn can_install() -> bool {
    let id = sh::output(&mut sh::command("id", ["-u"]));
    id.is_ok_and(|id| id.trim() == "0") && sh::find_program("apt-get").is_some()
}

/// Installs what is missing.
pub(super) fn install(can_install: bool) -> Result<(), Error> {
    let mut wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    if !can_install {
        println!(
            "missing, and not to be installed without root and apt: {}",
            wanted.join(" ")
        );
        return Ok(());
    }
    sh::run(&mut apt(&["update"]))?;
    // Installing one package may remove another that is wanted too, or show what else is: the next round brings that.
    for _ in 0..3 {
        install_packages(&wanted)?;
        wanted = missing();
        if wanted.is_empty() {
            return Ok(());
        }
    }
    println!(
        "not to be installed here: {}; tests that need them will be skipped",
        wanted.join(" ")
    );
    Ok(())
}

/// The packages that `cfsctl` is built with, beside a compiler.
const FOR_CFSCTL: [&str; 4] = ["pkg-config", "libssl-dev", "zlib1g-dev", "liblzma-dev"];

/// Installs what `cfsctl` is built with.
pub(super) fn install_for_cfsctl() -> Result<(), Error> {
    install_packages(&FOR_CFSCTL.map(ToOwned::to_owned))
}

fn install_packages(packages: &[String]) -> Result<(), Error> {
    let mut all = apt(&["install", "--no-install-recommends"]);
    if sh::run(all.args(packages)).is_ok() {
        return Ok(());
    }
    // One package this release does not have makes apt refuse all: one by one, then.
    for package in packages {
        if !succeeds(&mut apt(&["install", "--no-install-recommends", package])) {
            println!("the package {package} cannot be installed");
        }
    }
    Ok(())
}

/// The packages of what is not installed.
pub(super) fn missing() -> Vec<String> {
    let programs = REFEREES
        .iter()
        .filter(|(program, _)| sh::find_program(program).is_none())
        .map(|(_, package)| (*package).to_owned());
    let mut packages: Vec<String> = Vec::new();
    for package in programs.chain(pythons_archive()) {
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

/// The package of the archive Python's own tests read, if it is not there. It is called after Python's version, so it is
/// known once Python is installed.
fn pythons_archive() -> Option<String> {
    // Debian's own Python: another one on `PATH` may come with its tests, or not.
    let python = std::fs::read_link("/usr/bin/python3").ok()?;
    let python = python.file_name()?.to_str()?;
    let tests = Path::new("/usr/lib").join(python).join("test");
    let there = ["testtar.tar", "archivetestdata/testtar.tar"]
        .iter()
        .any(|name| tests.join(name).is_file());
    (!there).then(|| format!("lib{python}-testsuite"))
}

fn apt(args: &[&str]) -> std::process::Command {
    let mut command = sh::command("apt-get", ["--yes", "--quiet"]);
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
