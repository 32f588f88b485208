//! `lithify composefs df`.

use std::io::Write as _;

use lithify::{ComposefsRepository, ComposefsUsage, FileCount, ObjectCount, Printable};
use serde_json::{Value, json};

use super::super::{insert_path, print_json, shown};
use super::ls::kind;
use super::session;
use crate::args::ComposefsDfArgs;
use crate::failure::Failure;
use crate::human;

pub(super) fn run(args: &ComposefsDfArgs) -> Result<(), Failure> {
    let session = session(None);
    let repository = ComposefsRepository::open(&args.list.repository, &session)?;
    let usage = repository.usage(&session)?;
    match args.list.json {
        true => {
            let mut all = json(&usage);
            insert_path(&mut all, "repository", Some(repository.repository().path()));
            print_json(&all)
        }
        false => text(&usage, &shown(repository.repository().path().as_os_str())),
    }
}

fn objects(count: ObjectCount) -> Value {
    json!({ "objects": count.objects, "bytes": count.bytes })
}

fn files(count: FileCount) -> Value {
    json!({ "files": count.files, "bytes": count.bytes })
}

fn json(usage: &ComposefsUsage) -> Value {
    let images: Vec<Value> = usage
        .images
        .iter()
        .map(|image| {
            let (kind, target) = kind(&image.kind);
            json!({
                "names": image.names,
                "kind": kind,
                "target": target,
                "logical": image.logical.map(files),
                "needed": objects(image.needed),
                "metadata": objects(image.metadata),
                "only": objects(image.only),
                "shared": objects(image.shared),
                "missing": image.missing,
            })
        })
        .collect();
    json!({
        "images": images,
        "logical": files(usage.logical),
        "stored": objects(usage.stored),
        "needed": objects(usage.needed),
        "shared": objects(usage.shared),
        "streams": objects(usage.streams),
        "erofs_images": objects(usage.erofs_images),
        "unneeded": objects(usage.unneeded),
    })
}

fn text(usage: &ComposefsUsage, path: &str) -> Result<(), Failure> {
    let mut out = crate::terminal::stdout();
    writeln!(out, "{path}")?;
    if !usage.images.is_empty() {
        let (logical, needed, only, shared) = ("logical", "needed", "only", "shared");
        writeln!(out, "  {logical:>9} {needed:>9} {only:>9} {shared:>9}")?;
    }
    for image in &usage.images {
        let logical = image
            .logical
            .map_or("-".to_owned(), |l| human::bytes(l.bytes));
        let [needed, only, shared] =
            [image.needed, image.only, image.shared].map(|count| human::bytes(count.bytes));
        let names: Vec<String> = image
            .names
            .iter()
            .map(|n| Printable(n).to_string())
            .collect();
        write!(
            out,
            "  {logical:>9} {needed:>9} {only:>9} {shared:>9}  {}",
            names.join(", ")
        )?;
        match image.missing {
            0 => writeln!(out)?,
            missing => writeln!(out, " ({} missing)", human::counted(missing, "object"))?,
        }
    }
    let mut line = |name: &str, bytes: u64, note: String| {
        let size = human::bytes(bytes);
        writeln!(out, "  {name:14} {size:>9}  {note}")
    };
    let of = |count: ObjectCount| human::counted(count.objects, "object");
    let logical = human::files(usage.logical.files);
    line("logical", usage.logical.bytes, logical)?;
    line("stored", usage.stored.bytes, of(usage.stored))?;
    line("needed", usage.needed.bytes, of(usage.needed))?;
    line("shared", usage.shared.bytes, of(usage.shared))?;
    line("streams", usage.streams.bytes, of(usage.streams))?;
    line("images", usage.erofs_images.bytes, of(usage.erofs_images))?;
    line("not needed", usage.unneeded.bytes, of(usage.unneeded))?;
    Ok(())
}
