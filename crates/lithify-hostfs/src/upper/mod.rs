//! Reading an overlay's upper directory as a layer.

mod error;
mod fuse; // fuse-overlayfs' ways
mod options;
mod view; // the overlay as it is mounted

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::Path;

use lithify_tree::overlay::{Marks, Namespace};
use lithify_tree::{
    ContentId, ContentSink, Convention, Device, Entry, EntryKind, Escaped, Metadata, TreePath,
    WHITEOUT_PREFIX,
};

use crate::{CopyError, ScanOptions, Scanner, WhiteoutNames, sys};

pub use error::UpperError;
pub use options::{OverlayAttributes, UpperOptions, UpperSummary};
use view::View;

/// Walks the upper directory of an overlay as one layer: what an overlay says with devices and attributes becomes what
/// layers say with [`EntryKind::Whiteout`] and [`EntryKind::Opaque`] (kernel documentation,
/// `filesystems/overlayfs.rst`, "whiteouts and opaque directories"). The layer over the overlay's lower layers is what
/// the overlay shows.
///
/// - A character device 0:0, and in directories with `overlay.opaque=x` an empty file with `overlay.whiteout`, is a
///   whiteout. (Overlays make one such device and link it everywhere.)
/// - A directory with `overlay.opaque=y` is followed by an opaque marker.
/// - The overlay's other attributes are left out, also those that are unknown here (see [`Marks`]); those of users that were
///   stored under another name get theirs back.
/// - A socket, which no tar holds, becomes a whiteout, lest a file of a lower layer appear in its place.
/// - A renamed directory, and a file without its data, is read from the mounted overlay
///   ([`UpperOptions::view`]): the directory as an opaque one with all it shows. Hard links between it and the rest become
///   files of their own.
/// - A name that begins with `.wh.` is an error. Where fuse-overlayfs made the directory
///   ([`UpperOptions::fuse_overlayfs`]) it is a whiteout or an opaque marker, and owners and modes come from its attributes.
///
/// Entries come in one order for one content, as from a [`Scanner`], and are to be taken like its.
///
/// ```no_run
/// use lithify_hostfs::{UpperOptions, UpperScanner};
///
/// let mut upper = UpperScanner::open("/var/lib/overlay/upper", UpperOptions::default())?;
/// while let Some(entry) = upper.next_entry()? {
///     println!("{}", entry.path);
/// }
/// println!("{} whiteouts", upper.finish()?.whiteouts);
/// # Ok::<(), lithify_hostfs::UpperError>(())
/// ```
#[derive(Debug)]
pub struct UpperScanner {
    scanner: Scanner,
    options: UpperOptions,
    /// Where the overlay keeps its own attributes.
    namespace: Namespace,
    view: Option<View>,
    /// Entries that come before the scanner's next.
    pending: VecDeque<Entry>,
    /// A renamed directory being read from the view: its path, and the scan.
    redirected: Option<(TreePath, Scanner)>,
    /// The scan that yielded the last entry.
    last: Source,
    /// What is below this directory was read from the view.
    skip: Option<TreePath>,
    /// Whiteouts with more names.
    whiteouts: HashSet<TreePath>,
    /// Sockets with more names.
    sockets: HashSet<TreePath>,
    /// Directories whose whiteouts may be files.
    file_whiteouts: HashSet<TreePath>,
    /// Directories with an opaque marker, which fuse-overlayfs says twice.
    opaque: HashSet<TreePath>,
    /// The attribute in which fuse-overlayfs keeps owners and modes, if it does.
    override_name: Option<&'static [u8]>,
    summary: UpperSummary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Upper,
    View,
    /// Neither: an entry without data.
    Made,
}

impl UpperScanner {
    /// Opens an upper directory (not the work directory, and not the one both are in).
    ///
    /// # Errors
    /// [`UpperError`] when it, or the overlay's mount point, cannot be opened, or when this process cannot see the
    /// overlay's attributes.
    pub fn open(directory: impl AsRef<Path>, options: UpperOptions) -> Result<Self, UpperError> {
        let sees_trusted = sys::sees_trusted_xattrs();
        let namespace = match options.attributes {
            // Opaque directories have a file too.
            _ if options.fuse_overlayfs == Some(true) => Namespace::User,
            OverlayAttributes::Trusted if !sees_trusted => return Err(UpperError::Unprivileged),
            OverlayAttributes::Trusted => Namespace::Trusted,
            OverlayAttributes::Found if sees_trusted => Namespace::Trusted,
            OverlayAttributes::Found | OverlayAttributes::User => Namespace::User,
        };
        let scanner = Scanner::open(directory, scan_options(&options))?;
        let view = options.view.as_deref().map(|path| {
            View::open(path).map_err(|source| UpperError::View {
                path: TreePath::root(),
                view: path.to_owned(),
                source,
            })
        });
        Ok(Self {
            scanner,
            namespace,
            view: view.transpose()?,
            options,
            pending: VecDeque::new(),
            redirected: None,
            last: Source::Made,
            skip: None,
            whiteouts: HashSet::new(),
            sockets: HashSet::new(),
            file_whiteouts: HashSet::new(),
            opaque: HashSet::new(),
            override_name: None,
            summary: UpperSummary::default(),
        })
    }

