//! The 512-byte header block.
//!
//! ```text
//!   0 name[100]                     257 magic+version[8]
//! 100 mode[8]                       265 uname[32]  297 gname[32]
//! 108 uid[8]  116 gid[8]            329 devmajor[8] 337 devminor[8]
//! 124 size[12]                      345 prefix[155]                 (POSIX ustar)
//! 136 mtime[12]                     345 prefix[131] … 508 "tar\0"   (star)
//! 148 checksum[8]                   386 sparse[4×24] 482 isextended[1] 483 realsize[12]   (GNU)
//! 156 typeflag[1]  157 linkname[100]
//! ```

use crate::error::TarFault;
use crate::number;

/// The unit of a tar, in bytes.
pub const BLOCK: usize = 512;

/// One block.
pub type Block = [u8; BLOCK];

/// Bytes of the two zero blocks that end a tar.
pub const END_MARK: usize = 2 * BLOCK;

// The fields of all headers. Each begins where the one before it ends.
const NAME: usize = 0;
const MODE: usize = NAME + 100;
const UID: usize = MODE + 8;
const GID: usize = UID + 8;
const SIZE: usize = GID + 8;
const MTIME: usize = SIZE + 12;
const CHECKSUM: usize = MTIME + 12;
const TYPEFLAG: usize = CHECKSUM + 8;
const LINKNAME: usize = TYPEFLAG + 1;
// Behind the link name, `ustar` and what came after it.
const MAGIC: usize = LINKNAME + 100;
const UNAME: usize = MAGIC + MAGIC_LEN;
const GNAME: usize = UNAME + 32;
const DEVMAJOR: usize = GNAME + 32;
const DEVMINOR: usize = DEVMAJOR + 8;
const PREFIX: usize = DEVMINOR + 8;
const PREFIX_END: usize = PREFIX + 155;
// star: a shorter prefix, two times behind it, its own mark at the very end.
const STAR_PREFIX_END: usize = PREFIX + 131;
const STAR_TRAILER: usize = BLOCK - STAR_MARK.len();
// GNU: two times, an offset, long names and a pad where POSIX has the prefix, then a sparse map.
const GNU_SPARSE: usize = PREFIX + 12 + 12 + 12 + 4 + 1;
const GNU_SPARSE_EXTENDED: usize = GNU_SPARSE + GNU_SPARSE_ENTRIES * GNU_SPARSE_ENTRY;
const GNU_REALSIZE: usize = GNU_SPARSE_EXTENDED + 1;
const GNU_REALSIZE_END: usize = GNU_REALSIZE + GNU_SPARSE_NUMBER;
// A continuation block of a GNU sparse map: entries, then whether another one follows.
const GNU_CONTINUATION_EXTENDED: usize = GNU_CONTINUATION_ENTRIES * GNU_SPARSE_ENTRY;

/// Length of magic and version.
const MAGIC_LEN: usize = 8;
/// What star writes at the end of its headers.
const STAR_MARK: &[u8; 4] = b"tar\0";
/// Length of an offset or a length in an old GNU sparse map.
const GNU_SPARSE_NUMBER: usize = 12;
/// Length of an entry of such a map.
const GNU_SPARSE_ENTRY: usize = 2 * GNU_SPARSE_NUMBER;
/// Entries of a sparse map in the header.
const GNU_SPARSE_ENTRIES: usize = 4;
/// Entries of a sparse map in a continuation block.
const GNU_CONTINUATION_ENTRIES: usize = 21;

const _: () = assert!(MAGIC == 257 && PREFIX == 345 && PREFIX_END == 500);
const _: () = assert!(STAR_PREFIX_END + 12 + 12 == PREFIX_END && STAR_TRAILER == 508);
const _: () = assert!(GNU_SPARSE == 386 && GNU_REALSIZE_END <= BLOCK);
const _: () = assert!(GNU_CONTINUATION_EXTENDED == 504);

/// Which tar a header block belongs to, by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// No magic: nothing after the link name means anything.
    V7,
    /// `ustar` NUL, any version: what Go and GNU tar accept, and NUL versions occur.
    Posix,
    /// `ustar` and two spaces.
    Gnu,
}

/// A header block whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    block: &'a Block,
    pub(crate) format: Format,
}

/// Why a block is not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Checksum { computed: u64 },
    Magic([u8; 8]),
    StarPrefix,
}

