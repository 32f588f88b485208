//! Paths where names of images are expected: told apart from names, and looked at for what to write instead.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use lithify_escape::Escaped;

use crate::Limits;
use crate::archive::Archive;

/// Ends of names of files, which no image should have. An image that does is named with `docker://` or `store:`.
const FILE_ENDS: [&str; 34] = [
    ".sfs",
    ".tar",
    ".tgz",
    ".tzst",
    ".tbz2",
    ".txz",
    ".gz",
    ".zst",
    ".xz",
    ".bz2",
    ".lz4",
    ".zip",
    ".oci",
    ".erofs",
    ".squashfs",
    ".sqfs",
    ".sqsh",
    ".img",
    ".raw",
    ".iso",
    ".vmdk",
    ".vhd",
    ".vhdx",
    ".qcow2",
    ".gpt",
    ".ext2",
    ".ext3",
    ".ext4",
    ".btrfs",
    ".xfs",
    ".json",
    ".cpio",
    ".wim",
    ".dmverity",
];
/// Bytes a compressed archive may have, decompressed, to be looked into: a message is not worth more.
const LOOK_BYTES: u64 = 64 << 20;
/// Entries an archive may have to be looked through.
const LOOK_ENTRIES: usize = 100_000;

/// The thing at a path, by a short look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathKind {
    /// Nothing.
    Missing,
    /// Something that cannot be looked at, and why.
    Unreadable(std::io::ErrorKind),
    /// An OCI image layout.
    Layout,
    /// A tar of an OCI image layout.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// Any other tar.
    Tar,
    /// Something compressed, too large to be looked into here.
    Compressed,
    /// The directory of a layered build, with its `image.json`.
    Layers,
    /// A composefs repository.
    Composefs,
    /// Any other directory.
    Directory,
    /// An EROFS image.
    Erofs,
    /// A squashfs image.
    Squashfs,
    /// An ext2, ext3 or ext4 filesystem.
    Ext4,
    /// A VMDK descriptor.
    Vmdk,
    /// A disk with a partition table (GPT).
    Gpt,
    /// Text.
    Text,
    /// Something else.
    Other,
}

impl PathKind {
    /// Looks at what is there, links followed. Nothing but regular files and block devices is opened, so that no pipe is
    /// waited for. What it says holds for the moment: it chooses words, or how to open something that is checked then.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(e) if is_missing(&e) => return Self::Missing,
            Err(e) => return Self::Unreadable(e.kind()),
        };
        if metadata.is_dir() {
            let looked = path.join("oci-layout").symlink_metadata();
            return match looked {
                Ok(_) => Self::Layout,
                Err(e) if !is_missing(&e) => Self::Unreadable(e.kind()),
                Err(_) if path.join("image.json").symlink_metadata().is_ok() => Self::Layers,
                Err(_) if is_composefs(path) => Self::Composefs,
                Err(_) => Self::Directory,
            };
        }
        if !metadata.is_file() && !is_block_device(&metadata) {
            return Self::Other;
        }
        let mut head = Vec::new();
        match File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head)) {
            Ok(_) => {}
            // Removed since it was looked at.
            Err(e) if is_missing(&e) => return Self::Missing,
            Err(e) => return Self::Unreadable(e.kind()),
        }
        let at = |offset: usize, magic: &[u8]| {
            head.get(offset..)
                .is_some_and(|rest| rest.starts_with(magic))
        };
        match () {
            () if at(1024, &[0xe2, 0xe1, 0xf5, 0xe0]) => Self::Erofs,
            () if at(0, b"hsqs") => Self::Squashfs,
            () if at(1080, &[0x53, 0xef]) => Self::Ext4,
            () if at(0, b"# Disk DescriptorFile") => Self::Vmdk,
            () if at(512, b"EFI PART") => Self::Gpt,
            () if is_text(&head) => Self::Text,
            () => archive(path, &head, metadata.len()),
        }
    }

    /// Whether it holds images, one or more, each with a name.
    fn holds_images(self) -> bool {
        matches!(
            self,
            Self::Layout | Self::OciArchive | Self::DockerArchive | Self::Composefs
        )
    }

    /// Whether `ls`, `verify` and `mount` take it as it is.
    #[must_use]
    pub fn is_artifact(self) -> bool {
        matches!(
            self,
            Self::Layers | Self::Erofs | Self::Squashfs | Self::Ext4 | Self::Vmdk | Self::Gpt
        )
    }
}

/// Whether an error says that nothing is there; an empty path names nothing, and nothing is below a file.
fn is_missing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
    )
}

/// Whether a file that begins so is text; where it is cut does not matter.
fn is_text(head: &[u8]) -> bool {
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none(),
    };
    is_text && !head.is_empty() && !head.contains(&0)
}

