//! What comes from outside cannot drive a terminal, wherever it is shown.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::Command;

use crate::common::{lithify, stderr};
use lithify_testkit::{Compression, Layout, Tar, TarEntry, run, temp_dir};
use serde_json::{Value, json};

/// ESC, DEL, CSI in one character, marks that turn text around, a line separator, and a tag.
const HOSTILE: &str =
    "x\u{1b}[2J\u{7f}\u{9b}2J\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\u{e0041}y\r\nz";

/// Characters a terminal acts upon, or that change how others are shown.
fn is_safe(text: &str) -> bool {
    !text.chars().any(|c| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e0fff}')
    })
}

fn with_store(dir: &Path) -> Command {
    let mut command = lithify();
    command.env("LITHIFY_STORE", dir.join("store"));
    command
}

/// An image that says such things wherever it can.
fn hostile(dir: &Path) -> String {
    let mut tar = Tar::new();
    tar.add(TarEntry::file(HOSTILE, "1"));
    tar.add(TarEntry::symlink("link", HOSTILE));
    Layout::new()
        .layer(&tar.finish(), Compression::Gzip)
        .config(HOSTILE, json!({ HOSTILE: [HOSTILE] }))
        .config("Cmd", json!([HOSTILE]))
        .image_config("os.version", json!(HOSTILE))
        .write(dir);
    format!("oci:{}", dir.display())
}

#[test]
fn nothing_an_image_says_drives_a_terminal() {
    let tmp = temp_dir();
    let source = hostile(&tmp.path().join("image"));
    let out = tmp.path().join("out");
    let out = out.to_str().unwrap();
    for arguments in [
        &["inspect", &source][..],
        &["inspect", "--json", &source],
        &["ls", "-l", &source],
        &["ls", "--json", &source],
        &["verify", "--json", &source],
        &["cat", &source, HOSTILE.trim_end_matches('z')],
        &[
            "-v",
            "build",
            "-f",
            "erofs-layers",
            "-o",
            out,
            "--json",
            &source,
        ],
        &["inspect", HOSTILE],
        &["inspect", &format!("oci:{HOSTILE}")],
        &["images", "--json"],
        &["images"],
        &["verify", out],
        &["df"],
        &["mounts"],
    ] {
        let output = run::output(with_store(tmp.path()).args(arguments));
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(is_safe(&stdout), "{arguments:?}: {stdout:?}");
        assert!(
            is_safe(&stderr(&output)),
            "{arguments:?}: {:?}",
            stderr(&output)
        );
    }
    // Nor does a file that people look at.
    let json = fs::read_to_string(Path::new(out).join("image.json")).unwrap();
    assert!(is_safe(&json), "{json:?}");
}

#[test]
fn escaped_json_means_what_the_image_says() {
    let tmp = temp_dir();
    let source = hostile(&tmp.path().join("image"));
    let text = run::text(lithify().args(["inspect", "--json", &source]));
    assert!(
        text.contains(r"\u009b2J\u202e\u2066\u200f\u061c\u2028\udb40\udc41y"),
        "{text}"
    );
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["config"][HOSTILE], json!({ HOSTILE: [HOSTILE] }));
    // For people: one line for each key, and values as JSON that can be pasted.
    let text = run::text(lithify().args(["inspect", &source]));
    let cmd = text.lines().find_map(|l| l.strip_prefix("Cmd: ")).unwrap();
    let cmd: Value = serde_json::from_str(cmd).unwrap();
    assert_eq!(cmd, json!([HOSTILE]));
    assert_eq!(text.lines().filter(|l| l.starts_with('z')).count(), 0);
}

