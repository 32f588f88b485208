//! From what a layer changed, noted while it was applied: work for the layer and what it touches below, whatever else there
//! is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::alone::{set_mark, whiteout};
use super::{OPAQUE_VALUE, OPAQUE_XATTR, ORIGIN_XATTR, OverlayError, escape};
use crate::builder::{Both, Builder, Journal};
use crate::inode::{Payload, Record, Type};
use crate::{
    ContentId, DEFAULT_NAME_LIMIT, Device, InodeId, MergeError, NodeId, Timestamp, Tree, Xattrs,
};

/// What a layer changed in the filesystem below it, as an overlay says it: what
/// [`difference`](super::difference) finds by comparing.
#[derive(Debug)]
pub struct Changes {
    /// In the order of the tree, every directory before what is in it; the root first.
    names: Vec<Name>,
    inodes: Vec<Changed>,
}

/// A name of the layer.
#[derive(Debug)]
struct Name {
    /// Which of the names its directory is; the root's is the root.
    parent: usize,
    name: Vec<u8>,
    /// Which of the inodes.
    inode: usize,
    gone: Gone,
}

/// What a directory no longer has.
#[derive(Debug)]
enum Gone {
    Names(Vec<Vec<u8>>),
    Everything,
}

/// An inode of the layer.
#[derive(Debug)]
struct Changed {
    record: Record,
    target: Vec<u8>,
    xattrs: Arc<Xattrs>,
}

impl Changes {
    /// Compares a tree with what it was.
    pub(crate) fn of(tree: &Builder, journal: &Journal) -> Self {
        let both = Both::new(tree, journal);
        let mut counterparts = HashMap::new();
        let touched = both.touched();
        // Of an inode that lost or got a name, all names.
        let mut judged = touched.clone();
        let mut seen = HashSet::new();
        for &node in &touched {
            let below = both.counterpart(node, &mut counterparts);
            let was = below.map(|below| both.inode_before(below));
            for inode in [Some(tree.inode_id(node)), was].into_iter().flatten() {
                if seen.insert(inode) {
                    judged.extend(both.names(inode, None));
                }
            }
        }
        judged.sort_unstable();
        judged.dedup();
        let robbed = both.robbed();
        let order = in_order(tree, judged.iter().chain(&robbed).copied());
        let judged: HashSet<NodeId> = judged.into_iter().collect();
        let changed = changed_inodes(&both, &order, &judged, &mut counterparts);

        let mut gone: HashMap<NodeId, Gone> = HashMap::new();
        let mut kept: HashSet<NodeId> = HashSet::new();
        // Deepest first.
        for &node in order.iter().rev() {
            let what = gone_from(&both, node, &mut counterparts);
            let is_changed = judged.contains(&node) && changed.contains(&tree.inode_id(node));
            if is_changed || what.is_some() {
                kept.insert(node);
            }
            if let Some(what) = what {
                gone.insert(node, what);
            }
            if kept.contains(&node) {
                kept.insert(tree.parent(node));
            }
        }
        kept.insert(NodeId::ROOT);

        let mut changes = Self {
            names: Vec::new(),
            inodes: Vec::new(),
        };
        let mut places: HashMap<NodeId, usize> = HashMap::new();
        let mut numbers: HashMap<InodeId, usize> = HashMap::new();
        for node in order.into_iter().filter(|n| kept.contains(n)) {
            let number = *numbers.entry(tree.inode_id(node)).or_insert_with(|| {
                let record = *tree.record(node);
                changes.inodes.push(Changed {
                    record,
                    target: tree.target(node).to_vec(),
                    xattrs: Arc::clone(tree.shared_xattrs(record.xattrs)),
                });
                changes.inodes.len() - 1
            });
            places.insert(node, changes.names.len());
            changes.names.push(Name {
                parent: places.get(&tree.parent(node)).copied().unwrap_or(0),
                name: tree.name(node).to_vec(),
                inode: number,
                gone: gone.remove(&node).unwrap_or(Gone::Names(Vec::new())),
            });
        }
        changes
    }