#[cfg(unix)]
fn is_block_device(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_block_device(_: &std::fs::Metadata) -> bool {
    false
}

/// Tells archives apart by the names in them.
fn archive(path: &Path, head: &[u8], len: u64) -> PathKind {
    let compressed = head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    // Such a file is decompressed to be looked into.
    if compressed && len > LOOK_BYTES {
        return PathKind::Compressed;
    }
    let limits = Limits {
        spool_bytes: LOOK_BYTES,
        archive_entries: LOOK_ENTRIES,
        ..Limits::default()
    };
    match Archive::look(path, &limits) {
        Ok(found) if found.contains("oci-layout") || found.contains("index.json") => {
            PathKind::OciArchive
        }
        Ok(found) if found.contains("manifest.json") => PathKind::DockerArchive,
        Ok(found) if !found.is_empty() => PathKind::Tar,
        Ok(_) => PathKind::Other,
        Err(_) if compressed => PathKind::Compressed,
        // Whoever reads it says what is wrong with it.
        Err(_) if lithify_tar::has_magic(head) => PathKind::Tar,
        Err(_) => PathKind::Other,
    }
}

/// Whether a directory is a composefs repository: it has its metadata, and objects unless nothing was stored yet.
fn is_composefs(path: &Path) -> bool {
    let metadata = path.join("meta.json");
    let says_so = || {
        let mut head = Vec::new();
        let regular = metadata.metadata().is_ok_and(|m| m.is_file());
        let read = regular.then(|| File::open(&metadata).ok()).flatten();
        let read = read.and_then(|file| file.take(4096).read_to_end(&mut head).ok());
        read.is_some() && head.windows(9).any(|part| part == b"fsverity-")
    };
    metadata.symlink_metadata().is_ok() && (path.join("objects").is_dir() || says_so())
}

/// Whether a text without a transport can only be meant as a path: it begins like one, ends like the name of a file, also
/// with a tag or digest behind that, or with a slash.
pub(super) fn looks_like_path(text: &[u8]) -> bool {
    let begins = text
        .first()
        .is_some_and(|first| matches!(first, b'.' | b'/' | b'~'));
    begins || text.ends_with(b"/") || ends_like_file(text) || {
        let name = without_selector(text);
        name.len() < text.len() && ends_like_file(name)
    }
}

fn ends_like_file(text: &[u8]) -> bool {
    FILE_ENDS.iter().any(|end| {
        text.len()
            .checked_sub(end.len())
            .is_some_and(|at| at > 0 && text[at..].eq_ignore_ascii_case(end.as_bytes()))
    })
}

/// The text before `@DIGEST` or `:TAG`.
fn without_selector(text: &[u8]) -> &[u8] {
    let last = |byte| text.iter().rposition(|&b| b == byte);
    match (last(b'@'), last(b':')) {
        (Some(at), _) => &text[..at],
        (None, Some(colon)) if !text[colon..].contains(&b'/') => &text[..colon],
        _ => text,
    }
}

/// The thing a text names that is a path, or a path with a tag or digest behind it.
pub(super) fn kind_at(text: &OsStr) -> PathKind {
    match PathKind::of(Path::new(text)) {
        PathKind::Missing => path_of(text).map_or(PathKind::Missing, PathKind::of),
        kind => kind,
    }
}

/// The thing before the colon in a text such as `DIR:TAG`, if images are to be found in it.
pub(super) fn place_of_images(text: &OsStr, exists: &dyn Fn(&Path) -> bool) -> Option<PathKind> {
    let kind = PathKind::of(path_of(text).filter(|path| exists(path))?);
    let may_hold_images = kind.holds_images() || matches!(kind, PathKind::Unreadable(_));
    may_hold_images.then_some(kind)
}

/// Whether something is there, as far as that can be seen: what lies in a directory nobody may look into is not asked for in a
/// registry, which would tell the registry what lies here.
pub(super) fn exists(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            let mut components = path.components();
            let first = components.next().map(|first| Path::new(first.as_os_str()));
            // In a working directory that may not be looked into, nothing is known of any name.
            let is_seen = first.is_some_and(|first| first.symlink_metadata().is_ok());
            is_seen && components.next().is_some()
        }
        Err(_) => false,
    }
}

/// The path before a tag or digest.
fn path_of(text: &OsStr) -> Option<&Path> {
    let text = text.to_str()?;
    let path = without_selector(text.as_bytes());
    (path.len() < text.len()).then(|| Path::new(&text[..path.len()]))
}

/// Says what a path is and what to write instead.
pub(super) struct Advice<'a> {
    text: &'a OsStr,
    kind: PathKind,
    /// Whether an image could have that name.
    is_name: bool,
    /// Whether an image is to be written there.
    is_destination: bool,
}

