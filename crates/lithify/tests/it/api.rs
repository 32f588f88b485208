//! The library as an embedder uses it.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lithify::{
    ArtifactError, BuildOptions, CancelToken, Cause, ErrorKind, Event, Format, Image, LayerError,
    Output, Progress, Session, Subject, TreeKind,
};
use lithify_testkit::{Layout, Tar, TarEntry, temp_dir};

fn layer(entries: impl IntoIterator<Item = TarEntry>) -> Vec<u8> {
    let mut tar = Tar::new();
    for entry in entries {
        tar.add(entry);
    }
    tar.finish()
}

/// Two layers of some megabytes.
fn image(dir: &Path) -> String {
    let files = |from: usize| {
        (from..from + 200).map(|n| TarEntry::file(format!("f{n}"), vec![n as u8; 20_000]))
    };
    Layout::new()
        .gzip_layer(&layer(files(0)))
        .gzip_layer(&layer(files(100)))
        .write(&dir.join("image"));
    format!("oci:{}", dir.join("image").display())
}

/// Records events as text and calls back on each.
struct Recorder<F> {
    events: Mutex<Vec<String>>,
    then: F,
}

impl<F: Fn(&str) + Send + Sync> Progress for Recorder<F> {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Started { layers } => format!("started {layers}"),
            Event::Layer {
                index, blob_size, ..
            } => format!("layer {index} {}", blob_size.is_some()),
            Event::Read { index, .. } => format!("read {index}"),
            Event::LayerDone { index, entries, .. } => format!("done {index} {entries}"),
            Event::Finishing => "finishing".to_owned(),
            _ => "other".to_owned(),
        };
        self.events.lock().unwrap().push(text.clone());
        (self.then)(&text);
    }
}

#[test]
fn progress_tells_each_layer_and_the_end() {
    let tmp = temp_dir();
    let name = image(tmp.path());
    let recorder = Arc::new(Recorder {
        events: Mutex::default(),
        then: |_: &str| {},
    });
    let options = Session {
        progress: Arc::clone(&recorder) as Arc<dyn Progress>,
        jobs: NonZeroUsize::new(1),
        ..Session::default()
    };
    let image = Image::open(&name, &options).unwrap();
    lithify::build(
        &image,
        &Output::Path(tmp.path().join("x")),
        &BuildOptions::default(),
        &options,
    )
    .unwrap();
    let mut events = recorder.events.lock().unwrap().clone();
    events.dedup();
    assert_eq!(
        events,
        [
            "started 2",
            "layer 1 true",
            "read 1",
            "done 1 200",
            "layer 0 true",
            "read 0",
            "done 0 200",
            "finishing"
        ]
    );
}

#[test]
fn a_cancelled_build_stops_and_leaves_nothing() {
    for (format, at) in [
        (Format::Erofs, "layer 1 true"),
        (Format::Tar, "done 1 200"),
        (Format::Directory, "read 0"),
        (Format::Tar, "finishing"),
    ] {
        let tmp = temp_dir();
        let name = image(tmp.path());
        let cancel = CancelToken::new();
        let token = cancel.clone();
        let then = move |event: &str| {
            if event == at {
                token.cancel();
            }
        };
        let progress: Arc<dyn Progress> = Arc::new(Recorder {
            events: Mutex::default(),
            then,
        });
        let options = Session {
            progress,
            cancel,
            ..Session::default()
        };
        let image = Image::open(&name, &options).unwrap();
        let mut build = BuildOptions::default();
        build.format = format;
        let result = lithify::build(
            &image,
            &Output::Path(tmp.path().join("x")),
            &build,
            &options,
        );
        assert!(
            matches!(&result, Err(e) if e.is_cancelled()),
            "{format:?} at {at}: {result:?}"
        );
        let left: Vec<_> = std::fs::read_dir(tmp.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["image"], "{format:?} at {at}");
    }
}

#[test]
fn what_was_built_can_be_listed_and_read() {
    let tmp = temp_dir();
    let name = image(tmp.path());
    let options = Session::default();
    let out = tmp.path().join("x.erofs");
    let image = Image::open(&name, &options).unwrap();
    lithify::build(
        &image,
        &Output::Path(out.clone()),
        &BuildOptions::default(),
        &options,
    )
    .unwrap();
    let subject = Subject::open(out.to_str().unwrap(), &options).unwrap();
    let listing = subject.list(&options).unwrap();
    assert_eq!(listing.tree().len(), 301);
    let node = listing.find(b"/f250").unwrap();
    assert!(matches!(
        listing.tree().node_inode(node).kind,
        TreeKind::File { size: 20_000, .. }
    ));
    let Subject::File(file) = subject else {
        panic!("an EROFS image")
    };
    assert_eq!(file.read(b"/f250").unwrap(), vec![250; 20_000]);
    let missing = file.read(b"/missing").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(matches!(
        missing.cause(),
        Cause::Artifact(ArtifactError::NotInImage { .. })
    ));
}

#[test]
fn an_error_names_the_layer_and_says_whether_it_is_about_verification() {
    let tmp = temp_dir();
    let bad = layer([TarEntry::hard_link("a", "nowhere")]);
    Layout::new()
        .gzip_layer(&layer([TarEntry::file("b", "")]))
        .gzip_layer(&bad)
        .write(&tmp.path().join("image"));
    let options = Session::default();
    let subject = Subject::open(
        format!("oci:{}", tmp.path().join("image").display()),
        &options,
    )
    .unwrap();
    let error = subject.verify(&options).unwrap_err();
    assert!(
        matches!(
            error.cause(),
            Cause::Layer(LayerError::Merge { index: 1, .. })
        ),
        "{error}"
    );
    assert!(!error.is_verification());
}