impl<'a> Header<'a> {
    pub(crate) fn parse(block: &'a Block) -> Result<Self, BadHeader> {
        check_sum(block)?;
        let magic: [u8; MAGIC_LEN] = array(block, MAGIC);
        let format = match &magic {
            [0, 0, 0, 0, 0, 0, 0, 0] => Format::V7,
            b"ustar  \0" => Format::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, _, _] => Format::Posix,
            _ => return Err(BadHeader::Magic(magic)),
        };
        let star = format == Format::Posix && &block[STAR_TRAILER..] == STAR_MARK;
        if star && block[STAR_PREFIX_END - 1] != 0 {
            return Err(BadHeader::StarPrefix);
        }
        Ok(Self { block, format })
    }

    pub(crate) fn typeflag(&self) -> u8 {
        self.block[TYPEFLAG]
    }

    pub(crate) fn name(&self) -> &'a [u8] {
        until_nul(&self.block[NAME..MODE])
    }

    /// What stands before the name, joined to it by a slash; empty for none.
    pub(crate) fn prefix(&self) -> &'a [u8] {
        match self.format {
            Format::Posix => until_nul(&self.block[PREFIX..PREFIX_END]),
            Format::V7 | Format::Gnu => b"",
        }
    }

    pub(crate) fn link_name(&self) -> &'a [u8] {
        until_nul(&self.block[LINKNAME..MAGIC])
    }

    /// All numbers, whatever the header is for: where one is none, to Go the header is an error and to Python the
    /// archive at its end, also if the number would not be used.
    pub(crate) fn numbers(&self) -> Result<Numbers, TarFault> {
        let field = |name, start, end| Field(name, &self.block[start..end]).value();
        let devices = self.format != Format::V7;
        Ok(Numbers {
            mode: field("mode", MODE, UID)?,
            uid: field("uid", UID, GID)?,
            gid: field("gid", GID, SIZE)?,
            size: field("size", SIZE, MTIME)?,
            mtime: field("mtime", MTIME, CHECKSUM)?,
            device_major: if devices {
                field("devmajor", DEVMAJOR, DEVMINOR)?
            } else {
                0
            },
            device_minor: if devices {
                field("devminor", DEVMINOR, PREFIX)?
            } else {
                0
            },
        })
    }

    /// The apparent size of an old GNU sparse file.
    pub(crate) fn gnu_real_size(&self) -> Field<'a> {
        Field("realsize", &self.block[GNU_REALSIZE..GNU_REALSIZE_END])
    }

    /// The sparse map's entries in this header, and whether continuation blocks follow.
    pub(crate) fn gnu_sparse_map(&self) -> (impl Iterator<Item = (Field<'a>, Field<'a>)>, bool) {
        (
            sparse_entries(self.block, GNU_SPARSE, GNU_SPARSE_ENTRIES),
            self.block[GNU_SPARSE_EXTENDED] != 0,
        )
    }
}

/// The numbers of a header, not yet checked for their ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) mode: i64,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    pub(crate) size: i64,
    pub(crate) mtime: i64,
    pub(crate) device_major: i64,
    pub(crate) device_minor: i64,
}

impl Numbers {
    /// The size in bytes.
    pub(crate) fn size(&self) -> Result<u64, TarFault> {
        unsigned("size", self.size)
    }
}

/// A number that counts something.
pub(crate) fn unsigned(field: &'static str, found: i64) -> Result<u64, TarFault> {
    u64::try_from(found).map_err(|_| TarFault::NumberRange {
        field,
        found,
        max: i64::MAX as u64,
    })
}

/// The entries of a continuation block of an old GNU sparse map, and whether another one follows.
pub(crate) fn gnu_continuation(
    block: &Block,
) -> (impl Iterator<Item = (Field<'_>, Field<'_>)>, bool) {
    (
        sparse_entries(block, 0, GNU_CONTINUATION_ENTRIES),
        block[GNU_CONTINUATION_EXTENDED] != 0,
    )
}

/// The entries of an old GNU sparse map up to its first blank one.
fn sparse_entries(
    block: &Block,
    start: usize,
    count: usize,
) -> impl Iterator<Item = (Field<'_>, Field<'_>)> {
    block[start..start + count * GNU_SPARSE_ENTRY]
        .chunks_exact(GNU_SPARSE_ENTRY)
        .map(|entry| entry.split_at(GNU_SPARSE_NUMBER))
        .take_while(|(offset, _)| offset[0] != 0)
        .map(|(offset, length)| {
            (
                Field("sparse offset", offset),
                Field("sparse length", length),
            )
        })
}

