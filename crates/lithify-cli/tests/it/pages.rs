//! The pages of `docs/` for users of other programs: their commands do what the pages say.

use std::fs;
use std::path::{Path, PathBuf};

use lithify_testkit::{TarEntry, require, run, temp_dir, vm};

use crate::common::{image, layer, lithify};

/// The commands of a page: its blocks of `sh`, in order.
fn commands(page: &str) -> String {
    let path = require::workspace().join("docs").join(page);
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("\n```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    blocks.collect::<Vec<_>>().join("\n")
}

/// A directory where the commands of a page are run, and a store with `app:1` in it.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(entries: Vec<TarEntry>) -> Self {
        let desk = Self { dir: temp_dir() };
        let source = image(desk.path(), [layer(entries)]);
        let mut copy = lithify();
        copy.env("LITHIFY_STORE", desk.file("store"));
        run::ok(copy.args(["-q", "copy", &source, "store:app:1"]));
        desk
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Runs all commands of a page. Returns what they print.
    fn run(&self, page: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_lithify"));
        let path = std::env::var("PATH").unwrap();
        let path = format!(
            "{}:{path}:/usr/sbin:/sbin",
            program.parent().unwrap().display()
        );
        // Many times what it takes: only a guest that hangs gets there.
        let mut bash = run::command("timeout");
        bash.args(["600", "bash", "-euo", "pipefail", "-c", &commands(page)]);
        bash.current_dir(self.path()).env("PATH", path);
        run::text(bash.env("LITHIFY_STORE", self.file("store")))
    }
}

/// A system of one program.
fn app() -> Vec<TarEntry> {
    let app =
        "#!/bin/sh\necho hello from the app\nbusybox mount -o remount,ro /\nbusybox poweroff -f\n";
    vec![
        TarEntry::directory("bin"),
        TarEntry::file(
            "bin/busybox",
            fs::read(require::find_tool("busybox").unwrap()).unwrap(),
        )
        .mode(0o755),
        TarEntry::symlink("bin/sh", "busybox"),
        TarEntry::file("bin/app", app).mode(0o755),
        TarEntry::directory("proc"),
        TarEntry::directory("dev"),
        TarEntry::char_device("dev/console", 5, 1).mode(0o600),
    ]
}

fn tools(names: &[&str]) -> bool {
    names.iter().all(|name| require::tool(name))
}

#[test]
fn a_guest_of_the_page_on_qemu_says_hello() {
    if !require::vm() || !tools(&["bash", "jq", "e2fsck", "resize2fs"]) {
        return;
    }
    let desk = Desk::new(app());
    let kernel = require::fixture("kernel").unwrap();
    fs::copy(kernel.join("vmlinuz"), desk.file("vmlinuz")).unwrap();
    fs::create_dir(desk.file("modules")).unwrap();
    let mut order = String::new();
    for (name, data) in vm::disk_modules() {
        fs::write(desk.file(&format!("modules/{name}.ko")), data).unwrap();
        order += &format!("{name}\n");
    }
    fs::write(desk.file("modules/order"), order).unwrap();
    let said = desk.run("qemu.md");
    assert_eq!(said.matches("hello from the app").count(), 2, "{said}");
    assert_eq!(fs::metadata(desk.file("root.ext4")).unwrap().len(), 4 << 30);
    run::ok(
        run::command("e2fsck")
            .arg("-fn")
            .arg(desk.file("root.ext4")),
    );
}

#[test]
fn disks_of_the_page_on_firecracker_are_sound() {
    if !tools(&["bash", "jq", "busybox", "e2fsck", "resize2fs", "cpio"]) {
        return;
    }
    let desk = Desk::new(app());
    desk.run("firecracker.md");
    for (name, size) in [("rootfs.ext4", 2), ("vm-2.ext4", 1), ("data.ext4", 10)] {
        let path = desk.file(name);
        assert_eq!(fs::metadata(&path).unwrap().len(), size << 30, "{name}");
        run::ok(run::command("e2fsck").arg("-fn").arg(path));
    }
    let mut cpio = run::command("cpio");
    cpio.args(["-it", "--quiet"]);
    let archive = fs::File::open(desk.file("app.cpio")).unwrap();
    assert!(run::text(cpio.stdin(archive)).contains("bin/app\n"));
    run::ok(
        lithify()
            .args(["-q", "verify"])
            .arg(desk.file("rootfs.erofs")),
    );
    // The configuration is JSON.
    let page = require::workspace().join("docs/firecracker.md");
    let page = fs::read_to_string(page).unwrap();
    let json = page.split("```json\n").nth(1).unwrap();
    let json = json.split("```").next().unwrap();
    let config: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(config["drives"][0]["path_on_host"], "rootfs.ext4");
}

#[test]
fn templates_of_the_page_are_read_by_other_programs() {
    if !tools(&["bash", "busybox", "gzip", "zstd", "xz", "tar", "unsquashfs"]) {
        return;
    }
    let desk = Desk::new(app());
    desk.run("templates.md");
    for name in ["app.wsl", "app_1_amd64.tar.zst"] {
        let mut tar = run::command("tar");
        let listed = run::text(tar.args(["-tvf"]).arg(desk.file(name)));
        assert!(
            listed.contains("./bin/app") || listed.contains(" bin/app"),
            "{listed}"
        );
        assert!(listed.contains("5,1"), "{listed}");
    }
    let mut tar = run::command("tar");
    let listed = run::text(tar.arg("-tf").arg(desk.file("incus.tar.xz")));
    assert_eq!(listed, "metadata.yaml\n");
    let mut unsquashfs = run::command("unsquashfs");
    let listed = run::text(unsquashfs.arg("-l").arg(desk.file("rootfs.squashfs")));
    assert!(listed.contains("/bin/app\n"), "{listed}");
}
