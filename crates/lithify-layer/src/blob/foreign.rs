//! What is handed in as a layer and is no tar.

use std::fmt;

use lithify_tar::BLOCK;

/// A format, other than a tar's, that a layer's first bytes show.
///
/// Many filesystems begin with zeros, which to a tar reader are the end of an archive without entries: without looking
/// further, such a layer would be an empty directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForeignFormat {
    /// An EROFS image.
    Erofs,
    /// A squashfs image.
    Squashfs,
    /// Anything else, by its name.
    Other(&'static str),
}

/// Where a format has its magic, and its name.
const SIGNATURES: [(usize, &[u8], ForeignFormat); 25] = {
    use ForeignFormat::{Erofs, Other, Squashfs};
    [
        (1024, b"\xe2\xe1\xf5\xe0", Erofs),
        (0, b"hsqs", Squashfs),
        (0, b"sqsh", Other("a big-endian squashfs image")),
        (1080, b"\x53\xef", Other("an ext2, ext3 or ext4 filesystem")),
        (0, b"XFSB", Other("an XFS filesystem")),
        (65_600, b"_BHRfS_M", Other("a Btrfs filesystem")),
        (1024, b"\x10\x20\xf5\xf2", Other("an F2FS filesystem")),
        (32_769, b"CD001", Other("an ISO 9660 image")),
        (0, b"-rom1fs-", Other("a romfs image")),
        (0, b"\x45\x3d\xcd\x28", Other("a cramfs image")),
        (512, b"EFI PART", Other("a disk with a partition table")),
        (510, b"\x55\xaa", Other("a disk with a boot sector")),
        (0, b"QFI\xfb", Other("a qcow2 disk")),
        (0, b"KDMV", Other("a VMDK disk")),
        (
            0,
            b"# Disk DescriptorFile",
            Other("the description of a VMDK disk"),
        ),
        (0, b"vhdxfile", Other("a VHDX disk")),
        (0, b"MSWIM\0\0\0", Other("a WIM image")),
        (0, b"070701", Other("a cpio archive")),
        (0, b"070702", Other("a cpio archive")),
        (0, b"070707", Other("a cpio archive")),
        (0, b"7z\xbc\xaf\x27\x1c", Other("a 7z archive")),
        (0, b"!<arch>\n", Other("an ar archive")),
        (0, b"\xed\xab\xee\xdb", Other("an RPM package")),
        (0, b"\x7fELF", Other("an ELF file")),
        (0, b"{", Other("a JSON document")),
    ]
};

impl ForeignFormat {
    /// The format whose magic stands in the first bytes, of which there should be 64 KiB or all there are. A block with
    /// the checksum of a tar header makes it a tar, whatever else is in it.
    #[must_use]
    pub fn of(start: &[u8]) -> Option<Self> {
        if let Some(block) = start.first_chunk::<BLOCK>()
            && !lithify_tar::is_zero(block)
            && lithify_tar::looks_like_header(block)
        {
            return None;
        }
        SIGNATURES.into_iter().find_map(|(at, magic, format)| {
            let there = start.get(at..)?.starts_with(magic);
            there.then_some(format)
        })
    }
}

impl fmt::Display for ForeignFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Erofs => "an EROFS image",
            Self::Squashfs => "a squashfs image",
            Self::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(at: usize, magic: &[u8]) -> Vec<u8> {
        let mut start = vec![0; 70_000];
        start[at..at + magic.len()].copy_from_slice(magic);
        start
    }

    #[test]
    fn every_signature_is_found_where_it_stands() {
        for (at, magic, format) in SIGNATURES {
            assert_eq!(ForeignFormat::of(&with(at, magic)), Some(format));
            assert_eq!(ForeignFormat::of(&with(at, magic)[..at]), None, "{format}");
        }
        assert_eq!(ForeignFormat::of(&[0; 70_000]), None);
        assert_eq!(ForeignFormat::of(b""), None);
    }

    #[test]
    fn a_tar_header_makes_it_a_tar() {
        let mut start = with(1024, b"\xe2\xe1\xf5\xe0");
        start[..4].copy_from_slice(b"name");
        start[148..156].fill(b' ');
        let sum: u32 = start[..BLOCK].iter().map(|&b| u32::from(b)).sum();
        start[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(ForeignFormat::of(&start), None);
    }
}
