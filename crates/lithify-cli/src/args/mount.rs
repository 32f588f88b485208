//! Arguments of `mount` and `umount`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use lithify::FileVerity;

use super::help::{image_help, with_examples};
use super::read::ReadArgs;
use super::values::word;

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify mount debian.erofs /mnt
lithify mount oci:images/app:2 /mnt --rw changes
lithify mount app/disk.raw /mnt
lithify mount composefs:/sysroot/composefs:app /mnt --verity require"))]
pub(crate) struct MountArgs {
    /// The image or artifact; an image is mounted from the store, layer by layer, and converted if it is not there; one of a
    /// composefs repository as it is there
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    /// Where to mount it
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,
    /// Make it writable: changes go to an overlay kept in this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) rw: Option<PathBuf>,
    /// Let set-user-ID bits and file capabilities of the image take effect
    #[arg(long)]
    pub(crate) suid: bool,
    /// Let device nodes of the image be opened
    #[arg(long)]
    pub(crate) dev: bool,
    /// Have the kernel compare files of a composefs repository with the digests in its image (fs-verity): if the repository
    /// is under fs-verity (auto), always (require: refused if it is not), or never
    #[arg(long, value_name = "WHEN", value_parser = word::<FileVerity>(FileVerity::WORDS), default_value = "auto")]
    pub(crate) verity: FileVerity,
    /// Leave out extended attributes EROFS cannot hold; without, they are an error
    #[arg(long)]
    pub(crate) drop_xattrs: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// Where it is mounted
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,
}
