//! Arguments of `composefs`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueHint};
use lithify::composefs::FileAlgorithm;
use lithify::composefs::image::Version;
use lithify::composefs::repository::{ErofsFormat, VerityMode};

use super::help::with_examples;
use super::read::ReadArgs;
use super::values::{algorithm, word};

#[derive(Debug, Subcommand)]
pub(crate) enum ComposefsCommand {
    /// Make a composefs image of a dumpfile, as mkcomposefs --from-file does
    Create(ComposefsCreateArgs),
    /// Print the id of images: their fs-verity digests
    Id(ComposefsIdArgs),
    /// Write images as dumpfiles, as composefs-info dump does
    Dump(ComposefsDumpArgs),
    /// List the names in a repository, or what is in images
    Ls(ComposefsLsArgs),
    /// Create an empty repository
    Init(ComposefsInitArgs),
    /// Give an image in a repository one more name
    Tag(ComposefsTagArgs),
    /// Remove names from a repository; what only they keep goes with the next gc
    Rm(ComposefsRmArgs),
    /// Remove from a repository what no name needs
    Gc(ComposefsGcArgs),
    /// Check everything in a repository
    Fsck(ComposefsFsckArgs),
    /// Show what takes the space of a repository, and what its images share
    Df(ComposefsDfArgs),
}

const IMAGE_HELP: &str = "\
IMAGE is the file of a composefs image, or composefs:REPO[:NAME|@DIGEST] for one of a repository.";

const ID_HELP: &str = "\
IMAGE is the file of a composefs image, or composefs:REPO[:NAME|@DIGEST] for one of a repository. Of any other image, such as
docker://NAME:TAG or oci:DIR:TAG, the id is computed that it would get in a repository. Nothing is written.";

const PLACE_HELP: &str = "\
REPO:NAME may begin with composefs:. NAME is one that `lithify composefs ls REPO` shows.";

/// The version of an image's format.
fn version() -> impl TypedValueParser<Value = Version> {
    PossibleValuesParser::new(["0", "1"]).map(|text| match text.as_str() {
        "0" => Version::V0,
        _ => Version::V1,
    })
}

fn format() -> impl TypedValueParser<Value = ErofsFormat> {
    PossibleValuesParser::new(["0", "1"]).map(|text| match text.as_str() {
        "0" => ErofsFormat::V0,
        _ => ErofsFormat::V1,
    })
}

fn verity() -> impl TypedValueParser<Value = VerityMode> {
    PossibleValuesParser::new(["require", "auto", "off"]).map(|text| match text.as_str() {
        "require" => VerityMode::Require,
        "off" => VerityMode::Off,
        _ => VerityMode::IfPossible,
    })
}

/// The format of an image that is made.
#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// The version of the image's format; default is 1, or 0 with --max-version
    #[arg(long, alias = "min-version", value_name = "N", value_parser = version())]
    pub(crate) format_version: Option<Version>,
    /// The version of an image with whiteouts, if it is higher. mkcomposefs has 1 here, and 0 as --format-version
    #[arg(long, value_name = "N", value_parser = version())]
    pub(crate) max_version: Option<Version>,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify composefs create tree.dump tree.cfs
