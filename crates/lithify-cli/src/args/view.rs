//! Arguments of `inspect`, `ls`, `cat` and `verify`.

use std::ffi::OsString;

use clap::{Args, ValueHint};

use super::help::{PATH_HELP, image_help, with_examples};
use super::read::{ImageArgs, ReadArgs};

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify inspect docker://debian:12
lithify inspect --json --platform linux/arm64 docker://debian:12
lithify inspect --referrers docker://registry.example.com/app:1
lithify inspect app/disk.vmdk"))]
pub(crate) struct InspectArgs {
    /// The image
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    /// List what refers to it too: signatures, root hashes, filesystems made of it
    #[arg(long)]
    pub(crate) referrers: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) find: ImageArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help(), PATH_HELP], "\
lithify ls debian.erofs
lithify ls -l oci:images/app:1 /etc
lithify ls -alR debian.erofs /root
lithify ls -ld debian.erofs /tmp
lithify ls --json docker://debian:12"))]
pub(crate) struct LsArgs {
    /// The image or artifact
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    /// What to list; symbolic links on the way are followed inside the image
    #[arg(default_value = "/", value_hint = ValueHint::Other)]
    pub(crate) path: OsString,
    /// Show type, permissions, owner, size and time too
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Show names that begin with a dot too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Enter directories, all the way down
    #[arg(short = 'R', long, conflicts_with_all = ["directory", "depth"])]
    pub(crate) recursive: bool,
    /// Show a directory or symbolic link itself, not what is in it
    #[arg(short, long, conflicts_with = "depth")]
    pub(crate) directory: bool,
    /// Enter directories so far: 0 shows the path itself, 1 lists one directory
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    pub(crate) depth: Option<usize>,
    /// Print one JSON object per line: of the path itself and, unless --depth or --directory say less, of everything below
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help(), PATH_HELP], "\
lithify cat debian.erofs /etc/os-release
lithify cat docker://debian:12 /etc/os-release"))]
pub(crate) struct CatArgs {
    /// The image or artifact
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    /// The file; symbolic links are followed inside the image
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) path: OsString,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify verify oci:images/app:1
lithify verify debian.erofs
lithify verify composefs:/sysroot/composefs:app
lithify verify --sealed docker://registry.example.com/app:1
lithify verify --seals docker://registry.example.com/app:1 composefs:/sysroot/composefs:app
lithify verify --json app"))]
pub(crate) struct VerifyArgs {
    /// The image or artifact
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    /// Check the composefs digests that were published with the image too, in its manifest or beside it: that there are none is
    /// an error
    #[arg(long)]
    pub(crate) sealed: bool,
    /// Look for them beside this image, which may be in another place; implies --sealed
    #[arg(long, value_name = "IMAGE", value_hint = ValueHint::AnyPath)]
    pub(crate) seals: Option<OsString>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}
