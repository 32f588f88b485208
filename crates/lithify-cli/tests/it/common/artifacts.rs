//! Commands about artifacts, and an image they are about.

use std::path::Path;
use std::process::Command;

use crate::common::stores::lithify_at;
use crate::common::{image, layer, stderr};
use lithify_testkit::{TarEntry, run};
use serde_json::Value;

pub(crate) fn sample(dir: &Path) -> String {
    let text = b"some text, again and again ".repeat(4000);
    image(
        dir,
        [
            layer([
                TarEntry::directory("etc").mode(0o711),
                TarEntry::file("etc/gone", "x"),
                TarEntry::file("etc/text", text),
            ]),
            layer([TarEntry::whiteout("etc/gone"), TarEntry::file("new", "n")]),
        ],
    )
}

/// Runs lithify, which must succeed, and reads the JSON it prints.
#[track_caller]
pub(crate) fn json(store: &Path, args: &[&str]) -> Value {
    let mut command = lithify_at(store);
    serde_json::from_slice(&run::ok(command.arg("-q").args(args).arg("--json"))).unwrap()
}

/// Exit code, standard error.
pub(crate) fn fails(command: &mut Command) -> (i32, String) {
    let output = run::output(command);
    (output.status.code().unwrap(), stderr(&output))
}
