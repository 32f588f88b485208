//! Arguments of what looks after the store.

use std::ffi::OsString;

use clap::{Args, ValueHint};

use super::read::StoreDirectory;
use super::values::size;

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
