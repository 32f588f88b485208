//! `lithify verify`.

use std::io::Write as _;

use lithify::Subject;

use super::{decoding_session, print_json, shown, with_progress};
use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::human;

pub(crate) fn run(args: VerifyArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = decoding_session(&args.read, quiet)?;
    let report = with_progress(&renderer, || {
        Subject::open(&args.image, &session)?.verify(&session)
    })?;
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
