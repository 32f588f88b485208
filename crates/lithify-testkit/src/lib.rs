//! What the workspace's tests share. Not published, and used as a dev-dependency only.
//!
//! Nothing here uses lithify's own crates: a test that compares lithify's output with the output of another program
//! must not read either of them through the code under test.
//!
//! - [`require`]: what a test needs of the machine; a missing need is a *skip*, said out loud and counted.
//! - [`Snapshot`]: everything a file tree says about itself, and the differences of two trees.
//! - [`Tar`] and [`Layout`]: small layers and images, written by the shortest code that can be read in one sitting.
//! - [`registry`]: registries on loopback: a real one, and one that breaks in every way.
//! - [`vm`]: a virtual machine that boots from the disks of a test.
//! - [`program`]: programs a test writes and runs, itself included.
//! - [`run`]: other programs; [`Mount`]: file systems that are unmounted again.
//!
//! A failed expectation panics: these are test helpers.
//!
//! ```no_run
//! use lithify_testkit::{Allow, Layout, Mount, Snapshot, Tar, TarEntry, require, run};
//!
//! if !require::root() || !require::tool("umoci") || !require::kernel_erofs() {
//!     return;
//! }
//! let tmp = lithify_testkit::temp_dir();
//! let mut tar = Tar::new();
//! tar.add(TarEntry::directory("etc").mode(0o755));
//! tar.add(TarEntry::file("etc/motd", "hello\n"));
//! Layout::new().gzip_layer(&tar.finish()).write(&tmp.path().join("image"));
//!
//! // ... make `image.erofs` with the code under test ...
//! let bundle = tmp.path().join("bundle");
//! run::ok(run::command("umoci").args(["unpack", "--image"]).arg(tmp.path().join("image:latest")).arg(&bundle));
//! let mount = Mount::erofs(&tmp.path().join("image.erofs"));
//! Snapshot::of(mount.path()).assert_same(&Snapshot::of(&bundle.join("rootfs")), &Allow::nothing());
//! ```
#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    reason = "test helpers state what they expect by panicking"
)]

mod compare; // differences of two snapshots
mod cpio; // archives for kernels
mod escape; // showing odd bytes
mod image; // small OCI layouts
mod mount; // mounts with a guard
pub mod program;
mod random; // numbers that look random
pub mod registry;
pub mod require;
pub mod run;
mod snapshot; // a tree as data
mod tar; // small layers
pub mod vm;

pub use compare::{Allow, Difference, Field};
pub use cpio::Cpio;
pub use escape::escape;
pub use image::{Blob, Compression, Layout, deflate, digest, gzip};
pub use mount::Mount;
pub use random::Random;
pub use snapshot::{Kind, Node, Snapshot};
pub use tar::{Tar, TarEntry};

/// Returns whether inputs that take minutes are wanted too, as in `cargo xtask test --full`. A test has smaller ones of the
/// same kind, so that none is skipped.
#[must_use]
pub fn wants_all() -> bool {
    std::env::var_os("LITHIFY_FULL").is_some()
}

/// A fresh temporary directory, removed when the value is dropped.
#[must_use]
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("lithify-test-")
        .tempdir()
        .expect("a temporary directory can be made")
}
