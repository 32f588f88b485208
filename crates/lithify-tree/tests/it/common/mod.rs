//! Layers as short lines of text, and trees as the same.
//!
//! One line is one entry: a letter, a path, and what the letter needs.
//!
//! ```text
//! d etc                 directory            h b -> a              hard link
//! f etc/x=text          regular file         c dev/null 1:3        character device (b: block)
//! l lib -> usr/lib      symbolic link        p run/fifo            named pipe (s: socket)
//! w etc/x               whiteout of etc/x    o etc                 etc is opaque
//! ```
//!
//! Paths are raw names as a tar has them: `f etc/.wh.x` is a whiteout too. After an entry may stand, in this order,
//! `0700` (mode), `1:2` (owner and group), `@5` or `@5.000000007` (time), `user.k=v` (attribute). Without them an
//! entry has 0755 for a directory, 0644 for anything else, root:root and the time 1, so that a directory nobody
//! described stands out in a listing by its `@0`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use lithify_tree::{
    ContentId, Convention, Device, Entry, EntryKind, InodeKind, LayerEntries, LayerReport, Merge,
    MergeError, Metadata, NodeId, PathError, Timestamp, Tree, TreePath, WhiteoutError, Xattrs,
};

thread_local! {
    /// Contents of files by their number.
    static CONTENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Number of a content: the same text has the same number.
fn content_id(text: &str) -> ContentId {
    CONTENTS.with_borrow_mut(|all| {
        let found = all.iter().position(|t| t == text);
        let index = found.unwrap_or_else(|| {
            all.push(text.into());
            all.len() - 1
        });
        ContentId(u32::try_from(index).unwrap())
    })
}

/// The text of a content.
pub(crate) fn content(id: ContentId) -> String {
    CONTENTS.with_borrow(|all| all[id.0 as usize].clone())
}

/// Why a layer could not even be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Path(PathError),
    Whiteout(WhiteoutError),
}