    /// The next entry; `None` when the directory has been walked.
    ///
    /// # Errors
    /// [`UpperError`]; the scan must not be used further then.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, UpperError> {
        let entry = self.advance()?;
        let Some(entry) = entry else { return Ok(None) };
        self.summary.entries += 1;
        if self.summary.entries > self.options.entries_max {
            return Err(UpperError::Scan(
                self.scanner.too_many(&entry.path, self.options.entries_max),
            ));
        }
        match entry.kind {
            EntryKind::Whiteout => self.summary.whiteouts += 1,
            EntryKind::Opaque => self.summary.opaque += 1,
            _ => {}
        }
        Ok(Some(entry))
    }

    /// Writes the data of the last entry, a regular file, to a sink.
    ///
    /// # Errors
    /// [`CopyError`]: the file cannot be read or changed meanwhile, the sink refuses, or there is no data to copy.
    pub fn copy_into<S: ContentSink>(
        &mut self,
        sink: &mut S,
    ) -> Result<ContentId, CopyError<S::Error>> {
        match (self.last, &mut self.redirected) {
            (Source::Upper, _) => self.scanner.copy_into(sink),
            (Source::View, Some((_, scanner))) => scanner.copy_into(sink),
            _ => Err(CopyError::NoFile),
        }
    }

    /// Ends the scan: walks what is left of the directory.
    ///
    /// # Errors
    /// [`UpperError`] while walking.
    pub fn finish(mut self) -> Result<UpperSummary, UpperError> {
        while self.next_entry()?.is_some() {}
        self.summary.recorded = self.scanner.recorded();
        Ok(self.summary)
    }

    fn advance(&mut self) -> Result<Option<Entry>, UpperError> {
        loop {
            self.last = Source::Made;
            if let Some(entry) = self.pending.pop_front() {
                return Ok(Some(entry));
            }
            if self.redirected.is_some() {
                if let Some(entry) = self.below_redirected()? {
                    return Ok(Some(entry));
                }
                continue;
            }
            let Some(entry) = self.scanner.next_entry()? else {
                return Ok(None);
            };
            if self
                .skip
                .as_ref()
                .is_some_and(|above| is_below(&entry.path, above))
            {
                self.scanner.skip_data();
                continue;
            }
            self.skip = None;
            self.last = Source::Upper;
            if self.options.fuse_overlayfs == Some(true) {
                if let Some(entry) = self.entry_of_fuse(entry)? {
                    return Ok(Some(entry));
                }
                continue;
            }
            return self.entry(entry).map(Some);
        }
    }

    /// What an entry of an upper directory of fuse-overlayfs says; `None` if nothing new.
    fn entry_of_fuse(&mut self, mut entry: Entry) -> Result<Option<Entry>, UpperError> {
        let reserved = || UpperError::ReservedName {
            path: entry.path.clone(),
        };
        let is_marker = !matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink { .. });
        match Convention::of(entry.path.clone()).map_err(|_| reserved())? {
            Convention::Ordinary(_) => {}
            Convention::Whiteout(path) if is_marker => {
                self.scanner.skip_data();
                return Ok(Some(whiteout(path)));
            }
            Convention::Opaque(path) if is_marker => {
                self.scanner.skip_data();
                return Ok(self.opaque(&path));
            }
            _ => return Err(reserved()),
        }
        let nothing = Device { major: 0, minor: 0 };
        match &entry.kind {
            EntryKind::CharDevice(device) if *device == nothing => {
                self.whiteouts.insert(entry.path.clone());
                return Ok(Some(whiteout(entry.path)));
            }
            EntryKind::HardLink { target } if self.whiteouts.contains(target) => {
                return Ok(Some(whiteout(entry.path)));
            }
            EntryKind::HardLink { target } if self.sockets.contains(target) => {
                self.summary.sockets += 1;
                return Ok(Some(whiteout(entry.path)));
            }
            EntryKind::HardLink { .. } => return Ok(Some(entry)),
            _ => {}
        }
        if entry.path.is_root() {
            self.override_name = fuse::override_name(&entry.metadata.xattrs);
        }
        let path = entry.path.clone();
        let (said, stat) =
            fuse::take(&mut entry.metadata.xattrs, self.override_name).map_err(|source| {
                UpperError::Xattr {
                    path: path.clone(),
                    source,
                }
            })?;
        if let Some(from) = said.redirect {
            return Err(UpperError::Redirect { path, from });
        }
        if said.metacopy {
            return Err(UpperError::Metacopy { path });
        }
        if let Some(text) = stat
            && fuse::override_stat(&mut entry, &text).is_none()
        {
            return Err(UpperError::OverrideStat { path, text });
        }
        if entry.kind == EntryKind::Socket {
            self.scanner.skip_data();
            self.sockets.insert(entry.path.clone());
            self.summary.sockets += 1;
            return Ok(Some(whiteout(entry.path)));
        }
        if !matches!(entry.kind, EntryKind::File { .. }) {
            self.scanner.skip_data();
        }
        if said.opaque && !path.is_root() {
            let marker = self.opaque(&path);
            self.pending.extend(marker);
        }
        Ok(Some(entry))
    }

    /// The marker of an opaque directory, unless it had one.
    fn opaque(&mut self, path: &TreePath) -> Option<Entry> {
        self.opaque.insert(path.clone()).then(|| Entry {
            path: path.clone(),
            metadata: Metadata::default(),
            kind: EntryKind::Opaque,
        })
    }

    /// Refuses what fuse-overlayfs writes, unless it is said to be the image's.
    fn refuse_fuse(&self, entry: &Entry) -> Result<(), UpperError> {
        if self.options.fuse_overlayfs.is_some() {
            return Ok(());
        }
        let found = |mark: String| UpperError::FuseOverlayfs {
            path: entry.path.clone(),
            mark,
        };
        if matches!(
            Convention::of(entry.path.clone()),
            Ok(Convention::Opaque(_))
        ) {
            return Err(found(
                "hides what lower layers have in its directory".to_owned(),
            ));
        }
        let mut names = entry.metadata.xattrs.iter().map(|(name, _)| name);
        match names.find(|name| fuse::is_mark(name)) {
            Some(name) => Err(found(format!(
                "has the extended attribute `{}`",
                Escaped(name)
            ))),
            None => Ok(()),
        }
    }

    /// What an entry of the upper directory says.
    fn entry(&mut self, mut entry: Entry) -> Result<Entry, UpperError> {
        self.refuse_fuse(&entry)?;
        refuse_reserved(&entry.path)?;
        let nothing = Device { major: 0, minor: 0 };
        let parent_has_file_whiteouts = self.file_whiteouts.contains(&entry.path.parent());
        match &entry.kind {
            EntryKind::CharDevice(device) if *device == nothing => {
                self.whiteouts.insert(entry.path.clone());
                return Ok(whiteout(entry.path));
            }
            EntryKind::Socket => {
                self.sockets.insert(entry.path.clone());
                self.summary.sockets += 1;
                return Ok(whiteout(entry.path));
            }
            EntryKind::HardLink { target } if self.whiteouts.contains(target) => {
                return Ok(whiteout(entry.path));
            }
            EntryKind::HardLink { target } if self.sockets.contains(target) => {
                self.summary.sockets += 1;
                return Ok(whiteout(entry.path));
            }
            _ => {}
        }
        self.refuse_ambiguous(&entry)?;
        let said = Marks::take(&mut entry.metadata.xattrs, self.namespace);
        match &entry.kind {
            EntryKind::Directory => {
                if said.has_file_whiteouts {
                    self.file_whiteouts.insert(entry.path.clone());
                }
                // Of the top directory Linux reads neither of what follows: it always shows the layers below.
                if entry.path.is_root() {
                    return Ok(entry);
                }
                if let Some(from) = said.redirect {
                    self.redirect(&entry.path, from)?;
                }
                if said.opaque || self.redirected.is_some() {
                    self.pending.push_back(Entry {
                        path: entry.path.clone(),
                        metadata: Metadata::default(),
                        kind: EntryKind::Opaque,
                    });
                }
            }
            EntryKind::File { size: 0, .. } if said.whiteout && parent_has_file_whiteouts => {
                self.scanner.skip_data();
                self.whiteouts.insert(entry.path.clone());
                return Ok(whiteout(entry.path));
            }
            EntryKind::File { size, .. } if said.metacopy => {
                entry.kind = self.data_of_view(&entry.path, *size)?;
            }
            _ => {}
        }
        Ok(entry)
    }

    /// An attribute whose owner cannot be told.
    fn refuse_ambiguous(&self, entry: &Entry) -> Result<(), UpperError> {
        if self.options.attributes != OverlayAttributes::Found || self.namespace == Namespace::User
        {
            return Ok(());
        }
        let mut names = entry.metadata.xattrs.iter().map(|(name, _)| name);
        match names.find(|name| name.starts_with(Namespace::User.prefix())) {
            None => Ok(()),
            Some(name) => Err(UpperError::Ambiguous {
                path: entry.path.clone(),
                name: name.to_vec(),
            }),
        }
    }

    /// Has a renamed directory read from the view.
    fn redirect(&mut self, path: &TreePath, from: Vec<u8>) -> Result<(), UpperError> {
        let Some(view) = &self.view else {
            return Err(UpperError::Redirect {
                path: path.clone(),
                from,
            });
        };
        let fd = view
            .directory(path)
            .map_err(|source| view_error(view, path, source))?;
        let root = view.host_path(path);
        let mut scanner = Scanner::of_directory(fd, root, scan_options(&self.options))?;
        // The directory itself is known already.
        scanner.next_entry()?;
        self.redirected = Some((path.clone(), scanner));
        self.skip = Some(path.clone());
        self.summary.redirected += 1;
        Ok(())
    }

    /// The next entry of a renamed directory, as the overlay shows it; `None` when there are no more.
    fn below_redirected(&mut self) -> Result<Option<Entry>, UpperError> {
        let Some((above, scanner)) = &mut self.redirected else {
            return Ok(None);
        };
        while let Some(mut entry) = scanner.next_entry()? {
            entry.path = below(above, &entry.path)?;
            refuse_reserved(&entry.path)?;
            match &mut entry.kind {
                // Nothing of lower layers is seen here, so nothing has to be hidden.
                EntryKind::Socket => {
                    self.sockets.insert(entry.path);
                    self.summary.sockets += 1;
                    continue;
                }
                EntryKind::HardLink { target } => {
                    *target = below(above, target)?;
                    if self.sockets.contains(target) {
                        self.summary.sockets += 1;
                        continue;
                    }
                }
                _ => {}
            }
            self.last = Source::View;
            return Ok(Some(entry));
        }
        self.redirected = None;
        Ok(None)
    }

    /// Has the data of a file read from the view.
    fn data_of_view(&mut self, path: &TreePath, size: u64) -> Result<EntryKind, UpperError> {
        let Some(view) = &self.view else {
            return Err(UpperError::Metacopy { path: path.clone() });
        };
        let fd = view
            .file(path)
            .map_err(|source| view_error(view, path, source))?;
        match self.scanner.replace_data(fd, path)? {
            kind @ EntryKind::File { size: found, .. } if found == size => {
                self.summary.metacopies += 1;
                Ok(kind)
            }
            _ => Err(view_error(view, path, io::ErrorKind::InvalidData.into())),
        }
    }
}

