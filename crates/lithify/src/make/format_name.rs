//! Formats, as the name of an output says them.

use std::path::Path;

use crate::fs::Compression;
use crate::make::disk_kind::DiskKind;
use crate::make::format::Format;
use crate::name::shown_path;

/// Why a name and a format do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatNameError {
    /// The name says one format, and another was asked for.
    #[error("`{name}` is the name of {says}, and will not be one: -f {format} was asked for")]
    Contradiction {
        /// The name.
        name: String,
        /// What such names are given to.
        says: &'static str,
        /// The format asked for.
        format: &'static str,
    },
    /// The name says something lithify does not make so.
    #[error("`{name}` is the name of {says}, which is not made so: {instead}")]
    Other {
        /// The name.
        name: String,
        /// What such names are given to.
        says: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// The name says one kind of disk, and another is made.
    #[error("`{name}` is the name of {says}, and will not be one: {instead}")]
    Disk {
        /// The name.
        name: String,
        /// What such names are given to.
        says: &'static str,
        /// What is made, and what to do.
        instead: &'static str,
    },
    /// The name says one compression, and another was asked for.
    #[error(
        "`{name}` is the name of a file compressed with {says}, and would be one with {asked}: give it another name, or leave --compress away"
    )]
    Compression {
        /// The name.
        name: String,
        /// What such names are given to.
        says: String,
        /// The compression asked for.
        asked: String,
    },
    /// The name of a directory, for a format of one file.
    #[error("`{name}` is the name of a directory, and {format} is one file")]
    File {
        /// The name.
        name: String,
        /// The format asked for.
        format: &'static str,
    },
    /// The name of a directory, without saying which of several formats.
    #[error(
        "`{name}` is to be a directory: say with -f whether dir, erofs-layers or squashfs-layers"
    )]
    Directory {
        /// The name.
        name: String,
    },
}

/// What a name ends with, and what it is then the name of.
enum Ending {
    Format(Format, &'static str),
    Other(&'static str, &'static str),
}

/// Endings that say something. `.img`, `.raw` and whatever else is not here may be any filesystem.
const ENDINGS: &[(&str, Ending)] = &[
    (".erofs", Ending::Format(Format::Erofs, "an EROFS image")),
    (
        ".squashfs",
        Ending::Format(Format::Squashfs, "a squashfs image"),
    ),
    (
        ".sqfs",
        Ending::Format(Format::Squashfs, "a squashfs image"),
    ),
    (
        ".sqsh",
        Ending::Format(Format::Squashfs, "a squashfs image"),
    ),
    (".sfs", Ending::Format(Format::Squashfs, "a squashfs image")),
    (".tar", Ending::Format(Format::Tar, "a tar")),
    (".cpio", Ending::Format(Format::Cpio, "a cpio archive")),
    (".cpio.gz", Ending::Format(Format::Cpio, PACKED_CPIO)),
    (".cpio.zst", Ending::Format(Format::Cpio, PACKED_CPIO)),
    (".cpio.xz", Ending::Other(PACKED_CPIO, PACKED_CPIOS)),
    (".cpio.bz2", Ending::Other(PACKED_CPIO, PACKED_CPIOS)),
    (".cpio.lz4", Ending::Other(PACKED_CPIO, PACKED_CPIOS)),
    (".cpio.lzma", Ending::Other(PACKED_CPIO, PACKED_CPIOS)),
    (".gz", Ending::Other(COMPRESSED, PLAIN_TAR)),
    (".tgz", Ending::Other(COMPRESSED, PLAIN_TAR)),
    (".zst", Ending::Other(COMPRESSED, PLAIN_TAR)),
    (".tzst", Ending::Other(COMPRESSED, PLAIN_TAR)),
    (".xz", Ending::Other(COMPRESSED, PLAIN_TAR)),
    (".txz", Ending::Other(COMPRESSED, PLAIN_TAR)),
    (".bz2", Ending::Other(COMPRESSED, PLAIN_TAR)),
    (".tbz2", Ending::Other(COMPRESSED, PLAIN_TAR)),
    (VMDK, Ending::Other("a VMDK disk", DISKS)),
    (GPT, Ending::Other("a disk with partitions", DISKS)),
    (".qcow2", Ending::Other("a qcow2 disk", DISKS)),
    (".vhd", Ending::Other("a VHD disk", DISKS)),
    (".vhdx", Ending::Other("a VHDX disk", DISKS)),
    (".ext4", Ending::Format(Format::Ext4, "an ext4 image")),
    (".iso", Ending::Other("an ISO image", FILESYSTEMS)),
    (".zip", Ending::Other("a zip archive", FILESYSTEMS)),
    (".wim", Ending::Other("a WIM archive", FILESYSTEMS)),
    (
        ".oci",
        Ending::Other(
            "an OCI archive",
            "lithify copy IMAGE oci-archive:FILE:TAG writes one",
        ),
    ),
];
const PACKED_CPIO: &str = "a compressed cpio archive";
const PACKED_CPIOS: &str =
    "cpio archives are compressed with gzip or zstd, x.cpio.gz and x.cpio.zst";
const COMPRESSED: &str = "a compressed file";
const PLAIN_TAR: &str = "tars are written plain, -o - gives one to a program that compresses";
const VMDK: &str = ".vmdk";
const GPT: &str = ".gpt";
const DISKS: &str = "-f erofs-layers makes disk.vmdk, disk.raw and disk.gpt in a directory, see --disk; -f ext4 --disk vmdk or gpt one of a filesystem to be written to; an image named x.img or x.raw is a disk without partitions";
const FILESYSTEMS: &str = "formats are erofs, squashfs, ext4, tar and cpio";

impl Format {
    /// The format the name of an output says, else the default. `-`, standard output, is a tar.
    ///
    /// # Errors
    /// [`FormatNameError`] for a name that says something else.
    pub fn of_name(name: &Path) -> Result<Self, FormatNameError> {
        let bytes = name.as_os_str().as_encoded_bytes();
        if bytes == b"-" {
            return Ok(Self::Tar);
        }
        if bytes.starts_with(b"composefs:") {
            return Ok(Self::Composefs);
        }
        if bytes.ends_with(b"/") {
            return Err(FormatNameError::Directory {
                name: shown_path(name),
            });
        }
        match ending(name).map(|(_, says)| says) {
            None => Ok(Self::default()),
            Some(Ending::Format(named, _)) => Ok(*named),
            Some(Ending::Other(says, instead)) => Err(FormatNameError::Other {
                name: shown_path(name),
                says,
                instead,
            }),
        }
    }

