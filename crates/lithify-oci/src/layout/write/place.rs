//! The directory of a layout that is written into, by any number of writers at once.
//!
//! Directories are held, not named: what stands in their place later has nothing written into it. Two locks (`flock`), which
//! the kernel ends with the process:
//!
//! - `oci-layout` is locked by whoever begins the layout, changes `index.json` or takes a layout away, for as long as that
//!   takes. It is never replaced, and it can be opened for writing, which locks of network filesystems want.
//! - `blobs` is locked, together with others, by every writer from beginning to end. Who gets it alone knows that nobody else
//!   is writing.
//!
//! Where a filesystem has no locks, writers should come one after the other.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use lithify_cancel::CancelToken;
use lithify_digest::{Algorithm, Digest};
use lithify_storage::temporary::{NewFile, is_temporary, remove_left_in, remove_left_where};
use lithify_storage::{Beneath, BeneathError, Locked};
use rustix::fs::{AtFlags, Mode, OFlags, fsync, mkdirat, openat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::index;
use crate::Limits;
use crate::blob::{self, BlobName};
use crate::layout::{Directory, Error, Members as _, check_marker, parse_index, read_index_json};
use crate::manifest;

const MARKER: &str = "oci-layout";
const MARKER_JSON: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
const BLOBS: &str = "blobs";

/// How often a lock somebody has is tried again.
const NAP: Duration = Duration::from_millis(5);

/// How often a lock is tried by who takes a layout away: whatever waits for this process should not wait for another one.
const TRIES_AT_THE_END: u32 = 200;

/// How often a layout may be taken away while this writer begins to write into it.
const BEGINNINGS: u32 = 100;

/// After so many of them, parts of a layout without `oci-layout` are nothing that is being begun or taken away.
const SURE_AFTER: u32 = 10;

/// A layout that is written into.
#[derive(Debug)]
pub(super) struct Place {
    layout: Directory,
    blobs: Beneath,
    /// Tells others that someone is writing.
    in_use: Option<Locked>,
    /// What goes again if nothing comes of it.
    made: Option<Made>,
    cancel: CancelToken,
}

/// What a writer made for its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// The directory.
    Directory,
    /// What is in a directory that was empty.
    Content,
}

/// What a layout is begun with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// Nothing, or an empty directory.
    New,
    /// A layout.
    Existing,
    /// Either.
    Any,
}

/// Checks that a layout is in `path`, or can be begun there, as far as that can be told without touching anything.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    let root = match Beneath::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            let there = fs::metadata(parent.unwrap_or(Path::new(".")));
            return there
                .map(drop)
                .map_err(io_error("create the directory", path));
        }
        Err(e) if e.kind() == io::ErrorKind::NotADirectory && path.exists() => {
            return Err(Error::NotADirectory {
                path: path.to_owned(),
            });
        }
        opened => opened.map_err(io_error("open", path))?,
    };
    let layout = Directory::held(root);
    if !has_marker(layout.beneath())? {
        let names = layout.beneath().list().map_err(io_error("list", path))?;
        let mut names = names.into_iter().map(|(name, _)| name);
        return match names.all(|name| is_temporary(&name)) {
            true => Ok(()),
            false => Err(Error::Exists {
                path: path.to_owned(),
            }),
        };
    }
    check_marker(&layout, &Limits::default()).map_err(|e| unreadable(path, e))?;
    match layout.beneath().file(INDEX) {
        // Another writer has just begun it.
        Err(e) if e.is_not_found() => Ok(()),
        _ => read_listed(&layout).map(drop),
    }
}

impl Place {
    pub(super) fn open(path: &Path, begin: Begin, cancel: &CancelToken) -> Result<Self, Error> {
        for attempt in 0..BEGINNINGS {
            let is_sure = attempt >= SURE_AFTER;
            if let Some(place) = Self::try_open(path, begin, cancel, is_sure)? {
                return Ok(place);
            }
            cancel
                .wait(NAP)
                .map_err(|e| io_error("open", path)(e.into()))?;
        }
        let gone = io::Error::other("others begin a layout there and take it away again");
        Err(io_error("begin a layout in", path)(gone))
    }

