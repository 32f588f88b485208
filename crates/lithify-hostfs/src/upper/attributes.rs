//! The overlay's own extended attributes (`fs/overlayfs/overlayfs.h`, `xattrs.c`).

use lithify_tree::{XattrError, Xattrs};

/// What the attributes of a file in an upper directory say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// A directory that hides what lower layers have in it.
    pub(super) opaque: bool,
    /// A directory whose whiteouts may be files with an attribute.
    pub(super) has_file_whiteouts: bool,
    /// In such a directory: a whiteout.
    pub(super) whiteout: bool,
    /// Of a directory: where its content is in lower layers.
    pub(super) redirect: Option<Vec<u8>>,
    /// A file without its data.
    pub(super) metacopy: bool,
}

/// Takes the overlay's attributes out of a set: what begins with `prefix` (`trusted.overlay.` or `user.overlay.`).
///
/// An attribute that a user of the overlay gave such a name was stored with `overlay.` once more in it, and gets its
/// name back. All others are never seen through an overlay, so they are no part of the image: `origin`, `impure`, `nlink`,
/// `upper`, `uuid`, `protattr` and whatever comes next.
pub(super) fn take(xattrs: &mut Xattrs, prefix: &[u8]) -> Result<Said, XattrError> {
    let mut said = Said::default();
    if !xattrs.iter().any(|(name, _)| name.starts_with(prefix)) {
        return Ok(said);
    }
    let mut kept = Xattrs::new();
    for (name, value) in xattrs.iter() {
        let Some(own) = name.strip_prefix(prefix) else {
            kept.set(name, value)?;
            continue;
        };
        match own {
            b"opaque" => match value {
                b"y" => said.opaque = true,
                b"x" => said.has_file_whiteouts = true,
                _ => {}
            },
            b"whiteout" => said.whiteout = true,
            b"redirect" => said.redirect = Some(value.to_vec()),
            b"metacopy" => said.metacopy = true,
            own => {
                if let Some(escaped) = own.strip_prefix(b"overlay.") {
                    kept.set(&[prefix, escaped].concat(), value)?;
                }
            }
        }
    }
    *xattrs = kept;
    Ok(said)
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
        let said = take(&mut xattrs, b"trusted.overlay.").unwrap();
        assert!(said.opaque && !said.has_file_whiteouts && !said.metacopy);
        assert_eq!(said.redirect.as_deref(), Some(&b"/a/b"[..]));
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
            let said = take(&mut xattrs, b"user.overlay.").unwrap();
            assert_eq!(said, Said::default());
            assert!(xattrs.is_empty());
        }
    }
}
