//! What fuse-overlayfs leaves in an upper directory (tried with 1.10; read in the source of 1.16, in Rust).
//!
//! Names cannot lie: fuse-overlayfs refuses to make a file whose name begins with `.wh.` for its users, so each is its own.
//! Attributes under its prefixes are hidden from them too. `user.containers.override_stat` is not, so it counts only
//! where the top directory has it, as it does to fuse-overlayfs: else a user of the container could write one.

use lithify_tree::overlay::Marks;
use lithify_tree::{Device, Entry, EntryKind, XattrError, Xattrs};

/// What only fuse-overlayfs writes.
pub(super) const OWN: &[u8] = b"user.fuseoverlayfs.";

/// Prefixes of attributes its users never see.
const HIDDEN: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", OWN];

/// Owner, mode and type a file should have, one of these names for the whole directory.
const OVERRIDES: [&[u8]; 3] = [
    b"security.fuseoverlayfs.override_stat",
    b"user.containers.override_stat",
    b"user.fuseoverlayfs.override_stat",
];

/// What it puts in front of a user's attribute that has such a name.
const ESCAPE: &[u8] = b"user.containers.override_";

/// The name of the attribute with owner and mode, from those of the top directory.
pub(super) fn override_name(top: &Xattrs) -> Option<&'static [u8]> {
    OVERRIDES.into_iter().find(|name| top.get(name).is_some())
}

/// Whether an attribute shows that fuse-overlayfs wrote it.
pub(super) fn is_mark(name: &[u8]) -> bool {
    name.starts_with(OWN) || OVERRIDES.contains(&name)
}

/// Takes fuse-overlayfs' attributes out of a set; what they say, and the owner and mode in them.
pub(super) fn take(
    xattrs: &mut Xattrs,
    override_name: Option<&[u8]>,
) -> Result<(Marks, Option<Vec<u8>>), XattrError> {
    let mut said = Marks::default();
    let mut stat = None;
    let mut kept = Xattrs::new();
    for (name, value) in xattrs.iter() {
        if Some(name) == override_name {
            stat = Some(value.to_vec());
            continue;
        }
        if let Some(own) = HIDDEN.iter().find_map(|prefix| name.strip_prefix(*prefix)) {
            match own {
                b"opaque" => said.opaque |= value.first() == Some(&b'y'),
                b"redirect" => said.redirect = Some(value.to_vec()),
                b"metacopy" => said.metacopy = true,
                _ => {}
            }
            continue;
        }
        let escaped = name.strip_prefix(ESCAPE).filter(|inner| {
            HIDDEN.iter().any(|prefix| inner.starts_with(prefix))
                || override_name == Some(OVERRIDES[1]) && inner.starts_with(b"security.")
        });
        kept.set(escaped.unwrap_or(name), value)?;
    }
    *xattrs = kept;
    Ok((said, stat))
}

/// Gives an entry what `UID:GID:MODE[:TYPE[MAJOR:MINOR]]` says; `None` if it is not that, or cannot be of such a file. Numbers
/// of devices are written behind the type with `:` or `-` in between (fuse-overlayfs, containers/storage).
pub(super) fn override_stat(entry: &mut Entry, text: &[u8]) -> Option<()> {
    let is_directory = entry.kind == EntryKind::Directory;
    let is_empty = matches!(entry.kind, EntryKind::File { size: 0, .. });
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.splitn(4, ':');
    let (uid, gid) = (number(parts.next()?)?, number(parts.next()?)?);
    let mode = parts.next()?;
    if mode.is_empty() || !mode.bytes().all(|b| matches!(b, b'0'..=b'7')) {
        return None;
    }
    let mode = u32::from_str_radix(mode, 8).ok()?;
    if let Some(kind) = parts.next() {
        let name = kind.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
        let device = || {
            let numbers = kind[name.len()..].trim_start_matches([':', '-']);
            let (major, minor) = numbers.split_once([':', '-'])?;
            Some(Device {
                major: number(major)?,
                minor: number(minor)?,
            })
        };
        match name {
            "dir" if is_directory => {}
            "file" if matches!(entry.kind, EntryKind::File { .. }) => {}
            "pipe" if is_empty => entry.kind = EntryKind::Fifo,
            "socket" if is_empty => entry.kind = EntryKind::Socket,
            "char" if is_empty => entry.kind = EntryKind::CharDevice(device()?),
            "block" if is_empty => entry.kind = EntryKind::BlockDevice(device()?),
            _ => return None,
        }
    }
    (entry.metadata.uid, entry.metadata.gid) = (uid, gid);
    entry.metadata.mode = (mode & 0o7777) as u16;
    Some(())
}

/// Digits only: `parse` alone takes a sign.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use lithify_tree::{Metadata, TreePath};

    use super::*;

    fn entry(kind: EntryKind) -> Entry {
        let path = TreePath::clean(b"x").unwrap();
        let metadata = Metadata::default();
        Entry {
            path,
            metadata,
            kind,
        }
    }

    fn file(size: u64) -> EntryKind {
        let segments = None;
        EntryKind::File { size, segments }
    }

    #[test]
    fn owners_modes_and_types_as_they_are_written() {
        let device = |major, minor| Device { major, minor };
        for (text, kind, expected) in [
            ("5:6:100711", file(3), file(3)),
            ("5:6:711", file(3), file(3)),
            ("5:6:0711:file", file(3), file(3)),
            ("5:6:0711:dir", EntryKind::Directory, EntryKind::Directory),
            ("5:6:711:pipe", file(0), EntryKind::Fifo),
            ("5:6:711:socket", file(0), EntryKind::Socket),
            (
                "5:6:711:block8:0",
                file(0),
                EntryKind::BlockDevice(device(8, 0)),
            ),
            (
                "5:6:711:char-1-3",
                file(0),
                EntryKind::CharDevice(device(1, 3)),
            ),
            (
                "5:6:711:char:1:3",
                file(0),
                EntryKind::CharDevice(device(1, 3)),
            ),
        ] {
            let mut entry = entry(kind);
            override_stat(&mut entry, text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            let m = &entry.metadata;
            assert_eq!((m.uid, m.gid, m.mode), (5, 6, 0o711), "{text}");
            assert_eq!(entry.kind, expected, "{text}");
        }
        for text in [
            "",
            "5",
            "5:6",
            "5:6:",
            "5:6:9",
            "+5:6:7",
            "-1:6:7",
            "4294967296:0:0",
            "5:6:+7",
            "5:6:7:what",
            "5:6:7:dir",
            "5:6:7:char",
            "5:6:7:char1",
            "5:6:7:char1:x",
            "5:6:7:symlink",
            "5:6:7:",
        ] {
            assert_eq!(
                override_stat(&mut entry(file(0)), text.as_bytes()),
                None,
                "{text}"
            );
        }
        assert_eq!(override_stat(&mut entry(file(0)), b"5:6:\xff"), None);
        // Data is not thrown away for a device.
        assert_eq!(override_stat(&mut entry(file(1)), b"5:6:7:char1:3"), None);
    }
}