    /// One attempt; `None` if the layout was taken away meanwhile by another writer, for which nothing came of it.
    fn try_open(
        path: &Path,
        begin: Begin,
        cancel: &CancelToken,
        is_sure: bool,
    ) -> Result<Option<Self>, Error> {
        let exists = || Error::Exists {
            path: path.to_owned(),
        };
        let mut made = match begin {
            Begin::Existing => None,
            Begin::New | Begin::Any => match fs::create_dir(path) {
                Ok(()) => Some(Made::Directory),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => None,
                Err(source) => return Err(io_error("create the directory", path)(source)),
            },
        };
        let root = match Beneath::open(path) {
            Err(e)
                if e.kind() == io::ErrorKind::NotFound
                    && begin != Begin::Existing
                    && !path.is_symlink() =>
            {
                return Ok(None);
            }
            Err(e) if e.kind() == io::ErrorKind::NotADirectory && path.exists() => {
                return Err(Error::NotADirectory {
                    path: path.to_owned(),
                });
            }
            opened => opened.map_err(io_error("open", path))?,
        };
        let layout = Directory::held(root);
        if has_marker(layout.beneath())? {
            if begin == Begin::New {
                return Err(exists());
            }
        } else {
            if begin == Begin::Existing {
                return Err(Error::NotALayout {
                    hint: layout.other_kind(),
                });
            }
            let names = layout.beneath().list().map_err(io_error("list", path))?;
            let mut names = names.into_iter().map(|(name, _)| name);
            match names.find(|name| !is_temporary(name)) {
                // What is listed is not all of one moment.
                Some(other)
                    if !is_sure && [MARKER, INDEX, BLOBS].iter().any(|name| other == *name) =>
                {
                    return Ok(None);
                }
                Some(_) => return Err(exists()),
                None => {}
            }
            match keep(layout.beneath(), MARKER, MARKER_JSON) {
                Ok(true) => made = made.or(Some(Made::Content)),
                Ok(false) if begin == Begin::New => return Err(exists()),
                // Someone else did.
                Ok(false) => made = None,
                // The directory was taken away.
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => {
                    if made == Some(Made::Directory) {
                        // The error above is the one to report.
                        fs::remove_dir(path).ok();
                    }
                    return Err(io_error("write", &path.join(MARKER))(source));
                }
            }
        }
        match lock(layout.beneath(), cancel, u32::MAX)? {
            Some(lock) => Self::enter(layout, made, cancel, &lock).map(Some),
            None => Ok(None),
        }
    }

    /// What a writer needs of a layout it has locked.
    fn enter(
        layout: Directory,
        made: Option<Made>,
        cancel: &CancelToken,
        _lock: &Guard,
    ) -> Result<Self, Error> {
        let root = layout.beneath();
        let entered = prepare(&layout);
        if entered.is_err()
            && let Some(made) = made
            && root.file(INDEX).is_err_and(|e| e.is_not_found())
        {
            // Nobody entered before; what failed is the error to report.
            undo(root, made).ok();
        }
        let (blobs, in_use) = entered?;
        for directory in [root, &blobs] {
            remove_left_in(directory);
        }
        remove_left_where(&blobs, is_old_temporary);
        for (name, _) in blobs.list().unwrap_or_default() {
            // What is no directory has nothing in it.
            if let Ok(directory) = blobs.directory(name) {
                remove_left_in(&directory);
            }
        }
        Ok(Self {
            layout,
            blobs,
            in_use,
            made,
            cancel: cancel.clone(),
        })
    }

    fn root(&self) -> &Beneath {
        self.layout.beneath()
    }

    pub(super) fn path(&self) -> &Path {
        self.root().path()
    }

    /// An error once the work is stopped.
    pub(super) fn go_on(&self) -> io::Result<()> {
        Ok(self.cancel.check()?)
    }

    /// A blob that is there, and its length.
    pub(super) fn blob(&self, digest: &Digest) -> Option<(File, u64)> {
        let name = format!("{}/{}", digest.algorithm(), digest.hex());
        let file = self.blobs.file(name).ok()?;
        let length = file.metadata().ok()?.len();
        Some((file, length))
    }

    /// The directory of blobs with this kind of digest, made if it is not there.
    pub(super) fn blobs_of(&self, algorithm: Algorithm) -> Result<Beneath, Error> {
        directory_in(&self.blobs, self.path(), algorithm.name())
    }

    /// Adds to `index.json` what `add` makes of it as it stands now.
    pub(super) fn update_index(
        &mut self,
        durable: bool,
        add: impl FnOnce(index::Listed) -> Result<Vec<u8>, serde_json::Error>,
    ) -> Result<(), Error> {
        let Some(_lock) = lock(self.root(), &self.cancel, u32::MAX)? else {
            let gone = io::Error::from(io::ErrorKind::NotFound);
            return Err(io_error("find", &self.path().join(MARKER))(gone));
        };
        let new = readable(add(read_listed(&self.layout)?))
            .map_err(|source| unreadable(self.path(), source))?;
        if durable {
            for (name, _) in self.blobs.list().map_err(io_error("list", self.path()))? {
                // Anything else is no blobs of anyone.
                if let Ok(directory) = self.blobs.directory(name) {
                    sync(&directory)?;
                }
            }
            for directory in [&self.blobs, self.root()] {
                sync(directory)?;
            }
        }
        replace(self.root(), INDEX, &new, durable)?;
        self.made = None;
        match durable {
            true => sync(self.root()),
            false => Ok(()),
        }
    }

