//! Arguments of `delta`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::build::MakeArgs;
use super::help::{image_help, places_help, with_examples};
use super::read::{ImageArgs, ReadArgs};
use super::values::memory;

#[derive(Debug, Subcommand)]
pub(crate) enum DeltaCommand {
    /// Write what is different between an old image and a new one
    Create(DeltaCreateArgs),
    /// Make the new image of a delta and the old image, or something of the new image
    Apply(DeltaApplyArgs),
    /// Show what a delta holds, what it needs and what it saves
    Inspect(DeltaInspectArgs),
    /// Say by which deltas an image is had at the least cost
    Plan(DeltaPlanArgs),
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

/// The way a delta is created.
#[derive(Debug, Args)]
pub(crate) struct EffortArgs {
    /// The effort to make it small
    #[arg(long, value_enum, default_value_t)]
    pub(crate) level: DeltaLevel,
    /// Memory for comparing and compressing, at most; takes K, M and G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = memory, value_hint = ValueHint::Other)]
    pub(crate) memory: u64,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help(), &places_help()], "\
lithify delta create oci:images/app:1 oci:images/app:2 -o oci-archive:app-1-2.delta
lithify delta create docker://app:1 docker://app:2 -o docker://registry.example.com/app:2
lithify delta create oci:app:1 oci:app:2 -o oci:app:2 --all-platforms --level best"))]
pub(crate) struct DeltaCreateArgs {
    /// The old image, which whoever applies the delta has
    #[arg(id = "base", value_name = "OLD", value_hint = ValueHint::AnyPath)]
    pub(crate) old: OsString,
    /// The new image
    #[arg(id = "source", value_name = "NEW", value_hint = ValueHint::AnyPath)]
    pub(crate) new: OsString,
    /// Where the delta goes: oci:DIR:TAG, oci-archive:FILE or docker://NAME:TAG. With the name of the new image it is found as what
    /// refers to it, and gets no name of its own
    #[arg(id = "destination", short = 'o', long = "output", value_name = "DEST", value_hint = ValueHint::AnyPath)]
    pub(crate) destination: OsString,
    /// A delta for every platform that both images are there for, and an index of them
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    #[command(flatten)]
    pub(crate) effort: EffortArgs,
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
#[command(after_help = with_examples(&[&image_help(), &places_help()], "\
lithify delta apply oci-archive:app-1-2.delta -o oci:images/app:2
lithify delta apply oci-archive:app-1-2.delta --base oci:images/app:1 --exact -o store:app:2
lithify delta apply oci-archive:app-1-2.delta --base oci:images/app:1 -f erofs -o app.erofs
lithify delta apply oci-archive:1-2.delta oci-archive:2-3.delta --base oci:app:1 -o oci:app:3"))]
pub(crate) struct DeltaApplyArgs {
    /// The delta, or several in the order they are applied: each for what the one before makes
    #[arg(id = "places", value_name = "DELTA", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) deltas: Vec<OsString>,
    /// The old image, or an artifact or file tree that has its files; default is the image in the store that the delta is for.
    /// Layers that the new image shares with the old one are taken from it, and only an image has them
    #[arg(long, value_name = "IMAGE", value_hint = ValueHint::AnyPath)]
    pub(crate) base: Option<OsString>,
    /// Fail unless the new image comes out with the manifest it was published with, which signatures are of
    #[arg(long)]
    pub(crate) exact: bool,
    /// What is made of the new image, if it is not put in a place (-o oci:DIR:TAG, docker://NAME:TAG, store:NAME …)
    #[command(flatten)]
    pub(crate) make: MakeArgs,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify delta inspect oci-archive:app-1-2.delta
lithify delta inspect docker://registry.example.com/app:1-2 --json"))]
pub(crate) struct DeltaInspectArgs {
    /// The delta
    #[arg(id = "source", value_name = "DELTA", value_hint = ValueHint::AnyPath)]
    pub(crate) delta: OsString,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) find: ImageArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify delta plan registry.example.com/app:1 docker://registry.example.com/app:3
lithify delta plan oci:app:1 oci:app:2 oci:app:4 --from oci-archive:2-4.delta --json"))]
pub(crate) struct DeltaPlanArgs {
    /// The images that are there
    #[arg(id = "places", value_name = "HAVE", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) have: Vec<OsString>,
    /// The image that is wanted, in the place where deltas refer to it
    #[arg(id = "image", value_name = "WANT", value_hint = ValueHint::AnyPath)]
    pub(crate) want: OsString,
    /// A delta that is elsewhere (repeatable)
    #[arg(id = "place", long = "from", value_name = "DELTA", value_hint = ValueHint::AnyPath)]
    pub(crate) from: Vec<OsString>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) find: ImageArgs,
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
    #[command(flatten)]
    pub(crate) effort: EffortArgs,
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
