//! Arguments of `delta`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::help::{image_help, with_examples};
use super::read::ReadArgs;
use super::values::size;

#[derive(Debug, Subcommand)]
pub(crate) enum DeltaCommand {
    /// Deltas of single layers: tar-diff files
    #[command(subcommand)]
    Tar(DeltaTarCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeltaTarCommand {
    /// Write what is different between a layer and an old image
    Create(DeltaTarCreateArgs),
    /// Make a layer of a delta and the old image
    Apply(DeltaTarApplyArgs),
}

/// The effort to make a delta small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeltaLevel {
    /// Quickly
    Fast,
    /// Smaller, in a few times as long
    #[default]
    Default,
    /// As small as can be, however long it takes
    Best,
}

impl From<DeltaLevel> for lithify::Effort {
    fn from(level: DeltaLevel) -> Self {
        match level {
            DeltaLevel::Fast => Self::Fast,
            DeltaLevel::Default => Self::Default,
            DeltaLevel::Best => Self::Best,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify delta tar create oci:images/app:1 layer.tar.gz -o layer.tardiff
lithify delta tar create tar:old.tar new.tar -o new.tardiff --level best"))]
pub(crate) struct DeltaTarCreateArgs {
    /// The old image, whose files whoever applies the delta has
    #[arg(value_name = "OLD", value_hint = ValueHint::AnyPath)]
    pub(crate) base: OsString,
    /// The new layer: a tar, as it is or compressed with gzip or zstd
    #[arg(id = "source", value_name = "NEW", value_hint = ValueHint::FilePath)]
    pub(crate) layer: PathBuf,
    /// The delta
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// The effort to make it small
    #[arg(long, value_enum, default_value_t)]
    pub(crate) level: DeltaLevel,
    /// Memory for comparing and compressing, at most; takes K, M and G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = size, value_hint = ValueHint::Other)]
    pub(crate) memory: u64,
    /// Do not wait until the delta is on the disk
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify delta tar apply layer.tardiff --base oci:images/app:1 -o layer.tar
lithify delta tar apply layer.tardiff --base rootfs:/ -o layer.tar"))]
pub(crate) struct DeltaTarApplyArgs {
    /// The delta
    #[arg(id = "source", value_name = "DELTA", value_hint = ValueHint::FilePath)]
    pub(crate) delta: PathBuf,
    /// The old image, or a directory that has its files (rootfs:DIR)
    #[arg(long, value_name = "IMAGE", value_hint = ValueHint::AnyPath)]
    pub(crate) base: OsString,
    /// The layer's tar
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// The digest that the tar has to have; else nothing is written
    #[arg(long, value_name = "DIGEST", value_hint = ValueHint::Other)]
    pub(crate) diff_id: Option<lithify::Digest>,
    /// Do not wait until the tar is on the disk
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}
