//! The rules by which an image is made of a filesystem.

use std::str::FromStr;

use lithify_tree::{
    Entry, EntryKind, Escaped, LayerEntries, Merge, Metadata, NodeId, Tree, TreePath,
};

use crate::Error;
use crate::error::{ComposefsError, LayerError};

/// The rules by which a composefs image is made of the filesystem of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ComposefsProfile {
    /// Everything that the layers have.
    #[default]
    Faithful,
    /// As `cfsctl` 0.9 makes it: the root directory's metadata are those of `/usr`, `/run` is empty and has the time of `/usr`, and of
    /// extended attributes only `security.capability` is left.
    Cfsctl,
}

/// A profile that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no profile of composefs images: expected faithful or cfsctl", Escaped(.found))]
pub struct UnknownProfile {
    /// The word that was given.
    pub found: String,
}

impl ComposefsProfile {
    /// All profiles, in the order they are shown.
    pub const ALL: [Self; 2] = [Self::Faithful, Self::Cfsctl];

    /// Returns the name of the profile on the command line and in descriptions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Faithful => "faithful",
            Self::Cfsctl => "cfsctl",
        }
    }
}

impl FromStr for ComposefsProfile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == text);
        found.ok_or_else(|| UnknownProfile {
            found: text.to_owned(),
        })
    }
}

/// The only attribute that `cfsctl` leaves.
const CAPABILITY: &[u8] = b"security.capability";

/// Ends a merge of layers by the rules of a profile.
pub(super) fn finish(
    mut merge: Merge,
    profile: ComposefsProfile,
    name: &str,
) -> Result<Tree, Error> {
    if profile == ComposefsProfile::Faithful {
        return Ok(merge.finish());
    }
    let changes = changes(&merge.tree(), name)?;
    merge.apply(changes).map_err(|source| LayerError::Tree {
        name: name.to_owned(),
        source,
    })?;
    let mut tree = merge.finish();
    tree.map_xattrs(|_, set| {
        let others: Vec<_> = set
            .iter()
            .map(|(name, _)| name.to_vec())
            .filter(|name| name != CAPABILITY)
            .collect();
        let mut left = (!others.is_empty()).then(|| set.clone())?;
        for name in &others {
            left.remove(name);
        }
        Some(left)
    });
    Ok(tree)
}

/// Returns the layer that makes of a filesystem what `cfsctl` makes of it, but for attributes.
fn changes(tree: &Tree, name: &str) -> Result<LayerEntries, Error> {
    let refused = |reason| {
        Error::from(ComposefsError::Profile {
            name: name.to_owned(),
            reason,
        })
    };
    let directory = |name: &[u8]| match tree.child(NodeId::ROOT, name) {
        Some(node) if tree.node_inode(node).kind.is_directory() => Some(Ok(tree.metadata(node))),
        Some(_) => Some(Err(())),
        None => None,
    };
    let usr = match directory(b"usr") {
        Some(Ok(usr)) => usr,
        _ => return Err(refused("it has no directory `/usr`")),
    };
    let mut layer = LayerEntries::new();
    let mut push = |path: &[u8], metadata, kind| -> Result<(), Error> {
        let path = TreePath::clean(path).map_err(Error::tar_path)?;
        let entry = Entry {
            path,
            metadata,
            kind,
        };
        Ok(layer
            .push(&entry, None)
            .map_err(ComposefsError::TooManyFiles)?)
    };
    match directory(b"run") {
        Some(Ok(mut run)) => {
            run.mtime = usr.mtime;
            push(b"run", Metadata::default(), EntryKind::Opaque)?;
            push(b"run", run, EntryKind::Directory)?;
        }
        Some(Err(())) => return Err(refused("its `/run` is no directory")),
        None => {}
    }
    push(b"/", usr, EntryKind::Directory)?;
    Ok(layer)
}
