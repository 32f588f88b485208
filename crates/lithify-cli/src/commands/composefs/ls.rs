//! `lithify composefs ls`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use lithify::{
    ComposefsImage, ComposefsKind, ComposefsName, ComposefsRepository, Printable, Session, Source,
};
use serde_json::{Value, json};

use super::super::{print_json, shown};
use super::session;
use crate::args::ComposefsLsArgs;
use crate::failure::Failure;
use crate::human;

/// Columns of the list of names that are as wide as their widest text.
const COLUMNS: usize = 5;

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
    let images = open_all(&args.images, &session)?;
    if !args.objects && args.missing.is_none() {
        // It is text of ASCII alone.
        let mut out = BufWriter::new(io::stdout().lock());
        for image in &images {
            image.list(&mut out, &session)?;
        }
        return Ok(out.flush()?);
    }
    let mut paths = BTreeSet::new();
    for image in &images {
        image.objects(&mut paths, &session)?;
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

/// Opens all images before anything is printed of the first one.
pub(super) fn open_all(
    names: &[OsString],
    session: &Session,
) -> Result<Vec<ComposefsImage>, Failure> {
    let opened = names.iter().map(|name| {
        if !Source::has_transport(name) && Path::new(name).is_dir() {
            return Err(Failure::Usage(format!(
                "`{}` is a directory, no image: one of a repository is composefs:REPO:NAME",
                shown(name)
            )));
        }
        Ok(ComposefsImage::open(name, session)?)
    });
    opened.collect()
}

/// Tells a repository from an image: by its transport without a name, or since it is a directory. What is not there was
/// meant as a repository if it is not called like a file.
fn is_repository(name: &OsStr) -> bool {
    let path = Path::new(name);
    match Source::parse(name) {
        Ok(Source::Composefs { selector, .. }) => selector.is_none(),
        _ if path.exists() => path.is_dir(),
        _ => path.extension().is_none() && !name.as_encoded_bytes().contains(&b':'),
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
                    "damaged": name.problem.is_some(),
                    "problem": name.problem.as_ref().map(lithify::Error::report),
                })
            })
            .collect();
        return print_json(&list);
    }
    let rows = all.iter().map(|name| {
        let (kind, what) = kind(&name.kind);
        let layers = name.layers.map(|n| human::counted(n as u64, "layer"));
        [
            Printable(&name.name).to_string(),
            kind.to_owned(),
            Printable(&what).to_string(),
            layers.unwrap_or_default(),
            human::bytes(name.bytes),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let widths: Vec<usize> = (0..COLUMNS)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut out = crate::terminal::stdout();
    for (name, row) in all.iter().zip(&rows) {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{text:width$}  "));
        }
        // The same image may have been made in several ways.
        let ids: BTreeSet<_> = name.images.values().collect();
        for id in ids {
            line.push_str(&format!("{}  ", id.hex()));
        }
        if name.problem.is_some() {
            line.push_str("damaged");
        }
        writeln!(out, "{}", line.trim_end())?;
        if let Some(problem) = &name.problem {
            let (name, problem) = (Printable(&name.name), problem.report());
            crate::terminal::say(&format!("{name}: {problem}"));
        }
    }
    Ok(())
}
