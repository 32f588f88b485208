//! The command line as a person writes it. Nothing here does anything.

mod registry; // registries, and images from one place to another

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use registry::{
    CopyArgs, LoginArgs, LogoutArgs, PullArgs, PushArgs, PushForm, RegistryArgs, TagArgs,
    TransferArgs,
};

const IMAGE_HELP: &str = "\
IMAGE is one of:
  oci:DIR[:TAG|@DIGEST]          an OCI image layout
  oci-archive:FILE[:TAG]         a tar of one, also gzip or zstd compressed
  docker-archive:FILE[:REF]      what `docker save` or `podman save` writes
  docker-daemon:NAME[:TAG]       an image of the Docker or Podman daemon here, also by its id (sha256:HEX)
  docker://NAME[:TAG|@DIGEST]    an image of a registry, read as it arrives
  NAME[:TAG|@DIGEST]             an image of the store, pulled into it if it is not there
  rootfs:DIR                     a host directory, as a single layer
  tar:FILE | tar:-               a root filesystem tar, also compressed; - is standard input
Where an ARTIFACT is accepted too, it is the path of an EROFS or squashfs image, or the directory of a layered build.";

const LIMIT_HELP: &str = "\
Raise or lower a limit on what an image may contain (repeatable); sizes take the suffixes K, M, G and T.
An image over a limit is refused with an error that names it:
  tar_bytes           bytes of tar in one layer
  entries             entries in one layer
  names               names in the merged filesystem
  path_bytes          bytes of one path or link target
  metadata_bytes      bytes of extended headers before one entry
  xattr_bytes         bytes of extended attributes of one entry
  file_bytes          apparent size of one file
  sparse_segments     data stretches in one sparse file
  zstd_window_log     window of a zstd layer, as a power of two
  layers              layers in one image
  manifest_bytes      bytes of one manifest or index
  config_bytes        bytes of one image configuration
  archive_entries     entries in one archive
  spool_bytes         bytes of a compressed archive, decompressed";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Container image layers to filesystems: any image source to any mountable artifact.
#[derive(Debug, Parser)]
#[command(name = "lithify", version, styles = STYLES, max_term_width = 100, after_help = IMAGE_HELP)]
pub(crate) struct Cli {
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say what registries are asked, as whom, and what is tried again; twice for every request. $LITHIFY_LOG does the
    /// same: error, warn, info, debug or trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn an image into a filesystem
    Build(BuildArgs),
    /// Show what an image is: manifest, configuration, layers
    Inspect(InspectArgs),
    /// List the files of an image or artifact
    Ls(LsArgs),
    /// Print a file of an image or artifact
    Cat(CatArgs),
    /// Check every byte of an image or artifact
    Verify(VerifyArgs),
    /// Mount an image or artifact at a directory (needs root)
    Mount(MountArgs),
    /// Undo a mount
    Umount(UmountArgs),
    /// Turn the changes of a writable mount into a layer, and append it to an image
    Commit(CommitArgs),
    /// Bring an image of a registry into the store
    Pull(PullArgs),
    /// Send an image to a registry, or publish the filesystems in it
    Push(PushArgs),
    /// Copy an image from one place to another
    Copy(CopyArgs),
    /// Give an image of the store one more name
    Tag(TagArgs),
    /// Store credentials for a registry, if it accepts them
    Login(LoginArgs),
    /// Remove stored credentials for a registry
    Logout(LogoutArgs),
    /// List what is mounted
    Mounts {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the images of the store
    Images(StoreListArgs),
    /// Forget an image of the store; what only it needs goes with the next `gc`
    Rm(RmArgs),
    /// Remove from the store what no image needs
    Gc(GcArgs),
    /// Check every byte of the store, and set aside what is damaged or foreign
    Fsck(FsckArgs),
    /// Show what takes the space of the store
    Df(StoreListArgs),
    /// Print the completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// Directory to write one page per command to; without, lithify(1) goes to standard output
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One EROFS image with the merged filesystem
    #[default]
    Erofs,
    /// One squashfs image with the merged filesystem
    Squashfs,
    /// A directory: an EROFS image per layer, a merged image over them, a disk for virtual machines
    ErofsLayers,
    /// A directory with a squashfs image per layer
    SquashfsLayers,
    /// EROFS images of layers where containerd looks for them (`layer_content_caches`)
    ContainerdCache,
    /// A directory
    Dir,
    /// One tar with the merged filesystem
    Tar,
}

/// How an image is found and read.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Which image of several to take, as OS/ARCH[/VARIANT]; default is Linux on this machine's architecture. With
    /// `+erofs` behind it, the one whose layers are EROFS images
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Processors to make use of; 1 does everything in one thread. Results do not depend on it
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// Raise or lower a limit on what an image may contain; sizes take K, M, G and T. See `lithify build --help`
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit, long_help = LIMIT_HELP)]
    pub(crate) limits: Vec<(String, u64)>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Which store is used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArgs {
    /// Where images of layers are kept; default is $LITHIFY_STORE, else `lithify` in the user's data directory
    #[arg(long, value_name = "DIR", conflicts_with = "no_store")]
    pub(crate) store: Option<PathBuf>,
    /// Keep nothing and reuse nothing
    #[arg(long)]
    pub(crate) no_store: bool,
}

