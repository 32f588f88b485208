//! `lithify composefs init`, `tag`, `rm`, `gc` and `fsck`.

use std::collections::BTreeSet;
use std::io::Write as _;

use lithify::composefs::oci::reference_tag;
use lithify::composefs::repository::{
    CreateOptions, Depth, Finding, FsckReport, GcOptions, Metadata,
};
use lithify::{ComposefsCheck, ComposefsRepository, Printable};
use serde_json::{Value, json};

use super::super::{insert_path, print_json, shown};
use super::session;
use crate::args::{
    ComposefsFsckArgs, ComposefsGcArgs, ComposefsInitArgs, ComposefsRmArgs, ComposefsTagArgs,
};
use crate::failure::Failure;
use crate::human;

pub(super) fn init(args: &ComposefsInitArgs, quiet: bool) -> Result<(), Failure> {
    let mut metadata = Metadata::new(args.algorithm);
    metadata.format = args.format_version;
    let options = CreateOptions {
        metadata,
        verity: args.verity,
    };
    let created = ComposefsRepository::create(&args.repository, &options, &session(None))?;
    if !quiet {
        let verity = match created.repository().is_secure() {
            true => "objects under fs-verity",
            false => "objects not under fs-verity",
        };
        writeln!(
            crate::terminal::stdout(),
            "{}: {}, images of format {}, {verity}",
            shown(args.repository.as_os_str()),
            created.repository().algorithm(),
            created.repository().metadata().format,
        )?;
    }
    Ok(())
}

pub(super) fn tag(args: &ComposefsTagArgs) -> Result<(), Failure> {
    let (repository, image) = ComposefsRepository::open_with_name(&args.place, &session(None))?;
    Ok(repository.tag(&image, &args.name)?)
}

pub(super) fn rm(args: &ComposefsRmArgs, quiet: bool) -> Result<(), Failure> {
    // Nothing is removed if any of them is wrong. One that is given twice is one.
    let mut found = Vec::new();
    for (index, place) in args.places.iter().enumerate() {
        if args.places[..index].contains(place) {
            continue;
        }
        let (repository, name) = ComposefsRepository::open_with_name(place, &session(None))?;
        repository.check_removable(&name)?;
        found.push((place, repository, name));
    }
    for (place, repository, name) in found {
        repository.remove(&name)?;
        if !quiet {
            writeln!(crate::terminal::stdout(), "removed {}", shown(place))?;
        }
    }
    Ok(())
}