    /// Takes away a layout this writer made and nothing came of: whole if the work was stopped; else what is of no use, so that
    /// the next attempt goes on with the blobs. What others write into stays.
    fn take_away(&mut self) -> Result<(), Error> {
        let Some(made) = self.made.take() else {
            return Ok(());
        };
        let Some(_lock) = lock(self.root(), &CancelToken::new(), TRIES_AT_THE_END)? else {
            return Ok(());
        };
        // Where nobody can tell whether others write, they may.
        let Some(in_use) = self.in_use.take() else {
            return Ok(());
        };
        drop(in_use);
        let again = self.root().directory(BLOBS).map_err(inside(self.path()))?;
        let alone = Locked::try_exclusive(File::from(again.into_handle()));
        let is_alone = matches!(&alone, Ok(Ok(_)));
        if !is_alone || !read_listed(&self.layout)?.is_empty() {
            return Ok(());
        }
        if self.cancel.is_cancelled() {
            let failed = io_error("list", self.blobs.path());
            for (name, _) in self.blobs.list().map_err(&failed)? {
                let Ok(directory) = self.blobs.directory(&name) else {
                    continue;
                };
                for (blob, _) in directory.list().map_err(&failed)? {
                    remove(&directory, &blob, AtFlags::empty())?;
                }
            }
        }
        undo(self.root(), made)
    }
}

/// The directory of blobs and the lock of who writes, in a layout that is sound, or is from here on.
fn prepare(layout: &Directory) -> Result<(Beneath, Option<Locked>), Error> {
    let root = layout.beneath();
    let check = |checked: Result<(), Error>| checked.map_err(|e| unreadable(root.path(), e));
    check(check_marker(layout, &Limits::default()))?;
    let is_begun = match root.file(INDEX) {
        Err(e) if e.is_not_found() => false,
        // What cannot be added to is found before anything is written.
        _ => read_listed(layout).map(|_| true)?,
    };
    let blobs = directory_in(root, root.path(), BLOBS)?;
    directory_in(&blobs, root.path(), Algorithm::Sha256.name())?;
    // Opened once more: a lock belongs to what was opened.
    let again = root.directory(BLOBS).map_err(inside(root.path()))?;
    // Only who has locked the layout takes this lock alone; a filesystem may have none.
    let in_use = Locked::try_shared(File::from(again.into_handle()));
    let in_use = in_use.ok().and_then(Result::ok);
    if !is_begun {
        let empty = readable(index::empty()).map_err(|e| unreadable(root.path(), e))?;
        replace(root, INDEX, &empty, false)?;
    }
    Ok((blobs, in_use))
}

/// Removes a layout without blobs that nobody writes into. Blobs to go on with keep it.
fn undo(root: &Beneath, made: Made) -> Result<(), Error> {
    if let Ok(blobs) = root.directory(BLOBS) {
        for (name, _) in blobs.list().map_err(io_error("list", blobs.path()))? {
            match unlinkat(blobs.handle(), &name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
                removed => {
                    removed.map_err(|e| io_error("remove", &blobs.path().join(&name))(e.into()))?;
                }
            }
        }
        remove(root, OsStr::new(BLOBS), AtFlags::REMOVEDIR)?;
    }
    // The marker last: a directory without it and with something in it is no place for a layout.
    for name in [INDEX, MARKER] {
        remove(root, OsStr::new(name), AtFlags::empty())?;
    }
    match made {
        Made::Directory => fs::remove_dir(root.path()).map_err(io_error("remove", root.path())),
        Made::Content => Ok(()),
    }
}

/// Removes a name, which need not be there.
fn remove(directory: &Beneath, name: &OsStr, flags: AtFlags) -> Result<(), Error> {
    match unlinkat(directory.handle(), name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(io_error("remove", &directory.path().join(name))(e.into())),
    }
}

