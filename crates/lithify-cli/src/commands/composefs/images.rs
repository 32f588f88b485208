//! `lithify composefs create`, `id` and `dump`.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;

use lithify::composefs::FileAlgorithm;
use lithify::composefs::image::Version;
use lithify::{
    ComposefsDump, ComposefsImage, ComposefsImageOptions, ComposefsRepository, Image, Source,
};

use serde_json::json;

use super::super::{decoding_session, insert_path, print_json, with_progress};
use super::session;
use crate::args::{ComposefsCreateArgs, ComposefsDumpArgs, ComposefsIdArgs, FormatArgs};
use crate::failure::Failure;

fn options(format: &FormatArgs, algorithm: FileAlgorithm) -> ComposefsImageOptions {
    let mut options = ComposefsImageOptions::default();
    // As with mkcomposefs, one that is given is no longer raised by a default.
    if format.format_version.is_some() || format.max_version.is_some() {
        options.version = format.format_version.unwrap_or(Version::V0);
        options.max_version = format.max_version.unwrap_or(Version::V0);
    }
    options.algorithm = algorithm;
    options
}

pub(super) fn create(args: &ComposefsCreateArgs) -> Result<(), Failure> {
    let session = session(None);
    let mut options = options(&args.format, args.algorithm);
    options.durable = !args.no_fsync;
    let is_stdout = args.output.as_deref() == Some(Path::new("-"));
    if is_stdout && io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "a terminal cannot show an image: send it into a pipe or file, or name a file".into(),
        ));
    }
    let dump = ComposefsDump::read(&args.dumpfile, &session)?;
    let at_work = crate::signals::at_work();
    let report = match args.output.as_deref() {
        None => dump.write(&mut io::sink(), &options, &session)?,
        Some(_) if is_stdout => {
            let mut out = io::stdout().lock();
            let report = dump.write(&mut out, &options, &session)?;
            out.flush()?;
            report
        }
        Some(path) => dump.write_file(path, &options, &session)?,
    };
    drop(at_work);
    if args.print_digest && is_stdout {
        // Nobody listening is no reason to fail.
        writeln!(io::stderr(), "{}", report.id.hex()).ok();
    } else if args.print_digest || args.print_digest_only {
        writeln!(io::stdout(), "{}", report.id.hex())?;
    }
    Ok(())
}

pub(super) fn id(args: &ComposefsIdArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    // Nothing is printed if any of them is wrong.
    let mut ids = Vec::new();
    for name in &args.images {
        let algorithm = |known: Option<FileAlgorithm>| {
            args.algorithm.or(known).unwrap_or(FileAlgorithm::Sha256)
        };
        let in_repository = name.as_encoded_bytes().starts_with(b"composefs:");
        let is_elsewhere = Source::has_transport(name) && !in_repository;
        let is_file = args.from_dump || args.file;
        let id = if args.profile.is_some() || (is_elsewhere && !is_file) {
            with_progress(&renderer, || {
                let image = Image::open(name, &session)?;
                let known = match image.source() {
                    Source::Composefs { path, .. } => {
                        let repository = ComposefsRepository::open(path, &session)?;
                        Some(repository.repository().algorithm())
                    }
                    _ => None,
                };
                let options = options(&args.format, algorithm(known));
                let profile = args.profile.unwrap_or_default();
                lithify::composefs_id(&image, profile, &options, &session)
            })?
        } else if args.from_dump {
            let dump = ComposefsDump::read(Path::new(name), &session)?;
            let options = options(&args.format, algorithm(None));
            dump.write(&mut io::sink(), &options, &session)?.id
        } else {
            let image = match args.file {
                true => ComposefsImage::open_any(Path::new(name))?,
                false => ComposefsImage::open(name, &session)?,
            };
            image.id(algorithm(image.algorithm()), &session)?
        };
        ids.push((name, id));
    }
    if args.json {
        let ids = ids.into_iter().map(|(name, id)| {
            let algorithm = id.algorithm().to_string();
            let mut one = json!({ "id": id.hex(), "algorithm": algorithm });
            insert_path(&mut one, "image", Some(Path::new(name)));
            one
        });
        return print_json(&ids.collect::<Vec<_>>());
    }
    let mut out = io::stdout().lock();
    for (_, id) in ids {
        writeln!(out, "{}", id.hex())?;
    }
    Ok(out.flush()?)
}

pub(super) fn dump(args: &ComposefsDumpArgs) -> Result<(), Failure> {
    let session = session(None);
    // It is text of ASCII alone.
    let mut out = BufWriter::new(io::stdout().lock());
    for image in super::ls::open_all(&args.images, &session)? {
        image.dump(&mut out, &session)?;
    }
    Ok(out.flush()?)
}
