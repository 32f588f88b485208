//! Proof that a directory is what a layered build left there, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use lithify_storage::{Beneath, BeneathError, Listed};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::LayersDirectory;
use crate::description::DESCRIPTION;
use crate::error::{Names, ReplaceError};

/// What a layered build left in a directory: all of it, by name.
#[derive(Debug)]
pub(crate) struct OwnOutput {
    /// With their sizes, where those are described.
    files: BTreeMap<PathBuf, Option<u64>>,
    directories: BTreeSet<PathBuf>,
}

impl OwnOutput {
    /// Looks whether everything in a directory is named by its description, everything named is there and as long as
    /// described. Contents are not read.
    pub(crate) fn prove(path: &Path) -> Result<Self, ReplaceError> {
        let described = match LayersDirectory::open(path) {
            Ok(described) => described,
            Err(e) => {
                let directory = Beneath::open(path)?;
                let names = directory.list()?.into_iter().map(|(name, _)| name);
                let (description, names): (Vec<PathBuf>, Vec<PathBuf>) = names
                    .map(PathBuf::from)
                    .partition(|n| n.as_os_str() == DESCRIPTION);
                let names = named(names);
                return Err(match description.is_empty() {
                    true => ReplaceError::NoDescription { names },
                    false => ReplaceError::Description {
                        names,
                        source: e.into(),
                    },
                });
            }
        };
        let own = Self::described(&described);
        let mut found = Found::default();
        own.compare(&described.directory, Path::new(""), &mut found)?;
        if !found.foreign.is_empty() {
            return Err(ReplaceError::Foreign {
                names: found.foreign,
            });
        }
        let seen = |name: &PathBuf| !found.seen.contains(name);
        for name in own.files.keys().filter(|name| seen(name)) {
            found.changed.push(name.clone());
        }
        match found.changed.is_empty() {
            true => Ok(own),
            false => Err(ReplaceError::Changed {
                names: found.changed,
            }),
        }
    }

    /// Names what is in a described directory and not in its description.
    pub(crate) fn foreign(described: &LayersDirectory) -> io::Result<Names> {
        let mut found = Found::default();
        Self::described(described).compare(&described.directory, Path::new(""), &mut found)?;
        Ok(found.foreign)
    }

    /// All that a description says is there.
    fn described(described: &LayersDirectory) -> Self {
        let mut own = Self {
            files: BTreeMap::from([(DESCRIPTION.into(), None)]),
            directories: BTreeSet::from(["layers".into()]),
        };
        for file in &described.files {
            let path = PathBuf::from(&file.path);
            for above in path
                .ancestors()
                .skip(1)
                .filter(|a| !a.as_os_str().is_empty())
            {
                own.directories.insert(above.to_path_buf());
            }
            if file.verity.is_some() {
                own.files
                    .insert(format!("{}.dmverity", file.path).into(), None);
            }
            own.files.insert(path, Some(file.size));
        }
        own
    }

    fn compare(&self, directory: &Beneath, at: &Path, found: &mut Found) -> io::Result<()> {
        for (name, listed) in directory.list()? {
            let path = at.join(&name);
            match (listed, self.files.get(&path)) {
                (Listed::File, Some(size)) => {
                    let length = directory.file(&name)?.metadata()?.len();
                    if size.is_some_and(|size| size != length) {
                        found.changed.push(path.clone());
                    }
                    found.seen.insert(path);
                }
                (Listed::Directory, _) if self.directories.contains(&path) => {
                    self.compare(&directory.directory(&name)?, &path, found)?;
                }
                _ => found.foreign.push(path),
            }
        }
        Ok(())
    }

    /// Removes what was proven to be an output and now is at `path`. Whatever came there meanwhile stays, with what it
    /// is in; says whether nothing stayed.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<bool> {
        let directory = match Beneath::open(path) {
            // Another process took it for what a killed one left.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            opened => opened?,
        };
        let mut all = true;
        // The description last: as long as it is there, what is left can be told to be an output.
        let last = Path::new(DESCRIPTION);
        let files = self.files.keys().filter(|name| *name != last);
        for name in files {
            all &= unlink(&directory, name, AtFlags::empty())?;
        }
        for name in self.directories.iter().rev() {
            all &= unlink(&directory, name, AtFlags::REMOVEDIR)?;
        }
        all &= unlink(&directory, last, AtFlags::empty())?;
        Ok(all & gone(rustix::fs::rmdir(path))?)
    }
}

/// Removes a name inside a directory; a link on the way, put there meanwhile, is not followed. Says whether it is gone.
fn unlink(directory: &Beneath, name: &Path, flags: AtFlags) -> io::Result<bool> {
    let (Some(parent), Some(last)) = (name.parent(), name.file_name()) else {
        return Ok(false);
    };
    if parent.as_os_str().is_empty() {
        return gone(unlinkat(directory.handle(), last, flags));
    }
    match directory.directory(parent) {
        Ok(parent) => gone(unlinkat(parent.handle(), last, flags)),
        Err(e) if e.is_not_found() => Ok(true),
        Err(BeneathError::Link { .. } | BeneathError::NotDirectory { .. }) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether a name was removed, by whomever, or stays because something else is there now.
fn gone(removed: rustix::io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR | Errno::NOTDIR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "tests state what they expect by panicking"
)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Deleting went through links: a directory of an output, replaced by a link to `/etc` while a build ran, let files there
    /// be removed.
    #[test]
    fn a_link_put_into_an_output_is_not_followed_when_it_is_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let (outside, out) = (tmp.path().join("outside"), tmp.path().join("out"));
        let own = OwnOutput {
            files: ["layers/deep/a", "layers/b", "image.json"]
                .map(|name| (name.into(), None))
                .into(),
            directories: ["layers", "layers/deep"].map(PathBuf::from).into(),
        };
        for replaced in ["layers", "layers/deep"] {
            fs::create_dir_all(outside.join("deep")).unwrap();
            for name in ["a", "b", "deep/a"] {
                fs::write(outside.join(name), "theirs").unwrap();
            }
            fs::create_dir_all(out.join("layers")).unwrap();
            fs::write(out.join("image.json"), "{}").unwrap();
            if replaced == "layers" {
                fs::remove_dir(out.join("layers")).unwrap();
            }
            symlink(&outside, out.join(replaced)).unwrap();
            assert!(!own.remove(&out).unwrap());
            for name in ["a", "b", "deep/a"] {
                assert_eq!(
                    fs::read(outside.join(name)).unwrap(),
                    b"theirs",
                    "{replaced}"
                );
            }
            fs::remove_file(out.join(replaced)).unwrap();
            assert!(own.remove(&out).unwrap() && !out.exists());
        }
    }
}

#[derive(Default)]
struct Found {
    seen: BTreeSet<PathBuf>,
    foreign: Names,
    changed: Names,
}

fn named(all: Vec<PathBuf>) -> Names {
    let mut names = Names::default();
    all.into_iter().for_each(|name| names.push(name));
    names
}