pub(super) fn gc(args: &ComposefsGcArgs, quiet: bool) -> Result<(), Failure> {
    let session = session(None);
    let mut repository = ComposefsRepository::open(&args.list.repository, &session)?;
    let options = GcOptions {
        is_dry_run: args.dry_run,
        is_waiting: args.wait,
        ..GcOptions::default()
    };
    let at_work = crate::signals::at_work();
    let report = repository.collect(&args.keep, &options, &session)?;
    drop(at_work);
    if args.list.json {
        let mut all = json!({
            "dry_run": args.dry_run,
            "objects": report.objects,
            "bytes": report.bytes,
            "kept": report.kept,
            "entries": report.entries,
            "references": report.references,
            "temporary": report.temporary,
            "others": report.others,
            "in_use": report.is_in_use,
        });
        insert_path(&mut all, "repository", Some(repository.repository().path()));
        return print_json(&all);
    }
    if quiet {
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    let verb = match args.dry_run {
        true => "would remove",
        false => "removed",
    };
    writeln!(
        out,
        "{verb} {}, {}, {} and {} that {} to nothing; {} kept",
        human::counted(report.objects, "object"),
        human::bytes(report.bytes),
        match report.entries.len() {
            1 => "1 stream or image".to_owned(),
            count => format!("{count} streams and images"),
        },
        human::counted(report.references.len() as u64, "name"),
        match report.references.len() {
            1 => "leads",
            _ => "lead",
        },
        human::counted(report.kept, "object"),
    )?;
    if report.is_in_use {
        writeln!(
            out,
            "the repository is in use: what others are writing is counted, and would not be removed"
        )?;
    }
    for other in &report.others {
        writeln!(out, "{}: not an object, left as it is", Printable(other))?;
    }
    Ok(())
}

pub(super) fn fsck(args: &ComposefsFsckArgs, quiet: bool) -> Result<(), Failure> {
    let session = session(args.jobs);
    let mut repository = ComposefsRepository::open(&args.list.repository, &session)?;
    let options = ComposefsCheck {
        depth: match (args.metadata_only, args.contents) {
            (true, _) => Depth::Structure,
            (_, true) => Depth::Contents,
            _ => Depth::Objects,
        },
        repair: args.repair,
        wait: args.wait,
    };
    let at_work = crate::signals::at_work();
    let report = repository.check(&options, &session)?;
    drop(at_work);
    match args.list.json {
        true => {
            let findings: Vec<Value> = report.findings.iter().map(finding).collect();
            let mut all = json!({
                "clean": report.findings.is_empty(),
                "findings": findings,
                "objects": report.objects,
                "bytes": report.bytes,
                "streams": report.streams,
                "images": report.images,
                "references": report.references,
            });
            insert_path(&mut all, "repository", Some(repository.repository().path()));
            print_json(&all)?;
        }
        false => {
            let mut out = crate::terminal::stdout();
            for finding in &report.findings {
                let (at, fault) = (Printable(&finding.at), lithify::report(&finding.fault));
                write!(out, "{at}: {fault}")?;
                if let [first, more @ ..] = finding.needed_by.as_slice() {
                    write!(out, "; needed by {}", Printable(first))?;
                    if !more.is_empty() {
                        write!(out, " and {} more", more.len())?;
                    }
                }
                let repaired = match finding.is_repaired {
                    true => ": taken away",
                    false => "",
                };
                writeln!(out, "{repaired}")?;
            }
            if !quiet {
                writeln!(
                    out,
                    "{} read, {}; {}, {}, {}",
                    human::counted(report.objects, "object"),
                    human::bytes(report.bytes),
                    human::counted(report.streams, "stream"),
                    human::counted(report.images, "image"),
                    human::counted(report.references, "name"),
                )?;
            }
        }
    }
    match report.findings.len() {
        0 => Ok(()),
        count => Err(Failure::Damaged(advice(count, &report, args))),
    }
}

fn finding(finding: &Finding) -> Value {
    json!({
        "at": finding.at,
        "fault": lithify::report(&finding.fault),
        "object": finding.id().map(|id| id.hex()),
        "needed_by": finding.needed_by,
        "repaired": finding.is_repaired,
    })
}

/// Says what to do: with which names damage is gone when they are imported once more.
fn advice(count: usize, report: &FsckReport, args: &ComposefsFsckArgs) -> String {
    let places = report.findings.iter().flat_map(|finding| {
        let own = std::iter::once(&finding.at);
        own.chain(&finding.needed_by)
    });
    let names: BTreeSet<String> = places
        .filter_map(|place| {
            let name = place.strip_prefix("streams/refs/");
            let name = name.or_else(|| place.strip_prefix("images/refs/"))?;
            Some(reference_tag(name).unwrap_or_else(|| name.to_owned()))
        })
        .collect();
    let mut text = match count {
        1 => "1 thing is not as it should be in the repository".to_owned(),
        _ => format!("{count} things are not as they should be in the repository"),
    };
    if report.is_good() {
        text = format!(
            "{count} damaged {} taken away",
            match count {
                1 => "thing was",
                _ => "things were",
            }
        );
    } else if !args.repair {
        text.push_str(": `lithify composefs fsck --repair` takes away what is damaged");
    }
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(|n| Printable(n).to_string()).collect();
        text.push_str(&format!("; import once more: {}", names.join(", ")));
    }
    text
}
