//! `lithify build`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use lithify::{BuildOptions, Description, Image, LeftOutReason, Output, Printable, Session};
use serde::Serialize;

use super::{decoding_session, print_json, with_progress};
use crate::args::{BuildArgs, MakeArgs};
use crate::failure::Failure;
use crate::human;
use crate::progress::Renderer;

/// A build whose list of artifacts is there although nothing is in it.
#[derive(Serialize)]
struct NothingMade<'a> {
    #[serde(flatten)]
    description: &'a Description,
    artifacts: [(); 0],
}

pub(crate) fn run(args: BuildArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let BuildArgs {
        image,
        make: to_make,
        artifacts,
        delta,
        dry_run,
        ..
    } = args;
    let source = MadeOf {
        artifacts,
        dry_run,
        open: |session: &Session| Image::open_by_delta(&image, delta, session),
    };
    make(to_make, source, session, &renderer, quiet)
}

/// The image that something is made of.
pub(super) struct MadeOf<F> {
    /// Whether to take what was published beside it.
    pub(super) artifacts: lithify::Artifacts,
    /// Whether only to say what would be made.
    pub(super) dry_run: bool,
    /// Opens it.
    pub(super) open: F,
}

/// Makes what is asked for of an image.
pub(super) fn make(
    args: MakeArgs,
    source: MadeOf<impl FnOnce(&Session) -> Result<Image, lithify::Error>>,
    mut session: Session,
    renderer: &Renderer,
    quiet: bool,
) -> Result<(), Failure> {
    let disk = |disks: &Vec<lithify::DiskKind>| disks.first().copied();
    let format = match args.format {
        None => {
            lithify::Format::of_name(&args.output).map_err(|e| Failure::Usage(e.to_string()))?
        }
        Some(format) => {
            let checked = match (format, &args.disk) {
                (lithify::Format::Ext4, Some(disks)) => {
                    lithify::check_disk_name(&args.output, disk(disks))
                }
                _ => format.check_name(&args.output),
            };
            match checked {
                Ok(()) => {}
                Err(e @ lithify::FormatNameError::File { .. }) => {
                    return Err(Failure::Usage(e.to_string()));
                }
                // Disks of layers are in a directory.
                Err(_) if format == lithify::Format::ErofsLayers => {}
                // Who says both may mean both.
                Err(e) if !quiet => say(&format!("lithify: {e}")),
                Err(_) => {}
            }
            format
        }
    };
    check_align(args.align, format, args.disk.as_ref().and_then(disk))?;
    if matches!(
        format,
        lithify::Format::ErofsLayers | lithify::Format::ContainerdCache
    ) && args.compress.is_none()
        && args.block_size.is_none()
        && !args.verity
    {
        // Layers that are EROFS images already are used as they are.
        session.layers = lithify::LayerKind::Erofs;
    }
    let output = match args.output.as_os_str() == "-" {
        true => Output::Stdout,
        false => Output::Path(args.output),
    };
    if output == Output::Stdout && std::io::stdout().is_terminal() && !source.dry_run {
        return Err(Failure::Usage(format!(
            "a terminal cannot show a {}: send `-o -` into a pipe or file, or name a file with -o",
            format.name()
        )));
    }
    if args.json && output == Output::Stdout && !source.dry_run {
        return Err(Failure::Usage(
            "--json and `-o -` both want standard output; name a file with -o".into(),
        ));
    }
    let mut options = BuildOptions::default();
    options.format = format;
    options.compression = args.compress;
    if format == lithify::Format::Cpio
        && let Output::Path(path) = &output
    {
        match options.compression {
            Some(asked) => asked
                .check_name(path)
                .map_err(|e| Failure::Usage(e.to_string()))?,
            None => options.compression = lithify::Compression::of_name(path),
        }
    }
    options.block_size = block_size(args.block_size)?;
    options.volume = args.volume.made.options(args.volume.size);
    options.volume.free = args.volume.free;
    options.verity = args.verity;
    options.drop_xattrs = args.drop_xattrs;
    options.sparse = args.sparse;
    options.one_image = args.one_image;
    if let Some(disks) = args.disk {
        let compressed = options
            .compression
            .is_some_and(|c| c.algorithm != lithify::CompressionAlgorithm::None);
        if compressed && !disks.is_empty() {
            return Err(Failure::Usage(
                "a disk is of images that are not compressed: leave --disk or --compress away"
                    .into(),
            ));
        }
        options.disks = Some(disks);
    }
    if let Some(alignment) = args.align {
        options.alignment = alignment;
    }
    options.artifacts = source.artifacts;
    options.profile = args.profile;
    options.durable = !args.no_fsync;
    options.digest = args.json;
    if source.dry_run {
        session.dry_run = true;
        let plan = with_progress(renderer, || {
            let image = (source.open)(&session)?;
            lithify::plan_build(&image, &output, &options, &session)
        })?;
        return super::plan::print(&plan, args.json, quiet);
    }
    let started = Instant::now();
    let description = with_progress(renderer, || {
        let image = (source.open)(&session)?;
        lithify::build(&image, &output, &options, &session)
    })?;
    if args.json {
        return match description.artifacts.is_empty() {
            true => print_json(&NothingMade {
                description: &description,
                artifacts: [],
            }),
            false => print_json(&description),
        };
    }
    // What a cache lacks, or must not be used for, is said to the quiet too.
    notes(&description, options.format);
    if !quiet {
        let seconds = started.elapsed().as_secs_f64();
        let tar: u64 = description.layers.iter().filter_map(|l| l.tar_size).sum();
        let rate = human::bytes((tar as f64 / seconds.max(1e-9)) as u64);
        let counts = match (description.built, description.reused) {
            (Some(built), Some(reused)) => format!("{built} built, {reused} reused"),
            _ => format!("{rate}/s"),
        };
        for artifact in &description.artifacts {
            let size = human::bytes(artifact.size);
            let line = format!("{}: {} {size}", artifact.path, artifact.format);
            match description.artifacts.len() {
                1 => say(&format!("{line} in {seconds:.2} s ({counts})")),
                _ => say(&line),
            }
            if let Some(source) = &artifact.source {
                say(&format!(
                    "  taken as it was published, from {}",
                    source.manifest
                ));
            }
            if let Some(id) = &artifact.image_id {
                say(&format!("  image {id}"));
                match &artifact.name {
                    Some(name) => say(&format!("  name {name}")),
                    None => {
                        say("  it has no name, so nothing keeps it: `composefs gc` collects it");
                    }
                }
                let count = |name: &str| artifact.statistics.get(name).copied().unwrap_or(0);
                say(&format!(
                    "  objects: {} new ({}), {} there before ({})",
                    count("objects_new"),
                    human::bytes(count("objects_new_bytes")),
                    count("objects_existing"),
                    human::bytes(count("objects_existing_bytes")),
                ));
                match count("objects_shared_bytes") {
                    0 => {}
                    shared => say(&format!(
                        "  {} of that share blocks with the files they were made of",
                        human::bytes(shared)
                    )),
                }
            }
            if let Some(verity) = &artifact.verity {
                say(&format!("  root hash {}", verity.root_hash));
            }
            if artifact.chain_id.is_some() && options.format != lithify::Format::ContainerdCache {
                say("  right only over the lower layers of this image");
            }
            for (name, files) in &artifact.dropped_xattrs {
                say(&format!(
                    "  left out: the extended attribute {name} of {}",
                    crate::human::files(*files)
                ));
            }
            for (name, count) in artifact
                .statistics
                .iter()
                .filter(|(name, count)| name.starts_with("not_set_") && **count > 0)
            {
                let what = name.trim_start_matches("not_set_").replace('_', " ");
                say(&format!(
                    "  not set: {what} of {}",
                    crate::human::files(*count)
                ));
            }
        }
        if description.artifacts.len() != 1 {
            say(&format!("{counts} in {seconds:.2} s"));
        }
    }
    Ok(())
}

