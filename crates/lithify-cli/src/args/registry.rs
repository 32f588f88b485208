//! Arguments of what speaks to registries or moves images.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use lithify::composefs::FileAlgorithm;

use super::help::{image_help, places_help, with_examples};
use super::read::{LimitArgs, ReadArgs, RegistryArgs, StoreDirectory};
use super::values::{CompressionParser, algorithm, size, word};

/// How blobs are moved.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// Blobs moved at the same time; default is 4
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    pub(crate) transfers: Option<std::num::NonZeroUsize>,
    /// Do not wait for what is written here to reach the disk
    #[arg(long)]
    pub(crate) no_fsync: bool,
}

/// How blobs are sent to registries.
#[derive(Debug, Args)]
pub(crate) struct ChunkArgs {
    /// Send blobs to registries in pieces of this size; takes K, M and G
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
    pub(crate) chunk: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help(), &places_help()], "\
lithify copy docker://debian:12 oci:images/debian:12
lithify copy oci-archive:app.tar docker://registry.example.com/app:1
lithify copy docker-archive:app.tar store:app:1
lithify copy app:1 docker-archive:app.tar:docker.io/library/app:1
lithify copy --all-platforms --referrers docker://app:1 docker://registry.example.com/app:1"))]
pub(crate) struct CopyArgs {
    /// The image
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: OsString,
    /// Where it goes: docker://NAME:TAG, oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:NAME:TAG,
    /// composefs:REPO:NAME, docker-daemon:NAME:TAG or store:NAME:TAG
    #[arg(value_name = "DEST", value_hint = ValueHint::AnyPath)]
    pub(crate) destination: OsString,
    /// Every platform the image is there for; without, the one --platform says
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    /// What refers to it too: signatures, root hashes, filesystems made of it
    #[arg(long)]
    pub(crate) referrers: bool,
    /// Only say what would be copied, and what of it is there
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    #[command(flatten)]
    pub(crate) chunk: ChunkArgs,
    /// Describe what was copied as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify pull debian:12
lithify pull --delta auto app:2
lithify pull --policy missing --platform linux/arm64 registry.example.com/app:1
lithify pull --all-platforms --referrers registry.example.com/app:1"))]
pub(crate) struct PullArgs {
    /// The image's name in its registry
    #[arg(value_name = "NAME", value_hint = ValueHint::Other)]
    pub(crate) image: OsString,
    /// When: always, missing or never
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "always",
        value_parser = word::<lithify::PullPolicy>(&["always", "missing", "never"])
    )]
    pub(crate) policy: lithify::PullPolicy,
    /// Which image of several to take, as OS/ARCH[/VARIANT]; default is Linux on this machine's architecture. With
    /// `+erofs` behind it, the one whose layers are EROFS images
    #[arg(long, value_name = "OS/ARCH", value_hint = ValueHint::Other)]
    pub(crate) platform: Option<String>,
    /// Every platform the image is there for; without, the one --platform says
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    /// What refers to it too: signatures, root hashes, filesystems made of it
    #[arg(long)]
    pub(crate) referrers: bool,
    /// Whether layers are made of a delta that refers to the image, and of the image in the store that it is for: never, auto (if that
    /// saves something) or require
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "never",
        conflicts_with = "all_platforms",
        value_parser = word::<lithify::DeltaPolicy>(&["never", "auto", "require"])
    )]
    pub(crate) delta: lithify::DeltaPolicy,
    /// The delta to use, wherever it is; without --delta it is required
    #[arg(id = "place", long = "delta-from", value_name = "DELTA", conflicts_with = "all_platforms", value_hint = ValueHint::AnyPath)]
    pub(crate) delta_from: Option<OsString>,
    /// Only say what would be pulled, and what of it is there
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    /// Describe what was pulled as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) store: StoreDirectory,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// As what an image is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PushForm {
    /// The image, and beside it the same image with EROFS layers, which containerd 2.3 and later mount as they are
    /// (with --only, these alone)
    Erofs,
    /// One EROFS image with the merged filesystem, as an artifact beside the image
    ErofsImage,
    /// One squashfs image with the merged filesystem, as an artifact beside the image
    Squashfs,
    /// Digests of composefs (fs-verity) of the manifest, the configuration and the composefs image that cfsctl makes, with that
    /// image, as an artifact beside the image
    Composefs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help(), &places_help()], "\
lithify push debian:12 docker://registry.example.com/base/debian:12
lithify push --as erofs app:1 docker://registry.example.com/app:1
lithify push --as squashfs --verity app:1 docker://registry.example.com/app:1
lithify push --as composefs --algorithm sha256,sha512 app:1 docker://registry.example.com/app:1"))]
pub(crate) struct PushArgs {
    /// The image
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    /// Where it goes: docker://NAME:TAG, oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:NAME:TAG,
    /// composefs:REPO:NAME, docker-daemon:NAME:TAG or store:NAME:TAG
    #[arg(value_name = "DEST", value_hint = ValueHint::AnyPath)]
    pub(crate) destination: OsString,
    /// As what; without, the image as it is
    #[arg(long = "as", value_enum, value_name = "FORM")]
    pub(crate) form: Option<PushForm>,
    /// With --as erofs, the image with EROFS layers alone, without the tars: containerd takes it natively however it is
    /// asked, and what knows no EROFS finds nothing to run
    #[arg(long)]
    pub(crate) only: bool,
    /// Compress each EROFS layer as a whole with zstd for the way (`+zstd`)
    #[arg(long)]
    pub(crate) erofs_zstd: bool,
    /// How EROFS layers are described: containerd, or the draft of the EROFS image layer format (draft)
    #[arg(
        long,
        value_name = "SPEC",
        value_parser = word::<lithify::ErofsSpec>(&["containerd", "draft"])
    )]
    pub(crate) erofs_spec: Option<lithify::ErofsSpec>,
    /// How file data is compressed in the images, as for `build`
    #[arg(long, value_name = "ALG[:LEVEL]", value_parser = CompressionParser)]
    pub(crate) compress: Option<lithify::Compression>,
    /// Leave out extended attributes the images cannot hold; without, they are an error
    #[arg(long)]
    pub(crate) drop_xattrs: bool,
    /// With --as composefs, the algorithm of the digests; of several, each has an artifact. Default is sha256
    #[arg(long, value_name = "ALGORITHM", value_delimiter = ',', value_parser = algorithm())]
    pub(crate) algorithm: Vec<FileAlgorithm>,
    /// Append a dm-verity hash tree to each image, and push its root hash as an artifact
    #[arg(long)]
    pub(crate) verity: bool,
    /// Every platform the image is there for; without, the one --platform says
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    /// Only say what would be sent, and what of it is there
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    #[command(flatten)]
    pub(crate) chunk: ChunkArgs,
    /// Describe what was pushed as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify login registry.example.com
lithify login -u me --password-stdin registry.example.com"))]
pub(crate) struct LoginArgs {
    /// The registry, as HOST, HOST:PORT or https://HOST, or a namespace in it, as HOST/NAME
    #[arg(value_hint = ValueHint::Hostname)]
    pub(crate) registry: String,
    /// The user
    #[arg(short, long, value_name = "USER", value_hint = ValueHint::Other)]
    pub(crate) username: Option<String>,
    /// Read the password from standard input, all lines of it, as is done when it is not a terminal
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// The file to store it in; default is $REGISTRY_AUTH_FILE, else containers/auth.json where other tools look for it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) authfile: Option<PathBuf>,
    /// Mirrors, certificates and more for each registry
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) registries: Option<PathBuf>,
    /// Believe any certificate, and speak plain http where there is no other way
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry, as it was signed in to
    #[arg(value_hint = ValueHint::Hostname)]
    pub(crate) registry: String,
    /// The file to remove it from
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) authfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// The image, by a name it has
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) image: OsString,
    /// The name it gets too
    #[arg(value_name = "NEW", value_hint = ValueHint::Other)]
    pub(crate) new: OsString,
    #[command(flatten)]
    pub(crate) store: StoreDirectory,
}
