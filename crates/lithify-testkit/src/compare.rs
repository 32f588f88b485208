//! Differences of two snapshots.

use std::collections::BTreeSet;
use std::fmt;

use crate::escape;
use crate::snapshot::{Kind, Node, Snapshot, hex};

/// What two trees disagree about at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: Vec<u8>,
    /// In what.
    pub field: Field,
    /// What the left tree says, as text; empty for a name or an attribute it lacks.
    pub left: String,
    /// What the right tree says.
    pub right: String,
}

/// The property two trees disagree about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// One of them has no such name.
    Presence,
    /// The type, or a file's size or data, a link's target, a device's number.
    Kind,
    /// Permission bits.
    Mode,
    /// Owner or group.
    Owner,
    /// Modification time.
    Mtime,
    /// The number of links.
    Links,
    /// Which names share the inode.
    SameAs,
    /// The extended attribute of this name.
    Xattr(Vec<u8>),
}

/// Differences that are expected, each with its reason.
///
/// ```
/// use lithify_testkit::{Allow, Field};
/// let allow = Allow::nothing()
///     .also("umoci 0.4.7 sets the root's time to now", |d| d.path.is_empty() && d.field == Field::Mtime);
/// ```
#[derive(Default)]
pub struct Allow {
    rules: Vec<(String, Rule)>,
}

type Rule = Box<dyn Fn(&Difference) -> bool>;

impl Allow {
    /// The strictest comparison.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Also allows what the rule accepts, for the stated reason.
    #[must_use]
    pub fn also(mut self, reason: &str, rule: impl Fn(&Difference) -> bool + 'static) -> Self {
        self.rules.push((reason.into(), Box::new(rule)));
        self
    }

    fn accepts(&self, difference: &Difference) -> bool {
        self.rules.iter().any(|(_, rule)| rule(difference))
    }
}

impl fmt::Debug for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.rules.iter().map(|(reason, _)| reason))
            .finish()
    }
}

impl Snapshot {
    /// All differences that are not allowed, by path.
    #[must_use]
    pub fn differences(&self, other: &Self, allow: &Allow) -> Vec<Difference> {
        let paths: BTreeSet<&Vec<u8>> = self.nodes.keys().chain(other.nodes.keys()).collect();
        let mut found = Vec::new();
        for path in paths {
            match (self.nodes.get(path), other.nodes.get(path)) {
                (Some(left), Some(right)) => node(path, left, right, &mut found),
                (left, right) => {
                    let text =
                        |node: Option<&Node>| node.map(ToString::to_string).unwrap_or_default();
                    push(&mut found, path, Field::Presence, text(left), text(right));
                }
            }
        }
        found.retain(|difference| !allow.accepts(difference));
        found
    }

    /// # Panics
    /// When the trees differ in anything that is not allowed; the message lists up to 40 differences.
    pub fn assert_same(&self, other: &Self, allow: &Allow) {
        let found = self.differences(other, allow);
        if found.is_empty() {
            return;
        }
        let listed: String = found.iter().take(40).map(|d| format!("{d}\n")).collect();
        panic!(
            "{} differences (of {} and {} names), the first:\n{listed}",
            found.len(),
            self.nodes.len(),
            other.nodes.len()
        );
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, right, .. } = self;
        write!(f, "/{}: {}: ", escape(&self.path), self.field)?;
        match (left.as_str(), right.as_str()) {
            ("", right) => write!(f, "only right: {right}"),
            (left, "") => write!(f, "only left: {left}"),
            (left, right) => write!(f, "{left} | {right}"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Presence => f.write_str("name"),
            Self::Kind => f.write_str("content"),
            Self::Mode => f.write_str("mode"),
            Self::Owner => f.write_str("owner"),
            Self::Mtime => f.write_str("mtime"),
            Self::Links => f.write_str("links"),
            Self::SameAs => f.write_str("shared inode"),
            Self::Xattr(name) => write!(f, "xattr {}", escape(name)),
        }
    }
}