/// A description may come from anybody, and an error repeats its words.
#[test]
fn an_error_that_repeats_what_it_read_is_one_message() {
    let tmp = temp_dir();
    let text = json!({
        "reference": "x", "layers": [], "artifacts": [],
        "stack": { "overlay": [format!("layers/{HOSTILE}\nlithify: all is well")] },
    });
    fs::write(tmp.path().join("image.json"), text.to_string()).unwrap();
    let output = run::output(lithify().arg("ls").arg(tmp.path()));
    let said = stderr(&output);
    assert!(!output.status.success() && is_safe(&said), "{said:?}");
    let messages = said.lines().filter(|l| l.starts_with("lithify: "));
    assert_eq!(messages.count(), 1, "{said}");
}

/// What is spelled once was spelled again where it was printed, or its bytes were lost before.
#[test]
fn a_path_that_is_no_text_has_one_spelling() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let mut tar = Tar::new();
    tar.add(TarEntry::file("f", "1"));
    Layout::new()
        .layer(&tar.finish(), Compression::Gzip)
        .write(&dir.join("image"));
    // `%` stands for the name.
    let argument = |text: &str| -> OsString {
        let bytes = text.split('%').collect::<Vec<_>>().join("\u{0}");
        let bytes = bytes.bytes().flat_map(|byte| match byte {
            0 => b"caf\xe9".to_vec(),
            byte => vec![byte],
        });
        OsString::from_vec(bytes.collect())
    };
    let mut wrong = Vec::new();
    for (code, arguments) in [
        (0, "copy oci:image oci:%:1"),
        (0, "copy oci:image oci-archive:%.tar:1"),
        (0, "copy oci:image docker-archive:%.docker:app:1"),
        (0, "push oci:image oci:%:2"),
        (0, "inspect oci:%:1"),
        (0, "verify oci:%:1"),
        (1, "ls oci:%:none"),
        (1, "cat oci:%:none /f"),
        (1, "mount oci:%:none ."),
        (0, "build oci:%:1 -o %.erofs"),
        (0, "build oci:%:1 -f erofs-layers -o %.layers"),
        (0, "build oci:%:1 -f dir -o %.d"),
        (1, "build oci:%:1 -f dir -o %.d"),
        (1, "build oci:%:1 -f erofs-layers -o %.d"),
        (0, "inspect %.erofs"),
        (0, "verify %.erofs"),
        (0, "verify %.layers"),
        (2, "ls %.none"),
        (2, "build %.layers -o x"),
        (2, "copy oci:image %"),
        (2, "copy oci:image %.tar"),
        (2, "copy oci:image tar:%"),
        (0, "copy rootfs:%.d oci:copied"),
        (1, "push --as squashfs rootfs:%.d oci:x"),
        (2, "push --as erofs oci:image rootfs:%"),
        (2, "push oci:image %"),
        (2, "commit %.d --base oci:image -o %"),
        (1, "tag oci:% x"),
        (2, "tag % x"),
        (1, "pull oci:%"),
        (2, "pull %/none"),
        (2, "inspect oci:%:"),
        (1, "df --store %"),
    ] {
        let mut command = with_store(dir);
        command.current_dir(dir);
        let output = run::output(command.args(arguments.split(' ').map(argument)));
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8(said).unwrap();
        let is_right = output.status.code() == Some(code)
            && said.contains(r"caf\xe9")
            && !said.contains(r"\\")
            && !said.contains('\u{fffd}');
        if !is_right {
            wrong.push(format!("{:?} {arguments}: {said}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        dir.join(argument("%.layers"))
            .join(OsStr::new("image.json"))
            .exists()
    );
}

/// A platform is escaped by itself, and was once more in the list of those that are there.
#[test]
fn a_platform_is_escaped_once() {
    let tmp = temp_dir();
    let mut tar = Tar::new();
    tar.add(TarEntry::file("f", "1"));
    Layout::new()
        .layer(&tar.finish(), Compression::Gzip)
        .image_config("architecture", json!("a\u{1b}b"))
        .write(&tmp.path().join("image"));
    let source = format!("oci:{}", tmp.path().join("image").display());
    let output = run::output(lithify().args(["inspect", &source]));
    let said = stderr(&output);
    assert!(said.contains(r"there is linux/a\x1bb;"), "{said}");
}
