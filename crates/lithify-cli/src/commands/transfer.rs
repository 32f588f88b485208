//! `lithify pull`, `copy` and `tag`, and `push` of an image as it is.

use std::ffi::OsStr;
use std::io::Write as _;
use std::time::Instant;

use lithify::{CopyOptions, DeltaPolicy, Printable, PullOptions, Session, TransferCounts};

use super::{base_session, decoding_session, platform, print_json, with_progress};
use crate::args::{ChunkArgs, CopyArgs, PullArgs, RegistryArgs, TagArgs, TransferArgs};
use crate::failure::Failure;
use crate::human;

pub(crate) fn pull(args: PullArgs, quiet: bool) -> Result<(), Failure> {
    let (mut session, renderer) = base_session(&args.limits, &args.registry, quiet)?;
    session.platform = args.platform.as_deref().map(platform).transpose()?;
    session.store = args.store.choice();
    let mut options = PullOptions::default();
    options.policy = args.policy;
    options.all_platforms = args.all_platforms;
    options.referrers = args.referrers;
    options.downloads = args.transfer.transfers;
    options.durable = !args.transfer.no_fsync;
    let started = Instant::now();
    if args.dry_run {
        let plan = with_progress(&renderer, || {
            lithify::plan_pull(&args.image, &options, &session)
        })?;
        return super::plan::print(&plan, args.json, quiet);
    }
    let from = args.delta_from.as_deref();
    let policy = match args.delta {
        DeltaPolicy::Never if from.is_some() => DeltaPolicy::Require,
        policy => policy,
    };
    let report = with_progress(&renderer, || {
        lithify::pull_by_delta(&args.image, &options, policy, from, &session)
    })?;
    if args.json {
        return print_json(&report);
    }
    let mut out = crate::terminal::stdout();
    if !quiet {
        let what = match report.pulled {
            true => summary(&report.blobs, started),
            false => "in the store".to_owned(),
        };
        writeln!(out, "{}: {what}", Printable(&report.reference))?;
        if let Some(delta) = &report.delta {
            writeln!(
                out,
                "  {} of these made of the delta {}: {} in place of {}",
                delta.layers,
                delta.digest,
                human::bytes(delta.delta_bytes),
                human::bytes(delta.layer_bytes),
            )?;
        }
    }
    Ok(writeln!(out, "{}", report.digest)?)
}

/// Credentials on the command line are for one registry: two would each see those of the other.
pub(crate) fn check_creds(
    registry: &RegistryArgs,
    source: &OsStr,
    destination: &OsStr,
) -> Result<(), Failure> {
    let host = |name: &OsStr| match lithify::Source::parse(name) {
        Ok(lithify::Source::Docker(name)) => {
            Some(name.normalised().domain().unwrap_or_default().to_owned())
        }
        _ => None,
    };
    match (&registry.creds, host(source), host(destination)) {
        (Some(_), Some(from), Some(to)) if from != to => Err(Failure::Usage(
            "--creds are for one registry, and this speaks to two: use `lithify login`".into(),
        )),
        _ => Ok(()),
    }
}

pub(crate) fn copy(args: CopyArgs, quiet: bool) -> Result<(), Failure> {
    check_creds(&args.read.image.registry, &args.source, &args.destination)?;
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let mut options = copy_options(&args.transfer, &args.chunk);
    options.all_platforms = args.all_platforms;
    options.referrers = args.referrers;
    if args.dry_run {
        let plan = with_progress(&renderer, || {
            lithify::plan_copy(&args.source, &args.destination, &options, &session)
        })?;
        return super::plan::print(&plan, args.json, quiet);
    }
    let started = Instant::now();
    let report = with_progress(&renderer, || {
        lithify::copy(&args.source, &args.destination, &options, &session)
    })?;
    print(&report, args.json, quiet, started)
}

pub(crate) fn copy_options(args: &TransferArgs, chunk: &ChunkArgs) -> CopyOptions {
    let mut options = CopyOptions::default();
    options.transfers = args.transfers;
    options.chunk = chunk.chunk;
    options.durable = !args.no_fsync;
    options
}

pub(crate) fn print(
    report: &lithify::CopyReport,
    json: bool,
    quiet: bool,
    started: Instant,
) -> Result<(), Failure> {
    if json {
        return print_json(report);
    }
    let mut out = crate::terminal::stdout();
    if !quiet {
        let what = summary(&report.blobs, started);
        writeln!(out, "{}: {what}", Printable(&report.destination))?;
    }
    Ok(writeln!(out, "{}", report.digest)?)
}

pub(crate) fn tag(args: &TagArgs, quiet: bool) -> Result<(), Failure> {
    let session = Session {
        store: args.store.choice(),
        cancel: crate::signals::token(),
        ..Session::default()
    };
    let at_work = crate::signals::at_work();
    let (source, new) = lithify::tag(&args.image, &args.new, &session)?;
    drop(at_work);
    if !quiet {
        let (source, new) = (Printable(&source), Printable(&new));
        writeln!(crate::terminal::stdout(), "{source} is {new} too")?;
    }
    Ok(())
}

fn summary(counts: &TransferCounts, started: Instant) -> String {
    let seconds = started.elapsed().as_secs_f64();
    let rate = human::bytes((counts.copied_bytes as f64 / seconds.max(1e-9)) as u64);
    let mut text = format!(
        "{} blobs copied ({}, {rate}/s), {} there already",
        counts.copied,
        human::bytes(counts.copied_bytes),
        counts.existed,
    );
    if counts.mounted > 0 {
        text.push_str(&format!(", {} mounted", counts.mounted));
    }
    if counts.foreign > 0 {
        text.push_str(&format!(", {} left to their vendor", counts.foreign));
    }
    text
}
