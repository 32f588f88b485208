//! Why an output directory is not put in the place of what is there.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lithify_tree::Escaped;

use super::Nested;
use crate::description::DESCRIPTION;

/// Why an output directory is not put in the place of what is there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// A symbolic link.
    #[error("it is a symbolic link: name the directory it leads to")]
    Link,
    /// A file.
    #[error("it is not a directory")]
    NotDirectory,
    /// A path that ends in `.`, `..` or `/`: the directory it is of would have to be renamed.
    #[error("it is replaced as a whole: name it as its parent directory knows it")]
    NoName,
    /// The place where something is mounted, which cannot be renamed.
    #[error("it is a mount point: name a directory in it")]
    MountPoint,
    /// A directory that is not empty, without a description.
    #[error("no {DESCRIPTION} says that a build wrote what is in it: {names}")]
    NoDescription {
        /// What is there.
        names: Names,
    },
    /// Its description is not one, or says what no build says.
    #[error("its {DESCRIPTION}{} is not one a layered build wrote", .names.beside())]
    Description {
        /// What else is there.
        names: Names,
        /// What is wrong with it.
        source: Nested,
    },
    /// There is more than what its description names.
    #[error("its {DESCRIPTION} does not name {names}")]
    Foreign {
        /// What is there and not named.
        names: Names,
    },
    /// What its description names is not there, or not as long as it says.
    #[error("{names} is not as its {DESCRIPTION} says, or missing")]
    Changed {
        /// What is named.
        names: Names,
    },
    /// A file that is named as the root hash of an image is named, and is not one.
    #[error("it has the name of the image's root hash, but is not one")]
    NotRootHash,
    /// A disk to be, where something is.
    #[error("a new disk takes nothing's place")]
    Disk,
    /// It cannot be looked at.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Some names in a directory, relative to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    shown: Vec<PathBuf>,
    more: usize,
}

impl Names {
    /// How many are kept; of more only the number.
    const KEPT: usize = 5;

    pub(crate) fn push(&mut self, name: PathBuf) {
        match self.shown.len() < Self::KEPT {
            true => self.shown.push(name),
            false => self.more += 1,
        }
    }

    /// The names, or the first of them.
    #[must_use]
    pub fn shown(&self) -> &[PathBuf] {
        &self.shown
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Words for a message about something that stands beside these.
    fn beside(&self) -> String {
        match self.is_empty() {
            true => String::new(),
            false => format!(", beside {self},"),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.shown.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{}`", Escaped::path(name))?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