/// Whether a name is one that earlier versions gave what they wrote, beside the directories of blobs.
fn is_old_temporary(name: &OsStr) -> bool {
    let numbers = name
        .to_str()
        .and_then(|name| name.strip_prefix(".new-")?.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

/// What `index.json` lists, if a reader could read it.
fn read_listed(layout: &Directory) -> Result<index::Listed, Error> {
    let refused = |e| unreadable(layout.path(), e);
    let json = read_index_json(layout, &Limits::default()).map_err(refused)?;
    parse_index(&json).map_err(refused)?;
    index::read(&json).map_err(|source| refused(not_json(source)))
}

/// An `index.json` to be written, if a reader can read it.
fn readable(json: Result<Vec<u8>, serde_json::Error>) -> Result<Vec<u8>, Error> {
    let json = json.map_err(not_json)?;
    let limit = Limits::default().manifest_bytes;
    if json.len() as u64 > limit {
        return Err(Error::Blob(blob::Error::TooLarge {
            name: BlobName::IndexJson,
            found: json.len() as u64,
            limit,
            option: "manifest_bytes",
        }));
    }
    parse_index(&json)?;
    Ok(json)
}

fn not_json(source: serde_json::Error) -> Error {
    let what = "index";
    let source = manifest::Error::Json { what, source };
    Error::Index { source }
}

fn unreadable(layout: &Path, source: Error) -> Error {
    Error::Unreadable {
        path: layout.to_owned(),
        source: Box::new(source),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Something failed, or was stopped, already; that is the error to report.
        self.take_away().ok();
    }
}

/// Whether a directory is a layout, begun at least.
fn has_marker(root: &Beneath) -> Result<bool, Error> {
    match root.file(MARKER) {
        Ok(_) => Ok(true),
        Err(e) if e.is_not_found() => Ok(false),
        Err(e) => Err(io_error("read", &root.path().join(MARKER))(e.into())),
    }
}

/// A layout that is locked, as far as its filesystem has locks.
struct Guard {
    _locked: Option<Locked>,
}

/// Locks a layout, when nobody else has; `None` if it was taken away. After so many tries it is an error that somebody has.
fn lock(root: &Beneath, cancel: &CancelToken, tries: u32) -> Result<Option<Guard>, Error> {
    let path = root.path().join(MARKER);
    let failed = |e: Errno| io_error("open", &path)(e.into());
    let open = |access: OFlags| {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        retry_on_intr(|| openat(root.handle(), MARKER, flags, Mode::empty()))
    };
    let opened = match open(OFlags::RDWR) {
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => open(OFlags::RDONLY),
        opened => opened,
    };
    let mut file = match opened {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened.map_err(failed)?),
    };
    let marker = file.metadata().map_err(io_error("look at", &path))?;
    let mut left = tries;
    let locked = loop {
        match Locked::try_exclusive(file) {
            Ok(Ok(locked)) => break Some(locked),
            Ok(Err(back)) => file = back,
            // The filesystem has none.
            Err(_) => break None,
        }
        left = left.saturating_sub(1);
        if left == 0 {
            return Err(io_error("lock", &path)(io::ErrorKind::WouldBlock.into()));
        }
        cancel
            .wait(NAP)
            .map_err(|e| io_error("lock", &path)(e.into()))?;
    };
    let here = statat(root.handle(), MARKER, AtFlags::SYMLINK_NOFOLLOW);
    let is_there =
        here.is_ok_and(|here| (here.st_dev, here.st_ino) == (marker.dev(), marker.ino()));
    Ok(is_there.then_some(Guard { _locked: locked }))
}

/// Opens a directory of a layout, and makes it if it is not there. It is inside the layout, or an error.
fn directory_in(parent: &Beneath, layout: &Path, name: &str) -> Result<Beneath, Error> {
    match mkdirat(parent.handle(), name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => {
            return Err(io_error("create the directory", &parent.path().join(name))(
                e.into(),
            ));
        }
    }
    parent.directory(name).map_err(inside(layout))
}

/// Writes a file into a directory under a name nothing has; says whether it was free.
fn keep(directory: &Beneath, name: &str, bytes: &[u8]) -> io::Result<bool> {
    written(directory, bytes, false)?.keep(name)
}

/// Writes a file into a directory in place of what has its name.
fn replace(directory: &Beneath, name: &str, bytes: &[u8], durable: bool) -> Result<(), Error> {
    written(directory, bytes, durable)
        .and_then(|file| file.replace(name))
        .map_err(io_error("write", &directory.path().join(name)))
}

fn written(directory: &Beneath, bytes: &[u8], durable: bool) -> io::Result<NewFile> {
    let new = NewFile::create(directory.handle())?;
    new.file().as_ref().write_all(bytes)?;
    if durable {
        new.file().sync_all()?;
    }
    Ok(new)
}

fn sync(directory: &Beneath) -> Result<(), Error> {
    retry_on_intr(|| fsync(directory.handle()))
        .map_err(|e| io_error("sync", directory.path())(e.into()))
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path: path.clone(),
        source,
    }
}

fn inside(layout: &Path) -> impl FnOnce(BeneathError) -> Error + use<> {
    let path = layout.to_owned();
    move |source| Error::Inside { path, source }
}
