//! `examples/hello`: a real image small enough to be kept in the repository.
//!
//! Two gzip layers with one of each thing that makes layers more than archives. The same bytes on every run: no clock,
//! no names of this machine.

mod elf; // the program in it

use std::path::Path;

use lithify_testkit::{Layout, Tar, TarEntry};
use serde_json::json;

use crate::sh;
use xtask::error::{At as _, Error};

/// 2024-01-01 00:00:00 UTC, and when the second layer was made.
const BUILT: i64 = 1_704_067_200;
const CHANGED: i64 = BUILT + 3600;

/// `cap_net_bind_service=ep` as `setcap` stores it (`struct vfs_cap_data`, revision 2, effective).
const CAP_NET_BIND_SERVICE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Writes the example anew.
pub(crate) fn run() -> Result<(), Error> {
    let dir = sh::root().join("examples/hello");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).at("remove", &dir)?;
    }
    write(&dir);
    eprintln!("{} is written", dir.display());
    Ok(())
}

fn write(dir: &Path) {
    image().write(dir);
}

/// The layers' tars, bottom first.
pub(crate) fn layers() -> [Vec<u8>; 2] {
    [base(), update()]
}

/// The image.
pub(crate) fn image() -> Layout {
    Layout::new()
        .image_config("created", json!("2024-01-01T01:00:00Z"))
        .image_config("author", json!("lithify"))
        .config("Entrypoint", json!(["/bin/hello"]))
        .config("WorkingDir", json!("/"))
        .config("Env", json!(["PATH=/bin:/usr/bin"]))
        .gzip_layer(&base())
        .gzip_layer(&update())
}

fn base() -> Vec<u8> {
    let mut tar = Tar::new();
    for entry in [
        TarEntry::directory("./"),
        TarEntry::directory("bin"),
        TarEntry::file("bin/hello", elf::hello()).mode(0o755),
        TarEntry::hard_link("bin/hi", "bin/hello").mode(0o755),
        TarEntry::symlink("bin/greet", "hello"),
        TarEntry::directory("etc"),
        TarEntry::file("etc/motd", "Welcome.\n").xattr("user.greeting", "hello"),
        TarEntry::file("etc/old.conf", "speed = slow\n"),
        TarEntry::directory("opt"),
        TarEntry::directory("opt/data"),
        TarEntry::file("opt/data/1.txt", "one\n"),
        TarEntry::file("opt/data/2.txt", "two\n"),
        TarEntry::directory("srv").owner(1000, 1000).mode(0o750),
        TarEntry::file("srv/serve", elf::hello())
            .mode(0o755)
            .xattr("security.capability", CAP_NET_BIND_SERVICE),
        TarEntry::file("srv/switch", elf::hello())
            .mode(0o4755)
            .owner(1000, 1000),
        TarEntry::directory("tmp").mode(0o1777),
    ] {
        tar.add(entry.mtime(BUILT, 0));
    }
    tar.finish()
}

fn update() -> Vec<u8> {
    let mut tar = Tar::new();
    for entry in [
        TarEntry::directory("etc"),
        TarEntry::whiteout("etc/old.conf"),
        TarEntry::file("etc/motd", "Welcome back.\n").xattr("user.greeting", "hello again"),
        TarEntry::directory("opt/data"),
        TarEntry::opaque("opt/data"),
        TarEntry::file("opt/data/3.txt", "three\n"),
    ] {
        tar.add(entry.mtime(CHANGED, 0));
    }
    tar.finish()
}

#[cfg(test)]
mod tests {
    use lithify_testkit::{Kind, Snapshot, require, run, temp_dir};

    use super::*;

    #[test]
    fn the_repository_holds_what_this_writes() {
        let tmp = temp_dir();
        write(tmp.path());
        let files = |dir: &Path| -> Vec<_> {
            let tree = Snapshot::of(dir).nodes;
            tree.into_iter()
                .map(|(path, node)| (path, node.kind))
                .collect()
        };
        let stored = sh::root().join("examples/hello");
        assert_eq!(
            files(&stored),
            files(tmp.path()),
            "run `cargo xtask example-image`"
        );
    }

    #[test]
    fn skopeo_reads_it() {
        if !require::tool("skopeo") {
            return;
        }
        let image = format!("oci:{}:latest", sh::root().join("examples/hello").display());
        let said = run::text(run::command("skopeo").args(["inspect", &image]));
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["Os"], "linux");
        assert_eq!(said["Architecture"], "amd64");
        assert_eq!(said["Created"], "2024-01-01T01:00:00Z");
        assert_eq!(said["Layers"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn umoci_unpacks_it() {
        if !require::root() || !require::tool("umoci") {
            return;
        }
        let tmp = temp_dir();
        let bundle = tmp.path().join("bundle");
        let image = sh::root().join("examples/hello:latest");
        run::ok(
            run::command("umoci")
                .args(["unpack", "--image"])
                .arg(image)
                .arg(&bundle),
        );
        let tree = Snapshot::of(&bundle.join("rootfs"));
        let names: Vec<_> = tree
            .nodes
            .keys()
            .map(|path| String::from_utf8_lossy(path))
            .collect();
        assert_eq!(
            names,
            [
                "",
                "bin",
                "bin/greet",
                "bin/hello",
                "bin/hi",
                "etc",
                "etc/motd",
                "opt",
                "opt/data",
                "opt/data/3.txt",
                "srv",
                "srv/serve",
                "srv/switch",
                "tmp",
            ]
        );
        assert_eq!(
            tree.at("bin/hi").same_as.as_deref(),
            Some(&b"bin/hello"[..])
        );
        assert_eq!(tree.at("bin/greet").kind, Kind::Symlink(b"hello".to_vec()));
        assert_eq!(
            tree.at("etc/motd").xattrs[&b"user.greeting"[..]],
            b"hello again"
        );
        assert_eq!(
            tree.at("srv/serve").xattrs[&b"security.capability"[..]],
            CAP_NET_BIND_SERVICE
        );
        let switch = tree.at("srv/switch");
        assert_eq!((switch.mode, switch.uid, switch.gid), (0o4755, 1000, 1000));
        assert_eq!(tree.at("tmp").mode, 0o1777);
        let said = run::ok(&mut std::process::Command::new(
            bundle.join("rootfs/bin/hello"),
        ));
        assert_eq!(said, elf::MESSAGE);
    }
}