fn node(path: &[u8], left: &Node, right: &Node, found: &mut Vec<Difference>) {
    let mut field = |field, differs: bool, l: String, r: String| {
        if differs {
            push(found, path, field, l, r);
        }
    };
    let owner = |n: &Node| format!("{}:{}", n.uid, n.gid);
    let mtime = |n: &Node| format!("{}.{:09}", n.mtime.0, n.mtime.1);
    let same_as = |n: &Node| {
        n.same_as
            .as_ref()
            .map_or("none".into(), |p| format!("/{}", escape(p)))
    };
    let kind = |k: &Kind| k.to_string();
    field(
        Field::Kind,
        left.kind != right.kind,
        kind(&left.kind),
        kind(&right.kind),
    );
    field(
        Field::Mode,
        left.mode != right.mode,
        format!("{:04o}", left.mode),
        format!("{:04o}", right.mode),
    );
    field(
        Field::Owner,
        owner(left) != owner(right),
        owner(left),
        owner(right),
    );
    field(
        Field::Mtime,
        left.mtime != right.mtime,
        mtime(left),
        mtime(right),
    );
    field(
        Field::Links,
        left.links != right.links,
        left.links.to_string(),
        right.links.to_string(),
    );
    field(
        Field::SameAs,
        left.same_as != right.same_as,
        same_as(left),
        same_as(right),
    );
    let names: BTreeSet<&Vec<u8>> = left.xattrs.keys().chain(right.xattrs.keys()).collect();
    for name in names {
        let value = |n: &Node| {
            n.xattrs
                .get(name)
                .map(|v| format!("0x{}", hex(v)))
                .unwrap_or_default()
        };
        field(
            Field::Xattr(name.clone()),
            value(left) != value(right),
            value(left),
            value(right),
        );
    }
}

fn push(found: &mut Vec<Difference>, path: &[u8], field: Field, left: String, right: String) {
    let path = path.to_vec();
    found.push(Difference {
        path,
        field,
        left,
        right,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        let dir = crate::temp_dir();
        std::fs::write(dir.path().join("a"), "data").unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        Snapshot::of(dir.path())
    }

    #[test]
    fn a_tree_equals_itself() {
        let tree = sample();
        tree.assert_same(&tree.clone(), &Allow::nothing());
        assert_eq!(tree.at("b").same_as.as_deref(), Some(&b"a"[..]));
        assert_eq!(tree.at("a").links, 2);
        assert_eq!(tree.at("link").kind, Kind::Symlink(b"a".to_vec()));
        let sha256 = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7";
        assert_eq!(
            tree.at("a").kind,
            Kind::File {
                size: 4,
                sha256: sha256.into()
            }
        );
    }

    #[test]
    fn every_field_is_compared() {
        let left = sample();
        type Change = fn(&mut Node);
        let change: [(Field, Change); 7] = [
            (Field::Kind, |n| n.kind = Kind::Fifo),
            (Field::Mode, |n| n.mode ^= 0o4000),
            (Field::Owner, |n| n.gid += 1),
            (Field::Mtime, |n| n.mtime.1 ^= 1),
            (Field::Links, |n| n.links += 1),
            (Field::SameAs, |n| n.same_as = None),
            (Field::Xattr(b"user.x".to_vec()), |n| {
                n.xattrs.insert(b"user.x".to_vec(), Vec::new());
            }),
        ];
        for (field, change) in change {
            let mut right = left.clone();
            change(right.nodes.get_mut(&b"b"[..]).unwrap());
            let found = left.differences(&right, &Allow::nothing());
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(
                (found[0].path.as_slice(), &found[0].field),
                (&b"b"[..], &field)
            );
            let allow = Allow::nothing().also("test", move |d| d.field == field);
            assert!(left.differences(&right, &allow).is_empty());
        }
        let mut right = left.clone();
        right.nodes.remove(&b"link"[..]);
        assert_eq!(
            left.differences(&right, &Allow::nothing())[0].field,
            Field::Presence
        );
    }
}
