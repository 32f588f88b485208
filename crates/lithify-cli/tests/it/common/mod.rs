//! What the command's tests share.

pub(crate) mod artifacts; // an image with artifacts beside it
pub(crate) mod composefs; // composefs repositories whose bytes are known
pub(crate) mod deltas; // images that deltas are made of
pub(crate) mod documents; // layouts that say things oddly
pub(crate) mod layered; // layered builds, mounted
pub(crate) mod native; // images of EROFS layers
pub(crate) mod places; // composefs repositories that are built into
pub(crate) mod registries; // registries and who meets them
pub(crate) mod repositories; // composefs repositories
pub(crate) mod sealed; // layouts with digests of composefs
pub(crate) mod signals; // commands that are interrupted
pub(crate) mod stores; // stores and what is built with them

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lithify_testkit::{Allow, Difference, Layout, Tar, TarEntry, run};

/// The command under test, with a store that is not the user's.
pub(crate) fn lithify() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lithify"));
    command.env("LC_ALL", "C").env("TZ", "UTC");
    command.env(
        "LITHIFY_STORE",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/store"),
    );
    command
}

/// Runs `lithify` with arguments, whatever comes of it.
pub(crate) fn lithify_output<S: AsRef<std::ffi::OsStr>>(
    args: impl IntoIterator<Item = S>,
) -> Output {
    run::output(lithify().args(args))
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A layer of some entries.
pub(crate) fn layer(entries: impl IntoIterator<Item = TarEntry>) -> Vec<u8> {
    let mut tar = Tar::new();
    for entry in entries {
        tar.add(entry);
    }
    tar.finish()
}

/// Writes a layout of gzip layers into `dir/image` and returns its source name.
pub(crate) fn image(dir: &Path, layers: impl IntoIterator<Item = Vec<u8>>) -> String {
    let path = dir.join("image");
    let layout = layers
        .into_iter()
        .fold(Layout::new(), |layout, tar| layout.gzip_layer(&tar));
    layout.write(&path);
    format!("oci:{}:latest", path.display())
}

/// Builds an artifact that must succeed.
pub(crate) fn build(source: &str, format: &str, output: &Path) {
    run::ok(
        lithify()
            .args(["--quiet", "build", "--no-fsync", source, "-f", format, "-o"])
            .arg(output),
    );
}

/// Builds an EROFS image, asks `fsck.erofs` about it where that is installed, and returns its path.
pub(crate) fn erofs(source: &str, dir: &Path) -> PathBuf {
    let path = dir.join("out.erofs");
    build(source, "erofs", &path);
    fsck(&path);
    path
}

/// Asks `fsck.erofs` where it is installed.
pub(crate) fn fsck(path: &Path) {
    if lithify_testkit::require::find_tool("fsck.erofs").is_some() {
        run::ok(run::command("fsck.erofs").arg(path));
    }
}

/// All paths an artifact or image holds, as `lithify ls -aR` prints them.
pub(crate) fn paths(subject: &str) -> Vec<String> {
    let text = run::text(lithify().args(["--quiet", "ls", "-aR", subject]));
    text.lines().map(ToOwned::to_owned).collect()
}

/// Whatever is in a directory, names only.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("the directory can be read")
        .map(|e| {
            e.expect("an entry can be read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// What only ext4 has.
pub(crate) fn beside_lost_and_found() -> Allow {
    Allow::nothing().also("ext4 has a directory `lost+found`", |d: &Difference| {
        d.path == b"lost+found"
    })
}
