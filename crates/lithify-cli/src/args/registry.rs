//! Arguments of what speaks to registries or moves images.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{IMAGE_HELP, ReadArgs, StoreDirectory, size};

/// How registries are talked to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct RegistryArgs {
    /// When an image named without a transport is pulled: always, missing (from the store) or never
    #[arg(
        id = "pull_policy",
        long = "pull",
        value_name = "POLICY",
        default_value = "missing"
    )]
    pub(crate) policy: lithify::PullPolicy,
    /// Credentials for the registry, as USER:PASSWORD; without the password it is read from standard input. Safer is
    /// `lithify login`
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub(crate) creds: Option<String>,
    /// Read credentials from this file only, in the form of auth.json or Docker's config.json
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Mirrors, certificates and more for each registry; default is $LITHIFY_REGISTRIES, else registries.toml in
    /// ~/.config/lithify or /etc/lithify
    #[arg(long, value_name = "FILE")]
    pub(crate) registries: Option<PathBuf>,
    /// Believe any certificate, and speak plain http where there is no other way
    #[arg(long)]
    pub(crate) insecure: bool,
    /// How often a failed request is sent again
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
}

/// How blobs are moved.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// Blobs moved at the same time
    #[arg(long, value_name = "N", default_value = "4")]
    pub(crate) transfers: std::num::NonZeroUsize,
    /// Send blobs to registries in pieces of this size; takes K, M and G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) chunk: Option<u64>,
    /// Do not wait for what is written here to reach the disk
    #[arg(long)]
    pub(crate) no_fsync: bool,
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct CopyArgs {
    /// The image
    pub(crate) source: String,
    /// Where it goes: docker://NAME:TAG, oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:NAME:TAG,
    /// docker-daemon:NAME:TAG, or a name in the store
    #[arg(value_name = "DEST")]
    pub(crate) destination: String,
    /// Every platform the image is there for; without, the one --platform says
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    /// What refers to it too: signatures, root hashes, filesystems made of it
    #[arg(long)]
    pub(crate) referrers: bool,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    /// Describe what was copied as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The image's name in its registry
    #[arg(value_name = "NAME")]
    pub(crate) image: String,
    /// When: always, missing or never
    #[arg(long, value_name = "POLICY", default_value = "always")]
    pub(crate) policy: lithify::PullPolicy,
    /// Every platform the image is there for; without, the one --platform says
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    /// What refers to it too: signatures, root hashes, filesystems made of it
    #[arg(long)]
    pub(crate) referrers: bool,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    /// Describe what was pulled as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
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
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct PushArgs {
    /// The image
    pub(crate) image: String,
    /// Where it goes: docker://NAME:TAG, oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:NAME:TAG,
    /// docker-daemon:NAME:TAG, or a name in the store
    #[arg(value_name = "DEST")]
    pub(crate) destination: String,
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
    #[arg(long, value_name = "SPEC", default_value_t)]
    pub(crate) erofs_spec: lithify::ErofsSpec,
    /// How file data is compressed in the images, as for `build`
    #[arg(long, value_name = "ALG[:LEVEL]")]
    pub(crate) compress: Option<lithify::Compression>,
    /// Leave out extended attributes the images cannot hold; without, they are an error
    #[arg(long)]
    pub(crate) drop_xattrs: bool,
    /// Append a dm-verity hash tree to each image, and push its root hash as an artifact
    #[arg(long)]
    pub(crate) verity: bool,
    /// Every platform the image is there for; without, the one --platform says
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    /// Describe what was pushed as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The registry, as HOST or HOST:PORT, or a namespace in it, as HOST/NAME
    pub(crate) registry: String,
    /// The user
    #[arg(short, long, value_name = "USER")]
    pub(crate) username: Option<String>,
    /// Read the password from standard input, as is done when it is not a terminal
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// The file to store it in; default is $REGISTRY_AUTH_FILE, else containers/auth.json where other tools look for it
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Mirrors, certificates and more for each registry
    #[arg(long, value_name = "FILE")]
    pub(crate) registries: Option<PathBuf>,
    /// Believe any certificate, and speak plain http where there is no other way
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry, as it was signed in to
    pub(crate) registry: String,
    /// The file to remove it from
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// The image, by a name it has
    pub(crate) image: String,
    /// The name it gets too
    #[arg(value_name = "NEW")]
    pub(crate) new: String,
    #[command(flatten)]
    pub(crate) store: StoreDirectory,
}
