//! composefs repositories that images are built into.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use lithify_testkit::{TarEntry, run, temp_dir};
use serde_json::Value;
use tempfile::TempDir;

use super::{layer, lithify, lithify_output, stderr};

/// A directory with a repository in it.
pub(crate) struct Place {
    pub(crate) tmp: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { tmp: temp_dir() }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    pub(crate) fn output(&self, name: &str) -> String {
        format!("{}:{name}", self.at("repository").display())
    }

    pub(crate) fn source(&self, name: &str) -> String {
        format!("composefs:{}", self.output(name))
    }

    /// Builds into the repository; returns the description of what was made.
    #[track_caller]
    pub(crate) fn build(&self, image: &str, name: &str, options: &[&str]) -> Value {
        build(image, &self.output(name), options)
    }

    pub(crate) fn try_build(&self, image: &str, name: &str, options: &[&str]) -> Output {
        try_build(image, &self.output(name), options)
    }

    #[track_caller]
    pub(crate) fn refused(&self, image: &str, options: &[&str], status: i32, words: &str) {
        let output = self.try_build(image, "refused", options);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{message}");
        assert!(message.contains(words), "{message}");
        // Whatever is there by then, nothing has a name.
        for directory in ["streams", "images"] {
            let named = self.at("repository").join(directory);
            let count = fs::read_dir(&named).map_or(0, Iterator::count);
            assert_eq!(count, 0, "{}", named.display());
        }
    }

    /// The filesystem as a tar: equal for equal filesystems.
    pub(crate) fn tar(&self, source: &str) -> Vec<u8> {
        let mut command = lithify();
        command.args(["-q", "build", source, "-o", "-"]);
        let output = run::output(&mut command);
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    }

    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let mut objects = Vec::new();
        for directory in fs::read_dir(self.at("repository/objects")).unwrap() {
            let directory = directory.unwrap().path();
            objects.extend(fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()));
        }
        objects.sort();
        objects
    }
}

/// Builds into `REPO:NAME`; returns the description of what was made.
#[track_caller]
pub(crate) fn build(image: &str, to: &str, options: &[&str]) -> Value {
    let output = try_build(image, to, options);
    assert!(output.status.success(), "{}", stderr(&output));
    let description: Value = serde_json::from_slice(&output.stdout).unwrap();
    description["artifacts"][0].clone()
}

/// Builds into `REPO:NAME`, whatever comes of it.
pub(crate) fn try_build(image: &str, to: &str, options: &[&str]) -> Output {
    let output = ["-f", "composefs", "-o", to, "--json"];
    let always = ["-q", "build", "--no-fsync", image];
    lithify_output(always.iter().chain(&output).chain(options))
}

/// One of everything that a layer can have.
pub(crate) fn layers() -> [Vec<u8>; 2] {
    let sparse = TarEntry::file("usr/sparse", vec![b'x'; 513])
        .record("GNU.sparse.major", "0")
        .record("GNU.sparse.minor", "1")
        .record("GNU.sparse.size", "1000000")
        .record("GNU.sparse.numblocks", "2")
        .record("GNU.sparse.map", "5000,512,999999,1");
    let short_sparse = TarEntry::file("usr/short", "z")
        .record("GNU.sparse.major", "0")
        .record("GNU.sparse.minor", "1")
        .record("GNU.sparse.size", "40")
        .record("GNU.sparse.numblocks", "1")
        .record("GNU.sparse.map", "30,1");
    let lower = layer([
        TarEntry::directory("usr")
            .mode(0o751)
            .owner(7, 8)
            .mtime(1_000_000, 5),
        TarEntry::directory("usr/lib"),
        TarEntry::symlink("lib", "usr/lib"),
        // A directory nobody described, and a name through a link.
        TarEntry::file("opt/a/b", [b'o'; 100]),
        TarEntry::file("lib/through", [b't'; 65]),
        TarEntry::file("usr/empty", ""),
        TarEntry::file("usr/inline", [b'i'; 64]),
        TarEntry::file("usr/object", [b'j'; 65]),
        TarEntry::file("usr/large", vec![b'l'; 3_000_000]),
        sparse,
        short_sparse,
        TarEntry::hard_link("usr/second", "usr/object"),
        TarEntry::fifo("usr/fifo"),
        TarEntry::char_device("usr/null", 1, 3),
        TarEntry::block_device("usr/disk", 8, 300),
        TarEntry::file("usr/old", "before 1970").mtime(-5, 500_000_000),
        TarEntry::file("usr/owned", "big ids").owner(3_000_000_000, 70_000),
        TarEntry::file("usr/marked", [b'm'; 70])
            .mode(0o4755)
            .xattr("user.note", "a note")
            .xattr(
                "security.capability",
                b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ),
        TarEntry::directory("run").mtime(3, 0),
        TarEntry::file("run/kept", "kept"),
        TarEntry::file("gone", "gone"),
        TarEntry::directory("d"),
        TarEntry::file("d/lower", "lower"),
    ]);
    let upper = layer([
        TarEntry::whiteout("gone"),
        // What a layer removes is below it, wherever the mark stands.
        TarEntry::file("d/new", [b'n'; 80]),
        TarEntry::opaque("d"),
        TarEntry::file("usr/object", [b'k'; 90]),
    ]);
    [lower, upper]
}
