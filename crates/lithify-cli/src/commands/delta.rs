//! `lithify delta`.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use lithify::{
    CopyOptions, DeltaDescription, DeltaLayerOrigin, DeltaOptions, DeltaTarget, Printable, Session,
    Source, TarDeltaOptions, TarPatchOptions,
};
use serde::Serialize;

use super::build::{MadeOf, make};
use super::{decoding_session, finding_session, print_json, transfer, with_progress};
use crate::args::{
    DeltaApplyArgs, DeltaCommand, DeltaCreateArgs, DeltaInspectArgs, DeltaPlanArgs,
    DeltaTarApplyArgs, DeltaTarCommand, DeltaTarCreateArgs, MakeArgs,
};
use crate::failure::Failure;
use crate::human;

pub(crate) fn run(command: DeltaCommand, quiet: bool) -> Result<(), Failure> {
    match command {
        DeltaCommand::Create(args) => create(&args, quiet),
        DeltaCommand::Apply(args) => apply(args, quiet),
        DeltaCommand::Inspect(args) => inspect(&args),
        DeltaCommand::Plan(args) => plan(&args),
        DeltaCommand::Tar(DeltaTarCommand::Create(args)) => create_tar(&args, quiet),
        DeltaCommand::Tar(DeltaTarCommand::Apply(args)) => apply_tar(&args, quiet),
    }
}

fn create(args: &DeltaCreateArgs, quiet: bool) -> Result<(), Failure> {
    transfer::check_creds(&args.read.image.registry, &args.old, &args.new)?;
    transfer::check_creds(&args.read.image.registry, &args.new, &args.destination)?;
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let mut options = DeltaOptions::default();
    options.effort = args.effort.level.into();
    options.memory = args.effort.memory;
    options.all_platforms = args.all_platforms;
    options.durable = !args.no_fsync;
    let report = with_progress(&renderer, || {
        lithify::create_delta(&args.old, &args.new, &args.destination, &options, &session)
    })?;
    if args.json {
        return print_json(&report);
    }
    let mut out = crate::terminal::stdout();
    if !quiet {
        for image in &report.images {
            describe(&mut out, &image.delta)?;
        }
    }
    Ok(writeln!(out, "{}", report.digest)?)
}

fn inspect(args: &DeltaInspectArgs) -> Result<(), Failure> {
    let (session, renderer) = finding_session(&args.find, true)?;
    let description = with_progress(&renderer, || lithify::inspect_delta(&args.delta, &session))?;
    if args.json {
        return print_json(&description);
    }
    let mut out = crate::terminal::stdout();
    writeln!(out, "digest:        {}", description.digest)?;
    writeln!(out, "new image:     {}", description.target)?;
    if let Some(source) = &description.source {
        writeln!(out, "old image:     {source}")?;
    }
    writeln!(out, "its config:    {}", description.source_config)?;
    describe(&mut out, &description)
}

fn plan(args: &DeltaPlanArgs) -> Result<(), Failure> {
    let (session, renderer) = finding_session(&args.find, true)?;
    let plan = with_progress(&renderer, || {
        lithify::plan_delta(&args.have, &args.want, &args.from, &session)
    })?;
    if args.json {
        return print_json(&plan);
    }
    let mut out = crate::terminal::stdout();
    for delta in &plan.deltas {
        let bytes = human::bytes(delta.bytes);
        writeln!(
            out,
            "{}: {bytes}, makes {}",
            Printable(&delta.name),
            delta.target
        )?;
    }
    let whole = human::bytes(plan.changed_bytes);
    match plan.deltas.is_empty() {
        true => writeln!(out, "no deltas; without them: {whole}")?,
        false => {
            let bytes = human::bytes(plan.delta_bytes);
            writeln!(out, "{bytes} in all, in place of {whole}")?;
        }
    }
    Ok(())
}

