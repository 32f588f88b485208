//! Turns an image of an OCI layout into a filesystem, and reads from it.
//!
//! `cargo run --manifest-path examples/embed/Cargo.toml -- oci:examples/hello hello.erofs /hello.txt`
//!
//! The library is built without its default features: no HTTP, no TLS, no mounts.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use lithify::{
    BuildOptions, CancelToken, ErrorKind, Event, Format, Image, Output, Progress, Session,
    StoreChoice, Subject,
};

/// Says on standard error how far things are.
struct Log;

impl Progress for Log {
    fn event(&self, event: Event<'_>) {
        if let Event::LayerDone { index, entries, .. } = event {
            eprintln!("layer {index}: {entries} entries");
        }
    }
}

fn run(image: &str, out: PathBuf, path: &str) -> Result<(), Box<dyn Error>> {
    // Given once, whatever is done afterwards. A signal handler would call `cancel.cancel()`.
    let cancel = CancelToken::new();
    let session = Session {
        store: StoreChoice::None,
        progress: Arc::new(Log),
        cancel: cancel.clone(),
        ..Session::default()
    };

    let image = Image::open(image, &session)?;
    let mut options = BuildOptions::default();
    options.format = Format::of_name(&out)?;
    let made = lithify::build(&image, &Output::Path(out.clone()), &options, &session)?;
    println!(
        "{}: {} bytes",
        made.artifacts[0].format, made.artifacts[0].size
    );

    // Names and metadata, without mounting.
    let subject = Subject::open(&out, &session)?;
    let listing = subject.list(&session)?;
    println!("{} inodes", listing.tree().inode_count());

    // One file.
    let mut data = Vec::new();
    subject.cat(path.as_bytes(), &mut data, &session)?;
    print!("{}", String::from_utf8_lossy(&data));

    // The kind of an error says what can be done about it.
    let error = Image::open("docker://registry.example.com/app", &session).err();
    assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::Unsupported));

    // Work that was stopped says so, and leaves nothing.
    cancel.cancel();
    let stopped = lithify::build(&image, &Output::Path(out), &options, &session);
    assert!(stopped.is_err_and(|e| e.is_cancelled()));
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, image, out, path] = &*arguments else {
        eprintln!("usage: embed IMAGE OUT PATH");
        return ExitCode::from(2);
    };
    match run(image, out.into(), path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
