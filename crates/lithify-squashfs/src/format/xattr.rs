//! Extended attributes: names with a numbered prefix, values in place or elsewhere.

/// Set in an entry's type when its value is a reference to one written before (`SQUASHFS_XATTR_VALUE_OOL`).
pub(crate) const OUT_OF_LINE: u16 = 0x100;

/// The bits of an entry's type that tell the prefix.
pub(crate) const PREFIX_MASK: u16 = 0xff;

/// Length of an entry's type and name length.
pub(crate) const ENTRY_LEN: usize = 4;

/// Length of a reference to a value.
pub(crate) const REFERENCE_LEN: usize = 8;

/// Length of an entry of the table inodes refer to: reference, number of attributes, their length in bytes.
pub(crate) const ID_LEN: usize = 16;

/// Length of what precedes that table's list of blocks.
pub(crate) const TABLE_HEADER_LEN: usize = 16;

/// Prefixes in order of their numbers. There are no others: POSIX ACLs (`system.*`) cannot be stored.
const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Number of the prefix and rest of a name. Linux has no names that are a prefix only.
pub(crate) fn split_name(name: &[u8]) -> Option<(u16, &[u8])> {
    PREFIXES.iter().enumerate().find_map(|(number, prefix)| {
        let rest = name.strip_prefix(*prefix)?;
        (!rest.is_empty()).then_some((number as u16, rest))
    })
}

/// The prefix of a number.
pub(crate) fn prefix(number: u16) -> Option<&'static [u8]> {
    PREFIXES.get(usize::from(number)).copied()
}
