//! `lithify disk`.

use lithify::BuildOptions;

use super::build::{block_size, say};
use super::{limits, print_json};
use crate::args::{CreateArgs, DiskCommand};
use crate::failure::Failure;
use crate::human;

pub(crate) fn run(command: DiskCommand, quiet: bool) -> Result<(), Failure> {
    match command {
        DiskCommand::Create(args) => create(args, quiet),
    }
}

fn create(args: CreateArgs, quiet: bool) -> Result<(), Failure> {
    let session = lithify::Session {
        limits: limits(&args.limits)?,
        cancel: crate::signals::token(),
        ..lithify::Session::default()
    };
    let mut options = BuildOptions::default();
    options.format = lithify::Format::Ext4;
    options.block_size = block_size(args.block_size)?;
    options.volume = args.made.options(Some(args.size));
    options.disks = args.disk.map(|disk| vec![disk]);
    if let Some(alignment) = args.align {
        options.alignment = alignment;
    }
    options.durable = !args.no_fsync;
    let description = lithify::create_disk(&args.output, &options, &session)?;
    if args.json {
        return print_json(&description);
    }
    if !quiet {
        for artifact in &description.artifacts {
            let size = human::bytes(artifact.size);
            say(&format!("{}: {} {size}", artifact.path, artifact.format));
        }
    }
    Ok(())
}
