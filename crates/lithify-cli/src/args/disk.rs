//! Arguments of `disk`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::help::with_examples;
use super::read::LimitArgs;
use super::values::{size, word};
use super::volume::MadeArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum DiskCommand {
    /// Make an empty ext4 filesystem: a disk to be written to
    Create(CreateArgs),
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify disk create data.ext4 --size 10G --label data
lithify disk create data.vmdk --size 10G --disk vmdk"))]
pub(crate) struct CreateArgs {
    /// The disk to make; nothing may be there
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Size of the filesystem, such as 10G; what is empty takes no space
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
    pub(crate) size: u64,
    /// Size of its blocks: 1K, 2K or 4K; default is 4K
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
    pub(crate) block_size: Option<u64>,
    #[command(flatten)]
    pub(crate) made: MadeArgs,
    /// The disk it is on: raw (nothing but the filesystem, the default), gpt (in a partition) or vmdk (OUT describes the
    /// disk, x-flat.vmdk beside x.vmdk has the data)
    #[arg(
        long,
        value_name = "KIND",
        value_parser = word::<lithify::DiskKind>(&["raw", "gpt", "vmdk"])
    )]
    pub(crate) disk: Option<lithify::DiskKind>,
    /// Where the partition starts: at a multiple of this, 4K to 1G; default is 1M
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
    pub(crate) align: Option<u64>,
    /// Do not wait for the disk to reach the disk it is on: faster, but a power cut may lose it
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// Describe it as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