/// A number in a header, with its name for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a>(pub(crate) &'static str, pub(crate) &'a [u8]);

impl Field<'_> {
    pub(crate) fn value(self) -> Result<i64, TarFault> {
        number::numeric(self.1).map_err(|_| TarFault::Number {
            field: self.0,
            bytes: self.1.to_vec(),
        })
    }

    pub(crate) fn unsigned(self) -> Result<u64, TarFault> {
        unsigned(self.0, self.value()?)
    }
}

/// Whether a block has the right checksum, which hardly anything but a tar header has.
#[must_use]
pub fn looks_like_header(block: &Block) -> bool {
    check_sum(block).is_ok()
}

/// Whether a block is zeros only, as the end of a tar is.
#[must_use]
pub fn is_zero(block: &Block) -> bool {
    // A header starts with a name, so the first byte decides almost always.
    block[0] == 0 && block.iter().all(|&b| b == 0)
}

/// Whether bytes from the start of a file have the mark of all tars but those of v7, whatever else is wrong with them.
#[must_use]
pub fn has_magic(start: &[u8]) -> bool {
    start
        .get(MAGIC..)
        .is_some_and(|from| from.starts_with(b"ustar"))
}

/// Bytes that the data of a member takes, its last block filled up; `None` past 64 bits.
#[must_use]
pub const fn padded(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(BLOCK as u64)
}

/// The sum of all bytes, those of the checksum field taken as spaces (POSIX `ustar`, "chksum").
pub(crate) fn checksum(block: &Block) -> u64 {
    let all: u32 = block.iter().map(|&b| u32::from(b)).sum();
    let field: u32 = block[CHECKSUM..TYPEFLAG]
        .iter()
        .map(|&b| u32::from(b))
        .sum();
    u64::from(all - field + 8 * u32::from(b' '))
}

/// Unsigned as POSIX has it, or of signed bytes as old SunOS tars computed it.
fn check_sum(block: &Block) -> Result<(), BadHeader> {
    let computed = checksum(block);
    let Ok(stored) = number::octal(&block[CHECKSUM..TYPEFLAG]) else {
        return Err(BadHeader::Checksum { computed });
    };
    if stored == computed {
        return Ok(());
    }
    let in_field = |i: &usize| (CHECKSUM..TYPEFLAG).contains(i);
    let high = (0..BLOCK)
        .filter(|i| !in_field(i) && block[*i] >= 0x80)
        .map(|_| 256u64)
        .sum::<u64>();
    if computed.checked_sub(high) == Some(stored) {
        Ok(())
    } else {
        Err(BadHeader::Checksum { computed })
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..end]
}

fn array<const N: usize>(block: &Block, start: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&block[start..start + N]);
    out
}

/// The parts of a header block to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    /// At most 155 bytes.
    pub(crate) prefix: &'a [u8],
    /// At most 100 bytes.
    pub(crate) name: &'a [u8],
    /// At most 100 bytes.
    pub(crate) link_name: &'a [u8],
    pub(crate) mode: u16,
    /// At most [`OCTAL_8_MAX`].
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) device: (u32, u32),
    /// At most [`OCTAL_12_MAX`].
    pub(crate) size: u64,
    pub(crate) mtime: u64,
    pub(crate) typeflag: u8,
}

/// Longest name without prefix.
pub(crate) const NAME_LEN: usize = MODE - NAME;
/// Longest prefix.
pub(crate) const PREFIX_LEN: usize = PREFIX_END - PREFIX;
/// Longest link target.
pub(crate) const LINK_NAME_LEN: usize = MAGIC - LINKNAME;
/// Largest number in an 8-byte field: seven digits and a NUL.
pub(crate) const OCTAL_8_MAX: u32 = 0o777_7777;
/// Largest number in a 12-byte field: eleven digits and a NUL.
pub(crate) const OCTAL_12_MAX: u64 = 0o777_7777_7777;

