//! The rules of layer application a second time, written to be read, not to be fast: one map from path to inode,
//! copied and filtered as the rules say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lithify_tree::{Entry, EntryKind, InodeKind, Metadata, PATH_MAX, Timestamp, Tree};

/// A canonical path: components, none of them a symbolic link except perhaps the last.
pub(crate) type Path = Vec<Vec<u8>>;

/// Everything below and at a path, or a whole filesystem.
type Names = BTreeMap<Path, usize>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    Symlink(Vec<u8>),
    /// A hard link that waits for this target.
    Waiting(Vec<u8>),
    /// Anything else, as text.
    Other(String),
}

#[derive(Clone, Debug)]
struct Inode {
    kind: Kind,
    metadata: Metadata,
}

/// Which of the errors it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    RootNotDirectory,
    ParentNotDirectory,
    SymlinkLoop,
    LinkTargetMissing,
    LinkTargetIsDirectory,
}

/// One line of a listing: everything the tree says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) path: Vec<u8>,
    pub(crate) what: String,
    pub(crate) metadata: Metadata,
    pub(crate) links: u32,
    /// The first name, in order of paths, of the inode.
    pub(crate) same_as: Vec<u8>,
}

/// The model's filesystem.
pub(crate) struct Model {
    names: Names,
    inodes: Vec<Inode>,
}

enum Way {
    Directory(Path),
    /// A path that does not exist, and how much of it does.
    Missing(Path, usize),
    Blocked,
    Loop,
}

fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&b| b == b'/')
        .filter(|c| !c.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

fn parent_and_name(path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut components = split(path);
    let name = components.pop()?;
    Some((components.join(&b'/'), name))
}

fn join(directory: &Path, name: &[u8]) -> Path {
    let mut path = directory.clone();
    path.push(name.to_vec());
    path
}

fn is_at_or_below(path: &Path, top: &Path) -> bool {
    path.starts_with(top)
}

impl Model {
    pub(crate) fn new() -> Self {
        let root = Inode {
            kind: Kind::Directory,
            metadata: Metadata {
                mode: 0o755,
                ..Metadata::default()
            },
        };
        Self {
            names: BTreeMap::from([(Vec::new(), 0)]),
            inodes: vec![root],
        }
    }

    fn kind(&self, inode: usize) -> &Kind {
        &self.inodes[inode].kind
    }

    fn kind_at(&self, names: &Names, path: &Path) -> Option<&Kind> {
        names.get(path).map(|&inode| self.kind(inode))
    }

    fn add(&mut self, kind: Kind, metadata: Metadata) -> usize {
        self.inodes.push(Inode { kind, metadata });
        self.inodes.len() - 1
    }

    /// Where a path leads in `names`, its last component followed too, and the number of links on the way.
    fn resolve(&self, names: &Names, path: &[u8], dead: &BTreeSet<Path>) -> (Way, usize) {
        let mut todo: VecDeque<Vec<u8>> = split(path).into();
        let mut at = Path::new();
        let (mut links, mut bytes) = (0, 0);
        while let Some(name) = todo.pop_front() {
            if name == b"." {
                continue;
            }
            if name == b".." {
                at.pop();
                continue;
            }
            at.push(name);
            if let Some(Kind::Symlink(target)) = self.kind_at(names, &at)
                && !dead.contains(&at)
            {
                at.pop();
                links += 1;
                bytes += target.len();
                if links > 40 || bytes > PATH_MAX {
                    return (Way::Loop, links);
                }
                if target.starts_with(b"/") {
                    at.clear();
                }
                for component in split(target).into_iter().rev() {
                    todo.push_front(component);
                }
            }
        }
        for length in 0..=at.len() {
            let prefix = at[..length].to_vec();
            match self.kind_at(names, &prefix) {
                Some(Kind::Directory) => {}
                Some(Kind::Symlink(_)) | None => return (Way::Missing(at, length), links),
                Some(_) => return (Way::Blocked, links),
            }
        }
        (Way::Directory(at), links)
    }

    /// The path of a name whose directory is found by following links, if there is such a name.
    fn find(&self, names: &Names, path: &[u8]) -> Option<Path> {
        let Some((directory, name)) = parent_and_name(path) else {
            return Some(Path::new());
        };
        let (Way::Directory(directory), _) = self.resolve(names, &directory, &BTreeSet::new())
        else {
            return None;
        };
        Some(join(&directory, &name)).filter(|path| names.contains_key(path))
    }

    /// What a marker removes in `names`: each a name with everything below.
    fn meant(&self, names: &Names, entry: &Entry, directory: &Path) -> Vec<Path> {
        if entry.kind == EntryKind::Opaque {
            let is_child = |p: &&Path| p.len() == directory.len() + 1 && p.starts_with(directory);
            return names.keys().filter(is_child).cloned().collect();
        }
        let name = parent_and_name(entry.path.as_bytes()).map(|(_, name)| join(directory, &name));
        name.into_iter().filter(|n| names.contains_key(n)).collect()
    }

    fn marker_directory(entry: &Entry) -> Option<Vec<u8>> {
        match entry.kind {
            EntryKind::Whiteout => parent_and_name(entry.path.as_bytes()).map(|(d, _)| d),
            EntryKind::Opaque => Some(entry.path.as_bytes().to_vec()),
            _ => None,
        }
    }

    /// Applies a layer. An error says which entry is at fault.
    pub(crate) fn apply(&mut self, layer: &[(Entry, String)]) -> Result<(), (Error, usize)> {
        let lower = self.names.clone();
        let none = BTreeSet::new();

        // What the layer removes. First by the markers that need no symbolic link ...
        let mut removed: Vec<Path> = Vec::new();
        let mut waiting = Vec::new();
        for (entry, _) in layer {
            let Some(directory) = Self::marker_directory(entry) else {
                continue;
            };
            match self.resolve(&lower, &directory, &none) {
                (_, links) if links > 0 => waiting.push((entry, directory)),
                (Way::Directory(directory), _) => {
                    removed.extend(self.meant(&lower, entry, &directory));
                }
                _ => {}
            }
        }
        let without = |names: &Names, removed: &[Path]| -> Names {
            let stays = |path: &Path| !removed.iter().any(|top| is_at_or_below(path, top));
            let kept = names.iter().filter(|(path, _)| stays(path));
            kept.map(|(path, &inode)| (path.clone(), inode)).collect()
        };
        let middle = without(&lower, &removed);
        // ... then by the others, for which links that become directories lead nowhere.
        let mut dead = BTreeSet::new();
        for (entry, _) in layer.iter().filter(|(e, _)| e.kind == EntryKind::Directory) {
            let Some((directory, name)) = parent_and_name(entry.path.as_bytes()) else {
                continue;
            };
            if let (Way::Directory(directory), 0) = self.resolve(&middle, &directory, &none) {
                let path = join(&directory, &name);
                if let Some(Kind::Symlink(_)) = self.kind_at(&middle, &path) {
                    dead.insert(path);
                }
            }
        }
        for (entry, directory) in waiting {
            if let (Way::Directory(directory), _) = self.resolve(&middle, &directory, &dead) {
                removed.extend(self.meant(&middle, entry, &directory));
            }
        }
        self.names = without(&lower, &removed);

        // What it adds.
        let mut links = Vec::new();
        for (index, (entry, text)) in layer.iter().enumerate() {
            if Self::marker_directory(entry).is_some() || entry.kind == EntryKind::Whiteout {
                continue;
            }
            self.add_entry(entry, text, index, &mut links)
                .map_err(|error| (error, index))?;
        }

        // Hard links that waited, in order. What markers removed they may still mean, where the directory that it
        // was removed from is still the same one.
        let all = removed.clone();
        removed.retain(|top| {
            let is_topmost = !all.iter().any(|t| t != top && is_at_or_below(top, t));
            let directory = &top[..top.len() - 1];
            is_topmost && self.names.get(directory) == lower.get(directory)
        });
        let before: Names = lower
            .iter()
            .filter(|(path, _)| removed.iter().any(|top| is_at_or_below(path, top)))
            .map(|(path, &inode)| (path.clone(), inode))
            .collect();
        for (inode, index) in links.clone() {
            if self.names.values().any(|&i| i == inode) {
                self.settle(inode, &before, &removed, &mut Vec::new())
                    .map_err(|(error, inode)| {
                        let at_fault = links.iter().find(|(i, _)| *i == inode);
                        (error, at_fault.map_or(index, |(_, index)| *index))
                    })?;
            }
        }
        Ok(())
    }

    fn add_entry(
        &mut self,
        entry: &Entry,
        text: &str,
        index: usize,
        links: &mut Vec<(usize, usize)>,
    ) -> Result<(), Error> {
        let metadata = entry.metadata.clone();
        let Some((directory, name)) = parent_and_name(entry.path.as_bytes()) else {
            if entry.kind != EntryKind::Directory {
                return Err(Error::RootNotDirectory);
            }
            self.inodes[0].metadata = metadata;
            return Ok(());
        };
        let directory = match self.resolve(&self.names, &directory, &BTreeSet::new()).0 {
            Way::Directory(directory) => directory,
            Way::Missing(path, exists) => {
                for length in exists..=path.len() {
                    let mode = 0o755;
                    let metadata = Metadata {
                        mode,
                        ..Metadata::default()
                    };
                    let inode = self.add(Kind::Directory, metadata);
                    self.names.insert(path[..length].to_vec(), inode);
                }
                path
            }
            Way::Blocked => return Err(Error::ParentNotDirectory),
            Way::Loop => return Err(Error::SymlinkLoop),
        };
        let path = join(&directory, &name);
        let inode = match &entry.kind {
            EntryKind::Directory => {
                if let Some(&inode) = self.names.get(&path)
                    && self.kind(inode) == &Kind::Directory
                {
                    self.inodes[inode].metadata = metadata;
                    return Ok(());
                }
                self.add(Kind::Directory, metadata)
            }
            EntryKind::Symlink { target } => self.add(Kind::Symlink(target.clone()), metadata),
            EntryKind::HardLink { target } => {
                let target = target.as_bytes();
                match self.find(&self.names, target) {
                    None => {
                        let inode = self.add(Kind::Waiting(target.to_vec()), Metadata::default());
                        links.push((inode, index));
                        inode
                    }
                    Some(found)
                        if found == path && self.kind(self.names[&found]) != &Kind::Directory =>
                    {
                        return Ok(());
                    }
                    Some(found) => match self.kind(self.names[&found]).clone() {
                        Kind::Directory => return Err(Error::LinkTargetIsDirectory),
                        waiting @ Kind::Waiting(_) => {
                            let inode = self.add(waiting, Metadata::default());
                            links.push((inode, index));
                            inode
                        }
                        _ => self.names[&found],
                    },
                }
            }
            _ => self.add(Kind::Other(text.to_owned()), metadata),
        };
        self.names.retain(|p, _| !is_at_or_below(p, &path));
        self.names.insert(path, inode);
        Ok(())
    }

    /// Gives all names of a waiting link's inode the inode that it waits for.
    fn settle(
        &mut self,
        inode: usize,
        before: &Names,
        removed: &[Path],
        asking: &mut Vec<usize>,
    ) -> Result<usize, (Error, usize)> {
        let Kind::Waiting(target) = self.kind(inode).clone() else {
            return Ok(inode);
        };
        let missing = (Error::LinkTargetMissing, inode);
        asking.push(inode);
        let mut found = self.find(&self.names, &target).map(|p| self.names[&p]);
        if found.is_none() {
            // As it was before: what was removed is there again, and nothing is in its place.
            let mut past: Names = self
                .names
                .iter()
                .filter(|(path, _)| !removed.iter().any(|top| is_at_or_below(path, top)))
                .map(|(path, &inode)| (path.clone(), inode))
                .collect();
            past.extend(before.iter().map(|(path, &inode)| (path.clone(), inode)));
            found = self.find(&past, &target).map(|p| past[&p]);
        }
        let found = found.ok_or(missing)?;
        if asking.contains(&found) {
            return Err(missing);
        }
        if self.kind(found) == &Kind::Directory {
            return Err((Error::LinkTargetIsDirectory, inode));
        }
        let real = self.settle(found, before, removed, asking)?;
        for at in self.names.values_mut() {
            if *at == inode {
                *at = real;
            }
        }
        Ok(real)
    }

    pub(crate) fn listing(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for (path, &inode) in &self.names {
            let Inode { kind, metadata } = &self.inodes[inode];
            let same = || self.names.iter().filter(|(_, i)| **i == inode);
            let subdirectories = || {
                let is_child = |p: &Path| p.len() == path.len() + 1 && p.starts_with(path);
                let is_directory = |i: usize| self.kind(i) == &Kind::Directory;
                let children = self.names.iter().filter(|(p, _)| is_child(p));
                children.filter(|(_, i)| is_directory(**i)).count()
            };
            let (what, links) = match kind {
                Kind::Directory => ("directory".into(), 2 + subdirectories()),
                Kind::Symlink(target) => (symlink(target), same().count()),
                Kind::Waiting(_) => panic!("a link still waits"),
                Kind::Other(text) => (text.clone(), same().count()),
            };
            lines.push(Line {
                path: path.join(&b'/'),
                what,
                metadata: metadata.clone(),
                links: u32::try_from(links).unwrap(),
                same_as: same().next().unwrap().0.join(&b'/'),
            });
        }
        lines
    }
}

fn symlink(target: &[u8]) -> String {
    format!("symlink {}", target.escape_ascii())
}

/// The listing of the tree under test; `content` gives the text of a file's content number.
pub(crate) fn listing(tree: &Tree, content: impl Fn(u32) -> String) -> Vec<Line> {
    let mut first_names = BTreeMap::new();
    let mut paths: Vec<(Path, _)> = tree.walk().map(|n| (split(&tree.path(n)), n)).collect();
    paths.sort();
    let mut lines = Vec::new();
    for (path, node) in paths {
        let path = path.join(&b'/');
        let inode = tree.node_inode(node);
        let what = match inode.kind {
            InodeKind::File { content: id, .. } => content(id.unwrap().0),
            InodeKind::Directory => "directory".into(),
            InodeKind::Symlink { target } => symlink(target),
            InodeKind::CharDevice(d) => format!("char {}:{}", d.major, d.minor),
            InodeKind::BlockDevice(d) => format!("block {}:{}", d.major, d.minor),
            InodeKind::Fifo => "fifo".into(),
            InodeKind::Socket => "socket".into(),
            _ => panic!("an inode of no known kind"),
        };
        let same_as = first_names
            .entry(tree.inode_id(node))
            .or_insert_with(|| path.clone());
        lines.push(Line {
            what,
            metadata: Metadata {
                mode: inode.mode,
                uid: inode.uid,
                gid: inode.gid,
                mtime: Timestamp { ..inode.mtime },
                xattrs: tree.xattrs(inode.xattrs).clone(),
            },
            links: inode.nlink,
            same_as: same_as.clone(),
            path,
        });
    }
    lines
}