    /// The overlay layer that makes these changes. `content` says what the target calls the data of a file, whose size it gets
    /// too.
    ///
    /// # Errors
    /// [`OverlayError`], and what `content` fails with.
    pub fn overlay<E: From<OverlayError>>(
        &self,
        mut content: impl FnMut(ContentId, u64) -> Result<ContentId, E>,
    ) -> Result<Tree, E> {
        let mut tree = Builder::new(Timestamp::default(), DEFAULT_NAME_LIMIT);
        let mut inodes: Vec<Option<InodeId>> = vec![None; self.inodes.len()];
        let mut places = Vec::with_capacity(self.names.len());
        for (at, name) in self.names.iter().enumerate() {
            let place = if at == 0 {
                let record = self.record(&mut tree, at, &mut content)?;
                tree.replace_record(NodeId::ROOT, record);
                NodeId::ROOT
            } else {
                let inode = match inodes[name.inode] {
                    Some(inode) => inode,
                    None => {
                        let record = self.record(&mut tree, at, &mut content)?;
                        let inode = tree.add_inode(record).map_err(|_| full())?;
                        inodes[name.inode] = Some(inode);
                        inode
                    }
                };
                insert(&mut tree, places[name.parent], &name.name, inode)?
            };
            places.push(place);
            match &name.gone {
                Gone::Everything => set_mark(&mut tree, place, OPAQUE_XATTR, OPAQUE_VALUE),
                Gone::Names(names) if names.is_empty() => {}
                Gone::Names(names) => {
                    for name in names {
                        let inode = tree.add_inode(whiteout()).map_err(|_| full())?;
                        insert(&mut tree, place, name, inode)?;
                    }
                    set_mark(&mut tree, place, ORIGIN_XATTR, b"");
                }
            }
        }
        Ok(tree.finish())
    }

    /// The record of a name's inode in the layer.
    fn record<E: From<OverlayError>>(
        &self,
        tree: &mut Builder,
        at: usize,
        content: &mut impl FnMut(ContentId, u64) -> Result<ContentId, E>,
    ) -> Result<Record, E> {
        let Changed {
            record,
            target,
            xattrs,
        } = &self.inodes[self.names[at].inode];
        let payload = match record.payload() {
            Payload::File { size, content: id } => Payload::File {
                size,
                content: id.map(|id| content(id, size)).transpose()?,
            },
            Payload::Symlink { .. } => tree.add_target(target).map_err(|_| full())?,
            Payload::CharDevice(device) if device == Device::default() => {
                let path = self.path(at);
                return Err(OverlayError::WhiteoutDevice { path }.into());
            }
            other => other,
        };
        let xattrs = match escape(xattrs)? {
            Some(escaped) => tree.intern(&Arc::new(escaped)),
            None => tree.intern(xattrs),
        };
        Ok(Record::new(
            payload,
            record.mode,
            record.uid,
            record.gid,
            record.mtime(),
            xattrs,
        ))
    }

    fn path(&self, mut at: usize) -> Vec<u8> {
        let mut components = Vec::new();
        while at != 0 {
            components.push(&*self.names[at].name);
            at = self.names[at].parent;
        }
        components.reverse();
        components.join(&b'/')
    }
}

/// Nodes and the directories above them in the order the finished tree is walked in: depth first, siblings by name.
fn in_order(tree: &Builder, nodes: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let mut known: HashSet<NodeId> = HashSet::from([NodeId::ROOT]);
    let mut children: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for node in nodes {
        let mut at = node;
        while known.insert(at) {
            let parent = tree.parent(at);
            children.entry(parent).or_default().push(at);
            at = parent;
        }
    }
    let mut order = Vec::with_capacity(known.len());
    let mut open = vec![NodeId::ROOT];
    while let Some(node) = open.pop() {
        order.push(node);
        if let Some(mut below) = children.remove(&node) {
            below.sort_unstable_by(|&a, &b| tree.name(b).cmp(tree.name(a)));
            open.extend(below);
        }
    }
    order
}

