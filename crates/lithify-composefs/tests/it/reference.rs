//! Images against the independent writers of the format.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use lithify_cancel::CancelToken;
use lithify_composefs::image::{Image, ImageOptions, Version};
use lithify_composefs::{Filesystem, Source, dumpfile, image};
use lithify_testkit::{require, run};
use lithify_verity::file::{FileDigest, FileHasher, FileOptions};

use crate::random;

pub(crate) fn hasher() -> FileHasher {
    FileHasher::new(&FileOptions::default()).unwrap()
}

/// Returns the image of a tree, and its id.
pub(crate) fn written<S: Source>(source: &S, options: &ImageOptions) -> (Vec<u8>, FileDigest) {
    let cancel = CancelToken::new();
    let image = Image::new(source, options, &cancel).unwrap();
    let mut bytes = Vec::new();
    let id = image.write(&mut bytes, hasher(), &cancel).unwrap();
    assert_eq!(bytes.len() as u64, image.size());
    (bytes, id)
}

pub(crate) fn filesystem(dump: &str) -> Filesystem {
    dumpfile::read(dump.as_bytes(), &CancelToken::new()).unwrap()
}

fn first_version() -> ImageOptions {
    ImageOptions {
        version: Version::V0,
        ..ImageOptions::default()
    }
}

/// Trees whose images were compared byte for byte with those of C `mkcomposefs` (commit of 2025-02-11, `--min-version=1` and
/// without), of which it refuses those with attributes of overlayfs on a directory with whiteouts, and all of them with an
/// independent writer in Python.
const SEEDS: std::ops::Range<u64> = 0..150;

/// The digest of the ids of all of them, in both versions.
#[test]
fn images_are_those_of_mkcomposefs() {
    let mut ids = hasher();
    for seed in SEEDS {
        let filesystem = filesystem(&random::dump(seed));
        for options in [ImageOptions::default(), first_version()] {
            let (bytes, id) = written(&filesystem, &options);
            let mut again = hasher();
            again.update(&bytes);
            assert_eq!(again.finish(), id);
            ids.update(id.as_bytes());
        }
    }
    assert_eq!(
        ids.finish().hex(),
        "adffcec1fd3b63beb1ca0503116b4b423e655c7dd310de1cdbf04988357db4b8"
    );
}

/// Text of the images of these trees was compared with that of `composefs-info dump` and `ls` (commit of 2025-02-11). The same
/// but for attributes it leaves out: `user.overlay.whiteout` of the tree, and an empty ACL that stands last.
#[test]
fn dumps_are_those_of_composefs_info_and_make_the_same_images() {
    let mut texts = hasher();
    let cancel = CancelToken::new();
    for seed in SEEDS {
        let source = filesystem(&random::dump(seed));
        for options in [ImageOptions::default(), first_version()] {
            let (bytes, id) = written(&source, &options);
            let mut text = Vec::new();
            dumpfile::write_image(&*bytes, &mut text, &cancel).unwrap();
            let again = dumpfile::read(&*text, &cancel).unwrap();
            assert_eq!(written(&again, &options).1, id, "{seed}");
            dumpfile::list_image(&*bytes, &mut text, &cancel).unwrap();
            texts.update(&text);
        }
    }
    assert_eq!(
        texts.finish().hex(),
        "04f73f5d50523d8bcefb72470223e3a76f5395e9abab3a5b167b1789ad060284"
    );
}

/// Dumpfiles written by hand may give one link to a file with three names. The lines are those of `composefs-info dump`.
#[test]
fn files_of_several_names_are_known_whatever_number_of_links_they_say() {
    let dump = "/ 4096 40755 2 0 0 0 0.0 - - -\n/a 3 100644 1 0 0 0 0.0 - abc -\n/b 3 @100644 1 0 0 0 0.0 /a abc -\n\
        /c 3 100644 1 0 0 0 0.0 - abc -\n/d 3 @100644 1 0 0 0 0.0 /a abc -\n";
    let (bytes, _) = written(&filesystem(dump), &ImageOptions::default());
    let mut text = Vec::new();
    dumpfile::write_image(&*bytes, &mut text, &CancelToken::new()).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), dump);
}

/// Images whose bytes were changed are errors or other trees, and nothing worse.
#[test]
fn changed_images_are_read_without_harm() {
    let cancel = CancelToken::new();
    let (bytes, _) = written(&filesystem(&random::dump(3)), &ImageOptions::default());
    let mut random = random::Random::new(1);
    for _ in 0..300 {
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next() as u8;
        }
        let mut text = Vec::new();
        if dumpfile::write_image(&*bytes, &mut text, &cancel).is_ok() {
            dumpfile::list_image(&*bytes, &mut text, &cancel).unwrap();
        }
    }
}

/// The writer in Python, where it lies beside the workspace.
#[test]
fn images_are_those_of_an_independent_writer() {
    let script = require::workspace().join("../shared/tools/composefs_v1_ref.py");
    if !script.exists() {
        return;
    }
    for seed in SEEDS.step_by(10) {
        let dump = random::dump(seed);
        let expected = python(&script, &dump);
        let (found, _) = written(&filesystem(&dump), &ImageOptions::default());
        assert!(found == expected, "seed {seed}");
    }
}

fn python(script: &Path, dump: &str) -> Vec<u8> {
    let mut command = run::command("python3");
    command
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = dump.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// What is read from an image makes that image again, and is the tree it was made of.
#[test]
fn images_come_back() {
    for seed in SEEDS {
        let before = filesystem(&random::dump(seed));
        let (bytes, id) = written(&before, &ImageOptions::default());
        assert_eq!(image::read_header(&bytes).unwrap().version, 1);
        let after = image::read(bytes, &CancelToken::new()).unwrap();
        let (_, again) = written(&after, &ImageOptions::default());
        assert_eq!(id, again, "seed {seed}");
    }
}
