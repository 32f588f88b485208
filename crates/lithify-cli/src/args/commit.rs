//! Arguments of `commit`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::help::{image_help, places_help, with_examples};
use super::read::ImageArgs;
use super::registry::{ChunkArgs, TransferArgs};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerCompression {
    /// Read by everyone
    #[default]
    Gzip,
    /// Smaller and faster
    Zstd,
    /// As it is
    None,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help(), &places_help()], "\
lithify commit changes -o oci:images/app:2
lithify commit changes --base app:1 -o app:2
lithify commit disk.ext4 --base app:1 -o app:2
lithify commit changes --base app:1 -o docker://registry.example.com/app:2
lithify commit changes --base oci:images/app:2 -o oci:images/app3:3 -m 'certificates'"))]
pub(crate) struct CommitArgs {
    /// The upper directory of an overlay, or what `mount --rw` was given; or a disk with an ext4 filesystem, as a virtual
    /// machine left it, which is compared with the image
    #[arg(value_name = "UPPER|DISK", value_hint = ValueHint::AnyPath)]
    pub(crate) upper: PathBuf,
    /// Where the image goes: any place `copy` copies to, such as docker://NAME:TAG, or NAME, which is one of the store
    #[arg(short, long, value_name = "DEST", value_hint = ValueHint::AnyPath)]
    pub(crate) output: OsString,
    /// The image the changes were made on; without, the one that has the name of DEST
    #[arg(long, value_name = "IMAGE", value_hint = ValueHint::AnyPath)]
    pub(crate) base: Option<OsString>,
    /// How the layer is compressed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) compress: LayerCompression,
    /// Where the overlay is mounted: renamed directories and metadata-only changes are read from there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) view: Option<PathBuf>,
    /// Whether the overlay was mounted with `userxattr`; default is to find out
    #[arg(long, value_name = "BOOL")]
    pub(crate) userxattr: Option<bool>,
    /// Whether fuse-overlayfs made the directory, which marks removals in its own ways; default is to refuse its marks
    #[arg(long, value_name = "BOOL")]
    pub(crate) fuse_overlayfs: Option<bool>,
    /// When the image was made, as RFC 3339; default is what the base image says
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other)]
    pub(crate) created: Option<String>,
    /// A comment in the image's history
    #[arg(short, long, value_name = "TEXT", value_hint = ValueHint::Other)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    #[command(flatten)]
    pub(crate) chunk: ChunkArgs,
    /// Describe the new image as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) find: ImageArgs,
}
