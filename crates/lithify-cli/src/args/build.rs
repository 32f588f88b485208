//! Arguments of `build`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::help::{image_help, with_examples};
use super::read::ReadArgs;
use super::values::{CompressionParser, FormatParser, size, word};
use super::volume::VolumeArgs;

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify build docker://debian:12 -o debian.erofs
lithify build alpine:3.20 -o alpine.squashfs --compress zstd:19
lithify build alpine:3.20 -o root.ext4 --size 4G --label root
lithify build oci:images/app:1 -f erofs-layers --disk vmdk,raw -o app
lithify build docker-archive:app.tar -f dir -o rootfs
lithify build oci:images/initrd:1 -o initrd.cpio.zst
lithify build oci:images/app:1 -f composefs -o /srv/composefs:app:1
lithify build rootfs:build/root -o - | ssh host lithify build tar:- -o root.erofs
lithify build oci:images/app:1 --verity -o app.erofs --json"))]
pub(crate) struct BuildArgs {
    /// The image
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    #[command(flatten)]
    pub(crate) make: MakeArgs,
    /// Whether to take an erofs or squashfs image that was published beside the image (`push --as`) instead of making it:
    /// ignore, use, require. Only the registry says that it is made of the image, so it is not taken unasked
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "ignore",
        value_parser = word::<lithify::Artifacts>(&["ignore", "use", "require"])
    )]
    pub(crate) artifacts: lithify::Artifacts,
    /// Whether an image of a registry is made of a delta that refers to it, and of the image in the store that it is for: never, auto
    /// (if there is one) or require
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "never",
        value_parser = word::<lithify::DeltaPolicy>(&["never", "auto", "require"])
    )]
    pub(crate) delta: lithify::DeltaPolicy,
    /// Only say what would be read, fetched and made, and what of it is there
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Options of making something of an image.
#[derive(Debug, Args)]
pub(crate) struct MakeArgs {
    /// What to make of it; default is what the name of OUT says (x.erofs, x.squashfs, x.ext4, x.tar, x.cpio, and - a tar),
    /// else erofs
    #[arg(short, long, value_parser = FormatParser)]
    pub(crate) format: Option<lithify::Format>,
    /// The artifact to make; for tar and cpio, - is standard output; for composefs, REPO:NAME
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub(crate) output: PathBuf,
    /// How file data is compressed: none, lz4, zstd, gzip, xz, with a level as in zstd:19; gzip and xz not in EROFS. A cpio is
    /// compressed as a whole, by gzip or zstd. Default is none in EROFS, zstd:3 in squashfs, of a cpio what the name of OUT says
    /// (x.cpio.gz, x.cpio.zst)
    #[arg(long, value_name = "ALG[:LEVEL]", value_parser = CompressionParser)]
    pub(crate) compress: Option<lithify::Compression>,
    /// Bytes compressed together, such as 128K; a power of two. Of ext4, the blocks: 1K, 2K or 4K, default is 4K
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
    pub(crate) block_size: Option<u64>,
    #[command(flatten)]
    pub(crate) volume: VolumeArgs,
    /// Append a dm-verity hash tree to each image, and write its root hash beside it
    #[arg(long)]
    pub(crate) verity: bool,
    /// Leave out extended attributes the format cannot hold, and count them; without, they are an error. squashfs has no room for
    /// ACLs, image files none for names like com.apple.provenance, a cpio for none at all; dir and tar hold all that Linux does
    #[arg(long)]
    pub(crate) drop_xattrs: bool,
    /// Write sparse files into a tar as such: it is smaller, but few programs besides GNU tar, bsdtar, Go and Python read it
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Disks to make of erofs-layers, unless compressed: vmdk (refers to the image files), raw (one file), gpt (a partition
    /// per image); default is vmdk. Of ext4 the disk it is on: raw (nothing but the filesystem, the default), gpt (in a
    /// partition) or vmdk (OUT describes the disk, x-flat.vmdk beside x.vmdk has the data)
    #[arg(
        long,
        value_name = "KIND,...",
        value_delimiter = ',',
        value_parser = word::<lithify::DiskKind>(&["vmdk", "raw", "gpt"])
    )]
    pub(crate) disk: Option<Vec<lithify::DiskKind>>,
    /// Where images start on such a disk: multiples of this, 4K to 1G; default is 4K
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
    pub(crate) align: Option<u64>,
    /// Put layers into a containerd-cache too that are right only over the lower layers of this image. containerd gives
    /// a layer to every image that has it: for a node that runs no other image
    #[arg(long)]
    pub(crate) one_image: bool,
    /// The rules by which -f composefs makes an image: faithful (everything the layers have) or cfsctl (as that program makes it:
    /// root directory as /usr, empty /run, no extended attributes but security.capability)
    #[arg(
        long,
        value_name = "RULES",
        default_value = "faithful",
        value_parser = word::<lithify::ComposefsProfile>(&["faithful", "cfsctl"])
    )]
    pub(crate) profile: lithify::ComposefsProfile,
    /// Do not wait for the output to reach the disk: faster, but a power cut may lose it
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// Describe image and artifact as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
