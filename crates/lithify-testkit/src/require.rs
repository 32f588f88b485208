//! What a test needs of the machine.
//!
//! Each function answers whether the need is met. If it is not, the skip is printed as `skipped: TEST needs X` and,
//! when the environment variable `LITHIFY_SKIPS` names a file, written there too, so that `cargo xtask test` can list
//! all skips at its end (and fail where none is acceptable). Use them as the first lines of a test:
//!
//! ```no_run
//! use lithify_testkit::require;
//! if !require::root() || !require::tool("umoci") {
//!     return;
//! }
//! ```

use std::io::Write as _;
use std::path::PathBuf;

/// A program found on `PATH` (or in the system directories `sudo`-less users often lack: `/usr/sbin`, `/sbin`).
#[must_use]
pub fn tool(name: &str) -> bool {
    met(find_tool(name).is_some(), &format!("the program `{name}`"))
}

/// Effective user id 0, with the capabilities a test of owners, devices and mounts needs.
#[must_use]
pub fn root() -> bool {
    met(rustix::process::geteuid().is_root(), "root")
}

/// A kernel that mounts EROFS, and the right to mount (root).
#[must_use]
pub fn kernel_erofs() -> bool {
    kernel_filesystem("erofs")
}

/// A kernel that knows this filesystem (built in, or as a module that can be loaded), and the right to mount (root).
#[must_use]
pub fn kernel_filesystem(name: &str) -> bool {
    let mut known = listed(name);
    if !known && rustix::process::geteuid().is_root() && find_tool("modprobe").is_some() {
        // A failure says no more than "not available", which the second look finds.
        let loaded = crate::run::command("modprobe").arg(name).output();
        known = loaded.is_ok() && listed(name);
    }
    met(
        known && rustix::process::geteuid().is_root(),
        &format!("root and a kernel with {name}"),
    )
}

/// A directory under `target/fixtures` that `cargo xtask fixtures` made.
#[must_use]
pub fn fixture(name: &str) -> Option<PathBuf> {
    let path = fixtures_dir().join(name);
    met(
        path.exists(),
        &format!("the fixture `{name}` (run `cargo xtask fixtures`)"),
    )
    .then_some(path)
}

/// What [`vm`](crate::vm) boots with: QEMU, a static busybox, and the fixture `kernel`.
#[must_use]
pub fn vm() -> bool {
    tool("qemu-system-x86_64") && tool("busybox") && fixture("kernel").is_some()
}

/// `cfsctl` 0.9.4, which takes half an hour to build: `cargo xtask test --full` does so once, under `target/cfsctl`. Elsewhere its
/// absence is said, but is no skip that counts.
#[must_use]
pub fn cfsctl() -> Option<PathBuf> {
    let path = std::env::var_os("LITHIFY_CFSCTL").map_or_else(
        || workspace().join("target/cfsctl/bin/cfsctl"),
        PathBuf::from,
    );
    if path.is_file() {
        return Some(path);
    }
    let need = "cfsctl (`cargo xtask test --full` builds it)";
    match crate::wants_all() {
        true => skip(need),
        false => eprint!("not run: {}", skip_line(need)),
    }
    None
}

/// Any other need, in the words it should be reported with: `met(cond, "a file system with reflinks")`.
#[must_use]
pub fn met(condition: bool, need: &str) -> bool {
    if !condition {
        skip(need);
    }
    condition
}

/// Where a program is, if it is installed.
#[must_use]
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// `target/fixtures` of this workspace, or what `LITHIFY_FIXTURES` names.
#[must_use]
pub fn fixtures_dir() -> PathBuf {
    std::env::var_os("LITHIFY_FIXTURES")
        .map_or_else(|| workspace().join("target/fixtures"), PathBuf::from)
}

/// The root directory of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    // What cargo says at run time holds also where the build was copied from another place.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = package
        .ancestors()
        .find(|dir| dir.join("Cargo.lock").is_file());
    root.unwrap_or(&package).into()
}

fn listed(name: &str) -> bool {
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|all| {
        all.lines()
            .any(|line| line.split_whitespace().last() == Some(name))
    })
}

/// The test that runs, and what it needs.
fn skip_line(need: &str) -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Every crate's test program is called `it`: the package says more.
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    format!("{package}::{test} needs {need}\n")
}

fn skip(need: &str) {
    let line = format!("skipped: {}", skip_line(need));
    eprint!("{line}");
    if let Some(file) = std::env::var_os("LITHIFY_SKIPS") {
        // One `write` to a file opened for appending: lines of tests running side by side do not mix.
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&file)
            .and_then(|mut f| f.write_all(line.as_bytes()))
            .expect("the file named by LITHIFY_SKIPS can be written");
    }
}
