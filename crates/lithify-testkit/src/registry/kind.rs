//! What requests ask for.

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `/v2/`.
    Base,
    /// `/v2/NAME/manifests/…`.
    Manifest,
    /// `/v2/NAME/blobs/DIGEST`.
    Blob,
    /// `/v2/NAME/blobs/uploads/…`.
    Upload,
    /// `/v2/NAME/tags/list`.
    Tags,
    /// `/v2/NAME/referrers/DIGEST`.
    Referrers,
    /// `/token`, of [`Faulty`](super::Faulty) or a [`TokenServer`](super::TokenServer).
    Token,
    /// A file of [`Faulty::add_file`](super::Faulty::add_file): what a redirect leads to.
    File,
    /// `/_ping` or `/version` of a daemon.
    Ping,
    /// `/images/NAME/json` of a daemon.
    Inspect,
    /// `/images/NAME/get` or `/images/get` of a daemon.
    Save,
    /// `/images/load` of a daemon.
    Load,
    /// Anything else.
    Other,
}
