//! The command line as a person writes it. Nothing here does anything.

mod build; // images into artifacts
mod commit; // changes into layers
mod composefs; // composefs images and repositories
mod delta;
mod disk; // disks of virtual machines
mod help; // texts
mod mount; // mounts
mod read; // groups of options
mod registry; // registries, and images from one place to another
mod store; // looking after the store
mod values; // values of options
mod view; // images as they are
mod volume; // writable filesystems

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand, ValueHint};

use help::{COMMON_HELP, image_help};

pub(crate) use build::{BuildArgs, MakeArgs};
pub(crate) use commit::{CommitArgs, LayerCompression};
pub(crate) use composefs::{
    ComposefsCommand, ComposefsCreateArgs, ComposefsDfArgs, ComposefsDumpArgs, ComposefsFsckArgs,
    ComposefsGcArgs, ComposefsIdArgs, ComposefsInitArgs, ComposefsLsArgs, ComposefsRmArgs,
    ComposefsTagArgs, FormatArgs,
};
pub(crate) use delta::{
    DeltaApplyArgs, DeltaCommand, DeltaCreateArgs, DeltaInspectArgs, DeltaPlanArgs,
    DeltaTarApplyArgs, DeltaTarCommand, DeltaTarCreateArgs,
};
pub(crate) use disk::{CreateArgs, DiskCommand};
pub(crate) use help::{other_composefs_verb, other_verb};
pub(crate) use mount::{MountArgs, UmountArgs};
pub(crate) use read::{ImageArgs, LimitArgs, ReadArgs, RegistryArgs};
pub(crate) use registry::{
    ChunkArgs, CopyArgs, LoginArgs, LogoutArgs, PullArgs, PushArgs, PushForm, TagArgs, TransferArgs,
};
pub(crate) use store::{FsckArgs, GcArgs, RmArgs, StoreListArgs};
pub(crate) use view::{CatArgs, InspectArgs, LsArgs, VerifyArgs};

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
    /// Make disks for virtual machines
    #[command(subcommand)]
    Disk(DiskCommand),
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
    /// Make, read and look after composefs images and repositories
    #[command(subcommand)]
    Composefs(ComposefsCommand),
    /// Make and apply deltas: what is different between an old image and a new one
    #[command(subcommand)]
    Delta(DeltaCommand),
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
    const OPTIONS: [(&str, &[&str]); 39] = [
        (
            "build",
            &[
                READ,
                "format output compress block-size size free inodes bytes-per-inode journal label verity drop-xattrs sparse disk align one-image profile artifacts delta dry-run no-fsync json",
            ],
        ),
        (
            "disk create",
            &[
                "size block-size inodes bytes-per-inode journal label disk align no-fsync json limit",
            ],
        ),
        ("inspect", &[FIND, "referrers json"]),
        ("ls", &[READ, "long all recursive directory depth json"]),
        ("cat", &[READ]),
        ("verify", &[READ, "sealed seals json"]),
        ("mount", &[READ, "rw suid dev verity drop-xattrs"]),
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
                "policy platform all-platforms referrers delta delta-from transfers dry-run no-fsync limit store json",
            ],
        ),
        (
            "push",
            &[
                READ,
                "as only algorithm erofs-zstd erofs-spec compress verity drop-xattrs all-platforms transfers chunk dry-run no-fsync json",
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
        (
            "composefs create",
            &[
                "format-version max-version print-digest print-digest-only algorithm no-fsync from-file",
            ],
        ),
        (
            "composefs id",
            &[
                READ,
                "from-dump file algorithm profile format-version max-version json",
            ],
        ),
        ("composefs dump", &[]),
        ("composefs ls", &["objects missing json"]),
        ("composefs init", &["algorithm format-version verity"]),
        ("composefs tag", &[]),
        ("composefs rm", &[]),
        ("composefs gc", &["dry-run keep wait json"]),
        (
            "composefs fsck",
            &["metadata-only contents repair wait jobs json"],
        ),
        ("composefs df", &["json"]),
        (
            "delta create",
            &[READ, "output all-platforms level memory no-fsync json"],
        ),
        (
            "delta apply",
            &[
                READ,
                "base exact format output compress block-size size free inodes bytes-per-inode journal label verity drop-xattrs sparse disk align one-image profile no-fsync json",
            ],
        ),
        ("delta inspect", &[FIND, "json"]),
        ("delta plan", &[FIND, "from json"]),
        (
            "delta tar create",
            &[READ, "output level memory no-fsync json"],
        ),
        (
            "delta tar apply",
            &[READ, "base output diff-id no-fsync json"],
        ),
        ("completions", &[]),
        ("man", &["output"]),
    ];

    /// The commands that do something, with their names.
    fn commands(cli: &clap::Command) -> Vec<(String, &clap::Command)> {
        let mut found = Vec::new();
        for command in cli.get_subcommands() {
            let name = command.get_name();
            match command.has_subcommands() {
                false => found.push((name.to_owned(), command)),
                true => found.extend(
                    commands(command)
                        .into_iter()
                        .map(|(below, command)| (format!("{name} {below}"), command)),
                ),
            }
        }
        found
    }

    #[test]
    fn a_command_takes_the_options_it_uses() {
        let cli = Cli::command();
        let commands = commands(&cli);
        let names: Vec<&str> = commands.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, OPTIONS.map(|(name, _)| name));
        for ((_, command), (name, expected)) in commands.into_iter().zip(OPTIONS) {
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
        for (name, command) in commands(&Cli::command()) {
            for argument in command.get_arguments() {
                let takes = argument.get_num_args().is_none_or(|n| n.takes_values());
                let is_value = takes && !matches!(argument.get_action(), clap::ArgAction::SetTrue);
                if !is_value || !argument.get_possible_values().is_empty() {
                    continue;
                }
                let name = format!("{name} {}", argument.get_id());
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
                        | "repository"
                        | "dumpfile"
                        | "images"
                        | "place"
                        | "places"
                        | "missing"
                        | "seals"
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
            .chain(commands(&cli).into_iter().map(|(_, command)| command))
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
