//! The command line as a person writes it. Nothing here does anything.

mod help; // texts
mod read; // groups of options
mod registry; // registries, and images from one place to another
mod values; // values of options

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use help::{COMMON_HELP, PATH_HELP, image_help, places_help, with_examples};
use values::{CompressionParser, size, word};

pub(crate) use help::other_verb;
pub(crate) use read::{ImageArgs, LimitArgs, ReadArgs, RegistryArgs, StoreDirectory};
pub(crate) use registry::{
    ChunkArgs, CopyArgs, LoginArgs, LogoutArgs, PullArgs, PushArgs, PushForm, TagArgs, TransferArgs,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Container image layers to filesystems: any image source to any mountable artifact.
#[derive(Debug, Parser)]
#[command(
    name = "lithify",
    version,
    styles = STYLES,
    max_term_width = 100,
    after_help = format!("{}\n\n{COMMON_HELP}", image_help()),
)]
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
        #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One EROFS image with the merged filesystem
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

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify build docker://debian:12 -o debian.erofs
lithify build alpine:3.20 -o alpine.squashfs --compress zstd:19
lithify build oci:images/app:1 -f erofs-layers --disk vmdk,raw -o app
lithify build docker-archive:app.tar -f dir -o rootfs
lithify build rootfs:build/root -o - | ssh host lithify build tar:- -o root.erofs
lithify build oci:images/app:1 --verity -o app.erofs --json"))]
pub(crate) struct BuildArgs {
    /// The image
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    /// What to make of it; default is what the name of OUT says (x.erofs, x.squashfs, x.tar, and - a tar), else erofs
    #[arg(short, long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Where to put it; for tar, - is standard output
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub(crate) output: PathBuf,
    /// How file data is compressed: none, lz4, zstd, gzip, xz, with a level as in zstd:19; gzip and xz in squashfs only.
    /// Default is none in EROFS, zstd:3 in squashfs
    #[arg(long, value_name = "ALG[:LEVEL]", value_parser = CompressionParser)]
    pub(crate) compress: Option<lithify::Compression>,
    /// Bytes compressed together, such as 128K; a power of two
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
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
    /// per image); default is vmdk
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
    /// Whether to take an erofs or squashfs image that was published beside the image (`push --as`) instead of making it:
    /// ignore, use, require. Only the registry says that it is made of the image, so it is not taken unasked
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "ignore",
        value_parser = word::<lithify::Artifacts>(&["ignore", "use", "require"])
    )]
    pub(crate) artifacts: lithify::Artifacts,
    /// Only say what would be read, fetched and made, and what of it is there
    #[arg(long)]
    pub(crate) dry_run: bool,
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
lithify verify --json app"))]
pub(crate) struct VerifyArgs {
    /// The image or artifact
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) image: OsString,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[&image_help()], "\
lithify mount debian.erofs /mnt
lithify mount oci:images/app:2 /mnt --rw changes
lithify mount app/disk.raw /mnt"))]
pub(crate) struct MountArgs {
    /// The image or artifact; an image is mounted from the store, layer by layer, and converted if it is not there
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
#[command(after_help = with_examples(&[&image_help(), &places_help()], "\
lithify commit changes -o oci:images/app:2
lithify commit changes --base app:1 -o app:2
lithify commit changes --base app:1 -o docker://registry.example.com/app:2
lithify commit changes --base oci:images/app:2 -o oci:images/app3:3 -m 'certificates'"))]
pub(crate) struct CommitArgs {
    /// The upper directory of an overlay, or what `mount --rw` was given
    #[arg(value_hint = ValueHint::DirPath)]
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

#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// Where it is mounted
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,
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
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) image: OsString,
    /// Only for this platform, as OS/ARCH
    #[arg(long, value_name = "OS/ARCH", value_hint = ValueHint::Other)]
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
    #[arg(long, value_name = "SIZE", value_parser = size, value_hint = ValueHint::Other)]
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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state what they expect by panicking"
)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The long options of groups.
    const FIND: &str =
        "authfile creds insecure limit no-store platform pull registries retries store";
    const READ: &str =
        "jobs authfile creds insecure limit no-store platform pull registries retries store";
    const REMOTE: &str = "authfile creds insecure registries retries";

    /// What each command makes use of, and takes therefore; an option that a command does not need is not in its list.
    const OPTIONS: [(&str, &[&str]); 22] = [
        (
            "build",
            &[
                READ,
                "format output compress block-size verity drop-xattrs sparse disk align one-image artifacts dry-run no-fsync json",
            ],
        ),
        ("inspect", &[FIND, "referrers json"]),
        ("ls", &[READ, "long all recursive directory depth json"]),
        ("cat", &[READ]),
        ("verify", &[READ, "json"]),
        ("mount", &[READ, "rw suid dev drop-xattrs"]),
        ("umount", &[]),
        (
            "commit",
            &[
                FIND,
                "output base compress view userxattr fuse-overlayfs created message transfers chunk no-fsync json",
            ],
        ),
        (
            "pull",
            &[
                REMOTE,
                "policy platform all-platforms referrers transfers dry-run no-fsync limit store json",
            ],
        ),
        (
            "push",
            &[
                READ,
                "as only erofs-zstd erofs-spec compress verity drop-xattrs all-platforms transfers chunk dry-run no-fsync json",
            ],
        ),
        (
            "copy",
            &[
                READ,
                "all-platforms referrers transfers chunk dry-run no-fsync json",
            ],
        ),
        ("tag", &["store"]),
        (
            "login",
            &["username password-stdin authfile registries insecure"],
        ),
        ("logout", &["authfile"]),
        ("mounts", &["json"]),
        ("images", &["store json"]),
        ("rm", &["platform store"]),
        ("gc", &["dry-run keep-bytes quarantine store json"]),
        ("fsck", &["dry-run store json"]),
        ("df", &["store json"]),
        ("completions", &[]),
        ("man", &["output"]),
    ];

    #[test]
    fn a_command_takes_the_options_it_uses() {
        let cli = Cli::command();
        let names: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, OPTIONS.map(|(name, _)| name));
        for (command, (name, expected)) in cli.get_subcommands().zip(OPTIONS) {
            let mut found: Vec<&str> = command
                .get_arguments()
                .filter_map(clap::Arg::get_long)
                .collect();
            let mut expected: Vec<&str> = expected.iter().flat_map(|o| o.split(' ')).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn completions_offer_files_only_where_files_are_meant() {
        let files = [
            ValueHint::AnyPath,
            ValueHint::FilePath,
            ValueHint::DirPath,
            ValueHint::Unknown,
        ];
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                let takes = argument.get_num_args().is_none_or(|n| n.takes_values());
                let is_value = takes && !matches!(argument.get_action(), clap::ArgAction::SetTrue);
                if !is_value || !argument.get_possible_values().is_empty() {
                    continue;
                }
                let name = format!("{} {}", command.get_name(), argument.get_id());
                let offers = files.contains(&argument.get_value_hint());
                let is_path = matches!(
                    argument.get_id().as_str(),
                    "output"
                        | "image"
                        | "source"
                        | "destination"
                        | "base"
                        | "upper"
                        | "view"
                        | "directory"
                        | "rw"
                        | "store"
                        | "authfile"
                        | "registries"
                ) && !matches!(&*name, "pull image" | "tag image" | "rm image");
                assert_eq!(offers, is_path, "{name}");
            }
        }
        for (command, option, word) in [
            ("build", "artifacts", "require"),
            ("build", "pull_policy", "never"),
            ("build", "disk", "gpt"),
            ("build", "compress", "zstd"),
            ("build", "format", "erofs-layers"),
            ("pull", "policy", "missing"),
            ("push", "erofs_spec", "draft"),
            ("push", "compress", "lz4"),
            ("push", "form", "erofs-image"),
        ] {
            let cli = Cli::command();
            let command = cli.find_subcommand(command).unwrap();
            let argument = command.get_arguments().find(|a| a.get_id() == option);
            let words = argument.unwrap().get_possible_values();
            assert!(words.iter().any(|w| w.get_name() == word), "{option}");
        }
    }

    #[test]
    fn examples_in_the_help_are_right() {
        let cli = Cli::command();
        let texts: Vec<String> = std::iter::once(&cli)
            .chain(cli.get_subcommands())
            .filter_map(clap::Command::get_after_help)
            .map(ToString::to_string)
            .collect();
        let mut tried = 0;
        for line in texts.iter().flat_map(|text| text.lines()) {
            // A terminal of 100 columns does not break it.
            assert!(
                !line.starts_with("  lithify ") || line.chars().count() <= 100,
                "{line}"
            );
            for command in line
                .trim()
                .split(" | ")
                .filter(|c| c.starts_with("lithify "))
            {
                let words = command.split(' ').map(|word| word.trim_matches('\''));
                if words.clone().any(|word| word == "COMMAND") {
                    continue;
                }
                if let Err(e) = Cli::try_parse_from(words) {
                    panic!("{command}: {e}");
                }
                tried += 1;
            }
        }
        assert!(tried > 20, "{tried} examples");
    }
}
