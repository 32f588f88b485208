//! Output directories that exist complete or not at all.
//!
//! A directory is made under a temporary name and exchanged, in one step, with the one it replaces: that is there until
//! the new one is complete. Only what is proven to be the output of an earlier build is replaced, and nothing but the files
//! it is proven to consist of is removed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lithify_storage::Beneath;
use lithify_tree::Escaped;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::OwnOutput;
use crate::Error;
use crate::error::Operation;
use crate::error::OutputError;
use crate::error::ReplaceError;
use crate::error::directory_of;
use lithify_storage::temporary::{claim, is_claimed, remove_left, temporary_name};

/// A directory under construction, under a temporary name beside its destination.
#[derive(Debug)]
pub(crate) struct PendingDirectory {
    scratch: ScratchDirectory,
    destination: PathBuf,
}

/// A directory under a temporary name that goes away with the value. It is locked as long as its process lives, so that
/// what a killed one left can be told and removed by the next.
#[derive(Debug)]
pub(crate) struct ScratchDirectory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
    done: bool,
}

impl ScratchDirectory {
    /// Makes one in the directory of `beside`, and removes those there that killed processes left.
    pub(crate) fn create(beside: &Path) -> Result<Self, Error> {
        let failed = |e| Error::output(Operation::Create, beside, e);
        let parent = directory_of(beside);
        remove_left(&parent);
        // A process of the same number, before or in another container, may have left one of the first such name.
        let path = loop {
            let path = parent.join(temporary_name());
            match fs::create_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => break made.map(|()| path).map_err(failed)?,
            }
        };
        let lock = File::open(&path).map_err(failed)?;
        claim(&lock);
        Ok(Self {
            path,
            _lock: lock,
            done: false,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        if !self.done {
            // The build failed already; that is the error to report.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

/// What stands at a destination.
enum There {
    Nothing,
    Empty,
    Own(OwnOutput),
}

/// Looks at what stands at a destination; an error if it is to stay.
fn look(destination: &Path) -> Result<There, ReplaceError> {
    match fs::symlink_metadata(destination) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(There::Nothing),
        Err(e) => return Err(e.into()),
        Ok(there) if there.is_symlink() => return Err(ReplaceError::Link),
        Ok(there) if !there.is_dir() => return Err(ReplaceError::NotDirectory),
        Ok(_) => {}
    }
    if is_mount_point(destination)? {
        return Err(ReplaceError::MountPoint);
    }
    match fs::read_dir(destination)?.next() {
        None => Ok(There::Empty),
        Some(_) => OwnOutput::prove(destination).map(There::Own),
    }
}

/// Whether something is mounted at a directory, as far as the kernel says (`STATX_ATTR_MOUNT_ROOT`, since Linux 5.8).
fn is_mount_point(directory: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    match statx(CWD, directory, flags, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        // Renaming fails later, and everything stays.
        Err(Errno::NOSYS | Errno::PERM) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Where the old output waits while the new one gets its name, on filesystems that cannot exchange two. It has a name of
/// its own, which no build takes for a leftover: until the new one has its name, the old one is the output.
fn aside(destination: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".lithify-old-");
    name.push(destination.file_name()?);
    Some(directory_of(destination).join(name))
}

/// Puts right what a build left that was killed between two changes of names: where the new output has no name yet, the old
/// one gets its own back; where it has, the old one goes, if it is proven to be one.
fn recover(destination: &Path) -> Result<(), Error> {
    let Some(old) = aside(destination) else {
        return Ok(());
    };
    // Somebody else may have given something that name.
    let own = match look(&old).map_err(|e| not_replaced(&old, e))? {
        There::Own(own) => Some(own),
        There::Empty => None,
        There::Nothing => return Ok(()),
    };
    let open = || -> io::Result<File> {
        let name = old.file_name().unwrap_or_default();
        let opened = Beneath::open(directory_of(&old))?.directory(name)?;
        Ok(opened.into_handle().into())
    };
    let locked = open().map_err(|e| Error::output(Operation::Open, &old, e))?;
    // A build that lives has it, between the same two changes.
    if is_claimed(&locked) {
        return Ok(());
    }
    if fs::symlink_metadata(destination).is_err() {
        if own.is_none() {
            return Ok(());
        }
        let renamed = fs::rename(&old, destination);
        return renamed.map_err(|e| Error::output(Operation::Create, destination, e));
    }
    // Under a name by which the next build removes it, should this one be killed here.
    let left = directory_of(destination).join(temporary_name());
    fs::rename(&old, &left)
        .and_then(|()| match own {
            Some(own) => remove_old(&own, &left),
            None => fs::remove_dir(&left),
        })
        .map_err(|e| Error::output(Operation::Remove, &old, e))
}

impl PendingDirectory {
    /// Starts a directory that will stand at `destination`: where nothing is, an empty directory, or the output of an
    /// earlier build.
    ///
    /// # Errors
    /// [`OutputError::NotReplaced`](crate::OutputError::NotReplaced), [`OutputError::Output`](crate::OutputError::Output).
    pub(crate) fn create(destination: &Path) -> Result<Self, Error> {
        // Without `.` behind the name, which cannot be renamed.
        let destination: PathBuf = destination.components().collect();
        if destination.file_name().is_none() {
            return Err(not_replaced(&destination, ReplaceError::NoName));
        }
        recover(&destination)?;
        look(&destination).map_err(|e| not_replaced(&destination, e))?;
        Ok(Self {
            scratch: ScratchDirectory::create(&destination)?,
            destination,
        })
    }

    /// Where the directory is for now.
    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Makes a directory in it.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path().join(name);
        fs::create_dir_all(&path).map_err(|e| Error::output(Operation::Create, &path, e))?;
        Ok(path)
    }

    /// Gives the directory its name. What is there by now is looked at again: building takes its time.
    pub(crate) fn commit(mut self, durable: bool) -> Result<(), Error> {
        let destination = self.destination.clone();
        let sync = |path: &Path| {
            File::open(path)
                .and_then(|d| d.sync_all())
                .map_err(|e| Error::output(Operation::Sync, path, e))
        };
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::ResourceBusy => not_replaced(&destination, ReplaceError::MountPoint),
            _ => Error::output(Operation::Rename, &destination, e),
        };
        let path = self.path().to_path_buf();
        if durable {
            sync(&path)?;
        }
        match look(&destination).map_err(|e| not_replaced(&destination, e))? {
            There::Nothing | There::Empty => {
                fs::rename(&path, &destination).map_err(failed)?;
                self.scratch.done = true;
            }
            There::Own(own) => {
                // Locked, so that the next build does not take it for left before it is gone.
                let held = File::open(&destination).map_err(failed)?;
                claim(&held);
                let old = match exchange(&path, &destination) {
                    Ok(true) => path,
                    Ok(false) => replace(&path, &destination).map_err(failed)?,
                    Err(e) => return Err(failed(e)),
                };
                self.scratch.done = true;
                remove_old(&own, &old).map_err(|e| Error::output(Operation::Remove, &old, e))?;
            }
        }
        if durable {
            sync(&directory_of(&destination))?;
        }
        Ok(())
    }
}

fn not_replaced(path: &Path, source: ReplaceError) -> Error {
    Error::from(OutputError::NotReplaced {
        path: path.to_path_buf(),
        source: Box::new(source),
    })
}

/// Has two directories change names; `false` where the filesystem cannot.
fn exchange(new: &Path, old: &Path) -> io::Result<bool> {
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Puts a directory in the place of another in two steps. Gives where the other is now: under a name that the next build
/// may remove it by.
fn replace(new: &Path, destination: &Path) -> io::Result<PathBuf> {
    let old = aside(destination).ok_or(io::ErrorKind::InvalidInput)?;
    fs::rename(destination, &old)?;
    if let Err(e) = fs::rename(new, destination) {
        // The first error is the one to report; if this fails too, the next build does it.
        fs::rename(&old, destination).ok();
        return Err(e);
    }
    let left = directory_of(destination).join(temporary_name());
    fs::rename(&old, &left)?;
    Ok(left)
}

/// Removes what was replaced: the files it was proven to consist of.
fn remove_old(own: &OwnOutput, old: &Path) -> io::Result<()> {
    if own.remove(old)? {
        return Ok(());
    }
    // Something came in since: it is not ours to remove, nor the next build's.
    let name = temporary_name();
    let kept = PathBuf::from(format!("{}.kept", name.display()));
    let kept = directory_of(old).join(kept);
    fs::rename(old, &kept)?;
    log::warn!(
        "what was put into the replaced output meanwhile is in `{}`",
        Escaped::path(&kept)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;
    use crate::description::DESCRIPTION;
    use crate::output::file::tests::age;
    use rustix::fs::{FileType, Mode, mknodat};

    #[test]
    fn what_killed_processes_left_is_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("out");
        let alive = ScratchDirectory::create(&out).unwrap();
        age(alive.path());
        let left = tmp.path().join(".lithify-1-0.tmp");
        let young = tmp.path().join(".lithify-2-0.tmp");
        let others = tmp.path().join("mine.tmp");
        for path in [&left, &young, &others] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), "x").unwrap();
        }
        age(&left);
        age(&others);
        let next = ScratchDirectory::create(&out).unwrap();
        assert!(!left.exists());
        assert!(young.exists() && others.exists());
        assert!(alive.path().exists() && next.path().exists());
        let paths = [alive.path().to_path_buf(), next.path().to_path_buf()];
        drop((alive, next));
        assert!(paths.iter().all(|p| !p.exists()));
    }

