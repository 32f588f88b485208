//! `lithify delta`.

use std::io::Write as _;

use lithify::{TarDeltaOptions, TarPatchOptions};

use super::{decoding_session, print_json, with_progress};
use crate::args::{DeltaCommand, DeltaTarApplyArgs, DeltaTarCommand, DeltaTarCreateArgs};
use crate::failure::Failure;
use crate::human;

pub(crate) fn run(command: &DeltaCommand, quiet: bool) -> Result<(), Failure> {
    match command {
        DeltaCommand::Tar(DeltaTarCommand::Create(args)) => create(args, quiet),
        DeltaCommand::Tar(DeltaTarCommand::Apply(args)) => apply(args, quiet),
    }
}

fn create(args: &DeltaTarCreateArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let mut options = TarDeltaOptions::default();
    options.effort = args.level.into();
    options.memory = args.memory;
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

fn apply(args: &DeltaTarApplyArgs, quiet: bool) -> Result<(), Failure> {
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
