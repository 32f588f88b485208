//! Hash trees behind image files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lithify_verity::{Sidecar, VerityOptions, VerityReport};

use crate::description::Artifact;
use crate::error::Operation;
use crate::leftovers::temporary_name;
use crate::output::{PendingFile, directory_of};
use crate::{Error, ReadOptions};

/// Appends superblock and tree behind the image that is the first `size` bytes of a file.
pub(crate) fn append(
    file: &File,
    size: u64,
    path: &Path,
    read: &ReadOptions,
) -> Result<VerityReport, Error> {
    let options = VerityOptions {
        threads: read.threads(),
        ..VerityOptions::default()
    };
    let mut handle = file
        .try_clone()
        .map_err(|e| Error::output(Operation::Create, path, e))?;
    lithify_verity::append(&mut handle, size, &options).map_err(|e| match e {
        lithify_verity::WriteError::Io { source, .. } => {
            Error::output(Operation::Write, path, source)
        }
        e => Error::WriteVerity(Box::new(e)),
    })
}

/// The file that tells containerd the root hash of the image at `image`.
pub(crate) fn sidecar_path(image: &Path) -> PathBuf {
    let mut path = image.as_os_str().to_owned();
    path.push(".dmverity");
    path.into()
}

/// A sidecar for the image at `image`, complete and without its name yet.
pub(crate) fn sidecar(
    image: &Path,
    sidecar: &Sidecar,
    durable: bool,
) -> Result<PendingFile, Error> {
    use std::io::Write as _;
    let path = sidecar_path(image);
    let pending = PendingFile::create(&path, durable)?;
    (&**pending.file())
        .write_all(sidecar.to_json().as_bytes())
        .map_err(|e| Error::output(Operation::Write, &path, e))?;
    Ok(pending)
}

/// Gives a sidecar its name, then does what gives the image its own. The other way round, an image could be left without
/// the root hash it is to be checked by; a root hash that is not the image's is noticed. If the second step fails, what was
/// beside the image before is there again.
pub(crate) fn commit_before<T>(
    sidecar: PendingFile,
    durable: bool,
    image: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let before = Kept::keep(sidecar.destination())?;
    sidecar.commit(durable)?;
    let done = image();
    match &done {
        Ok(_) => before.forget(),
        Err(_) => before.restore(),
    }
    done
}

/// What a file was before it is replaced, under another name.
struct Kept {
    path: PathBuf,
    copy: Option<PathBuf>,
}

impl Kept {
    fn keep(path: &Path) -> Result<Self, Error> {
        let failed = |e| Error::output(Operation::Create, path, e);
        let copy = loop {
            let copy = directory_of(path).join(temporary_name());
            match fs::hard_link(path, &copy) {
                Ok(()) => break Some(copy),
                Err(e) if e.kind() == io::ErrorKind::NotFound => break None,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                // A filesystem without links.
                Err(_) => {
                    fs::copy(path, &copy).map_err(failed)?;
                    break Some(copy);
                }
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            copy,
        })
    }

    /// It is not needed any more. If it cannot be removed, the next build does it.
    fn forget(&self) {
        if let Some(copy) = &self.copy {
            fs::remove_file(copy).ok();
        }
    }

    /// Puts it back. That something failed is known already; it is the error to report.
    fn restore(&self) {
        match &self.copy {
            Some(copy) => fs::rename(copy, &self.path).ok(),
            None => fs::remove_file(&self.path).ok(),
        };
    }
}

/// Says in the artifact's description where its tree is.
pub(crate) fn describe(artifact: &mut Artifact, sidecar: &Sidecar, size: u64) {
    artifact.verity = Some(sidecar.into());
    artifact.size = size;
    artifact
        .options
        .insert("verity".to_owned(), "sha256".to_owned());
}

/// The sidecar for a tree that was described.
pub(crate) fn from_facts(facts: &crate::description::Verity) -> Result<Sidecar, Error> {
    let root = facts.root_hash.parse().map_err(|_| Error::RootHash {
        found: facts.root_hash.clone(),
    })?;
    Ok(Sidecar {
        root,
        hash_offset: facts.hash_offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Sidecar {
        Sidecar {
            root: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
                .parse()
                .unwrap(),
            hash_offset: 4096,
        }
    }

    #[test]
    fn an_image_that_gets_no_name_leaves_the_root_hash_beside_it_as_it_was() {
        for before in [None, Some("of another image")] {
            let tmp = tempfile::tempdir().unwrap();
            let out = tmp.path().join("x.erofs");
            let beside = sidecar_path(&out);
            if let Some(text) = before {
                fs::write(&beside, text).unwrap();
            }
            let image = PendingFile::create(&out, false).unwrap();
            let pending = sidecar(&out, &facts(), false).unwrap();
            // Put there while the image was built; a file does not replace it.
            fs::create_dir(&out).unwrap();
            let mut seen = None;
            let done = commit_before(pending, false, || {
                seen = fs::read_to_string(&beside).ok();
                image.commit(false)
            });
            assert!(done.is_err());
            // The root hash was there before the image would have been.
            assert_eq!(seen, Some(facts().to_json()));
            assert_eq!(fs::read_to_string(&beside).ok().as_deref(), before);
            let names = 1 + usize::from(before.is_some());
            assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), names);
        }
    }

    #[test]
    fn an_image_and_its_root_hash_get_their_names() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("x.erofs");
        fs::write(sidecar_path(&out), "of another image").unwrap();
        let image = PendingFile::create(&out, false).unwrap();
        let pending = sidecar(&out, &facts(), false).unwrap();
        commit_before(pending, true, || image.commit(true)).unwrap();
        let text = fs::read_to_string(sidecar_path(&out)).unwrap();
        assert_eq!(text, facts().to_json());
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 2);
    }
}