impl Fields<'_> {
    /// A POSIX `ustar` header block with neither user nor group name.
    pub(crate) fn encode(&self) -> Block {
        let mut block = [0; BLOCK];
        block[NAME..NAME + self.name.len()].copy_from_slice(self.name);
        put_octal(&mut block[MODE..UID], u64::from(self.mode));
        put_octal(&mut block[UID..GID], u64::from(self.uid));
        put_octal(&mut block[GID..SIZE], u64::from(self.gid));
        put_octal(&mut block[SIZE..MTIME], self.size);
        put_octal(&mut block[MTIME..CHECKSUM], self.mtime);
        block[TYPEFLAG] = self.typeflag;
        block[LINKNAME..LINKNAME + self.link_name.len()].copy_from_slice(self.link_name);
        block[MAGIC..UNAME].copy_from_slice(b"ustar\x0000");
        put_octal(&mut block[DEVMAJOR..DEVMINOR], u64::from(self.device.0));
        put_octal(&mut block[DEVMINOR..PREFIX], u64::from(self.device.1));
        block[PREFIX..PREFIX + self.prefix.len()].copy_from_slice(self.prefix);
        seal(&mut block);
        block
    }

    /// A GNU header block with a size of any number of digits in base 256, which every reader takes.
    pub(crate) fn encode_base_256(&self, size: u64) -> Block {
        let mut block = Self { size: 0, ..*self }.encode();
        let field = &mut block[SIZE..MTIME];
        field.fill(0);
        field[0] = 0x80;
        field[4..].copy_from_slice(&size.to_be_bytes());
        block[MAGIC..UNAME].copy_from_slice(b"ustar  \0");
        seal(&mut block);
        block
    }
}

/// Writes the checksum: six digits, NUL, space, the one field written differently, as every tar since v7 does.
fn seal(block: &mut Block) {
    let sum = checksum(block);
    let (space, digits) = (TYPEFLAG - 1, CHECKSUM..TYPEFLAG - 1);
    put_octal(&mut block[digits], sum);
    block[space] = b' ';
}

/// Digits to the last byte but one, which is NUL.
fn put_octal(field: &mut [u8], mut value: u64) {
    let Some((last, digits)) = field.split_last_mut() else {
        return;
    };
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
    debug_assert_eq!(value, 0, "the caller keeps numbers within the field");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields<'static> {
        Fields {
            prefix: b"some/where",
            name: b"file",
            link_name: b"",
            mode: 0o4755,
            uid: 1000,
            gid: OCTAL_8_MAX,
            device: (0, 0),
            size: OCTAL_12_MAX,
            mtime: 5,
            typeflag: b'0',
        }
    }

    #[test]
    fn an_encoded_header_reads_back() {
        let block = fields().encode();
        let header = Header::parse(&block).unwrap();
        assert_eq!(header.format, Format::Posix);
        assert_eq!(
            (header.prefix(), header.name()),
            (&b"some/where"[..], &b"file"[..])
        );
        let numbers = header.numbers().unwrap();
        assert_eq!(
            (numbers.mode, numbers.gid, numbers.size),
            (0o4755, 0o777_7777, 0o777_7777_7777)
        );
    }

    #[test]
    fn both_checksums_are_accepted_and_no_other() {
        let mut block = fields().encode();
        block[0] = 0xe9;
        let unsigned = checksum(&block);
        for (sum, right) in [
            (unsigned, true),
            (unsigned - 256, true),
            (unsigned - 255, false),
            (0, false),
        ] {
            put_octal(&mut block[CHECKSUM..TYPEFLAG - 1], sum);
            assert_eq!(looks_like_header(&block), right, "{sum}");
        }
    }

    #[test]
    fn the_prefix_is_read_by_the_magic_only() {
        let mut block = fields().encode();
        let with_magic = |block: &mut Block, magic: &[u8; 8]| {
            block[MAGIC..UNAME].copy_from_slice(magic);
            seal(block);
        };
        for (magic, prefix) in [
            (b"ustar\x0000", &b"some/where"[..]),
            (b"ustar\0\0\0", b"some/where"),
            (b"ustar  \0", b""),
            (&[0; 8], b""),
        ] {
            with_magic(&mut block, magic);
            assert_eq!(Header::parse(&block).unwrap().prefix(), prefix, "{magic:?}");
        }
        with_magic(&mut block, b"ustar 00");
        assert_eq!(
            Header::parse(&block).unwrap_err(),
            BadHeader::Magic(*b"ustar 00")
        );
    }
}