/// The inodes that somebody could tell from what they were: of names of one file, which must have been names of one file and
/// of no other.
fn changed_inodes(
    both: &Both<'_>,
    order: &[NodeId],
    judged: &HashSet<NodeId>,
    counterparts: &mut HashMap<NodeId, Option<NodeId>>,
) -> HashSet<InodeId> {
    let tree = both.tree;
    let mut inode_before: HashMap<InodeId, InodeId> = HashMap::new();
    let mut inode_after: HashMap<InodeId, InodeId> = HashMap::new();
    let mut changed = HashSet::new();
    let mut counts = Counts::default();
    for &node in order.iter().filter(|n| judged.contains(n)) {
        let id = tree.inode_id(node);
        let same = both.counterpart(node, counterparts).is_some_and(|below| {
            let was = both.inode_before(below);
            is_same(both, below, node, &mut counts)
                && *inode_before.entry(id).or_insert(was) == was
                && *inode_after.entry(was).or_insert(id) == id
        });
        if !same {
            changed.insert(id);
        }
    }
    changed
}

/// How many names inodes had and have, counted once for each.
#[derive(Default)]
struct Counts {
    before: HashMap<InodeId, usize>,
    after: HashMap<InodeId, usize>,
}

/// Whether two names mean inodes nobody could tell apart.
fn is_same(both: &Both<'_>, below: NodeId, node: NodeId, counts: &mut Counts) -> bool {
    let tree = both.tree;
    let (was_id, id) = (both.inode_before(below), tree.inode_id(node));
    let (was, is) = (both.record_before(was_id), tree.record(node));
    if (was.mode, was.uid, was.gid, was.mtime(), was.xattrs)
        != (is.mode, is.uid, is.gid, is.mtime(), is.xattrs)
    {
        return false;
    }
    let same_kind = match (was.payload(), is.payload()) {
        (Payload::Symlink { .. }, Payload::Symlink { .. }) => {
            tree.target_of(was) == tree.target_of(is)
        }
        (was, is) => was == is,
    };
    if !same_kind || is.kind == Type::Directory {
        return same_kind;
    }
    let before = counts.before.entry(was_id);
    let before = *before.or_insert_with(|| both.names_before(was_id, below));
    let after = counts.after.entry(id);
    *after.or_insert_with(|| both.names(id, Some(node)).len()) <= before
}

/// What an overlay has to say of a directory about names it no longer has.
fn gone_from(
    both: &Both<'_>,
    node: NodeId,
    counterparts: &mut HashMap<NodeId, Option<NodeId>>,
) -> Option<Gone> {
    let tree = both.tree;
    let below = both.counterpart(node, counterparts)?;
    let was = both.record_before(both.inode_before(below)).kind;
    if tree.kind(node) != Type::Directory || was != Type::Directory {
        return None;
    }
    let is_gone = |&child: &NodeId| tree.child(node, tree.name(child)).is_none();
    let name = |child: NodeId| tree.name(child).to_vec();
    let names: Vec<Vec<u8>> = match below == node {
        // Others are there.
        true => {
            let removed = both.removed_from(node).iter().copied();
            removed.filter(is_gone).map(name).collect()
        }
        false => both
            .children_before(below)
            .filter(is_gone)
            .map(name)
            .collect(),
    };
    if names.is_empty() {
        return None;
    }
    // Nothing of it is left. (The root cannot be opaque: overlayfs looks names up in the roots of all layers.)
    let all = node != NodeId::ROOT && both.children_before(below).all(|child| is_gone(&child));
    Some(match all {
        true => Gone::Everything,
        false => Gone::Names(names),
    })
}

fn insert(
    tree: &mut Builder,
    parent: NodeId,
    name: &[u8],
    inode: InodeId,
) -> Result<NodeId, OverlayError> {
    let slot = tree.slot(parent, name);
    tree.insert(parent, name, slot, inode).map_err(|_| full())
}

fn full() -> OverlayError {
    MergeError::Full.into()
}