impl StoreArgs {
    pub(crate) fn choice(&self) -> lithify::StoreChoice {
        match (&self.store, self.no_store) {
            (Some(path), _) => lithify::StoreChoice::At(path.clone()),
            (None, true) => lithify::StoreChoice::None,
            (None, false) => lithify::StoreChoice::Default,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct BuildArgs {
    /// The image
    pub(crate) image: String,
    /// What to make of it
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Where to put it; for tar, - is standard output
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// How file data is compressed: none, lz4, zstd, gzip, xz, with a level as in zstd:19; gzip and xz in squashfs only.
    /// Default is none in EROFS, zstd:3 in squashfs
    #[arg(long, value_name = "ALG[:LEVEL]")]
    pub(crate) compress: Option<lithify::Compression>,
    /// Bytes compressed together, such as 128K; a power of two
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) block_size: Option<u64>,
    /// Append a dm-verity hash tree to each image, and write its root hash beside it
    #[arg(long)]
    pub(crate) verity: bool,
    /// Leave out extended attributes the format cannot hold, and count them; without, they are an error. squashfs has no room for
    /// ACLs, image files none for names like com.apple.provenance; dir and tar hold all that Linux does
    #[arg(long)]
    pub(crate) drop_xattrs: bool,
    /// Write sparse files into a tar as such: it is smaller, but few programs besides GNU tar, bsdtar, Go and Python read it
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Disks to make of erofs-layers, unless compressed: vmdk (refers to the image files), raw (one file), gpt (a partition
    /// per image)
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', default_values_t = [lithify::DiskKind::Vmdk])]
    pub(crate) disk: Vec<lithify::DiskKind>,
    /// Where images start on such a disk: multiples of this, 4K to 1G
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "4K")]
    pub(crate) align: u64,
    /// Put layers into a containerd-cache too that are right only over the lower layers of this image. containerd gives
    /// a layer to every image that has it: for a node that runs no other image
    #[arg(long)]
    pub(crate) one_image: bool,
    /// Whether to take an erofs or squashfs image that was published beside the image (`push --as`) instead of making it:
    /// ignore, use, require. Only the registry says that it is made of the image, so it is not taken unasked
    #[arg(long, value_name = "WHEN", default_value = "ignore")]
    pub(crate) artifacts: lithify::Artifacts,
    /// Do not wait for the output to reach the disk: faster, but a power cut may lose it
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// Describe image and artifact as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct InspectArgs {
    /// The image
    pub(crate) image: String,
    /// List what refers to it too: signatures, root hashes, filesystems made of it
    #[arg(long)]
    pub(crate) referrers: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct LsArgs {
    /// The image or artifact
    pub(crate) image: String,
    /// Where to start; symbolic links on the way are followed inside the image
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// Show type, permissions, owner, size and time too
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Directories deeper than this are not entered; 1 lists one directory
    #[arg(short, long, value_name = "N")]
    pub(crate) depth: Option<usize>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct CatArgs {
    /// The image or artifact
    pub(crate) image: String,
    /// The file; symbolic links are followed inside the image
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct VerifyArgs {
    /// The image or artifact
    pub(crate) image: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = IMAGE_HELP)]
pub(crate) struct MountArgs {
    /// The image or artifact; an image is mounted from the store, layer by layer, and converted if it is not there
    pub(crate) image: String,
    /// Where to mount it
    pub(crate) directory: PathBuf,
    /// Make it writable: changes go to an overlay kept in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) rw: Option<PathBuf>,
    /// Let set-user-ID bits and file capabilities of the image take effect
    #[arg(long)]
    pub(crate) suid: bool,
    /// Let device nodes of the image be opened
    #[arg(long)]
    pub(crate) dev: bool,
    /// Leave out extended attributes EROFS cannot hold; without, they are an error
    #[arg(long)]
    pub(crate) drop_xattrs: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

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
pub(crate) struct CommitArgs {
    /// The upper directory of an overlay, or what `mount --rw` was given
    pub(crate) upper: PathBuf,
    /// The image, in an OCI layout: oci:DIR:TAG
    #[arg(short, long, value_name = "oci:DIR[:TAG]")]
    pub(crate) output: String,
    /// The image the changes were made on; without, the one that has the tag
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: Option<String>,
    /// How the layer is compressed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) compress: LayerCompression,
    /// Where the overlay is mounted: renamed directories and metadata-only changes are read from there
    #[arg(long, value_name = "DIR")]
    pub(crate) view: Option<PathBuf>,
    /// Whether the overlay was mounted with `userxattr`; default is to find out
    #[arg(long, value_name = "BOOL")]
    pub(crate) userxattr: Option<bool>,
    /// Whether fuse-overlayfs made the directory, which marks removals in its own ways; default is to refuse its marks
    #[arg(long, value_name = "BOOL")]
    pub(crate) fuse_overlayfs: Option<bool>,
    /// When the image was made, as RFC 3339; default is what the base image says
    #[arg(long, value_name = "TIME")]
    pub(crate) created: Option<String>,
    /// A comment in the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Do not wait for the image to reach the disk
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// Describe the new image as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// Where it is mounted
    pub(crate) directory: PathBuf,
}

/// The store a command looks after.
#[derive(Debug, Args)]
pub(crate) struct StoreDirectory {
    /// The store; default is $LITHIFY_STORE, else `lithify` in the user's data directory
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
}

impl StoreDirectory {
    pub(crate) fn choice(&self) -> lithify::StoreChoice {
        match &self.store {
            Some(path) => lithify::StoreChoice::At(path.clone()),
            None => lithify::StoreChoice::Default,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct StoreListArgs {
    #[command(flatten)]
    pub(crate) store: StoreDirectory,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// The image's name, as `lithify images` shows it or as it was built by
    pub(crate) image: String,
    /// Only for this platform, as OS/ARCH
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) store: StoreDirectory,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Keep so many bytes of what no image needs, the most recently used first; takes K, M, G and T
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) keep_bytes: Option<u64>,
    /// Remove what was quarantined too
    #[arg(long)]
    pub(crate) quarantine: bool,
    #[command(flatten)]
    pub(crate) list: StoreListArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// Only report; move nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) list: StoreListArgs,
}

/// A limit such as `tar_bytes=128G`.
fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), size(value)?))
}

/// A byte count such as `64M`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        other => {
            return Err(format!(
                "unknown size suffix `{other}`: expected K, M, G or T"
            ));
        }
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{text}` is not a size such as 64M"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is more bytes than 64 bits can count"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_binary_suffixes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert!(size("17000000T").is_err());
        assert!(size("1x").is_err());
        assert!(size("M").is_err());
        assert!(size("-1").is_err());
    }
}
