//! What a scan takes, and what it amounts to.

use lithify_cancel::CancelToken;
use lithify_digest::Digest;
#[cfg(doc)]
use lithify_tree::Convention;

use crate::RecordedSummary;
#[cfg(doc)]
use crate::Scanner;

/// What a [`Scanner`] takes from a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanOptions {
    /// Whether to stay on the filesystem of the directory: another one mounted below it then gives an empty directory
    /// with the metadata of its root. Single files mounted from elsewhere are taken still: on overlays, files and
    /// directories do not say that they are of one filesystem. Off by default.
    pub one_file_system: bool,
    /// What `.wh.` names mean. As in layers by default.
    pub whiteouts: WhiteoutNames,
    /// Full names of extended attributes to leave out, such as `security.selinux` for the labels of the scanning
    /// host. None by default.
    pub exclude_xattrs: Vec<Vec<u8>>,
    /// Whether to read the file that [`DirTarget`](crate::DirTarget) wrote beside the directory, and to give files what it says
    /// they lack of their image, as long as they are those it was written about. On by default.
    pub sidecar: bool,
    /// The path must not end at a symbolic link. Default false: the directory is the user's choice, however it is named.
    pub no_link: bool,
    /// Entries after which the scan gives up. Default 8 388 608.
    pub entries_max: u64,
    /// Stops the scan.
    pub cancel: CancelToken,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            one_file_system: false,
            whiteouts: WhiteoutNames::Layer,
            exclude_xattrs: Vec::new(),
            sidecar: true,
            no_link: false,
            entries_max: 8 << 20,
            cancel: CancelToken::new(),
        }
    }
}

/// What names that start with `.wh.` mean in a host directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhiteoutNames {
    /// The same as in a layer's tar (see [`Convention`]), whatever the file's type: `.wh.x` is a whiteout of `x`,
    /// `.wh..wh..opq` makes its directory opaque, other `.wh..wh.` names are skipped with all they contain. So a
    /// directory into which a layer was untarred scans as that layer.
    #[default]
    Layer,
    /// Nothing: they are names like any other.
    Literal,
    /// Nothing, and no image can hold them: an error.
    Refused,
}

/// What a finished scan amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// SHA-256 over every entry and all data: equal digests mean equal directories. It depends on nothing else, not
    /// on where the directory lies nor on the order its filesystem lists names in.
    pub digest: Digest,
    /// Entries yielded.
    pub entries: u64,
    /// Bytes of file data, holes not counted, every file once.
    pub bytes: u64,
    /// Attributes left out because the host's filesystem computes them (`system.nfs4_acl`, `btrfs.compression`, …).
    pub foreign_xattrs: u64,
    /// What became of the file beside the directory, if there was one.
    pub recorded: Option<RecordedSummary>,
}
