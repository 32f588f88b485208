//! Merged images of layers as the reader, erofs-utils and the kernel see them.
#![cfg(target_os = "linux")]

use crate::common::{check_image, check_mounted};
use crate::layers::Files;
use lithify_erofs::Image;
use lithify_testkit::{Allow, Mount, Snapshot, require, run};

pub(crate) fn devices_and_disk(files: &Files) {
    check_image(&files.open(), &files.expected);
    let disk = files.concatenate();
    check_image(
        &Image::open(std::fs::File::open(&disk).unwrap()).unwrap(),
        &files.expected,
    );
    if require::tool("fsck.erofs") {
        let mut command = run::command("fsck.erofs");
        for layer in &files.layers {
            let option = format!("--device={}", layer.display());
            command.arg(option);
        }
        run::ok(command.arg("--extract").arg(&files.fsmeta));
    }
    if require::kernel_erofs() {
        let mount = Mount::erofs_with_devices(&files.fsmeta, &files.devices()).unwrap();
        check_mounted(mount.path(), &files.expected);
        check_mounted(Mount::erofs(&disk).path(), &files.expected);
        let flat = Mount::erofs(&files.flat);
        Snapshot::of(flat.path()).assert_same(&Snapshot::of(mount.path()), &Allow::nothing());
    }
}
