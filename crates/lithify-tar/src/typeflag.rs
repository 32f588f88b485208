//! Type flags and what they stand for.

use crate::error::TarFault;
use crate::header::{Format, Header};

/// What a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A member of the archive.
    Member(MemberKind),
    /// An old GNU sparse file, its map in the header.
    GnuSparse,
    /// Something about the next member.
    Extension(Extension),
    /// PAX records about all that follow.
    Global,
    /// Nothing of the image; the data is skipped.
    Ignored,
}

/// A kind of archive member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file, contiguous and sparse ones included.
    #[default]
    File,
    /// Another name of an earlier member.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

impl MemberKind {
    /// The name messages use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::HardLink => "hard link",
            Self::Symlink => "symbolic link",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Directory => "directory",
            Self::Fifo => "named pipe",
        }
    }
}

/// A header that describes the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    Pax,
    LongName,
    LongLink,
}

impl Extension {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pax => "a PAX header",
            Self::LongName => "a GNU long name",
            Self::LongLink => "a GNU long link target",
        }
    }
}

/// What a header's type flag stands for in its format.
///
/// Volume labels carry nothing of the image and are ignored, as GNU tar does when extracting, as long as they have no data. Everything else
/// that some tar once wrote is refused by name: each would be a file to one reader and nothing to another.
pub(crate) fn classify(header: &Header<'_>) -> Result<Typed, TarFault> {
    let typeflag = header.typeflag();
    let typed = match typeflag {
        // Contiguous files are files (POSIX: "treat as '0'").
        0 | b'0' | b'7' => Typed::Member(MemberKind::File),
        b'1' => Typed::Member(MemberKind::HardLink),
        b'2' => Typed::Member(MemberKind::Symlink),
        b'3' => Typed::Member(MemberKind::CharDevice),
        b'4' => Typed::Member(MemberKind::BlockDevice),
        b'5' => Typed::Member(MemberKind::Directory),
        b'6' => Typed::Member(MemberKind::Fifo),
        b'L' => Typed::Extension(Extension::LongName),
        b'K' => Typed::Extension(Extension::LongLink),
        b'S' => Typed::GnuSparse,
        b'V' => Typed::Ignored,
        // Solaris calls its own, which has the same form, `X`.
        b'x' | b'X' => Typed::Extension(Extension::Pax),
        b'g' => Typed::Global,
        _ => {
            return Err(TarFault::UnsupportedType {
                typeflag,
                meaning: meaning(typeflag),
            });
        }
    };
    let defined = match header.format {
        Format::Gnu => true,
        // GNU long names under a POSIX magic occur; the sparse map would lie in the prefix.
        Format::Posix => typeflag != b'S',
        // GNU tar writes its volume labels without a magic.
        Format::V7 => matches!(typeflag, 0 | b'0' | b'1' | b'2' | b'5' | b'V'),
    };
    if defined {
        Ok(typed)
    } else {
        let format = if header.format == Format::V7 {
            "v7"
        } else {
            "POSIX"
        };
        Err(TarFault::TypeOutsideFormat { typeflag, format })
    }
}

fn meaning(typeflag: u8) -> &'static str {
    match typeflag {
        b'M' => "continuation of a multi-volume archive",
        b'D' => "directory of a GNU incremental backup",
        b'N' => "old GNU long names",
        b'A' => "Solaris access control list",
        b'E' => "Solaris extended attribute file",
        b'I' => "star inode metadata",
        _ if typeflag.is_ascii_uppercase() => "vendor extension",
        _ => "reserved",
    }
}
