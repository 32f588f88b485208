//! `lithify push`.

use std::io::Write as _;

use lithify::{Image, Printable, PublishForm, PublishOptions, Session};

use super::{decoding_session, print_json, with_progress};
use crate::args::{PushArgs, PushForm};
use crate::failure::Failure;
use crate::human;

pub(crate) fn run(args: PushArgs, quiet: bool) -> Result<(), Failure> {
    super::transfer::check_creds(&args.read.image.registry, &args.image, &args.destination)?;
    let (mut session, renderer) = decoding_session(&args.read, quiet)?;
    session.dry_run = args.dry_run;
    let Some(form) = args.form else {
        let published = [
            ("--only", args.only),
            ("--erofs-zstd", args.erofs_zstd),
            ("--erofs-spec", args.erofs_spec.is_some()),
            ("--compress", args.compress.is_some()),
            ("--verity", args.verity),
            ("--drop-xattrs", args.drop_xattrs),
            ("--algorithm", !args.algorithm.is_empty()),
        ];
        if let Some((option, _)) = published.into_iter().find(|(_, given)| *given) {
            return Err(Failure::Usage(format!(
                "{option} is for filesystems: say which with --as"
            )));
        }
        let mut options = super::transfer::copy_options(&args.transfer, &args.chunk);
        options.all_platforms = args.all_platforms;
        if args.dry_run {
            let plan = with_progress(&renderer, || {
                lithify::plan_copy(&args.image, &args.destination, &options, &session)
            })?;
            return super::plan::print(&plan, args.json, quiet);
        }
        let started = std::time::Instant::now();
        let report = with_progress(&renderer, || {
            lithify::copy(&args.image, &args.destination, &options, &session)
        })?;
        return super::transfer::print(&report, args.json, quiet, started);
    };
    if form != PushForm::Erofs && args.erofs_zstd {
        return Err(Failure::Usage(
            "--erofs-zstd is for layers: --as erofs; compress an image with --compress".into(),
        ));
    }
    if form != PushForm::Erofs && args.only {
        return Err(Failure::Usage(
            "--only is for layers: --as erofs; a whole filesystem is an artifact of the image it is made of".into(),
        ));
    }
    if form != PushForm::Erofs && args.erofs_spec.is_some() {
        return Err(Failure::Usage(
            "--erofs-spec is for layers: --as erofs".into(),
        ));
    }
    if form == PushForm::Composefs {
        let of_data = [
            ("--compress", args.compress.is_some()),
            ("--verity", args.verity),
            ("--drop-xattrs", args.drop_xattrs),
        ];
        if let Some((option, _)) = of_data.into_iter().find(|(_, given)| *given) {
            return Err(Failure::Usage(format!(
                "{option} is for filesystems with files: a composefs image refers to them, and is the one that cfsctl makes"
            )));
        }
    } else if !args.algorithm.is_empty() {
        return Err(Failure::Usage(
            "--algorithm is for digests: --as composefs".into(),
        ));
    }
    let mut options = PublishOptions::default();
    options.form = match form {
        PushForm::Erofs => PublishForm::ErofsLayers,
        PushForm::ErofsImage => PublishForm::ErofsImage,
        PushForm::Squashfs => PublishForm::Squashfs,
        PushForm::Composefs => PublishForm::Composefs,
    };
    options.only = args.only;
    options.spec = args.erofs_spec.unwrap_or_default();
    options.zstd = args.erofs_zstd;
    options.compression = args.compress;
    options.verity = args.verity;
    options.drop_xattrs = args.drop_xattrs;
    if !args.algorithm.is_empty() {
        options.algorithms.clone_from(&args.algorithm);
    }
    options.transfers = args.transfer.transfers;
    options.chunk = args.chunk.chunk;
    options.durable = !args.transfer.no_fsync;
    if args.dry_run {
        let plan = with_progress(&renderer, || {
            let images = images(&args, &session)?;
            lithify::plan_publish(&images, &args.destination, &options, &session)
        })?;
        return super::plan::print(&plan, args.json, quiet);
    }
    let report = with_progress(&renderer, || {
        let images = images(&args, &session)?;
        lithify::publish(&images, &args.destination, &options, &session)
    })?;
    if args.json {
        return print_json(&report);
    }
    let mut out = crate::terminal::stdout();
    if !quiet {
        for manifest in &report.manifests {
            let size = human::bytes(manifest.layers.iter().map(|l| l.size).sum());
            let layers = human::counted(manifest.layers.len() as u64, "layer");
            let digest = &manifest.digest;
            let (form, platform) = (Printable(&manifest.form), Printable(&manifest.platform));
            writeln!(out, "{digest}: {form} for {platform}, {layers}, {size}")?;
        }
    }
    Ok(writeln!(out, "{}", report.digest)?)
}

/// Opens the image for the platforms that were asked for.
fn images(args: &PushArgs, session: &Session) -> Result<Vec<Image>, lithify::Error> {
    match args.all_platforms {
        true => Image::open_all(&args.image, session),
        false => Ok(vec![Image::open(&args.image, session)?]),
    }
}
