//! `lithify verify`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lithify::{
    Cause, ComposefsError, DamagedFiles, Escaped, Image, Printable, SealError, SealReport,
    SealState, Subject,
};
use serde_json::json;

use super::{decoding_session, insert_path, print_json, shown, with_progress};
use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::human;

pub(crate) fn run(args: VerifyArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let verified = with_progress(&renderer, || {
        let subject = Subject::open(&args.image, &session)?;
        let seals = args.seals.as_ref();
        let seals = seals.map(|name| Image::open(name, &session)).transpose()?;
        match args.sealed || seals.is_some() {
            true => subject.verify_sealed(seals.as_ref(), &session),
            false => subject.verify(&session),
        }
    });
    if let Err(Failure::Library(error)) = &verified
        && let Cause::Composefs(ComposefsError::Files(files)) = error.cause()
    {
        list_damaged(files, args.json)?;
        return Err(Failure::Damaged(damage(files)));
    }
    if let Err(Failure::Library(error)) = &verified
        && let Cause::Seal(SealError::Different { report, .. }) = error.cause()
    {
        match args.json {
            true => print_json(&json!({ "sealed": report }))?,
            false => list_seals(report)?,
        }
    }
    let report = verified?;
    if args.json {
        return print_json(&report);
    }
    if !quiet {
        let (entries, bytes) = (report.entries, human::bytes(report.bytes));
        writeln!(
            crate::terminal::stdout(),
            "{}: ok, {entries} entries, {bytes} checked",
            shown(&args.image)
        )?;
        if let Some(composefs) = &report.composefs {
            let objects = match composefs.has_objects {
                true => "",
                false => {
                    ", which are not here: `lithify verify composefs:REPO:NAME` reads them too"
                }
            };
            writeln!(
                crate::terminal::stdout(),
                "  composefs image {} of format {}, {}{objects}",
                composefs.id,
                composefs.format,
                human::counted(composefs.objects, "object")
            )?;
        }
        if let Some(sealed) = &report.sealed {
            list_seals(sealed)?;
        }
        for (name, files) in &report.unusable_xattrs {
            writeln!(
                crate::terminal::stdout(),
                "  no Linux filesystem holds the extended attribute {name} of {}",
                human::files(*files)
            )?;
        }
    }
    Ok(())
}

/// Prints the composefs digests that were published, one a line, with what was found.
fn list_seals(sealed: &SealReport) -> Result<(), Failure> {
    let mut out = crate::terminal::stdout();
    for check in &sealed.checks {
        let (place, annotation) = (Printable(&check.place), Printable(&check.annotation));
        let expected = Printable(&check.expected);
        let found = match (check.state, &check.found, check.reason) {
            (SealState::Same, ..) => "as computed".to_owned(),
            (SealState::Different, Some(found), _) => format!("DIFFERENT, computed {found}"),
            (_, _, Some(reason)) => format!("not checked: {reason}"),
            _ => "not checked".to_owned(),
        };
        writeln!(out, "  {place}: {annotation} {expected}: {found}")?;
    }
    Ok(())
}

/// Says how many files are damaged; which, was printed.
fn damage(damaged: &DamagedFiles) -> String {
    let count = damaged.files.len() as u64 + damaged.more;
    format!(
        "{} of the composefs image {} in `{}` {} damaged: import the image once more",
        human::files(count),
        damaged.id,
        shown(damaged.repository.as_os_str()),
        if count == 1 { "is" } else { "are" },
    )
}

/// Prints the files of a composefs image that are damaged, one a line, with the object each should be.
fn list_damaged(damaged: &DamagedFiles, as_json: bool) -> Result<(), Failure> {
    let object = |file: &lithify::DamagedFile| {
        let hex = file.object.as_ref().map(|object| object.hex());
        hex.map(|hex| format!("objects/{}/{}", &hex[..2], &hex[2..]))
    };
    if as_json {
        let files = damaged.files.iter().map(|file| {
            let fault = file.fault.to_string();
            let mut said = json!({ "object": object(file), "fault": fault });
            let path = [b"/", &file.path[..]].concat();
            insert_path(&mut said, "path", Some(Path::new(OsStr::from_bytes(&path))));
            said
        });
        let files: Vec<_> = files.collect();
        return print_json(&json!({ "damaged": files, "more": damaged.more }));
    }
    let mut out = crate::terminal::stdout();
    for file in &damaged.files {
        let object = object(file).unwrap_or_else(|| "-".to_owned());
        writeln!(out, "/{} -> {object}: {}", Escaped(&file.path), file.fault)?;
    }
    if damaged.more > 0 {
        writeln!(out, "and {} more", damaged.more)?;
    }
    Ok(())
}
