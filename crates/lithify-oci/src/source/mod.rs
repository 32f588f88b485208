//! Image source names: where an image is, and which one of those there.
//!
//! [`TRANSPORTS`] lists all kinds of places, with what a name has behind its transport. Text without a transport is the name
//! of an image of the store, else of its registry.
//!
//! # Names and paths
//!
//! A path is never taken for a name, so that no registry is asked for what lies here: text without a transport that exists
//! as a path, begins with `.`, `/` or `~`, ends with `/` or like the name of a file (`x.tar`, `x.erofs` …), or is
//! `DIR:TAG` where `DIR` is an image layout, an archive or a composefs repository, is refused with the transport to write. `docker://REF` and `store:REF` are names
//! whatever exists.
//!
//! # Where the path ends
//!
//! Both paths and tags may hold colons (`oci:/srv/a:b` , `oci:/srv/a:docker.io/library/x:1`).
//! The transports of skopeo and podman end the path at its first colon, so a path with a colon
//! cannot be named there. Here the *longest* path that exists wins: the whole text if such a file
//! or directory exists, else the text before the last colon (or `@DIGEST`) before which one exists.
//! If none exists the first colon ends the path, as in skopeo. `:@N` selects image
//! number N (from 0) of the index or archive, as skopeo's `@source-index` does; with
//! `:TAG@DIGEST` the digest decides.

mod parse;
mod path_kind; // paths where names are expected
mod transports; // the table of kinds of places

use std::fmt;
use std::path::{Path, PathBuf};

use lithify_digest::Digest;

pub use parse::{ParseError, is_ref_name};
pub use path_kind::PathKind;
pub use transports::{Destinations, TRANSPORTS, Transport};

use crate::reference::Reference;

/// A parsed source name.
///
/// ```
/// use lithify_oci::source::{Selector, Source};
///
/// let source: Source = "oci:images/alpine:3.20".parse()?;
/// assert_eq!(
///     source,
///     Source::Oci { path: "images/alpine".into(), selector: Some(Selector::Name("3.20".into())) },
/// );
/// # Ok::<(), lithify_oci::source::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// `oci:`: an OCI image layout directory.
    Oci {
        /// The directory.
        path: PathBuf,
        /// The image that is meant; needed when there are several.
        selector: Option<Selector>,
    },
    /// `oci-archive:`: a tar of an OCI image layout.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The image that is meant; needed when there are several.
        selector: Option<Selector>,
    },
    /// `docker-archive:`: a file as `docker save` writes it.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// The image that is meant; needed when there are several.
        selector: Option<Selector>,
    },
    /// `composefs:`: a composefs repository directory.
    Composefs {
        /// The directory.
        path: PathBuf,
        /// The image that is meant; needed when there are several.
        selector: Option<Selector>,
    },
    /// `docker-daemon:`: an image of the local Docker daemon.
    DockerDaemon(DaemonImage),
    /// `docker://`: an image of a registry.
    Docker(Reference),
    /// `rootfs:`: a directory that is the file tree. Not an image; has no config.
    Rootfs(PathBuf),
    /// `tar:`: a tar of a file tree. Not an image; has no config.
    Tar(TarInput),
    /// `ext4:`: a file with an ext4 filesystem that is the file tree. Not an image; has no config.
    Ext4(PathBuf),
    /// `store:`: an image of the local store.
    Store(Reference),
    /// A bare name: an image of the local store, else of its registry.
    Name(Reference),
}

/// Which image of several.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// A tag, a whole reference, or any other `org.opencontainers.image.ref.name`.
    Name(String),
    /// The digest of a manifest or index; of a config in a docker-archive, which has no manifests.
    Digest(Digest),
    /// Position in `index.json` or `manifest.json`, from 0.
    Index(usize),
}

/// How a Docker daemon is asked for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DaemonImage {
    /// By name.
    Name(Reference),
    /// By image id, the digest of its config.
    Id(Digest),
}

/// Where a tar comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarInput {
    /// `tar:-`
    Stdin,
    /// `tar:FILE`
    File(PathBuf),
}

impl Source {
    /// Returns the row of the table for the kind of place.
    #[must_use]
    pub fn transport(&self) -> Transport {
        // In the order of the table; a test of the parser compares each.
        TRANSPORTS[match self {
            Self::Oci { .. } => 0,
            Self::OciArchive { .. } => 1,
            Self::DockerArchive { .. } => 2,
            Self::Composefs { .. } => 3,
            Self::DockerDaemon(_) => 4,
            Self::Docker(_) => 5,
            Self::Store(_) => 6,
            Self::Name(_) => 7,
            Self::Rootfs(_) => 8,
            Self::Tar(_) => 9,
            Self::Ext4(_) => 10,
        }]
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = |f: &mut fmt::Formatter<'_>, kind, path: &Path, selector: &Option<Selector>| {
            write!(f, "{kind}:{}", path.display())?;
            match selector {
                Some(selector) => write!(f, "{selector}"),
                None => Ok(()),
            }
        };
        match self {
            Self::Oci { path, selector } => file(f, "oci", path, selector),
            Self::OciArchive { path, selector } => file(f, "oci-archive", path, selector),
            Self::DockerArchive { path, selector } => file(f, "docker-archive", path, selector),
            Self::Composefs { path, selector } => file(f, "composefs", path, selector),
            Self::DockerDaemon(DaemonImage::Name(name)) => write!(f, "docker-daemon:{name}"),
            Self::DockerDaemon(DaemonImage::Id(id)) => write!(f, "docker-daemon:{id}"),
            Self::Docker(name) => write!(f, "docker://{name}"),
            Self::Rootfs(path) => write!(f, "rootfs:{}", path.display()),
            Self::Tar(TarInput::Stdin) => f.write_str("tar:-"),
            Self::Tar(TarInput::File(path)) => write!(f, "tar:{}", path.display()),
            Self::Ext4(path) => write!(f, "ext4:{}", path.display()),
            Self::Store(name) => write!(f, "store:{name}"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Printed as it follows the path: `:TAG`, `@DIGEST`, `:@N`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, ":{name}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
            Self::Index(index) => write!(f, ":@{index}"),
        }
    }
}
