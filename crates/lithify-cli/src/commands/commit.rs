//! `lithify commit`.

use std::io::Write as _;

use lithify::{CommitOptions, Image};

use super::{finding_session, print_json, with_progress};
use crate::args::{CommitArgs, LayerCompression};
use crate::failure::Failure;
use crate::human;

pub(crate) fn run(args: CommitArgs, quiet: bool) -> Result<(), Failure> {
    let (session, renderer) = finding_session(&args.find, quiet)?;
    let mut options = CommitOptions::default();
    options.compression = match args.compress {
        LayerCompression::Gzip => lithify::LayerCompression::Gzip,
        LayerCompression::Zstd => lithify::LayerCompression::Zstd,
        LayerCompression::None => lithify::LayerCompression::None,
    };
    options.view = args.view;
    options.user_attributes = args.userxattr;
    options.fuse_overlayfs = args.fuse_overlayfs;
    options.created = args.created;
    options.comment = args.message;
    options.transfers = args.transfer.transfers;
    options.chunk = args.chunk.chunk;
    options.durable = !args.transfer.no_fsync;
    let report = with_progress(&renderer, || {
        let base = match &args.base {
            Some(name) => Some(Image::open(name, &session)?),
            None => None,
        };
        lithify::commit(&args.upper, base.as_ref(), &args.output, &options, &session)
    })?;
    if args.json {
        return print_json(&report);
    }
    if !quiet {
        let size = human::bytes(report.layer_size);
        writeln!(
            crate::terminal::stdout(),
            "{}: layer {} with {} entries, {} of them removals, {size}",
            report.manifest_digest,
            report.layers,
            report.entries,
            report.whiteouts + report.opaque,
        )?;
        if report.sockets > 0 {
            let are = match report.sockets {
                1 => "socket is",
                _ => "sockets are",
            };
            crate::terminal::say(&format!("{} {are} left out", report.sockets));
        }
    }
    Ok(())
}