    /// Whether an output of this format can have the name without misleading whoever reads it.
    ///
    /// # Errors
    /// [`FormatNameError`]. Only [`FormatNameError::File`] says that it cannot have it at all.
    pub fn check_name(self, name: &Path) -> Result<(), FormatNameError> {
        let bytes = name.as_os_str().as_encoded_bytes();
        // Behind a repository's path stands a name of any kind.
        if bytes == b"-" || self == Self::Composefs {
            return Ok(());
        }
        if bytes.ends_with(b"/") {
            return match self.shape().is_directory() {
                true => Ok(()),
                false => Err(FormatNameError::File {
                    name: shown_path(name),
                    format: self.name(),
                }),
            };
        }
        match ending(name).map(|(_, says)| says) {
            None => Ok(()),
            Some(Ending::Format(named, _)) if self.filesystem() == Some(*named) => Ok(()),
            // Of these, only cpio archives are compressed as a whole.
            Some(_)
                if self == Self::Cpio
                    && Compression::of_name(name).is_some()
                    && self.check_name(&name.with_extension("")).is_ok() =>
            {
                Ok(())
            }
            Some(Ending::Format(_, says) | Ending::Other(says, _)) => {
                Err(FormatNameError::Contradiction {
                    name: shown_path(name),
                    says,
                    format: self.name(),
                })
            }
        }
    }

    /// Returns the format of one file whose names it may have: its own, or that of the files it is a directory of.
    fn filesystem(self) -> Option<Self> {
        match self.shape().kind() {
            Some(kind) => Some(Self::of_image(kind)),
            None => (!self.shape().is_directory()).then_some(self),
        }
    }
}

/// Checks whether a filesystem that is written to, on a disk of a kind (by default on none), can have the name without
/// misleading whoever reads it.
///
/// # Errors
/// [`FormatNameError`]. Only [`FormatNameError::File`] says that it cannot have it at all.
pub fn check_disk_name(name: &Path, disk: Option<DiskKind>) -> Result<(), FormatNameError> {
    if name.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Format::Ext4.check_name(name);
    }
    let Some((end, Ending::Format(_, says) | Ending::Other(says, _))) = ending(name) else {
        return Ok(());
    };
    let (fits, instead) = match disk {
        None | Some(DiskKind::Raw) => (Format::Ext4.check_name(name).is_ok(), BARE),
        Some(DiskKind::Vmdk) => (*end == VMDK, "--disk vmdk was asked for"),
        Some(DiskKind::Gpt) => (*end == GPT, "--disk gpt was asked for"),
    };
    match fits {
        true => Ok(()),
        false => Err(FormatNameError::Disk {
            name: shown_path(name),
            says,
            instead,
        }),
    }
}
const BARE: &str = "an ext4 filesystem with nothing around it is made, as x.ext4 or x.img; --disk vmdk and --disk gpt make other disks";

