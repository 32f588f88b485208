//! `lithify images`, `rm`, `gc`, `fsck` and `df`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lithify::store::{
    Access, Action, Bytes, DfReport, FsckOptions, FsckReport, GcOptions, GcReport, OpenOptions,
    Store,
};
use lithify::{Escaped, Printable, StoreChoice};
use serde_json::{Value, json};

use super::{insert_path, platform, print_json, shown};
use crate::args::{FsckArgs, GcArgs, RmArgs, StoreListArgs};
use crate::failure::Failure;
use crate::human;

fn open(choice: &StoreChoice, options: OpenOptions) -> Result<Store, Failure> {
    Ok(choice.open_until(options, &crate::signals::token())?)
}

/// Opens the store, if there is one: one that nothing was stored in yet is empty.
fn open_existing(choice: &StoreChoice, options: OpenOptions) -> Result<Opened, Failure> {
    match choice.open_until(options, &crate::signals::token()) {
        Ok(store) => Ok(Opened::Store(store)),
        Err(e) => match e.cause() {
            lithify::Cause::Store(lithify::store::Error::NoStore { path }) => {
                Ok(Opened::Nothing(path.clone()))
            }
            _ => Err(e.into()),
        },
    }
}

/// A store, or where one will be.
enum Opened {
    Store(Store),
    Nothing(PathBuf),
}

impl Opened {
    fn store(&self) -> Option<&Store> {
        match self {
            Self::Store(store) => Some(store),
            Self::Nothing(_) => None,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Store(store) => store.path(),
            Self::Nothing(path) => path,
        }
    }

