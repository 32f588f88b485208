//! `lithify images`, `rm`, `gc`, `fsck` and `df`.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use lithify::StoreChoice;
use lithify::store::{Access, Action, Bytes, FsckOptions, GcOptions, OpenOptions, Store};
use serde_json::{Value, json};

use super::{Failure, print_json};
use crate::args::{FsckArgs, GcArgs, RmArgs, StoreListArgs};
use crate::human;

fn open(choice: &StoreChoice, options: OpenOptions) -> Result<Store, Failure> {
    Ok(choice.open(options)?)
}

fn failed(error: lithify::store::Error) -> Failure {
    lithify::Error::from(error).into()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn sizes(bytes: Bytes) -> Value {
    json!({ "apparent": bytes.apparent, "on_disk": bytes.on_disk })
}

pub(crate) fn images(args: &StoreListArgs) -> Result<(), Failure> {
    let store = open(
        &args.store.choice(),
        OpenOptions::new().access(Access::Preferred),
    )?;
    let found = store.images().map_err(failed)?;
    let mut list = Vec::new();
    for image in &found.images {
        let record = &image.record;
        let targets: Vec<&str> = record.targets.keys().map(String::as_str).collect();
        list.push(json!({
            "name": record.name,
            "platform": record.platform,
            "digest": record.manifest.to_string(),
            "targets": targets,
            "last_used": seconds(image.last_used),
        }));
    }
    if args.json {
        return print_json(&list);
    }
    let mut out = std::io::stdout().lock();
    for image in &found.images {
        let record = &image.record;
        let digest: String = record.manifest.hex().chars().take(12).collect();
        let targets: Vec<&str> = record.targets.keys().map(String::as_str).collect();
        let (name, platform) = (record.name.escape_debug(), record.platform.escape_debug());
        writeln!(out, "{name}  {platform}  {digest}  {}", targets.join(", "))?;
    }
    for (path, problem) in &found.damaged {
        eprintln!("lithify: {}: {problem}; run `lithify fsck`", path.display());
    }
    Ok(())
}

pub(crate) fn rm(args: &RmArgs, quiet: bool) -> Result<(), Failure> {
    let store = open(&args.store.choice(), OpenOptions::new())?;
    let platform = args.platform.as_deref();
    let mut removed = store.remove_image(&args.image, platform).map_err(failed)?;
    if removed.is_empty() {
        let name = lithify::store_name(&args.image);
        removed = store.remove_image(&name, platform).map_err(failed)?;
    }
    if removed.is_empty() {
        let name = args.image.escape_debug();
        return Err(Failure::Other(format!(
            "the store has no image `{name}`; `lithify images` lists what it has"
        )));
    }
    if !quiet {
        for record in removed {
            let (name, platform) = (record.name.escape_debug(), record.platform.escape_debug());
            writeln!(std::io::stdout(), "removed {name} ({platform})")?;
        }
    }
    Ok(())
}

pub(crate) fn gc(args: &GcArgs, quiet: bool) -> Result<(), Failure> {
    let store = open(&args.list.store.choice(), OpenOptions::new())?;
    let options = GcOptions::new()
        .dry_run(args.dry_run)
        .keep_bytes(args.keep_bytes)
        .quarantine(args.quarantine);
    let report = store.gc(&options).map_err(failed)?;
    if args.list.json {
        let entry = |info: &lithify::store::EntryInfo| {
            let format = info.record.as_ref().map(|r| r.key.format());
            json!({ "id": info.id.hex(), "format": format, "bytes": sizes(info.bytes) })
        };
        return print_json(&json!({
            "dry_run": args.dry_run,
            "removed": report.removed.iter().map(entry).collect::<Vec<_>>(),
            "removed_bytes": sizes(report.removed_bytes),
            "kept": report.kept.len(),
            "leftovers": report.leftovers,
            "leftover_bytes": sizes(report.leftover_bytes),
            "quarantined": report.quarantined,
        }));
    }
    if !quiet {
        let verb = if args.dry_run {
            "would remove"
        } else {
            "removed"
        };
        let bytes = human::bytes(report.removed_bytes.on_disk + report.leftover_bytes.on_disk);
        writeln!(
            std::io::stdout(),
            "{verb} {} artifacts and {} leftovers, {bytes}; {} kept",
            report.removed.len(),
            report.leftovers,
            report.kept.len()
        )?;
    }
    Ok(())
}

pub(crate) fn fsck(args: &FsckArgs, quiet: bool) -> Result<(), Failure> {
    let access = if args.dry_run {
        Access::ReadOnly
    } else {
        Access::Preferred
    };
    let store = open(
        &args.list.store.choice(),
        OpenOptions::new().access(access).repair(true),
    )?;
    let repair = !args.dry_run && !store.read_only();
    let report = store
        .fsck(&FsckOptions::new().repair(repair))
        .map_err(failed)?;
    let action = |action: &Action| match action {
        Action::Quarantined(path) => format!("moved to {}", path.display()),
        Action::Repaired => "repaired".to_owned(),
        Action::Removed => "removed".to_owned(),
        Action::Failed(e) => format!("could not be repaired: {e}"),
        _ => "left as it is".to_owned(),
    };
    if args.list.json {
        let findings: Vec<Value> = report
            .findings
            .iter()
            .map(|f| {
                json!({
                    "path": f.path.to_string_lossy(),
                    "problem": f.problem.to_string(),
                    "damage": f.problem.is_damage(),
                    "action": action(&f.action),
                })
            })
            .collect();
        print_json(&json!({
            "clean": report.is_clean(),
            "findings": findings,
            "good": report.good,
            "files": report.files,
            "bytes": report.bytes,
        }))?;
    } else {
        let mut out = std::io::stdout().lock();
        for finding in &report.findings {
            let path = finding.path.to_string_lossy();
            let (path, what) = (path.escape_debug(), action(&finding.action));
            writeln!(out, "{path}: {}: {what}", finding.problem)?;
        }
        if !quiet {
            let bytes = human::bytes(report.bytes);
            writeln!(out, "{} artifacts good, {bytes} read", report.good)?;
        }
    }
    match report.damage().count() {
        0 => Ok(()),
        count => Err(Failure::Damaged(format!(
            "{count} things in the store were not as they should be"
        ))),
    }
}

pub(crate) fn df(args: &StoreListArgs) -> Result<(), Failure> {
    let store = open(
        &args.store.choice(),
        OpenOptions::new().access(Access::Preferred),
    )?;
    let report = store.df().map_err(failed)?;
    let usage =
        |u: lithify::store::Usage| json!({ "artifacts": u.entries, "bytes": sizes(u.bytes) });
    if args.json {
        let formats: serde_json::Map<String, Value> = report
            .formats
            .iter()
            .map(|(format, &u)| (format.clone(), usage(u)))
            .collect();
        return print_json(&json!({
            "store": store.path().to_string_lossy(),
            "images": report.images,
            "referenced": usage(report.referenced),
            "unreferenced": usage(report.unreferenced),
            "formats": formats,
            "temporary": sizes(report.temporary),
            "quarantine": sizes(report.quarantine),
            "blobs": sizes(report.blobs),
        }));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", store.path().display())?;
    let mut line = |name: &str, bytes: Bytes, note: String| {
        let size = human::bytes(bytes.on_disk);
        writeln!(out, "  {name:14} {size:>9}  {note}")
    };
    let entries = |u: lithify::store::Usage| format!("{} artifacts", u.entries);
    let images = format!("{} of {} images", entries(report.referenced), report.images);
    line("needed", report.referenced.bytes, images)?;
    line(
        "not needed",
        report.unreferenced.bytes,
        entries(report.unreferenced),
    )?;
    line("in the making", report.temporary, String::new())?;
    line("quarantined", report.quarantine, String::new())?;
    for (format, &found) in &report.formats {
        line(format, found.bytes, entries(found))?;
    }
    Ok(())
}
