//! A token that is used while something long goes on: it ends there, says so, and leaves nothing.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use lithify::{
    BuildOptions, CancelToken, Cause, CopyOptions, DiskKind, Event, Format, Image, LayerError,
    Output, Progress, Session, StoreChoice, Subject,
};
use lithify_testkit::{Layout, Tar, TarEntry, temp_dir};

/// More than can be read while anybody waits.
const ENDLESS: u64 = 1 << 40;

/// An image of two layers, neither of which says anything of the root directory.
fn layout() -> Layout {
    let layer = |name: &str| {
        let mut tar = Tar::new();
        tar.add(TarEntry::file(name, vec![7; 100_000]));
        tar.finish()
    };
    Layout::new()
        .gzip_layer(&layer("a"))
        .gzip_layer(&layer("b"))
}

fn image(dir: &Path) -> String {
    layout().write(&dir.join("image"));
    format!("oci:{}", dir.join("image").display())
}

fn names(dir: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .collect();
    names.sort();
    names
}

fn build(
    source: &str,
    format: Format,
    out: &Path,
    session: &Session,
) -> Result<(), lithify::Error> {
    let mut options = BuildOptions::default();
    options.format = format;
    if format == Format::ErofsLayers {
        options.disks = Some(vec![DiskKind::Vmdk, DiskKind::Gpt]);
    }
    let image = Image::open(source, &Session::default())?;
    let session = Session {
        store: StoreChoice::None,
        ..session.clone()
    };
    lithify::build(&image, &Output::Path(out.to_path_buf()), &options, &session).map(drop)
}

/// Stops the work when all data is in place.
struct StopsAtTheEnd(CancelToken);

impl Progress for StopsAtTheEnd {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Finishing) {
            self.0.cancel();
        }
    }
}

#[test]
fn what_comes_behind_the_data_is_not_written() {
    for format in [
        Format::Erofs,
        Format::Squashfs,
        Format::ErofsLayers,
        Format::Directory,
        Format::Tar,
    ] {
        let tmp = temp_dir();
        let source = image(tmp.path());
        let mut read = Session::default();
        read.progress = Arc::new(StopsAtTheEnd(read.cancel.clone()));
        let built = build(&source, format, &tmp.path().join("out"), &read);
        assert!(
            matches!(&built, Err(e) if e.is_cancelled()),
            "{format:?}: {built:?}"
        );
        assert_eq!(names(tmp.path()), ["image"], "{format:?}");
    }
}

/// An artifact is used with other tokens than the one it was opened with, and one that was used stops nothing else.
#[test]
fn an_artifact_is_read_as_long_as_the_work_goes_on() {
    let tmp = temp_dir();
    let source = image(tmp.path());
    let read = Session::default();
    let stopped = Session::default();
    stopped.cancel.cancel();
    for (name, format) in [
        ("erofs", Format::Erofs),
        ("squashfs", Format::Squashfs),
        ("layers", Format::ErofsLayers),
        ("squashfs-layers", Format::SquashfsLayers),
    ] {
        build(&source, format, &tmp.path().join(name), &read).unwrap();
    }
    for name in [
        "erofs",
        "squashfs",
        "layers",
        "squashfs-layers",
        "layers/disk.vmdk",
        "layers/disk.gpt",
    ] {
        let subject = Subject::open(tmp.path().join(name), &read).unwrap();
        let mut out = Vec::new();
        for result in [
            subject.verify(&stopped).map(drop),
            subject.list(&stopped).map(drop),
            subject.list_part(b"/", None, &stopped).map(drop),
            subject.cat(b"/a", &mut out, &stopped).map(drop),
        ] {
            assert!(
                matches!(&result, Err(e) if e.is_cancelled()),
                "{name}: {result:?}"
            );
        }
        assert!(out.is_empty());
        subject.verify(&read).unwrap();
        assert_eq!(subject.list(&read).unwrap().tree().len(), 3, "{name}");
        assert_eq!(subject.cat(b"/a", &mut out, &read).unwrap(), 100_000);
    }
}

#[test]
fn the_files_of_a_layered_build_are_not_hashed_to_the_end() {
    let tmp = temp_dir();
    let out = tmp.path().join("out");
    let source = image(tmp.path());
    build(&source, Format::SquashfsLayers, &out, &Session::default()).unwrap();
    // One becomes longer than can be read, with its description.
    let json = fs::read_to_string(out.join("image.json")).unwrap();
    let mut description: serde_json::Value = serde_json::from_str(&json).unwrap();
    let first = &mut description["artifacts"][0];
    let path = out.join(first["path"].as_str().unwrap());
    first["size"] = ENDLESS.into();
    fs::write(out.join("image.json"), description.to_string()).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(ENDLESS).unwrap();
    let read = Session::default();
    let subject = Subject::open(&out, &read).unwrap();
    let error = std::thread::scope(|scope| {
        let verifying = scope.spawn(|| subject.verify(&read));
        read.cancel.cancel();
        verifying.join().unwrap().unwrap_err()
    });
    assert!(error.is_cancelled(), "{error}");
}

/// Layers of a docker-archive are compressed before anything is sent.
#[test]
fn limits_hold_for_layers_that_are_compressed_to_be_copied() {
    let tmp = temp_dir();
    let archive = tmp.path().join("archive.tar");
    fs::write(&archive, layout().docker_archive("x:1")).unwrap();
    let source = format!("docker-archive:{}", archive.display());
    let mut read = Session::default();
    for (limit, fits) in [(50_000, false), (200_000, true)] {
        read.limits.layer.tar_bytes = limit;
        let out = tmp.path().join(format!("{limit}"));
        let destination = format!("oci:{}:x", out.display());
        let copied = lithify::copy(&source, &destination, &CopyOptions::default(), &read);
        match copied {
            Ok(_) => assert!(fits, "{limit}"),
            Err(error) => {
                let is_of_the_layer =
                    matches!(error.cause(), Cause::Layer(LayerError::Layer { .. }));
                let is_told = error.report().contains("tar_bytes");
                assert!(!fits && is_of_the_layer && is_told, "{error:?}");
            }
        }
        assert_eq!(out.exists(), fits);
    }
}