impl Compression {
    /// Checks whether a stream with this compression can have the name without misleading whoever reads it.
    ///
    /// # Errors
    /// [`FormatNameError::Compression`] for a name that says another.
    pub fn check_name(self, name: &Path) -> Result<(), FormatNameError> {
        match Self::of_name(name) {
            Some(said) if said.algorithm != self.algorithm => Err(FormatNameError::Compression {
                name: shown_path(name),
                says: said.to_string(),
                asked: self.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// What the name of an output ends with.
fn ending(name: &Path) -> Option<&'static (&'static str, Ending)> {
    let file = name.file_name().unwrap_or_default().as_encoded_bytes();
    ENDINGS.iter().find(|(end, _)| {
        file.len()
            .checked_sub(end.len())
            .is_some_and(|at| at > 0 && file[at..].eq_ignore_ascii_case(end.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_format() {
        let of = |name: &str| Format::of_name(Path::new(name)).ok();
        for (name, format) in [
            ("x.erofs", Format::Erofs),
            ("x.squashfs", Format::Squashfs),
            ("a.b/x.SQFS", Format::Squashfs),
            ("x.sqsh", Format::Squashfs),
            ("x.ext4", Format::Ext4),
            ("x.tar", Format::Tar),
            ("x.cpio", Format::Cpio),
            ("x.cpio.gz", Format::Cpio),
            ("x.CPIO.ZST", Format::Cpio),
            ("-", Format::Tar),
            ("composefs:x:app.tar", Format::Composefs),
            ("x", Format::Erofs),
            ("x.img", Format::Erofs),
            ("x.raw", Format::Erofs),
            ("x.tar/y", Format::Erofs),
            // A name, not an ending.
            (".tar", Format::Erofs),
        ] {
            assert_eq!(of(name), Some(format), "{name}");
        }
        for name in [
            "x.tar.gz",
            "x.tgz",
            "x.tar.zst",
            "x.vmdk",
            "x.qcow2",
            "x.cpio.xz",
            "initrd.gz",
            "x.oci",
            "x/",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_says_another_disk_is_told() {
        use DiskKind::*;
        let kinds = [None, Some(Raw), Some(Vmdk), Some(Gpt)];
        let bare = &[None, Some(Raw)][..];
        for (name, right) in [
            ("x", &kinds[..]),
            ("x.img", &kinds),
            ("x.ext4", bare),
            ("x.VMDK", &[Some(Vmdk)]),
            ("x.gpt", &[Some(Gpt)]),
            ("x.qcow2", &[]),
            ("x.vhd", &[]),
            ("x.erofs", &[]),
            ("x.tar", &[]),
            ("x.cpio.gz", &[]),
            ("x.gz", &[]),
            ("x.iso", &[]),
            ("x/", &[]),
        ] {
            for kind in kinds {
                let said = check_disk_name(Path::new(name), kind);
                assert_eq!(said.is_ok(), right.contains(&kind), "{name} {kind:?}");
            }
        }
    }

    #[test]
    fn what_to_do_is_about_what_the_name_is_of() {
        let said = |name: &str| Format::of_name(Path::new(name)).unwrap_err().to_string();
        let (cpio, tar) = (said("x.cpio.xz"), said("x.tar.xz"));
        assert!(
            cpio.contains("x.cpio.gz") && !cpio.contains("tar"),
            "{cpio}"
        );
        assert!(tar.contains("tars"), "{tar}");
    }

    #[test]
    fn a_name_that_contradicts_the_format_is_told() {
        use Format::*;
        let all = Format::ALL;
        for (name, right) in [
            ("x", &all[..]),
            ("x.img", &all),
            ("-", &all),
            ("x.erofs", &[Erofs, ErofsLayers, ContainerdCache]),
            ("x.squashfs", &[Squashfs, SquashfsLayers]),
            ("x.ext4", &[Ext4]),
            ("x.tar", &[Tar]),
            ("x.cpio", &[Cpio]),
            ("x.cpio.gz", &[Cpio]),
            ("initrd.zst", &[Cpio]),
            ("initrd.xz", &[]),
            ("x.vmdk", &[]),
            (
                "x/",
                &[ErofsLayers, SquashfsLayers, ContainerdCache, Directory],
            ),
        ] {
            for format in all {
                let fits = format.check_name(Path::new(name)).is_ok();
                let right = right.contains(&format) || format == Composefs;
                assert_eq!(fits, right, "{name} {}", format.name());
            }
        }
    }
}
