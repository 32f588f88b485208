//! `lithify composefs ls`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use lithify::{
    ComposefsImage, ComposefsKind, ComposefsName, ComposefsRepository, Printable, Source,
};
use serde_json::{Value, json};

use super::super::{print_json, shown};
use super::session;
use crate::args::ComposefsLsArgs;
use crate::failure::Failure;
use crate::human;

pub(super) fn run(args: &ComposefsLsArgs) -> Result<(), Failure> {
    let session = session(None);
    if let [only] = args.images.as_slice()
        && is_repository(only)
    {
        if args.objects || args.missing.is_some() {
            return Err(Failure::Usage(format!(
                "`{}` is a repository: name an image of it, as composefs:REPO:NAME, to list its objects",
                shown(only)
            )));
        }
        let repository = ComposefsRepository::open(only, &session)?;
        return names(&repository.names(&session)?, args.json);
    }
    if args.json {
        return Err(Failure::Usage(
            "--json is for a repository; `lithify composefs dump` says all of an image".into(),
        ));
    }
    if !args.objects && args.missing.is_none() {
        // It is text of ASCII alone.
        let mut out = BufWriter::new(io::stdout().lock());
        for name in &args.images {
            ComposefsImage::open(name, &session)?.list(&mut out, &session)?;
        }
        return Ok(out.flush()?);
    }
    let mut paths = BTreeSet::new();
    for name in &args.images {
        ComposefsImage::open(name, &session)?.objects(&mut paths, &session)?;
    }
    if let Some(directory) = &args.missing {
        paths = lithify::missing_objects(directory, paths, &session)?;
    }
    let mut out = BufWriter::new(crate::terminal::stdout());
    for path in paths {
        out.write_all(&path)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Tells a repository from an image: by its transport without a name, or since it is a directory.
fn is_repository(name: &OsStr) -> bool {
    match Source::parse(name) {
        Ok(Source::Composefs { selector, .. }) => selector.is_none(),
        _ => Path::new(name).is_dir(),
    }
}

/// Returns the word for the kind of a named thing, and which of its own names it is known by.
pub(super) fn kind(kind: &ComposefsKind) -> (&'static str, String) {
    match kind {
        ComposefsKind::Oci(digest) => ("oci", digest.to_string()),
        ComposefsKind::Tree(id) => ("tree", id.hex()),
        ComposefsKind::Stream(name) => ("stream", name.clone()),
        _ => ("other", String::new()),
    }
}

fn names(all: &[ComposefsName], is_json: bool) -> Result<(), Failure> {
    if is_json {
        let list: Vec<Value> = all
            .iter()
            .map(|name| {
                let (kind, what) = kind(&name.kind);
                let images: BTreeMap<_, _> =
                    name.images.iter().map(|(n, id)| (n, id.hex())).collect();
                json!({
                    "name": name.name,
                    "kind": kind,
                    "target": what,
                    "images": images,
                    "layers": name.layers,
                    "bytes": name.bytes,
                    "problem": name.problem.as_ref().map(lithify::Error::report),
                })
            })
            .collect();
        return print_json(&list);
    }
    let mut out = crate::terminal::stdout();
    for name in all {
        let (kind, what) = kind(&name.kind);
        let mut line = format!("{}  {kind}  {}", Printable(&name.name), Printable(&what));
        if let Some(layers) = name.layers {
            line.push_str("  ");
            line.push_str(&human::counted(layers as u64, "layer"));
        }
        line.push_str(&format!("  {}", human::bytes(name.bytes)));
        // The same image may have been made in several ways.
        let ids: BTreeSet<_> = name.images.values().collect();
        for id in ids {
            line.push_str(&format!("  {}", id.hex()));
        }
        writeln!(out, "{line}")?;
        if let Some(problem) = &name.problem {
            let (name, problem) = (Printable(&name.name), problem.report());
            crate::terminal::say(&format!("{name}: {problem}"));
        }
    }
    Ok(())
}
