//! Registries of every set-up, with a store and a home for who meets them.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{layer, stderr};
use lithify_testkit::{Layout, TarEntry, run, temp_dir};

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// A place for one test: its own store, home and configuration, so that nothing of this machine's user is seen.
pub(crate) struct Place {
    pub(crate) tmp: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { tmp: temp_dir() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn lithify(&self) -> Command {
        let mut command = crate::common::lithify();
        for name in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command
            .env("LITHIFY_STORE", self.path("store"))
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"));
        command
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        run::text(self.lithify().args(args))
    }

    pub(crate) fn fails(&self, args: &[&str], code: i32) -> String {
        let output = run::output(self.lithify().args(args));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    /// An image of two layers in a layout, as a source name.
    pub(crate) fn image(&self) -> String {
        let path = self.path("image");
        if !path.exists() {
            two_layers().write(&path);
        }
        format!("oci:{}:latest", path.display())
    }
}

pub(crate) fn two_layers() -> Layout {
    let noise: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let lower = layer([
        TarEntry::directory("etc").mode(0o755),
        TarEntry::file("etc/motd", "hello\n"),
        TarEntry::file("gone", "gone\n"),
        TarEntry::file("noise", noise),
    ]);
    let upper = layer([
        TarEntry::file("etc/motd", "good evening\n").mode(0o600),
        TarEntry::file(".wh.gone", ""),
    ]);
    Layout::new().gzip_layer(&lower).gzip_layer(&upper)
}

pub(crate) fn paths_of(place: &Place, subject: &str) -> Vec<String> {
    place
        .ok(&["-q", "ls", "-aR", subject])
        .lines()
        .map(ToOwned::to_owned)
        .collect()
}

pub(crate) fn skopeo() -> Command {
    run::command("skopeo")
}