impl<'a> Advice<'a> {
    pub(super) fn new(
        text: &'a OsStr,
        kind: PathKind,
        is_name: bool,
        is_destination: bool,
    ) -> Self {
        Self {
            text,
            kind,
            is_name,
            is_destination,
        }
    }

    /// The transports an image can be written by, whatever is there now.
    fn destinations(&self) -> String {
        let text = Escaped::path(self.text);
        let is_directory = matches!(
            self.kind,
            PathKind::Layout | PathKind::Directory | PathKind::Layers
        );
        if self.kind == PathKind::Composefs {
            format!("as a destination write composefs:{text}")
        } else if is_directory || self.kind == PathKind::Missing && !self.ends_like_file() {
            format!("as a destination write oci:{text}")
        } else {
            format!("as a destination write oci-archive:{text} or docker-archive:{text}")
        }
    }

    fn ends_like_file(&self) -> bool {
        self.ends_like_archive() || ends_like_file(without_selector(self.text.as_encoded_bytes()))
    }

    /// Whether it may have been meant as a tar, or an archive of an image.
    fn ends_like_archive(&self) -> bool {
        let name = without_selector(self.text.as_encoded_bytes()).to_ascii_lowercase();
        [".tar", ".tgz", ".gz", ".zst", ".tzst", ".oci"]
            .iter()
            .any(|end| name.ends_with(end.as_bytes()))
    }
}

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            text,
            kind,
            is_name,
            is_destination,
        } = self;
        let text = Escaped::path(text);
        write!(f, "`{text}` is a path, not the name of an image: ")?;
        match kind {
            _ if *is_destination => f.write_str(&self.destinations()),
            PathKind::Missing => match self.text {
                _ if self.ends_like_archive() => write!(
                    f,
                    "nothing is there; with its transport it is oci-archive:{text}, docker-archive:{text} or tar:{text}"
                ),
                name if ends_like_file(without_selector(name.as_encoded_bytes())) => {
                    f.write_str("nothing is there")
                }
                _ => write!(
                    f,
                    "nothing is there; with its transport it is oci:{text} or rootfs:{text}"
                ),
            },
            PathKind::Unreadable(why) => return write!(f, "it cannot be read ({why})"),
            PathKind::Composefs => write!(f, "a composefs repository, write composefs:{text}"),
            PathKind::Layout => write!(f, "an OCI image layout, write oci:{text}"),
            PathKind::OciArchive => write!(f, "an OCI archive, write oci-archive:{text}"),
            PathKind::DockerArchive => {
                write!(
                    f,
                    "an archive as `docker save` writes it, write docker-archive:{text}"
                )
            }
            PathKind::Tar => write!(f, "a tar; if it is of a root filesystem, write tar:{text}"),
            PathKind::Compressed => write!(
                f,
                "a compressed file; write tar:{text} for a root filesystem, oci-archive:{text} or docker-archive:{text} for an image"
            ),
            PathKind::Directory => write!(
                f,
                "a directory; if it is a root filesystem, write rootfs:{text}"
            ),
            PathKind::Layers => write!(f, "the directory of a layered build{TAKEN}"),
            PathKind::Erofs => write!(f, "an EROFS image{TAKEN}"),
            PathKind::Squashfs => write!(f, "a squashfs image{TAKEN}"),
            PathKind::Ext4 => write!(
                f,
                "an ext4 image; if it is of a root filesystem, write ext4:{text}"
            ),
            PathKind::Vmdk | PathKind::Gpt => write!(f, "a disk{TAKEN}"),
            PathKind::Text | PathKind::Other => {
                f.write_str("a file that is no image lithify knows")
            }
        }?;
        if *is_name {
            write!(
                f,
                "; an image of that name is docker://{text}, or store:{text} in the store"
            )?;
        }
        Ok(())
    }
}

/// What is left to say of an artifact.
const TAKEN: &str = ", made from an image: `ls`, `cat`, `inspect`, `verify` and `mount` take it as it is, others want an image";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_by_how_they_begin_and_end() {
        for path in [
            "./x",
            "../x",
            ".",
            "/x",
            "~/x",
            "x/",
            "x.tar",
            "a/b.TAR.GZ",
            "x.tgz",
            "x.tar.zst",
            "x.erofs",
            "x.squashfs",
            "x.sqfs",
            "x.img",
            "x.raw",
            "x.vmdk",
            "x.json",
            "x.oci",
            "x.tar:v1",
            "x.oci:a.b",
            "x.tar@sha256:00",
        ] {
            assert!(looks_like_path(path.as_bytes()), "{path}");
        }
        for name in [
            "x",
            "alpine:3.20",
            "docker.io/library/x:1",
            "localhost:5000/x",
            "a.tar:5000/x",
            "img",
            "tar",
            "a/raw",
            "x.io/a",
            "x:1.2",
        ] {
            assert!(!looks_like_path(name.as_bytes()), "{name}");
        }
    }
}
