//! `lithify disk`.

use lithify::BuildOptions;

use super::build::{block_size, check_align, say};
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
    if args.output.as_os_str() == "-" {
        return Err(Failure::Usage(
            "ext4 cannot be written to standard output; name a file".into(),
        ));
    }
    match lithify::check_disk_name(&args.output, args.disk) {
        Ok(()) => {}
        // Who says both may mean both.
        Err(e) if args.disk.is_some() && !matches!(e, lithify::FormatNameError::File { .. }) => {
            if !quiet {
                say(&format!("lithify: {e}"));
            }
        }
        Err(e) => return Err(Failure::Usage(e.to_string())),
    }
    check_align(args.align, lithify::Format::Ext4, args.disk)?;
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
