//! The programs tests ask for a second opinion, by the Debian package that has each.

use lithify_testkit::require;

use super::succeeds;
use crate::error::Error;
use crate::sh;

/// Program and package.
const REFEREES: &[(&str, &str)] = &[
    ("mkfs.erofs", "erofs-utils"),
    ("fsck.erofs", "erofs-utils"),
    ("umoci", "umoci"),
    ("skopeo", "skopeo"),
    ("buildah", "buildah"),
    ("mksquashfs", "squashfs-tools"),
    ("debootstrap", "debootstrap"),
    ("setfattr", "attr"),
    ("setfacl", "acl"),
    ("setcap", "libcap2-bin"),
    ("bsdtar", "libarchive-tools"),
    ("zstd", "zstd"),
    ("pigz", "pigz"),
    ("xz", "xz-utils"),
    ("jq", "jq"),
    ("mkfs.ext4", "e2fsprogs"),
    ("losetup", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("python3", "python3"),
    ("cpio", "cpio"),
    ("tar", "tar"),
    ("gzip", "gzip"),
    ("git", "git"),
    ("c++", "g++"),
];

/// Root, with apt: where every referee can be had and nothing may be skipped.
pub(super) fn can_install() -> bool {
    let id = sh::output(&mut sh::command("id", ["-u"]));
    id.is_ok_and(|id| id.trim() == "0") && require::find_tool("apt-get").is_some()
}

/// Installs what is missing.
pub(super) fn install(can_install: bool) -> Result<(), Error> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install {
        println!(
            "missing, and not to be installed without root and apt: {}",
            missing.join(" ")
        );
        return Ok(());
    }
    sh::run(&mut apt(&["update"]))?;
    let all = [&["install", "--no-install-recommends"], missing.as_slice()].concat();
    if sh::run(&mut apt(&all)).is_err() {
        // One package this release does not have makes apt refuse all: one by one, then.
        for package in &missing {
            if !succeeds(&mut apt(&["install", "--no-install-recommends", package])) {
                println!(
                    "the package {package} cannot be installed; tests that need it will be skipped"
                );
            }
        }
    }
    Ok(())
}

fn missing() -> Vec<&'static str> {
    let mut packages: Vec<_> = REFEREES
        .iter()
        .filter(|(program, _)| require::find_tool(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn apt(args: &[&str]) -> std::process::Command {
    let mut command = sh::command("apt-get", ["--yes", "--quiet"]);
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
