//! Extended attributes: a header behind the inode, then ids of shared entries, then entries of its own.

use super::{get_u16, put};

const FILTER_OFFSET: usize = 0;
const SHARED_COUNT_OFFSET: usize = FILTER_OFFSET + size_of::<u32>();
const RESERVED_OFFSET: usize = SHARED_COUNT_OFFSET + size_of::<u8>();

/// Length of the header, in bytes.
pub(crate) const HEADER_LEN: usize = RESERVED_OFFSET + 7;

const _: () = assert!(HEADER_LEN == 12);

/// Length of a shared entry's id, in bytes. It is also the unit ids, lengths and alignments count in.
pub(crate) const ID_LEN: usize = size_of::<u32>();

/// Most shared entries an inode can refer to.
pub(crate) const SHARED_MAX: usize = u8::MAX as usize;

/// Longest header, ids and entries together that every kernel reads, in bytes: Linux before 6.4 kept the length in 16
/// bits (`xattr_isize` of `fs/erofs/internal.h`) although the field on disk reaches four times further.
pub(crate) const BODY_MAX: usize = (u16::MAX as usize).next_multiple_of(ID_LEN) - ID_LEN;

const NAME_LEN_OFFSET: usize = 0;
const INDEX_OFFSET: usize = NAME_LEN_OFFSET + size_of::<u8>();
const VALUE_LEN_OFFSET: usize = INDEX_OFFSET + size_of::<u8>();

/// Length of an entry without name and value, in bytes.
pub(crate) const ENTRY_LEN: usize = VALUE_LEN_OFFSET + size_of::<u16>();

const _: () = assert!(ENTRY_LEN == ID_LEN);

/// Longest value, in bytes: one less than Linux allows elsewhere.
pub(crate) const VALUE_MAX: usize = u16::MAX as usize;

/// Bit of the index that says the prefix is one stored in the image.
pub(crate) const LONG_PREFIX: u8 = 0x80;

/// The index of names that are whole: composefs writes those under it that have no other prefix than `lustre.`. Linux shows none of
/// them, so no name that has a meaning to Linux may come this way.
const WHOLE: u8 = 0;

/// The index of the prefix that Linux does not know.
const LUSTRE: u8 = 5;

/// Prefixes by index. The two ACL names are complete: nothing follows them.
const PREFIXES: [(u8, &[u8]); 6] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (5, b"lustre."),
    (6, b"security."),
];

/// Whether a prefix is the whole name.
const fn is_whole(index: u8) -> bool {
    matches!(index, 2 | 3)
}

/// Index of the prefix and the rest of a name; `None` for names EROFS cannot hold.
pub(crate) fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|&(index, prefix)| {
        let rest = name.strip_prefix(prefix)?;
        // `user.` alone names nothing, and `system.posix_acl_accessible` is not an ACL.
        (is_whole(index) == rest.is_empty() && rest.len() <= usize::from(u8::MAX))
            .then_some((index, rest))
    })
}

/// The full name of an index and the rest; `None` for an index without meaning.
pub(crate) fn join_name(index: u8, rest: &[u8]) -> Option<Vec<u8>> {
    if index == WHOLE {
        let mut known = PREFIXES.iter().filter(|(index, _)| *index != LUSTRE);
        let has_meaning = known.any(|(_, prefix)| rest.starts_with(prefix));
        return (!has_meaning && !rest.is_empty()).then(|| rest.to_vec());
    }
    let (_, prefix) = PREFIXES.iter().find(|(i, _)| *i == index)?;
    Some([prefix, rest].concat())
}

/// The header and count field of a set: `None` stands for a set without attributes.
pub(crate) fn count_field(body: usize) -> u16 {
    if body == 0 {
        return 0;
    }
    debug_assert!((HEADER_LEN..=BODY_MAX).contains(&body) && body.is_multiple_of(ID_LEN));
    (1 + (body - HEADER_LEN) / ID_LEN) as u16
}

/// Length of header, ids and entries by the inode's count field, in bytes.
pub(crate) const fn body_len(count: u16) -> usize {
    if count == 0 {
        0
    } else {
        HEADER_LEN + ID_LEN * (count as usize - 1)
    }
}

/// The header. The name filter stays zero: "all names may be present".
pub(crate) fn encode_header(shared: u8, out: &mut Vec<u8>) {
    let mut header = [0; HEADER_LEN];
    header[SHARED_COUNT_OFFSET] = shared;
    out.extend_from_slice(&header);
}

/// The number of shared ids a header announces.
pub(crate) fn shared_count(header: &[u8]) -> usize {
    usize::from(header[SHARED_COUNT_OFFSET])
}

/// Length of an entry with name and value, padded, in bytes.
pub(crate) const fn entry_len(name: usize, value: usize) -> usize {
    (ENTRY_LEN + name + value).next_multiple_of(ID_LEN)
}

/// Appends an entry. Lengths must have been checked against 255 and [`VALUE_MAX`].
pub(crate) fn encode_entry(index: u8, rest: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut head = [0; ENTRY_LEN];
    head[NAME_LEN_OFFSET] = rest.len() as u8;
    head[INDEX_OFFSET] = index;
    put(
        &mut head,
        VALUE_LEN_OFFSET,
        &(value.len() as u16).to_le_bytes(),
    );
    out.extend_from_slice(&head);
    out.extend_from_slice(rest);
    out.extend_from_slice(value);
    out.resize(start + entry_len(rest.len(), value.len()), 0);
}

/// The fixed part of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryHead {
    pub(crate) name_len: usize,
    pub(crate) index: u8,
    pub(crate) value_len: usize,
}

/// Reads the fixed part of an entry at the start of `bytes`, which has at least [`ENTRY_LEN`] of them.
pub(crate) fn decode_entry(bytes: &[u8]) -> EntryHead {
    EntryHead {
        name_len: usize::from(bytes[NAME_LEN_OFFSET]),
        index: bytes[INDEX_OFFSET],
        value_len: usize::from(get_u16(bytes, VALUE_LEN_OFFSET)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(split_name(b"user.a"), Some((1, &b"a"[..])));
        assert_eq!(split_name(b"system.posix_acl_access"), Some((2, &b""[..])));
        assert_eq!(
            split_name(b"security.capability"),
            Some((6, &b"capability"[..]))
        );
        for bad in [
            &b"user."[..],
            b"user",
            b"system.posix_acl_accessible",
            b"system.nfs4_acl",
            b"com.apple.x",
            b"",
        ] {
            assert_eq!(split_name(bad), None);
        }
        assert_eq!(join_name(4, b"x").as_deref(), Some(&b"trusted.x"[..]));
        assert_eq!(join_name(0, b"lustre.x").as_deref(), Some(&b"lustre.x"[..]));
        assert_eq!(join_name(0, b""), None);
        for meant in [
            &b"user.x"[..],
            b"security.capability",
            b"system.posix_acl_access",
        ] {
            assert_eq!(join_name(0, meant), None);
        }
        assert_eq!(join_name(7, b"x"), None);
    }

    #[test]
    fn counts() {
        assert_eq!(BODY_MAX, 65532);
        for body in [0, 12, 16, 400, BODY_MAX] {
            assert_eq!(body_len(count_field(body)), body);
        }
    }
}
