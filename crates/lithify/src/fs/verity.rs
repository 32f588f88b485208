//! Hash trees behind image files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lithify_cancel::Checked;
use lithify_storage::{Beneath, BeneathError};
use lithify_verity::{Sidecar, VerityOptions, VerityReport};

use crate::Error;
use crate::description::Artifact;
use crate::error::ReplaceError;
use crate::error::directory_of;
use crate::error::{ArtifactError, BuildError, Operation, OutputError};
use crate::output::PendingFile;
use crate::session::Session;
use lithify_storage::temporary::{claim, temporary_name};

/// Longest file with a root hash, in bytes.
pub(crate) const SIDECAR_MAX: u64 = 4096;

/// Appends superblock and tree behind the image that is the first `size` bytes of a file, as long as the work goes on.
pub(crate) fn append(
    file: &File,
    size: u64,
    path: &Path,
    session: &Session,
) -> Result<VerityReport, Error> {
    let options = VerityOptions {
        threads: session.threads(),
        ..VerityOptions::default()
    };
    let handle = file
        .try_clone()
        .map_err(|e| Error::output(Operation::Create, path, e))?;
    let mut handle = Checked::new(handle, &session.cancel);
    lithify_verity::append(&mut handle, size, &options).map_err(|e| match e {
        lithify_verity::WriteError::Io { source, .. } => {
            Error::output(Operation::Write, path, source)
        }
        e => Error::from(BuildError::WriteVerity(Box::new(e))),
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

/// Refuses an image where what has its sidecar's name is not a sidecar: whoever writes an image replaces that file or takes
/// it away, since a root hash of another image is worse than none.
pub(crate) fn check_beside(image: &Path) -> Result<(), Error> {
    let path = sidecar_path(image);
    let refused = |source| {
        Error::from(OutputError::NotReplaced {
            path: path.clone(),
            source: Box::new(source),
        })
    };
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    // A directory one may only write to can be looked into no further.
    if fs::symlink_metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    let read = Beneath::open(directory_of(&path))
        .map_err(BeneathError::from)
        .and_then(|directory| directory.read(name, SIDECAR_MAX));
    match read {
        Ok(bytes) if Sidecar::parse(&bytes).is_ok() => Ok(()),
        Err(e) if e.is_not_found() => Ok(()),
        Err(BeneathError::Io(e)) => Err(refused(e.into())),
        _ => Err(refused(ReplaceError::NotRootHash)),
    }
}

/// Gives an image its name by `commit`, and what is beside it the right content first: its sidecar, or none. The other way
/// round, an image could be left without the root hash it is to be checked by, or with one of another image. If a step
/// fails, what was beside the image before is there again.
pub(crate) fn commit_with<T>(
    image: &Path,
    sidecar: Option<PendingFile>,
    durable: bool,
    commit: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    check_beside(image)?;
    let before = Kept::keep(sidecar_path(image))?;
    let beside = match sidecar {
        Some(sidecar) => sidecar.commit(durable),
        None => before.hide(durable),
    };
    let done = beside.and_then(|()| commit());
    match &done {
        Ok(_) => before.forget(),
        Err(_) => before.restore(),
    }
    done
}

/// What a file was before it is replaced or removed, under another name.
struct Kept {
    path: PathBuf,
    copy: Option<Copy>,
}

struct Copy {
    name: PathBuf,
    /// Held open: what has a temporary name is locked while its process lives.
    _claimed: Option<File>,
}

impl Kept {
    fn keep(path: PathBuf) -> Result<Self, Error> {
        let failed = |e| Error::output(Operation::Create, &path, e);
        let name = loop {
            let name = directory_of(&path).join(temporary_name());
            match fs::hard_link(&path, &name) {
                Ok(()) => break Some(name),
                Err(e) if e.kind() == io::ErrorKind::NotFound => break None,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                // A filesystem without links.
                Err(_) => {
                    fs::copy(&path, &name).map_err(failed)?;
                    break Some(name);
                }
            }
        };
        let copy = name.map(|name| {
            // One that cannot be opened is only not locked.
            let claimed = File::open(&name).ok();
            claimed.iter().for_each(claim);
            Copy {
                name,
                _claimed: claimed,
            }
        });
        Ok(Self { path, copy })
    }

    /// Takes the file away.
    fn hide(&self, durable: bool) -> Result<(), Error> {
        if self.copy.is_none() {
            return Ok(());
        }
        let failed = |operation, e| Error::output(operation, &self.path, e);
        fs::remove_file(&self.path).map_err(|e| failed(Operation::Remove, e))?;
        if durable {
            File::open(directory_of(&self.path))
                .and_then(|directory| directory.sync_all())
                .map_err(|e| failed(Operation::Sync, e))?;
        }
        Ok(())
    }

    /// It is not needed any more. If it cannot be removed, the next build does it.
    fn forget(&self) {
        if let Some(copy) = &self.copy {
            fs::remove_file(&copy.name).ok();
        }
    }

    /// Puts it back. That something failed is known already; it is the error to report.
    fn restore(&self) {
        match &self.copy {
            Some(copy) => {
                fs::rename(&copy.name, &self.path).ok();
                // Two names of one file both stay when one is renamed to the other.
                fs::remove_file(&copy.name).ok();
            }
            None => {
                fs::remove_file(&self.path).ok();
            }
        }
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
    let root = facts.root_hash.parse().map_err(|_| {
        Error::from(ArtifactError::RootHash {
            found: facts.root_hash.clone(),
        })
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

    fn other() -> String {
        let hash_offset = 8192;
        Sidecar {
            hash_offset,
            ..facts()
        }
        .to_json()
    }

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn neither_a_tree_nor_a_digest_is_made_once_the_work_is_stopped() {
        let read = Session::default();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[1; 8192]).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        read.cancel.cancel();
        let place = Path::new("x");
        append(&file, 8192, place, &read).unwrap_err();
        assert_eq!(file.metadata().unwrap().len(), 8192);
        crate::make::file_sha256(place, &file, &read.cancel).unwrap_err();
        assert_eq!(io::Seek::stream_position(&mut file).unwrap(), 0);
    }

    #[test]
    fn an_image_that_gets_no_name_leaves_the_root_hash_beside_it_as_it_was() {
        for before in [None, Some(other())] {
            for with_tree in [true, false] {
                let tmp = tempfile::tempdir().unwrap();
                let out = tmp.path().join("x.erofs");
                let beside = sidecar_path(&out);
                if let Some(text) = &before {
                    fs::write(&beside, text).unwrap();
                }
                let image = PendingFile::create(&out, false).unwrap();
                let pending = with_tree.then(|| sidecar(&out, &facts(), false).unwrap());
                // Put there while the image was built; a file does not replace it.
                fs::create_dir(&out).unwrap();
                let mut seen = None;
                let done = commit_with(&out, pending, false, || {
                    seen = fs::read_to_string(&beside).ok();
                    image.commit(false)
                });
                assert!(done.is_err());
                // What is beside the image was right before the image would have been there.
                assert_eq!(seen, with_tree.then(|| facts().to_json()));
                assert_eq!(fs::read_to_string(&beside).ok(), before);
                assert_eq!(names(tmp.path()), 1 + usize::from(before.is_some()));
            }
        }
    }

    #[test]
    fn a_root_hash_that_gets_no_name_leaves_the_one_before_and_no_image() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("x.erofs");
        fs::write(sidecar_path(&out), other()).unwrap();
        let before = Kept::keep(sidecar_path(&out)).unwrap();
        assert_eq!(names(tmp.path()), 2);
        before.restore();
        let text = fs::read_to_string(sidecar_path(&out)).unwrap();
        assert_eq!((text, names(tmp.path())), (other(), 1));
    }

    #[test]
    fn an_image_and_its_root_hash_get_their_names() {
        for with_tree in [true, false] {
            let tmp = tempfile::tempdir().unwrap();
            let out = tmp.path().join("x.erofs");
            fs::write(sidecar_path(&out), other()).unwrap();
            let image = PendingFile::create(&out, false).unwrap();
            let pending = with_tree.then(|| sidecar(&out, &facts(), false).unwrap());
            commit_with(&out, pending, true, || image.commit(true)).unwrap();
            let text = fs::read_to_string(sidecar_path(&out)).ok();
            assert_eq!(text, with_tree.then(|| facts().to_json()));
            assert_eq!(names(tmp.path()), 1 + usize::from(with_tree));
        }
    }

    #[test]
    fn what_is_no_root_hash_is_left_as_it_is() {
        use std::os::unix::fs::symlink;
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        fs::write(at("right.dmverity"), other()).unwrap();
        check_beside(&at("right")).unwrap();
        check_beside(&at("none")).unwrap();
        fs::write(at("text.dmverity"), "notes").unwrap();
        fs::write(at("empty.dmverity"), "").unwrap();
        fs::write(at("long.dmverity"), " ".repeat(5000) + &other()).unwrap();
        symlink("right.dmverity", at("link.dmverity")).unwrap();
        fs::create_dir(at("directory.dmverity")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe.dmverity"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        for name in ["text", "empty", "long", "link", "directory", "pipe"] {
            let image = PendingFile::create(&at(name), false).unwrap();
            for error in [
                check_beside(&at(name)).unwrap_err(),
                commit_with(&at(name), None, false, || image.commit(false)).unwrap_err(),
            ] {
                let cause = error.into_cause();
                let crate::Cause::Output(OutputError::NotReplaced { path, source }) = cause else {
                    panic!("{name}: {cause:?}");
                };
                assert_eq!(path, at(&format!("{name}.dmverity")));
                assert!(matches!(*source, ReplaceError::NotRootHash), "{source:?}");
            }
            assert!(!at(name).exists(), "{name}");
        }
        assert_eq!(fs::read_to_string(at("text.dmverity")).unwrap(), "notes");
    }
}
