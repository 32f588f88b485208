//! The names in an archive and what they lead to.

use std::collections::HashMap;

use super::read_at::Extent;
use super::{Error, MAX_LINKS};

/// What an entry is.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A file.
    File(Extent),
    /// A symbolic link; the target is relative to the directory of the entry.
    Symlink(Box<[u8]>),
    /// A hard link to a name that no earlier entry has.
    Hardlink(Box<[u8]>),
    /// A directory, device or FIFO.
    Other,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    File(Extent),
    Other,
}

/// All entries by clean name.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_name: HashMap<Box<[u8]>, Entry>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.by_name.keys().map(AsRef::as_ref)
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.by_name.contains_key(name)
    }

    /// Adds an entry under a clean name; a later entry replaces an earlier one.
    pub(super) fn insert(&mut self, name: Vec<u8>, entry: Entry) {
        // A hard link shares what the name means at this point of the archive.
        let entry = match entry {
            Entry::Hardlink(target) => match self.by_name.get(&target) {
                Some(earlier) => earlier.clone(),
                None => Entry::Hardlink(target),
            },
            entry => entry,
        };
        self.by_name.insert(name.into_boxed_slice(), entry);
    }

    /// Follows `path` from entry to entry. `path` comes from a document and must be clean but
    /// for leading `./`.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<Found>, Error> {
        let escapes = || Error::PathEscapes {
            path: path.to_vec(),
        };
        if path.first().is_none_or(|&b| b == b'/') {
            return Err(escapes());
        }
        let mut name = clean(path).ok_or_else(escapes)?;
        for _ in 0..=MAX_LINKS {
            let target = match self.by_name.get(name.as_slice()) {
                Some(Entry::File(extent)) => return Ok(Some(Found::File(*extent))),
                Some(Entry::Other) => return Ok(Some(Found::Other)),
                Some(Entry::Hardlink(target)) => target.to_vec(),
                Some(Entry::Symlink(target)) => {
                    resolve(&name, target).ok_or_else(|| Error::LinkEscapes {
                        name: name.clone(),
                        target: target.to_vec(),
                    })?
                }
                None => return Ok(None),
            };
            if !self.by_name.contains_key(target.as_slice()) {
                return Err(Error::LinkDangles { name, target });
            }
            name = target;
        }
        Err(Error::LinkLoop {
            name: path.to_vec(),
        })
    }
}

/// The name without leading `/`, without empty and `.` components; `None` if it has `..` or NUL.
pub(super) fn clean(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len());
    for component in name.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return None,
            component if component.contains(&0) => return None,
            component => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(component);
            }
        }
    }
    Some(out)
}

/// The target of a symbolic link called `name`, within the archive; `None` if it leads out.
fn resolve(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.first().is_none_or(|&b| b == b'/') || target.contains(&0) {
        return None;
    }
    let mut components: Vec<&[u8]> = name.split(|&b| b == b'/').collect();
    components.pop();
    for component in target.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop()?;
            }
            component => components.push(component),
        }
    }
    Some(components.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(offset: u64) -> Entry {
        Entry::File(Extent { offset, len: 1 })
    }

    fn link(target: &str) -> Entry {
        Entry::Symlink(target.as_bytes().into())
    }

    fn at(entries: &Entries, name: &str) -> Result<Option<u64>, Error> {
        entries.find(name.as_bytes()).map(|found| match found {
            Some(Found::File(extent)) => Some(extent.offset),
            _ => None,
        })
    }

    #[test]
    fn links_stay_inside() {
        let mut entries = Entries::default();
        entries.insert(b"a/layer.tar".to_vec(), file(1));
        entries.insert(b"b/layer.tar".to_vec(), link("../a/layer.tar"));
        entries.insert(b"c/layer.tar".to_vec(), link("../b/./layer.tar"));
        entries.insert(b"out".to_vec(), link("../etc/passwd"));
        entries.insert(b"abs".to_vec(), link("/a/layer.tar"));
        entries.insert(b"gone".to_vec(), link("nowhere"));
        entries.insert(b"self".to_vec(), link("self"));
        entries.insert(b"x".to_vec(), link("y"));
        entries.insert(b"y".to_vec(), link("x"));
        entries.insert(b"empty".to_vec(), link(""));
        assert_eq!(at(&entries, "c/layer.tar").unwrap(), Some(1));
        assert_eq!(at(&entries, "./c/layer.tar").unwrap(), Some(1));
        assert_eq!(at(&entries, "d").unwrap(), None);
        for name in ["out", "abs", "empty"] {
            assert!(
                matches!(at(&entries, name), Err(Error::LinkEscapes { .. })),
                "{name}"
            );
        }
        assert!(matches!(
            at(&entries, "gone"),
            Err(Error::LinkDangles { .. })
        ));
        for name in ["self", "x"] {
            assert!(
                matches!(at(&entries, name), Err(Error::LinkLoop { .. })),
                "{name}"
            );
        }
        for name in ["", "/a/layer.tar", "../a", "a/../a/layer.tar"] {
            assert!(
                matches!(at(&entries, name), Err(Error::PathEscapes { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn last_name_wins_and_hard_links_keep() {
        let mut entries = Entries::default();
        entries.insert(b"forward".to_vec(), Entry::Hardlink(b"a"[..].into()));
        entries.insert(b"a".to_vec(), file(1));
        entries.insert(b"b".to_vec(), Entry::Hardlink(b"a"[..].into()));
        entries.insert(b"a".to_vec(), file(2));
        assert_eq!(at(&entries, "a").unwrap(), Some(2));
        assert_eq!(at(&entries, "b").unwrap(), Some(1));
        assert_eq!(at(&entries, "forward").unwrap(), Some(2));
    }
}