/// Returns a block size as the library takes it.
pub(super) fn block_size(given: Option<u64>) -> Result<Option<u32>, Failure> {
    given
        .map(u32::try_from)
        .transpose()
        .map_err(|_| Failure::Usage("--block-size is over 4 GiB".into()))
}

/// Refuses an alignment where there is no disk on which images have one.
pub(super) fn check_align(
    given: Option<u64>,
    format: lithify::Format,
    disk: Option<lithify::DiskKind>,
) -> Result<(), Failure> {
    let is_aligned = match format {
        lithify::Format::ErofsLayers => true,
        lithify::Format::Ext4 => disk == Some(lithify::DiskKind::Gpt),
        _ => false,
    };
    match given.is_none() || is_aligned {
        true => Ok(()),
        false => Err(Failure::Usage(
            "--align is for the disks of -f erofs-layers, and ext4 with --disk gpt".into(),
        )),
    }
}

/// Says which layers are not in a containerd cache, and which make it one for this image only.
fn notes(description: &Description, format: lithify::Format) {
    for layer in &description.left_out {
        let reason = match layer.reason {
            LeftOutReason::DependsOnLowerLayers => {
                "it is right only over the lower layers of this image, and any image may ask for it; containerd converts it \
                 (--one-image puts it in, for a node that runs no other image)"
            }
            _ => {
                "the image has it more than once and it is not the same each time; containerd converts it"
            }
        };
        say(&format!(
            "layer {} ({}) is left out: {reason}",
            layer.layer, layer.diff_id
        ));
        if let Some(found) = &layer.found {
            say(&format!(
                "  but {found} is there, not from this build: containerd takes it"
            ));
        }
    }
    if format == lithify::Format::ContainerdCache {
        for artifact in description
            .artifacts
            .iter()
            .filter(|a| a.chain_id.is_some())
        {
            say(&format!(
                "{}: right only over the lower layers of this image: no other image may use this cache",
                artifact.path
            ));
        }
    }
}

/// A line for the person who waits, one whatever names are in it: nobody listening is no reason to fail.
pub(super) fn say(line: &str) {
    writeln!(crate::terminal::stderr(), "{}", Printable(line)).ok();
}