    /// Says on standard error that nothing is there, for whoever has looked in the wrong place.
    fn say_if_nothing(&self, quiet: bool) {
        if let (Self::Nothing(path), false) = (self, quiet) {
            let place = shown(path.as_os_str());
            // Nobody listening is no reason to fail.
            writeln!(
                std::io::stderr(),
                "lithify: nothing is stored in `{place}` yet"
            )
            .ok();
        }
    }
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

/// An image of the store, as it is shown.
#[derive(Debug, Default)]
struct Listed {
    name: String,
    platform: String,
    digest: String,
    /// The index it was chosen from.
    index: Option<String>,
    /// Whether it was pulled, so that it can be built again without its source.
    stored: bool,
    targets: Vec<String>,
    last_used: Option<u64>,
}

/// Images that were built and those that were pulled: by name, platform and digest they are one.
fn list(store: &Store) -> Result<(Vec<Listed>, Vec<String>), Failure> {
    let built = store.images().map_err(failed)?;
    let mut all: Vec<Listed> = Vec::new();
    for tagged in store.tagged().map_err(failed)? {
        let platform = tagged.descriptor.platform.as_ref();
        all.push(Listed {
            platform: platform.map_or("all".to_owned(), ToString::to_string),
            digest: tagged.descriptor.digest.to_string(),
            index: tagged.index.map(|d| d.to_string()),
            stored: true,
            name: tagged.name,
            ..Listed::default()
        });
    }
    for image in built.images {
        let record = image.record;
        let (digest, last_used) = (record.manifest.to_string(), seconds(image.last_used));
        let targets = record.targets.into_keys().collect();
        // A bare name is known by its full form in the one list, as it was written in the other.
        let name = lithify::full_name(&record.name).unwrap_or_else(|| record.name.clone());
        let same = |l: &&mut Listed| l.name == name && l.digest == digest;
        match all.iter_mut().find(same) {
            Some(listed) => {
                listed.targets = targets;
                listed.last_used = Some(last_used);
            }
            None => all.push(Listed {
                name: record.name,
                platform: record.platform,
                digest,
                targets,
                last_used: Some(last_used),
                ..Listed::default()
            }),
        }
    }
    all.sort_by(|a, b| (&a.name, &a.platform).cmp(&(&b.name, &b.platform)));
    let damaged = built.damaged.iter();
    let damaged = damaged.map(|(path, problem)| format!("{}: {problem}", Escaped::path(path)));
    Ok((all, damaged.collect()))
}

/// A name of the store as it is shown, which `rm` takes. Its backslashes are a spelling already.
fn spelled(name: &str) -> String {
    Printable(name).to_string()
}

pub(crate) fn images(args: &StoreListArgs, quiet: bool) -> Result<(), Failure> {
    let opened = open_existing(
        &args.store.choice(),
        OpenOptions::new().access(Access::Preferred),
    )?;
    opened.say_if_nothing(quiet || args.json);
    let (found, damaged) = match opened.store() {
        Some(store) => list(store)?,
        None => (Vec::new(), Vec::new()),
    };
    if args.json {
        let list: Vec<_> = found
            .iter()
            .map(|image| {
                json!({
                    "name": image.name,
                    "platform": image.platform,
                    "digest": image.digest,
                    "index": image.index,
                    "stored": image.stored,
                    "targets": image.targets,
                    "last_used": image.last_used,
                })
            })
            .collect();
        return print_json(&list);
    }
    let mut out = crate::terminal::stdout();
    for image in &found {
        let hex = image.digest.split_once(':').map_or("", |(_, hex)| hex);
        let digest: String = hex.chars().take(12).collect();
        let stored = image.stored.then(|| "stored".to_owned());
        let targets = image.targets.iter().map(|target| spelled(target));
        let what: Vec<_> = stored.into_iter().chain(targets).collect();
        let (name, platform) = (spelled(&image.name), spelled(&image.platform));
        writeln!(out, "{name}  {platform}  {digest}  {}", what.join(", "))?;
    }
    for line in damaged {
        crate::terminal::say(&format!("{line}; run `lithify fsck`"));
    }
    Ok(())
}

pub(crate) fn rm(args: &RmArgs, quiet: bool) -> Result<(), Failure> {
    let store = open(&args.store.choice(), OpenOptions::new())?;
    let platform = args.platform.as_deref().map(platform).transpose()?;
    // As it was given, with its path made absolute, and with the defaults of a registry's name.
    let mut names = vec![lithify::store_name(&args.image)];
    if let Some(name) = args.image.to_str() {
        names.insert(0, name.to_owned());
        names.extend(lithify::full_name(name));
    }
    names.dedup();
    let mut removed = Vec::new();
    for name in &names {
        let built = store.remove_image(name, args.platform.as_deref());
        for record in built.map_err(failed)? {
            removed.push((record.name, record.platform));
        }
        for tagged in store.untag(name, platform.as_ref()).map_err(failed)? {
            let platform = tagged.descriptor.platform;
            let platform = platform.map_or("all".to_owned(), |p| p.to_string());
            removed.push((tagged.name, platform));
        }
    }
    removed.sort();
    removed.dedup();
    if removed.is_empty() {
        // A path without a transport is no name of anything.
        lithify::Source::parse(&args.image).map_err(lithify::Error::from)?;
        let name = shown(&args.image);
        return Err(Failure::Other(format!(
            "the store has no image `{name}`; `lithify images` lists what it has"
        )));
    }
    if !quiet {
        for (name, platform) in removed {
            let (name, platform) = (spelled(&name), spelled(&platform));
            writeln!(crate::terminal::stdout(), "removed {name} ({platform})")?;
        }
    }
    Ok(())
}

pub(crate) fn gc(args: &GcArgs, quiet: bool) -> Result<(), Failure> {
    let opened = open_existing(&args.list.store.choice(), OpenOptions::new())?;
    opened.say_if_nothing(quiet || args.list.json);
    let options = GcOptions::new()
        .dry_run(args.dry_run)
        .keep_bytes(args.keep_bytes)
        .quarantine(args.quarantine);
    let at_work = crate::signals::at_work();
    let report = match opened.store() {
        Some(store) => store.gc(&options).map_err(failed)?,
        None => GcReport::default(),
    };
    drop(at_work);
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
            "blobs": report.blobs.iter().map(|b| b.digest.to_string()).collect::<Vec<_>>(),
            "blob_bytes": sizes(report.blob_bytes),
            "kept_blobs": report.kept_blobs.len(),
            "partials": report.partials,
            "partial_bytes": sizes(report.partial_bytes),
            "quarantined": report.quarantined,
        }));
    }
    if !quiet {
        let verb = if args.dry_run {
            "would remove"
        } else {
            "removed"
        };
        let bytes = [
            report.removed_bytes,
            report.leftover_bytes,
            report.blob_bytes,
            report.partial_bytes,
        ];
        let bytes = human::bytes(bytes.iter().map(|b| b.on_disk).sum());
        writeln!(
            crate::terminal::stdout(),
            "{verb} {} artifacts, {} blobs and {} leftovers, {bytes}; {} artifacts and {} blobs kept",
            report.removed.len(),
            report.blobs.len(),
            report.leftovers + report.partials,
            report.kept.len(),
            report.kept_blobs.len(),
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
    let opened = open_existing(
        &args.list.store.choice(),
        OpenOptions::new().access(access).repair(true),
    )?;
    opened.say_if_nothing(quiet || args.list.json);
    let at_work = crate::signals::at_work();
    let report = match opened.store() {
        Some(store) => {
            let repair = !args.dry_run && !store.read_only();
            store
                .fsck(&FsckOptions::new().repair(repair))
                .map_err(failed)?
        }
        None => FsckReport::default(),
    };
    drop(at_work);
    let action = |action: &Action| match action {
        Action::Quarantined(path) => format!("moved to {}", Escaped::path(path)),
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
                let mut finding = json!({
                    "problem": f.problem.to_string(),
                    "damage": f.problem.is_damage(),
                    "action": action(&f.action),
                });
                insert_path(&mut finding, "path", Some(&f.path));
                finding
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
        let mut out = crate::terminal::stdout();
        for finding in &report.findings {
            let (path, what) = (Escaped::path(&finding.path), action(&finding.action));
            writeln!(out, "{path}: {}: {what}", finding.problem)?;
        }
        if !quiet {
            let bytes = human::bytes(report.bytes);
            writeln!(
                out,
                "{} artifacts good, {} files, {bytes} read",
                report.good, report.files
            )?;
        }
    }
    match report.damage().count() {
        0 => Ok(()),
        count => Err(Failure::Damaged(format!(
            "{count} things in the store were not as they should be"
        ))),
    }
}

pub(crate) fn df(args: &StoreListArgs, quiet: bool) -> Result<(), Failure> {
    let opened = open_existing(
        &args.store.choice(),
        OpenOptions::new().access(Access::Preferred),
    )?;
    opened.say_if_nothing(quiet || args.json);
    let report = match opened.store() {
        Some(store) => store.df().map_err(failed)?,
        None => DfReport::default(),
    };
    let usage =
        |u: lithify::store::Usage| json!({ "artifacts": u.entries, "bytes": sizes(u.bytes) });
    if args.json {
        let formats: serde_json::Map<String, Value> = report
            .formats
            .iter()
            .map(|(format, &u)| (format.clone(), usage(u)))
            .collect();
        let mut all = json!({
            "images": report.images,
            "referenced": usage(report.referenced),
            "unreferenced": usage(report.unreferenced),
            "formats": formats,
            "temporary": sizes(report.temporary),
            "quarantine": sizes(report.quarantine),
            "blobs": sizes(report.blobs),
            "stored_images": report.tagged,
            "referenced_blobs": sizes(report.referenced_blobs.bytes),
            "unreferenced_blobs": sizes(report.unreferenced_blobs.bytes),
            "partial": sizes(report.partial),
        });
        insert_path(&mut all, "store", Some(opened.path()));
        return print_json(&all);
    }
    let mut out = crate::terminal::stdout();
    writeln!(out, "{}", shown(opened.path().as_os_str()))?;
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
    let blobs = |u: lithify::store::Usage| format!("{} blobs", u.entries);
    let stored = format!(
        "{} of {} images",
        blobs(report.referenced_blobs),
        report.tagged
    );
    line("stored", report.referenced_blobs.bytes, stored)?;
    line(
        "not needed",
        report.unreferenced_blobs.bytes,
        blobs(report.unreferenced_blobs),
    )?;
    line("partial", report.partial, "blobs".to_owned())?;
    line("in the making", report.temporary, String::new())?;
    line("quarantined", report.quarantine, String::new())?;
    for (format, &found) in &report.formats {
        line(format, found.bytes, entries(found))?;
    }
    Ok(())
}