/// Says what a delta saves, and of each layer where it comes from.
fn describe(out: &mut impl std::io::Write, delta: &DeltaDescription) -> Result<(), Failure> {
    writeln!(
        out,
        "{}: {} in place of {} ({} with layers that the old image has)",
        Printable(&delta.platform),
        human::bytes(delta.delta_bytes),
        human::bytes(delta.changed_bytes),
        human::bytes(delta.target_bytes),
    )?;
    for layer in &delta.layers {
        let size = human::bytes(layer.size);
        let delta = human::bytes(layer.delta_bytes);
        match layer.origin {
            DeltaLayerOrigin::Reused => {
                writeln!(out, "  {} {size}, in the old image", layer.digest)?;
            }
            DeltaLayerOrigin::Whole => writeln!(out, "  {} {size}, as it is", layer.digest)?,
            _ => writeln!(
                out,
                "  {} {size}, of {delta}, {}",
                layer.digest,
                match layer.exact {
                    true => "byte for byte",
                    false => "to be compressed again",
                }
            )?,
        }
    }
    Ok(())
}

/// An image that was made of a delta, and where it went.
#[derive(Serialize)]
struct Applied<'a> {
    #[serde(flatten)]
    copied: &'a lithify::CopyReport,
    delta: &'a lithify::DeltaTargetReport,
}

fn apply(args: DeltaApplyArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let open = |session: &Session| {
        let target = DeltaTarget::open_chain(&args.deltas, args.base.as_deref(), session)?;
        if args.exact {
            target.check_exact()?;
        }
        Ok::<_, lithify::Error>(target)
    };
    if !is_place(&args.make) {
        let source = MadeOf {
            artifacts: lithify::Artifacts::default(),
            dry_run: false,
            open: |session: &Session| open(session)?.for_builds(),
        };
        return make(args.make, source, session, &renderer, quiet);
    }
    let mut options = CopyOptions::default();
    options.durable = !args.make.no_fsync;
    let started = Instant::now();
    let (report, copied) = with_progress(&renderer, || {
        let target = open(&session)?;
        let image = target.for_copies()?;
        let copied = lithify::copy_image(&image, &args.make.output, &options, &session)?;
        Ok((target.report().clone(), copied))
    })?;
    if args.make.json {
        return print_json(&Applied {
            copied: &copied,
            delta: &report,
        });
    }
    if !quiet && !report.exact {
        let note = format!(
            "lithify: layers were compressed again, so that the image has another manifest than {}; its files and its configuration \
             are the same",
            report.target
        );
        super::build::say(&note);
    }
    transfer::print(&copied, false, quiet, started)
}

/// Whether an image is to go to a place, as `copy` puts it there.
fn is_place(args: &MakeArgs) -> bool {
    let is_path = |path: &Path| !Source::has_transport(path.as_os_str());
    args.format.is_none() && !is_path(&args.output)
}

fn create_tar(args: &DeltaTarCreateArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let mut options = TarDeltaOptions::default();
    options.effort = args.effort.level.into();
    options.memory = args.effort.memory;
    options.durable = !args.no_fsync;
    let report = with_progress(&renderer, || {
        lithify::create_tar_delta(&args.base, &args.layer, &args.output, &options, &session)
    })?;
    if args.json {
        return print_json(&report);
    }
    if !quiet {
        let mut out = crate::terminal::stdout();
        writeln!(
            out,
            "{}: {} for {} of tar",
            report.diff_id,
            human::bytes(report.size),
            human::bytes(report.tar_bytes),
        )?;
        let kinds = [
            (report.same, report.same_bytes, "as they were"),
            (report.changed, report.changed_bytes, "changed"),
            (report.new, report.new_bytes, "new"),
        ];
        for (files, bytes, what) in kinds {
            writeln!(
                out,
                "  {} {what}, {}",
                human::files(files),
                human::bytes(bytes)
            )?;
        }
    }
    Ok(())
}

fn apply_tar(args: &DeltaTarApplyArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let mut options = TarPatchOptions::default();
    options.diff_id = args.diff_id;
    options.durable = !args.no_fsync;
    let report = with_progress(&renderer, || {
        lithify::apply_tar_delta(&args.delta, &args.base, &args.output, &options, &session)
    })?;
    if args.json {
        return print_json(&report);
    }
    if !quiet {
        writeln!(
            crate::terminal::stdout(),
            "{}: {}",
            report.diff_id,
            human::bytes(report.size)
        )?;
    }
    Ok(())
}