fn view_error(view: &View, path: &TreePath, source: io::Error) -> UpperError {
    UpperError::View {
        path: path.clone(),
        view: view.path.clone(),
        source,
    }
}

fn scan_options(options: &UpperOptions) -> ScanOptions {
    ScanOptions {
        whiteouts: WhiteoutNames::Literal,
        exclude_xattrs: options.exclude_xattrs.clone(),
        no_link: options.no_link,
        entries_max: options.entries_max,
        cancel: options.cancel.clone(),
        ..ScanOptions::default()
    }
}

fn whiteout(path: TreePath) -> Entry {
    Entry {
        path,
        metadata: Metadata::default(),
        kind: EntryKind::Whiteout,
    }
}

fn refuse_reserved(path: &TreePath) -> Result<(), UpperError> {
    match path.split_last() {
        Some((_, name)) if name.starts_with(WHITEOUT_PREFIX) => {
            Err(UpperError::ReservedName { path: path.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether a path is below a directory.
fn is_below(path: &TreePath, directory: &TreePath) -> bool {
    let rest = path.as_bytes().strip_prefix(directory.as_bytes());
    directory.is_root() || rest.is_some_and(|rest| rest.starts_with(b"/"))
}

/// A path seen from further above.
fn below(directory: &TreePath, path: &TreePath) -> Result<TreePath, UpperError> {
    let joined = [directory.as_bytes(), path.as_bytes()].join(&b'/');
    TreePath::clean(&joined).map_err(|source| UpperError::Path {
        path: directory.clone(),
        source,
    })
}
