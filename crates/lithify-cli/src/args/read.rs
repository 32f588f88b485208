//! Groups of options: a command takes those it makes use of.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::help::limit_help;
use super::values::{limit, word};

/// How an image is found.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// Which image of several to take, as OS/ARCH[/VARIANT]; default is Linux on this machine's architecture. With
    /// `+erofs` behind it, the one whose layers are EROFS images
    #[arg(long, value_name = "OS/ARCH", value_hint = ValueHint::Other)]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// When an image named without a transport is pulled: always, missing (from the store) or never
    #[arg(
        id = "pull_policy",
        long = "pull",
        value_name = "POLICY",
        default_value = "missing",
        value_parser = word::<lithify::PullPolicy>(&["always", "missing", "never"]),
        help_heading = "Registries"
    )]
    pub(crate) policy: lithify::PullPolicy,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// How an image is found and read.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Processors to make use of; 1 does everything in one thread. Results do not depend on it
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), value_hint = ValueHint::Other)]
    pub(crate) jobs: Option<u16>,
    #[command(flatten)]
    pub(crate) image: ImageArgs,
}

/// What an image may contain.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Raise or lower a limit on what an image may contain; sizes take K, M, G and T. See `lithify build --help`
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit, long_help = limit_help(), value_hint = ValueHint::Other)]
    pub(crate) limits: Vec<(String, u64)>,
}

/// Which store is used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArgs {
    /// Where images and what is made of their layers are kept; default is $LITHIFY_STORE, else $XDG_DATA_HOME/lithify
    /// (~/.local/share/lithify)
    #[arg(long, value_name = "DIR", conflicts_with = "no_store", value_hint = ValueHint::DirPath)]
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

/// The store a command looks after.
#[derive(Debug, Args)]
pub(crate) struct StoreDirectory {
    /// The store; default is $LITHIFY_STORE, else $XDG_DATA_HOME/lithify (~/.local/share/lithify)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
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

/// How registries are talked to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct RegistryArgs {
    /// Credentials for the registry, as USER:PASSWORD; without the password it is read from standard input. Safer is
    /// `lithify login`
    #[arg(long, value_name = "USER[:PASSWORD]", value_hint = ValueHint::Other)]
    pub(crate) creds: Option<String>,
    /// Read credentials from this file only, in the form of auth.json or Docker's config.json
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) authfile: Option<PathBuf>,
    /// Mirrors, certificates and more for each registry; default is $LITHIFY_REGISTRIES, else registries.toml in
    /// ~/.config/lithify or /etc/lithify
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) registries: Option<PathBuf>,
    /// Believe any certificate, and speak plain http where there is no other way
    #[arg(long)]
    pub(crate) insecure: bool,
    /// How often a failed request is sent again
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    pub(crate) retries: Option<u32>,
}
