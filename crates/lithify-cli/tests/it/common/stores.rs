//! A store of its own for each test, and commands that use it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use lithify_testkit::{TarEntry, run};
use serde_json::Value;

use super::{image, layer, lithify};

/// The command with its store in this directory.
pub(crate) fn lithify_at(store: &Path) -> Command {
    let mut command = lithify();
    command.env("LITHIFY_STORE", store);
    command
}

/// `lithify build -f erofs-layers --json`.
pub(crate) fn build_command(store: &Path, source: &str, output: &Path) -> Command {
    let mut command = lithify_at(store);
    command.args(["-q", "build", source, "-f", "erofs-layers", "--no-fsync"]);
    command.args(["--json", "-o"]).arg(output);
    command
}

/// Builds; gives what was built and what was reused.
#[track_caller]
pub(crate) fn counts(store: &Path, source: &str, output: &Path) -> (u64, u64) {
    let json = run::ok(&mut build_command(store, source, output));
    counts_of(&json)
}

/// What was built and what was reused, as `--json` says.
pub(crate) fn counts_of(json: &[u8]) -> (u64, u64) {
    let json: Value = serde_json::from_slice(json).unwrap();
    let count = |name: &str| json[name].as_u64().unwrap();
    (count("built"), count("reused"))
}

/// `lithify fsck --json`: exit code and what it says.
#[track_caller]
pub(crate) fn fsck_store(store: &Path) -> (i32, Value) {
    let mut command = lithify_at(store);
    let output = run::output(command.args(["fsck", "--json"]));
    let said = serde_json::from_slice(&output.stdout);
    let Ok(said) = said else {
        panic!("{}", run::report(&command, &output));
    };
    (output.status.code().unwrap(), said)
}

/// No damage; what killed builds left may be there.
#[track_caller]
pub(crate) fn assert_undamaged(store: &Path) {
    let (code, said) = fsck_store(store);
    assert_eq!(code, 0, "{said:#}");
}

/// A layer with a directory and files, different for each number.
pub(crate) fn numbered(number: u8) -> Vec<u8> {
    let name = format!("d{number}");
    let mut entries = vec![TarEntry::directory(&name).mode(0o750)];
    entries.extend((0..20).map(|n: u8| {
        let data = vec![number ^ n; usize::from(n) * 700];
        TarEntry::file(format!("{name}/f{n}"), data).mtime(i64::from(number), 1)
    }));
    layer(entries)
}

/// An image of numbered layers.
pub(crate) fn numbered_image(dir: &Path, layers: impl IntoIterator<Item = u8>) -> String {
    image(dir, layers.into_iter().map(numbered))
}

/// All files below a directory, by their names from there.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            match fs::symlink_metadata(&path).unwrap().is_dir() {
                true => open.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// Two directories hold the same files.
#[track_caller]
pub(crate) fn assert_same_files(a: &Path, b: &Path) {
    let names = |directory: &Path| -> Vec<PathBuf> {
        let strip = |p: &PathBuf| p.strip_prefix(directory).unwrap().to_path_buf();
        files(directory).iter().map(strip).collect()
    };
    assert_eq!(names(a), names(b));
    for name in names(a) {
        let same = fs::read(a.join(&name)).unwrap() == fs::read(b.join(&name)).unwrap();
        assert!(same, "{} differs", name.display());
    }
}

/// Changes one bit in place, of the last byte if the file is shorter (records hold times, whose digits vary); with
/// `hide`, sets the modification time back.
pub(crate) fn flip(path: &Path, offset: u64, hide: bool) {
    let before = fs::metadata(path).unwrap();
    let offset = offset.min(before.len() - 1);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    if hide {
        file.set_modified(before.modified().unwrap()).unwrap();
    }
    fs::set_permissions(path, before.permissions()).unwrap();
}