/// An entry as the line says, or `None` for what is to be skipped.
pub(crate) fn entry(line: &str) -> Result<Option<(Entry, Option<ContentId>)>, Refused> {
    let (letter, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut words: Vec<&str> = rest.split(' ').collect();
    let mut metadata = Metadata {
        mode: if letter == "d" { 0o755 } else { 0o644 },
        mtime: Timestamp {
            seconds: 1,
            nanoseconds: 0,
        },
        ..Metadata::default()
    };
    let named = usize::from(matches!(letter, "c" | "b"));
    let words_of_entry = words
        .iter()
        .position(|w| *w == "->")
        .unwrap_or(0)
        .max(named);
    let extra = match words.get(words_of_entry) {
        Some(&"->") => words.split_off((words_of_entry + 2).min(words.len())),
        _ => words.split_off((words_of_entry + 1).min(words.len())),
    };
    for word in extra {
        set(&mut metadata, word);
    }
    let (mut path, mut text) = (words[0], "");
    if letter == "f"
        && let Some((p, t)) = path.split_once('=')
    {
        (path, text) = (p, t);
    }
    let clean = |raw: &str| TreePath::clean(raw.as_bytes()).map_err(Refused::Path);
    let target = || words.get(2).copied().unwrap_or("");
    let device = || {
        let (major, minor) = words[1].split_once(':').unwrap();
        Device {
            major: major.parse().unwrap(),
            minor: minor.parse().unwrap(),
        }
    };
    let kind = match letter {
        "d" => EntryKind::Directory,
        "f" => EntryKind::File {
            size: text.len() as u64,
            segments: None,
        },
        "l" => EntryKind::Symlink {
            target: target().into(),
        },
        "h" => EntryKind::HardLink {
            target: clean(target())?,
        },
        "c" => EntryKind::CharDevice(device()),
        "b" => EntryKind::BlockDevice(device()),
        "p" => EntryKind::Fifo,
        "s" => EntryKind::Socket,
        "w" => EntryKind::Whiteout,
        "o" => EntryKind::Opaque,
        _ => panic!("no entry begins with `{letter}`"),
    };
    let content = matches!(kind, EntryKind::File { .. }).then(|| content_id(text));
    let path = clean(path)?;
    let (path, kind) = if matches!(letter, "w" | "o") {
        (path, kind)
    } else {
        match Convention::of(path).map_err(Refused::Whiteout)? {
            Convention::Ordinary(path) => (path, kind),
            Convention::Whiteout(path) => (path, EntryKind::Whiteout),
            Convention::Opaque(path) => (path, EntryKind::Opaque),
            Convention::AufsFile(path) if matches!(kind, EntryKind::File { .. }) => (path, kind),
            Convention::AufsFile(_) | Convention::AufsLeftover => return Ok(None),
        }
    };
    let entry = Entry {
        path,
        metadata,
        kind,
    };
    Ok(Some((entry, content)))
}

fn set(metadata: &mut Metadata, word: &str) {
    if let Some(time) = word.strip_prefix('@') {
        let (seconds, nanoseconds) = time.split_once('.').unwrap_or((time, "0"));
        metadata.mtime = Timestamp {
            seconds: seconds.parse().unwrap(),
            nanoseconds: nanoseconds.parse().unwrap(),
        };
    } else if let Some((name, value)) = word.split_once('=') {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        metadata.xattrs.set(name, value).unwrap();
    } else if let Some((uid, gid)) = word.split_once(':') {
        metadata.uid = uid.parse().unwrap();
        metadata.gid = gid.parse().unwrap();
    } else {
        metadata.mode = u16::from_str_radix(word, 8).unwrap();
    }
}

/// The content that a line for a regular file gives it.
pub(crate) fn text(line: &str) -> String {
    let (_, content) = entry(line).unwrap().unwrap();
    content.map(self::content).unwrap_or_default()
}

/// A layer of those lines.
pub(crate) fn try_layer(lines: &[&str]) -> Result<LayerEntries, Refused> {
    let mut layer = LayerEntries::new();
    for line in lines {
        if let Some((entry, content)) = entry(line)? {
            layer.push(&entry, content).unwrap();
        }
    }
    Ok(layer)
}

/// The tree that layers make, and what was found out about each.
pub(crate) fn try_merge(layers: &[&[&str]]) -> Result<(Tree, Vec<LayerReport>), MergeError> {
    let mut merge = Merge::new();
    let mut reports = Vec::new();
    for lines in layers {
        reports.push(merge.apply(try_layer(lines).unwrap())?);
    }
    Ok((merge.finish(), reports))
}

/// The tree that layers make.
#[track_caller]
pub(crate) fn tree(layers: &[&[&str]]) -> Tree {
    match try_merge(layers) {
        Ok((tree, _)) => tree,
        Err(e) => panic!("{e}"),
    }
}

/// What the last of the layers was found out to be.
#[track_caller]
pub(crate) fn report(layers: &[&[&str]]) -> LayerReport {
    match try_merge(layers) {
        Ok((_, reports)) => *reports.last().unwrap(),
        Err(e) => panic!("{e}"),
    }
}

/// Why the layers cannot be applied.
#[track_caller]
pub(crate) fn error(layers: &[&[&str]]) -> MergeError {
    match try_merge(layers) {
        Ok((tree, _)) => panic!("the layers can be applied: {:?}", listing(&tree)),
        Err(e) => e,
    }
}

/// A tree as lines, sorted depth first. A later name of a shared inode is shown as a hard link to the first one.
pub(crate) fn listing(tree: &Tree) -> Vec<String> {
    let mut first_names = BTreeMap::new();
    let mut lines = Vec::new();
    for node in tree.walk() {
        let line = line(tree, node, &mut first_names);
        if line != "d . @0" {
            lines.push(line);
        }
    }
    lines
}

fn line(tree: &Tree, node: NodeId, first_names: &mut BTreeMap<usize, String>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = match tree.path(node) {
        path if path.is_empty() => ".".to_owned(),
        path => text(&path),
    };
    let inode = tree.node_inode(node);
    let id = tree.inode_id(node).index();
    if let Some(first) = first_names.get(&id) {
        return format!("h {path} -> {first}");
    }
    first_names.insert(id, path.clone());
    let (entry, usual) = match inode.kind {
        InodeKind::File { content: id, .. } => {
            let text = id.map(content).unwrap_or_default();
            let equals = if text.is_empty() { "" } else { "=" };
            (format!("f {path}{equals}{text}"), 0o644)
        }
        InodeKind::Directory => (format!("d {path}"), 0o755),
        InodeKind::Symlink { target } => (format!("l {path} -> {}", text(target)), 0o644),
        InodeKind::CharDevice(d) => (format!("c {path} {}:{}", d.major, d.minor), 0o644),
        InodeKind::BlockDevice(d) => (format!("b {path} {}:{}", d.major, d.minor), 0o644),
        InodeKind::Fifo => (format!("p {path}"), 0o644),
        InodeKind::Socket => (format!("s {path}"), 0o644),
        _ => panic!("an inode of no known kind"),
    };
    let mut words = vec![entry];
    if inode.mode != usual {
        words.push(format!("{:04o}", inode.mode));
    }
    if (inode.uid, inode.gid) != (0, 0) {
        words.push(format!("{}:{}", inode.uid, inode.gid));
    }
    match inode.mtime {
        Timestamp {
            seconds: 1,
            nanoseconds: 0,
        } => {}
        Timestamp {
            seconds,
            nanoseconds: 0,
        } => words.push(format!("@{seconds}")),
        Timestamp {
            seconds,
            nanoseconds,
        } => words.push(format!("@{seconds}.{nanoseconds:09}")),
    }
    let xattrs: &Xattrs = tree.xattrs(inode.xattrs);
    for (name, value) in xattrs.iter() {
        words.push(format!("{}={}", text(name), text(value)));
    }
    words.join(" ")
}

/// Applies layers and compares the listing: `assert_tree!([["d a", "f a/b"], ["w a/b"]], ["d a"])`.
#[macro_export]
macro_rules! assert_tree {
    ([$([$($line:expr),* $(,)?]),* $(,)?], [$($expected:expr),* $(,)?] $(,)?) => {{
        let layers: &[&[&str]] = &[$(&[$($line),*]),*];
        let expected: &[&str] = &[$($expected),*];
        assert_eq!($crate::common::listing(&$crate::common::tree(layers)), expected);
    }};
}

/// Applies layers that cannot be: `assert_refused!([["f a", "f a/b"]], MergeError::ParentNotDirectory { .. })`.
#[macro_export]
macro_rules! assert_refused {
    ([$([$($line:expr),* $(,)?]),* $(,)?], $pattern:pat $(,)?) => {{
        let layers: &[&[&str]] = &[$(&[$($line),*]),*];
        let error = $crate::common::error(layers);
        assert!(matches!(error, $pattern), "{error:?}");
    }};
}