lithify composefs create --max-version 1 --print-digest tree.dump tree.cfs
lithify composefs dump old.cfs | lithify composefs create - new.cfs"))]
pub(crate) struct ComposefsCreateArgs {
    /// The dumpfile; `-` is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) dumpfile: PathBuf,
    /// The image; `-` is standard output
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath, required_unless_present = "print_digest_only", conflicts_with = "print_digest_only")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Print the id of the image, on standard error if the image goes to standard output
    #[arg(long)]
    pub(crate) print_digest: bool,
    /// Print the id, and write no image
    #[arg(long)]
    pub(crate) print_digest_only: bool,
    /// The algorithm of the id
    #[arg(long, value_name = "ALGORITHM", default_value = "sha256", value_parser = algorithm())]
    pub(crate) algorithm: FileAlgorithm,
    /// Do not wait until the image is on the disk
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// The source is a dumpfile, which it always is here: for those who are used to mkcomposefs.
    #[arg(long, hide = true)]
    pub(crate) from_file: bool,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[ID_HELP], "\
lithify composefs id tree.cfs
lithify composefs id composefs:repo:app:1
lithify composefs id --from-dump tree.dump
lithify composefs id --algorithm sha512 --profile cfsctl docker://registry.example.com/app:1"))]
pub(crate) struct ComposefsIdArgs {
    /// The images
    #[arg(value_name = "IMAGE", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) images: Vec<OsString>,
    /// They are dumpfiles: print the ids of the images that would be made of them
    #[arg(long, conflicts_with = "file")]
    pub(crate) from_dump: bool,
    /// They are files of whatever content: print their fs-verity digests
    #[arg(long)]
    pub(crate) file: bool,
    /// The algorithm; default is that of the repository, else sha256
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm())]
    pub(crate) algorithm: Option<FileAlgorithm>,
    /// They are images of any place, and the rules by which composefs images would be made of them: faithful (everything in the
    /// image) or cfsctl (as cfsctl makes it). Default for those with a transport, such as oci:DIR:TAG, is faithful
    #[arg(
        long,
        value_name = "PROFILE",
        conflicts_with_all = ["file", "from_dump"],
        value_parser = word::<lithify::ComposefsProfile>(&["faithful", "cfsctl"])
    )]
    pub(crate) profile: Option<lithify::ComposefsProfile>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[IMAGE_HELP], "\
lithify composefs dump tree.cfs
lithify composefs dump composefs:repo:app:1"))]
pub(crate) struct ComposefsDumpArgs {
    /// The images
    #[arg(value_name = "IMAGE", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) images: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[IMAGE_HELP], "\
lithify composefs ls repo
lithify composefs ls tree.cfs
lithify composefs ls --objects composefs:repo:app:1
lithify composefs ls --missing repo tree.cfs"))]
pub(crate) struct ComposefsLsArgs {
    /// A repository, whose names are listed, or images, whose files are
    #[arg(value_name = "REPO|IMAGE", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) images: Vec<OsString>,
    /// List the objects that the images need, sorted, each once
    #[arg(long)]
    pub(crate) objects: bool,
    /// List those of them that are not in this repository, or directory of objects
    #[arg(long, value_name = "DIR", conflicts_with = "objects", value_hint = ValueHint::DirPath)]
    pub(crate) missing: Option<PathBuf>,
    /// Print JSON, of a repository
    #[arg(long, conflicts_with_all = ["objects", "missing"])]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify composefs init repo
lithify composefs init --algorithm sha512 --verity require /var/lib/composefs"))]
pub(crate) struct ComposefsInitArgs {
    /// The directory, which is empty or does not exist; a repository with these properties is left as it is
    #[arg(value_name = "REPO", value_hint = ValueHint::DirPath)]
    pub(crate) repository: PathBuf,
    /// The algorithm of the digests that objects are named by
    #[arg(long, value_name = "ALGORITHM", default_value = "sha256", value_parser = algorithm())]
    pub(crate) algorithm: FileAlgorithm,
    /// The version of the format of its images
    #[arg(long, value_name = "N", default_value = "1", value_parser = format())]
    pub(crate) format_version: ErofsFormat,
    /// Put objects under fs-verity: require (or no repository is created), auto (if the filesystem can) or off
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = verity())]
    pub(crate) verity: VerityMode,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[PLACE_HELP], "\
lithify composefs tag repo:app:1 app:stable"))]
pub(crate) struct ComposefsTagArgs {
    /// The image: also REPO@DIGEST, or an id in place of NAME
    #[arg(value_name = "REPO:NAME", value_hint = ValueHint::AnyPath)]
    pub(crate) place: OsString,
    /// The new name; another image loses it
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[PLACE_HELP], "\
lithify composefs rm repo:app:1 repo:app:2"))]
pub(crate) struct ComposefsRmArgs {
    /// The names
    #[arg(value_name = "REPO:NAME", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) places: Vec<OsString>,
}

/// A repository, and how it is told of.
#[derive(Debug, Args)]
pub(crate) struct RepositoryArgs {
    /// The repository
    #[arg(value_name = "REPO", value_hint = ValueHint::DirPath)]
    pub(crate) repository: OsString,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify composefs gc --dry-run repo
lithify composefs gc --dry-run --json repo"))]
pub(crate) struct ComposefsGcArgs {
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Keep this too (repeatable): a name, the digest of a manifest, the id of an image, or the name of a stream
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    pub(crate) keep: Vec<String>,
    /// Wait until nobody else has the repository open, instead of failing
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) list: RepositoryArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify composefs fsck repo
lithify composefs fsck --repair repo"))]
pub(crate) struct ComposefsFsckArgs {
    /// Read no objects: check names, streams and images, and that the objects they need are there
    #[arg(long, conflicts_with = "contents")]
    pub(crate) metadata_only: bool,
    /// Put all streams together too, and compare them with the digests they are named by
    #[arg(long)]
    pub(crate) contents: bool,
    /// Take away what is damaged, so that the next import makes it anew
    #[arg(long)]
    pub(crate) repair: bool,
    /// With --repair, wait until nobody else has the repository open, instead of failing
    #[arg(long, requires = "repair")]
    pub(crate) wait: bool,
    /// Processors to make use of
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), value_hint = ValueHint::Other)]
    pub(crate) jobs: Option<u16>,
    #[command(flatten)]
    pub(crate) list: RepositoryArgs,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(&[], "\
lithify composefs df repo"))]
pub(crate) struct ComposefsDfArgs {
    #[command(flatten)]
    pub(crate) list: RepositoryArgs,
}