    /// What a build writes, as far as anyone looks: one image, and a hash tree's file beside it.
    const OURS: &str = r#"{
        "reference": "x", "layers": [{}], "stack": {"overlay": ["layers/a.erofs"]},
        "artifacts": [{
            "path": "layers/a.erofs", "format": "erofs-layer", "size": 4, "sha256": "",
            "verity": {"roothash": "", "hashoffset": 0}
        }]
    }"#;

    fn fill(directory: &Path) {
        fs::create_dir_all(directory.join("layers")).unwrap();
        fs::write(directory.join("layers/a.erofs"), "four").unwrap();
        fs::write(directory.join("layers/a.erofs.dmverity"), "{}").unwrap();
        fs::write(directory.join(DESCRIPTION), OURS).unwrap();
    }

    /// An output of an earlier build, changed in some way.
    fn changed(change: impl Fn(&Path)) -> (tempfile::TempDir, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("out");
        fill(&out);
        change(&out);
        (tmp, out)
    }

    fn refusal(out: &Path) -> String {
        not_replaced(PendingDirectory::create(out).map(drop))
            .1
            .to_string()
    }

    /// The path that is not replaced, and why.
    fn not_replaced<T>(result: Result<T, Error>) -> (PathBuf, ReplaceError) {
        match result.map(drop).unwrap_err().into_cause() {
            Cause::Output(OutputError::NotReplaced { path, source }) => (path, *source),
            other => panic!("{other:?}"),
        }
    }

    fn write(name: &'static str, bytes: &'static str) -> impl Fn(&Path) {
        move |out| fs::write(out.join(name), bytes).unwrap()
    }

    #[test]
    fn only_outputs_of_builds_are_replaced() {
        let (tmp, out) = changed(|_| {});
        for durable in [false, true] {
            let pending = PendingDirectory::create(&out).unwrap();
            fill(pending.path());
            fs::write(pending.path().join("layers/a.erofs"), "next").unwrap();
            pending.commit(durable).unwrap();
            assert_eq!(fs::read(out.join("layers/a.erofs")).unwrap(), b"next");
            assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
        }
        fs::remove_dir_all(&out).unwrap();
        fs::create_dir(&out).unwrap();
        drop(PendingDirectory::create(&out).unwrap());
    }

    #[test]
    fn whatever_is_not_provably_an_output_is_left_alone() {
        type Change = Box<dyn Fn(&Path)>;
        let link = |to: &'static str, at: &'static str| {
            move |out: &Path| std::os::unix::fs::symlink(to, out.join(at)).unwrap()
        };
        let cases: Vec<(&str, Change)> = vec![
            (
                "is not one a layered build wrote",
                Box::new(write(DESCRIPTION, "")),
            ),
            (
                "is not one a layered build wrote",
                Box::new(write(DESCRIPTION, "{}")),
            ),
            (
                "is not one a layered build wrote",
                Box::new(write(
                    DESCRIPTION,
                    r#"{"image": "of another program", "layers": []}"#,
                )),
            ),
            (
                "is not one a layered build wrote",
                Box::new(|out: &Path| {
                    let text = OURS.replace("layers/a.erofs", "../out/layers/a.erofs");
                    fs::write(out.join(DESCRIPTION), text).unwrap();
                }),
            ),
            (
                "is not one a layered build wrote",
                Box::new(|out: &Path| {
                    fs::rename(out.join(DESCRIPTION), out.with_file_name("moved")).unwrap();
                    std::os::unix::fs::symlink("../moved", out.join(DESCRIPTION)).unwrap();
                }),
            ),
            (
                "no image.json says that a build wrote what is in it: `layers`",
                Box::new(|out: &Path| fs::remove_file(out.join(DESCRIPTION)).unwrap()),
            ),
            ("does not name `notes`", Box::new(write("notes", "mine"))),
            (
                "does not name `layers/notes`",
                Box::new(write("layers/notes", "mine")),
            ),
            (
                "does not name `mine`",
                Box::new(|out: &Path| fs::create_dir(out.join("mine")).unwrap()),
            ),
            (
                "does not name `layers/link`",
                Box::new(link("a.erofs", "layers/link")),
            ),
            ("does not name `b`", Box::new(link("layers", "b"))),
            (
                "does not name `layers`",
                Box::new(|out: &Path| {
                    fs::rename(out.join("layers"), out.with_file_name("moved")).unwrap();
                    std::os::unix::fs::symlink("../moved", out.join("layers")).unwrap();
                }),
            ),
            (
                "does not name `layers/a.erofs`",
                Box::new(|out: &Path| {
                    fs::remove_file(out.join("layers/a.erofs")).unwrap();
                    fs::create_dir(out.join("layers/a.erofs")).unwrap();
                }),
            ),
            (
                "`layers/a.erofs` is not as its image.json says",
                Box::new(write("layers/a.erofs", "changed")),
            ),
            (
                "`layers/a.erofs.dmverity` is not as its image.json says, or missing",
                Box::new(|out: &Path| {
                    fs::remove_file(out.join("layers/a.erofs.dmverity")).unwrap();
                }),
            ),
            (
                "does not name `x0`, `x1`, `x2`, `x3`, `x4` and 2 more",
                Box::new(|out: &Path| {
                    (0..7).for_each(|n| fs::write(out.join(format!("x{n}")), "").unwrap());
                }),
            ),
        ];
        for (words, change) in cases {
            let (tmp, out) = changed(change);
            let before = lithify_testkit::Snapshot::of(tmp.path());
            let said = refusal(&out);
            assert!(said.contains(words), "{words}: {said}");
            let after = lithify_testkit::Snapshot::of(tmp.path());
            assert_eq!(before, after, "{words}");
        }
    }

    #[test]
    fn a_link_a_file_and_a_mount_point_are_left_alone() {
        let (tmp, out) = changed(|_| {});
        let link = tmp.path().join("link");
        std::os::unix::fs::symlink("out", &link).unwrap();
        assert!(refusal(&link).contains("is a symbolic link"));
        let file = tmp.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(refusal(&file).contains("is not a directory"));
        assert!(refusal(Path::new("/proc")).contains("is a mount point"));
        assert!(out.join(DESCRIPTION).exists());
    }

    #[test]
    fn what_comes_into_the_old_output_while_the_new_one_is_built_is_kept() {
        let (_tmp, out) = changed(|_| {});
        let pending = PendingDirectory::create(&out).unwrap();
        fill(pending.path());
        fs::write(out.join("mine"), "mine").unwrap();
        not_replaced(pending.commit(false));
        assert_eq!(fs::read(out.join("mine")).unwrap(), b"mine");
        assert!(out.join("layers/a.erofs").exists());
    }

    /// Between the last look and the exchange.
    #[test]
    fn what_comes_at_the_last_moment_is_kept_too() {
        let (tmp, out) = changed(|_| {});
        let own = OwnOutput::prove(&out).unwrap();
        fs::write(out.join("layers/mine"), "mine").unwrap();
        let old = tmp.path().join(temporary_name());
        fs::rename(&out, &old).unwrap();
        remove_old(&own, &old).unwrap();
        assert!(!old.exists());
        let mut kept = fs::read_dir(tmp.path()).unwrap();
        let kept = kept.next().unwrap().unwrap().path();
        assert_eq!(fs::read(kept.join("layers/mine")).unwrap(), b"mine");
        assert!(!kept.join(DESCRIPTION).exists());
        age(&kept);
        remove_left(tmp.path());
        assert!(kept.exists());
    }

    /// On filesystems that cannot exchange two names there is a moment without a directory at the destination.
    #[test]
    fn a_build_killed_between_two_renames_loses_nothing() {
        let (tmp, out) = changed(|_| {});
        let new = tmp.path().join("new");
        fill(&new);
        let old = replace(&new, &out).unwrap();
        assert!(old.join(DESCRIPTION).exists() && out.join(DESCRIPTION).exists());
        fs::remove_dir_all(&old).unwrap();
        // Killed after the first.
        let waiting = aside(&out).unwrap();
        fs::rename(&out, &waiting).unwrap();
        age(&waiting);
        remove_left(tmp.path());
        drop(PendingDirectory::create(&out).unwrap());
        assert!(out.join("layers/a.erofs").exists());
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
        // Killed after the second: the new one is there, and the old one.
        for _ in 0..2 {
            fill(&waiting);
            drop(PendingDirectory::create(&out).unwrap());
            assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
            assert!(replace(&tmp.path().join("no such"), &out).is_err());
        }
        fs::create_dir(&waiting).unwrap();
        drop(PendingDirectory::create(&out).unwrap());
        assert!(!waiting.exists());
        // Not killed: whoever is at it has it locked.
        fill(&waiting);
        let alive = File::open(&waiting).unwrap();
        claim(&alive);
        drop(PendingDirectory::create(&out).unwrap());
        assert!(waiting.join(DESCRIPTION).exists());
        drop(alive);
        // What is not provably an output is named before anything is built.
        fs::write(waiting.join("mine"), "mine").unwrap();
        let (path, source) = not_replaced(PendingDirectory::create(&out));
        assert_eq!(path, waiting);
        assert!(source.to_string().contains("does not name `mine`"));
        assert!(waiting.join("layers/a.erofs").exists() && out.join(DESCRIPTION).exists());
        fs::remove_dir_all(&waiting).unwrap();
        // Nor is it given the name of an output, waited for or followed.
        let elsewhere = tmp.path().join("elsewhere");
        let moved = tmp.path().join("moved");
        fs::rename(&out, &moved).unwrap();
        for foreign in ["directory", "file", "link", "pipe"] {
            match foreign {
                "directory" => {
                    fs::create_dir(&waiting).unwrap();
                    fs::write(waiting.join("mine"), "mine").unwrap();
                }
                "file" => fs::write(&waiting, "mine").unwrap(),
                "link" => {
                    fill(&elsewhere);
                    std::os::unix::fs::symlink(&elsewhere, &waiting).unwrap();
                }
                _ => mknodat(CWD, &waiting, FileType::Fifo, Mode::RUSR, 0).unwrap(),
            }
            let (named, _) = not_replaced(PendingDirectory::create(&out));
            assert_eq!(named, waiting, "{foreign}");
            assert!(
                fs::symlink_metadata(&waiting).is_ok() && !out.exists(),
                "{foreign}"
            );
            match foreign {
                "directory" => fs::remove_dir_all(&waiting).unwrap(),
                _ => fs::remove_file(&waiting).unwrap(),
            }
        }
        fs::rename(&moved, &out).unwrap();
        // The second failed.
        assert!(replace(&tmp.path().join("no such"), &out).is_err());
        assert!(out.join("layers/a.erofs").exists());
    }
}
