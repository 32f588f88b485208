//! Deltas as the crate `oci-delta` applies them: other people's code, which composefs and bootc apply deltas with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lithify_delta::create::CreateOptions;
use lithify_delta::diff::Effort;
use lithify_testkit::{Tar, TarEntry, require, run, temp_dir, wants_all};
use lithify_tree::TreePath;

use crate::common::{
    ADD, COPY, DATA, DICTIONARY, OPEN, SEEK, V1, V2, apply, delta, frame, op, patch_frame, path,
    skippable, with,
};
use crate::create::{Old, options, trees};
use crate::random::{Contents as _, Random};

/// The program of `referees/oci-delta`, if it was built: it needs OpenSSL's headers. Its absence is said, but is a skip that
/// counts only where all inputs are wanted.
///
/// `cargo install --locked --path referees/oci-delta --root target/referees/oci-delta` puts it where it is looked for.
fn referee() -> Option<PathBuf> {
    let program = std::env::var_os("LITHIFY_OCI_DELTA").map_or_else(
        || require::workspace().join("target/referees/oci-delta/bin/oci-delta-referee"),
        PathBuf::from,
    );
    if program.is_file() {
        return Some(program);
    }
    let need = "oci-delta-referee (of referees/oci-delta)";
    if !wants_all() {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        eprintln!("not run: lithify-delta::{test} needs {need}");
        return None;
    }
    require::met(false, need).then_some(program)
}

fn write(directory: &Path, files: &[(TreePath, Vec<u8>)]) {
    for (path, data) in files {
        let path = directory.join(str::from_utf8(path.as_bytes()).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
}

/// Applies a delta with the referee.
fn judge(program: &Path, delta: &[u8], old: &Old) -> Vec<u8> {
    let tmp = temp_dir();
    let file = tmp.path().join("delta");
    fs::write(&file, delta).unwrap();
    write(&tmp.path().join("old"), &old.0);
    run::ok(Command::new(program).arg(file).arg(tmp.path().join("old")))
}

#[test]
fn the_crate_oci_delta_applies_what_is_created() {
    let Some(program) = referee() else {
        return;
    };
    for seed in 0..30 {
        let (old, tar) = trees(seed);
        let effort = [Effort::Fast, Effort::Default, Effort::Best][seed as usize % 3];
        let memory = [512 << 20, 64 << 10][seed as usize / 3 % 2];
        let options = CreateOptions {
            memory,
            ..options(effort, 2)
        };
        let (delta, _) = old.create(&mut &*tar, &options).unwrap();
        assert!(judge(&program, &delta, &old) == tar, "seed {seed}");
    }
}

#[test]
fn the_crate_oci_delta_takes_the_largest_window() {
    let Some(program) = referee() else {
        return;
    };
    let mut random = Random::new(1);
    let content = random.bytes(20 << 20);
    let mut tar = Tar::new();
    // The second one is found in the window.
    tar.add(TarEntry::file("a", &content));
    tar.add(TarEntry::file("b", &content));
    let (old, tar) = (Old(vec![]), tar.finish());
    let options = options(Effort::Default, 2);
    let (delta, _) = old.create(&mut &*tar, &options).unwrap();
    assert!(delta.len() < 21 << 20, "{}", delta.len());
    assert!(judge(&program, &delta, &old) == tar);
}

#[test]
fn the_crate_oci_delta_makes_the_same_of_every_operation() {
    let Some(program) = referee() else {
        return;
    };
    let content = Random::new(2).text(5000);
    let new = [b"new ", &content[100..], b" end"].concat();
    let mut raw = 0xec30_a437_u32.to_le_bytes().to_vec();
    raw.extend(&content);
    let old = Old(vec![
        (path("d/text"), content.clone()),
        (path("raw"), raw.clone()),
        (path("short"), b"abc".to_vec()),
    ]);
    let v1 = [
        with(DATA, b"head"),
        with(OPEN, b"d/text"),
        op(COPY, 100, b""),
        with(ADD, &[1; 300]),
        op(SEEK, 4990, b""),
        op(COPY, 10, b""),
        with(OPEN, b"short"),
        op(COPY, 0, b""),
        with(DATA, b""),
        with(ADD, b"\xff\0\x01"),
    ];
    let v2 = [
        with(OPEN, b"d/text"),
        with(DICTIONARY, &patch_frame(&content, &new)),
        op(SEEK, 1, b""),
        op(COPY, 4, b""),
        with(OPEN, b"raw"),
        with(DICTIONARY, &patch_frame(&raw, &new)),
        with(OPEN, b"short"),
        with(
            DICTIONARY,
            &[&patch_frame(b"abc", b"abcabcabc")[..], b"garbage"].concat(),
        ),
        with(DICTIONARY, &patch_frame(b"abc", b"")),
        with(OPEN, b"short"),
        op(COPY, 3, b""),
    ];
    let (v1, v2) = (v1.concat(), [v1.concat(), v2.concat()].concat());
    let (one, two) = v2.split_at(v2.len() / 2);
    let several = [
        V2,
        &frame(one),
        &skippable(b"index"),
        &frame(two),
        &skippable(b""),
    ]
    .concat();
    for delta in [delta(V1, &v1), delta(V2, &v2), several] {
        let ours = apply(&delta, old.files()).unwrap();
        assert!(judge(&program, &delta, &old) == ours);
    }
}
