//! The overlay's own extended attributes (`fs/overlayfs/overlayfs.h`, `xattrs.c`).

use crate::{Escaped, TreePath, Xattrs};

/// Where an overlay keeps its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// `trusted.overlay.`: of an overlay that was mounted by root.
    Trusted,
    /// `user.overlay.`: of one that was mounted with `userxattr`.
    User,
}

impl Namespace {
    /// The beginning of the attributes' names.
    #[must_use]
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Trusted => super::XATTR_PREFIX,
            Self::User => b"user.overlay.",
        }
    }
}

/// Stands behind the prefix in the name of an attribute that a user of the overlay gave such a name.
const ESCAPE: &[u8] = b"overlay.";

/// Notes of overlayfs about its own work, which say nothing about what the overlay shows.
const BOOKKEEPING: [&[u8]; 5] = [b"origin", b"impure", b"nlink", b"upper", b"uuid"];

/// The meaning of the overlay's own attributes of one file.
///
/// What to do about [`foreign`](Self::foreign) ones is the caller's decision, and there are two right answers.
///
/// - An *image* that anyone may have made is read by this program and, mounted, by overlayfs, and both must see one
///   filesystem. An attribute that gives the file another name, other data or a meaning unknown here is **refused**
///   ([`restore`](super::restore)): left out, it would make the image two different ones.
/// - An *upper directory* was written by the overlay of the running system. What it keeps there besides the marks that
///   are known here (and acted upon: [`redirect`](Self::redirect), [`metacopy`](Self::metacopy)) is never seen through the
///   overlay, so it is no part of what a user wants to keep, and is **dropped**. Refusing it would refuse every upper directory
///   as soon as a kernel notes something new.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marks {
    /// A directory that hides what lower layers have in it: `opaque` = `y`.
    pub opaque: bool,
    /// A directory whose whiteouts may be files with an attribute: `opaque` = `x`.
    pub has_file_whiteouts: bool,
    /// In such a directory: a whiteout.
    pub whiteout: bool,
    /// Of a directory: where its content is in lower layers.
    pub redirect: Option<Vec<u8>>,
    /// A file without its data.
    pub metacopy: bool,
    /// The full name of the first attribute, in the order of names, that is neither `opaque` = `y` nor bookkeeping: no layer
    /// of an image has one, whether its meaning is known here or not.
    pub foreign: Option<Vec<u8>>,
}

impl Marks {
    /// Takes the overlay's attributes out of a set. Those that a user of the overlay gave such a name get their own name
    /// back: they are stored with `overlay.` once more in it.
    #[inline]
    pub fn take(xattrs: &mut Xattrs, namespace: Namespace) -> Self {
        // Most files have none of any kind.
        match xattrs.is_empty() {
            true => Self::default(),
            false => Self::take_some(xattrs, namespace),
        }
    }

    fn take_some(xattrs: &mut Xattrs, namespace: Namespace) -> Self {
        let prefix = namespace.prefix();
        let mut marks = Self::default();
        if !xattrs.iter().any(|(name, _)| name.starts_with(prefix)) {
            return marks;
        }
        let mut kept = Xattrs::new();
        let mut keep = |name: &[u8], value: &[u8]| {
            let set = kept.set(name, value);
            debug_assert!(set.is_ok(), "not longer than a name that was valid");
        };
        for (name, value) in xattrs.iter() {
            match name.strip_prefix(prefix) {
                None => keep(name, value),
                Some(own) => match own.strip_prefix(ESCAPE) {
                    Some(escaped) => keep(&[prefix, escaped].concat(), value),
                    None => marks.note(name, own, value),
                },
            }
        }
        *xattrs = kept;
        marks
    }

    /// Notes an attribute that has the name `own` behind the prefix.
    fn note(&mut self, name: &[u8], own: &[u8], value: &[u8]) {
        match (own, value) {
            (b"opaque", b"y") => {
                self.opaque = true;
                return;
            }
            (own, _) if BOOKKEEPING.contains(&own) => return,
            (b"opaque", b"x") => self.has_file_whiteouts = true,
            (b"whiteout", _) => self.whiteout = true,
            (b"redirect", value) => self.redirect = Some(value.to_vec()),
            (b"metacopy", _) => self.metacopy = true,
            _ => {}
        }
        self.foreign.get_or_insert_with(|| name.to_vec());
    }
}

/// An attribute by which overlayfs would show something else than what is in the layer.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{path}` has the attribute `{}`, which gives it another meaning in an overlay: no layer has that", Escaped(.name))]
pub struct ForeignMark {
    /// The file.
    pub path: TreePath,
    /// Name of the attribute.
    pub name: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Xattrs {
        let mut xattrs = Xattrs::new();
        for (name, value) in pairs {
            xattrs.set(name.as_bytes(), value.as_bytes()).unwrap();
        }
        xattrs
    }

    #[test]
    fn the_overlays_own_go_and_the_images_stay() {
        let mut xattrs = set(&[
            ("security.capability", "c"),
            ("trusted.overlay.impure", "y"),
            ("trusted.overlay.opaque", "y"),
            ("trusted.overlay.origin", "o"),
            ("trusted.overlay.overlay.opaque", "y"),
            ("trusted.overlay.overlay.overlay.deep", ""),
            ("trusted.overlay.redirect", "/a/b"),
            ("trusted.overlayed", "image"),
            ("user.overlay.opaque", "image"),
        ]);
        let said = Marks::take(&mut xattrs, Namespace::Trusted);
        assert!(said.opaque && !said.has_file_whiteouts && !said.metacopy);
        assert_eq!(said.redirect.as_deref(), Some(&b"/a/b"[..]));
        assert_eq!(
            said.foreign.as_deref(),
            Some(&b"trusted.overlay.redirect"[..])
        );
        assert_eq!(
            xattrs,
            set(&[
                ("security.capability", "c"),
                ("trusted.overlay.opaque", "y"),
                ("trusted.overlay.overlay.deep", ""),
                ("trusted.overlayed", "image"),
                ("user.overlay.opaque", "image"),
            ])
        );
    }

    #[test]
    fn values_that_say_nothing() {
        for value in ["", "n", "yes", "Y"] {
            let mut xattrs = set(&[("user.overlay.opaque", value)]);
            let said = Marks::take(&mut xattrs, Namespace::User);
            let foreign = Some(b"user.overlay.opaque".to_vec());
            let expected = Marks {
                foreign,
                ..Marks::default()
            };
            assert_eq!(said, expected);
            assert!(xattrs.is_empty());
        }
    }

    #[test]
    fn marks_no_layer_has_are_foreign() {
        let foreign = |name: &str, value: &str| {
            let mut xattrs = set(&[(name, value)]);
            let marks = Marks::take(&mut xattrs, Namespace::Trusted);
            assert!(xattrs.is_empty());
            marks.foreign.is_some()
        };
        for name in ["origin", "impure", "nlink", "upper", "uuid"] {
            assert!(!foreign(&format!("trusted.overlay.{name}"), "v"), "{name}");
        }
        assert!(!foreign("trusted.overlay.opaque", "y"));
        for name in [
            "", "metacopy", "opaque", "protattr", "redirect", "verity", "whiteout",
        ] {
            assert!(foreign(&format!("trusted.overlay.{name}"), "x"), "{name}");
        }
    }
}
