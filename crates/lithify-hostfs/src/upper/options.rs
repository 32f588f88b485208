//! What a scan of an upper directory needs to know, and what it amounts to.

use std::path::PathBuf;

use lithify_cancel::CancelToken;

use crate::RecordedSummary;

/// How an upper directory is to be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpperOptions {
    /// Where the overlay kept its own attributes.
    pub attributes: OverlayAttributes,
    /// Whether fuse-overlayfs made the directory, which marks removals in its own ways. Default: not known, and its marks are
    /// errors; with `false` its attributes are the image's.
    pub fuse_overlayfs: Option<bool>,
    /// Where the overlay is mounted, if it still is. Directories that were renamed and files of which only metadata
    /// was changed (mount options `redirect_dir`, `metacopy`) are then read from there; without, they are errors. Nothing may
    /// write to the overlay meanwhile. Default none.
    pub view: Option<PathBuf>,
    /// Full names of extended attributes to leave out, such as `security.selinux`. None by default.
    pub exclude_xattrs: Vec<Vec<u8>>,
    /// The path must not end at a symbolic link. Default false.
    pub no_link: bool,
    /// Entries after which the scan gives up. Default 8 388 608.
    pub entries_max: u64,
    /// Stops the scan.
    pub cancel: CancelToken,
}

impl Default for UpperOptions {
    fn default() -> Self {
        Self {
            attributes: OverlayAttributes::Found,
            fuse_overlayfs: None,
            view: None,
            exclude_xattrs: Vec::new(),
            no_link: false,
            entries_max: 8 << 20,
            cancel: CancelToken::new(),
        }
    }
}

/// Where an overlay keeps its own extended attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverlayAttributes {
    /// In `trusted.overlay.` if this process can see those, else in `user.overlay.`; when it can see both and there are
    /// attributes in `user.overlay.`, that is an error, since they may be the overlay's or the image's.
    #[default]
    Found,
    /// In `trusted.overlay.`, as overlays do unless told otherwise. Needs `CAP_SYS_ADMIN` of the whole system to be seen.
    Trusted,
    /// In `user.overlay.`, as overlays mounted with `userxattr` do (those without root).
    User,
}

/// What a finished scan amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpperSummary {
    /// Entries yielded, those below included.
    pub entries: u64,
    /// Whiteouts.
    pub whiteouts: u64,
    /// Opaque directories.
    pub opaque: u64,
    /// Sockets, which no layer can hold: whiteouts took their place.
    pub sockets: u64,
    /// Directories read from the mounted overlay because they had been renamed.
    pub redirected: u64,
    /// Files whose data was read from the mounted overlay because the upper directory has only their metadata.
    pub metacopies: u64,
    /// What became of the file beside the directory, if there was one ([`ScanOptions::sidecar`](crate::ScanOptions::sidecar)).
    pub recorded: Option<RecordedSummary>,
}
