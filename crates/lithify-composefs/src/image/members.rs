//! Members of an image, which are numbered: the inodes of the tree and the stubs of the root directory.

use std::borrow::Cow;
use std::fmt;

use lithify_cancel::{CancelToken, Cancelled};
use lithify_tree::{Device, InodeId, InodeKind, NodeId, Timestamp, Tree};

use super::attributes::{Attributes, Unfit};
use super::format::{S_IFREG, STUB_MODE, STUBS, dirent, overlay};
use crate::object_path;
use crate::source::{Content, Source};

/// An inode of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// One of the tree, by the name it is numbered under.
    Node(NodeId),
    /// A character device 0:0 in the root directory, which hides the directory of objects of that name.
    Stub(u8),
}

/// What the inode of a member says, apart from its attributes and data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) nlink: u32,
    pub(super) kind: Kind<'a>,
}

/// The kind of a member in the image.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    Directory,
    /// A file without data, such as a whiteout.
    Empty,
    File {
        size: u64,
        id: Option<lithify_tree::ContentId>,
    },
    Symlink(&'a [u8]),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    Socket,
}

/// The attributes a set of the tree has in the image: they depend on no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Class {
    pub(super) set: lithify_tree::XattrSetId,
    pub(super) is_whiteout: bool,
    pub(super) has_whiteouts: bool,
    pub(super) is_root: bool,
}

/// The inodes of an image in the order of their numbers, and the numbers of all names.
pub(super) struct Members<'a, S: ?Sized> {
    pub(super) source: &'a S,
    pub(super) tree: &'a Tree,
    /// Breadth first, each directory's in the order of their names.
    pub(super) order: Vec<Member>,
    /// The number of each inode of the tree.
    numbers: Vec<u32>,
    /// The number of each stub; not of those whose name is taken.
    stubs: Vec<u32>,
    /// Whether each directory has whiteouts in it.
    has_whiteouts: Vec<bool>,
    /// Whether version 1 marks directories with whiteouts as opaque too.
    marks_opaque: bool,
}

impl<S: ?Sized> fmt::Debug for Members<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("inodes", &self.order.len())
            .finish()
    }
}

/// Tells whether an inode of the tree is a whiteout to overlayfs.
fn is_whiteout(kind: InodeKind<'_>) -> bool {
    matches!(kind, InodeKind::CharDevice(device) if device == Device::default())
}

impl<'a, S: Source + ?Sized> Members<'a, S> {
    /// Numbers the inodes.
    pub(super) fn new(source: &'a S, cancel: &CancelToken) -> Result<Self, Cancelled> {
        let tree = source.tree();
        let mut members = Self {
            source,
            tree,
            order: vec![Member::Node(NodeId::ROOT)],
            numbers: vec![0; tree.inode_count()],
            stubs: vec![0; STUBS as usize],
            has_whiteouts: vec![false; tree.inode_count()],
            marks_opaque: false,
        };
        let homes = members.homes();
        let mut next = 0;
        while let Some(&member) = members.order.get(next) {
            if next % 4096 == 0 {
                cancel.check()?;
            }
            next += 1;
            let Member::Node(directory) = member else {
                continue;
            };
            // Only directories have children.
            for child in members.children(directory) {
                let number = members.order.len() as u32;
                match child {
                    Member::Stub(stub) => members.stubs[usize::from(stub)] = number,
                    Member::Node(node) => {
                        let id = tree.inode_id(node);
                        if homes[id.index()] != node {
                            continue;
                        }
                        if is_whiteout(tree.inode(id).kind) {
                            members.has_whiteouts[tree.inode_id(directory).index()] = true;
                        }
                        members.numbers[id.index()] = number;
                    }
                }
                members.order.push(child);
            }
        }
        Ok(members)
    }

    /// Returns the name each inode is numbered under.
    fn homes(&self) -> Vec<NodeId> {
        let mut homes = vec![None; self.tree.inode_count()];
        for node in self.tree.walk() {
            homes[self.tree.inode_id(node).index()].get_or_insert(node);
        }
        let chosen = self.tree.inode_ids().zip(homes).map(|(id, first)| {
            // Each inode has a name.
            self.source.home(id).or(first).unwrap_or(NodeId::ROOT)
        });
        chosen.collect()
    }

    /// Returns what is in a directory in the order of the names: in the root directory the stubs too.
    pub(super) fn children(&self, directory: NodeId) -> Vec<Member> {
        let nodes = self.tree.children(directory);
        if directory != NodeId::ROOT {
            return nodes.map(Member::Node).collect();
        }
        let mut all: Vec<Member> = nodes.map(Member::Node).collect();
        let is_free = |stub: &u8| self.tree.child(NodeId::ROOT, &stub_name(*stub)).is_none();
        all.extend((0..=u8::MAX).filter(is_free).map(Member::Stub));
        all.sort_by(|a, b| self.name(a).cmp(&self.name(b)));
        all
    }

    /// Returns the name of a member.
    pub(super) fn name(&self, member: &Member) -> Cow<'a, [u8]> {
        match *member {
            Member::Node(node) => self.tree.name(node).into(),
            Member::Stub(stub) => stub_name(stub).to_vec().into(),
        }
    }

    /// Returns the number of a member, also of a second name.
    pub(super) fn number(&self, member: &Member) -> u32 {
        match *member {
            Member::Node(node) => self.numbers[self.tree.inode_id(node).index()],
            Member::Stub(stub) => self.stubs[usize::from(stub)],
        }
    }

    /// Tells whether there are whiteouts.
    pub(super) fn has_whiteouts(&self) -> bool {
        self.has_whiteouts.contains(&true)
    }

    /// Decides how directories with whiteouts are marked.
    pub(super) fn mark_opaque(&mut self, is_marked: bool) {
        self.marks_opaque = is_marked;
    }

    /// Returns what the inode of a member says.
    pub(super) fn facts(&self, member: &Member) -> Facts<'a> {
        let node = match *member {
            Member::Node(node) => node,
            Member::Stub(_) => {
                let root = self.tree.node_inode(NodeId::ROOT);
                return Facts {
                    mode: STUB_MODE,
                    uid: root.uid,
                    gid: root.gid,
                    mtime: root.mtime,
                    nlink: 1,
                    kind: Kind::CharDevice(Device::default()),
                };
            }
        };
        let id = self.tree.inode_id(node);
        let inode = self.tree.inode(id);
        let mut type_bits = inode.kind.type_bits();
        let kind = match inode.kind {
            kind if is_whiteout(kind) => {
                type_bits = S_IFREG;
                Kind::Empty
            }
            InodeKind::Directory => Kind::Directory,
            InodeKind::File { size: 0, .. } => Kind::Empty,
            InodeKind::File { size, content } => Kind::File { size, id: content },
            InodeKind::Symlink { target } => Kind::Symlink(target),
            InodeKind::CharDevice(device) => Kind::CharDevice(device),
            InodeKind::BlockDevice(device) => Kind::BlockDevice(device),
            InodeKind::Fifo => Kind::Fifo,
            // What the tree may have besides is nothing yet.
            _ => Kind::Socket,
        };
        Facts {
            mode: type_bits | inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            nlink: self.link_count(id, inode.nlink),
            kind,
        }
    }

    fn link_count(&self, id: InodeId, counted: u32) -> u32 {
        self.source.link_count(id).unwrap_or(counted)
    }

    /// Returns the content of a file.
    pub(super) fn content(&self, id: Option<lithify_tree::ContentId>) -> Content<'a> {
        match id {
            Some(id) => self.source.content(id),
            None => Content::NOWHERE,
        }
    }

    /// Returns the class of a member's attributes.
    pub(super) fn class(&self, node: NodeId) -> Class {
        let id = self.tree.inode_id(node);
        let inode = self.tree.inode(id);
        Class {
            set: inode.xattrs,
            is_whiteout: is_whiteout(inode.kind),
            has_whiteouts: self.has_whiteouts[id.index()],
            is_root: node == NodeId::ROOT,
        }
    }

    /// Finds the attributes of a class.
    pub(super) fn class_attributes(&self, class: Class, out: &mut Attributes) {
        for (key, value) in self.tree.xattrs(class.set).iter() {
            match key.strip_prefix(overlay::PREFIX) {
                Some(rest) => out.add(&[overlay::ESCAPE, rest], &[value]),
                None => out.add(&[key], &[value]),
            }
        }
        let spaces = [overlay::ESCAPE, overlay::USER];
        if class.is_whiteout {
            spaces
                .iter()
                .for_each(|space| out.set(&[space, b"whiteout"], b""));
        }
        if class.has_whiteouts {
            spaces
                .iter()
                .for_each(|space| out.set(&[space, b"whiteouts"], b""));
        }
        if class.has_whiteouts && self.marks_opaque {
            spaces
                .iter()
                .for_each(|space| out.set(&[space, b"opaque"], b"x"));
        }
        if class.is_root {
            out.set(&[overlay::OPAQUE], b"y");
        }
    }

    /// Finds the attributes by which overlayfs finds an object.
    pub(super) fn object_attributes(content: &Content<'_>, out: &mut Attributes) {
        let (path, digest) = match content {
            Content::Inline(_) => return,
            Content::Object(digest) => {
                (Some(object_path(digest).into_bytes().into()), Some(digest))
            }
            Content::External { path, digest } => (path.clone(), digest.as_ref()),
        };
        let head = digest.map(|digest| {
            let length = overlay::METACOPY_HEAD + digest.algorithm().digest_size();
            // 36 or 68.
            [0, length.to_le_bytes()[0], 0, digest.algorithm().number()]
        });
        let head = head.as_ref().map_or(&b""[..], |head| head);
        let digest = digest.map_or(&b""[..], |digest| digest.as_bytes());
        out.set(&[overlay::METACOPY], &[head, digest].concat());
        if let Some(path) = path {
            out.set(&[overlay::REDIRECT], &[b"/", &*path].concat());
        }
    }

    /// Finds the attributes of a member.
    pub(super) fn attributes(&self, member: &Member, out: &mut Attributes) -> Result<(), Unfit> {
        out.clear();
        match *member {
            Member::Stub(_) => {
                let root = self.tree.node_inode(NodeId::ROOT).xattrs;
                if let Some(label) = self.tree.xattrs(root).get(SELINUX) {
                    out.add(&[SELINUX], &[label]);
                }
            }
            Member::Node(node) => {
                self.class_attributes(self.class(node), out);
                if let InodeKind::File { size: 1.., content } = self.tree.node_inode(node).kind {
                    Self::object_attributes(&self.content(content), out);
                }
            }
        }
        out.finish()
    }

    /// Returns the path of a member, for messages.
    pub(super) fn path(&self, member: &Member) -> Vec<u8> {
        match *member {
            Member::Node(node) => self.tree.path(node),
            Member::Stub(stub) => stub_name(stub).to_vec(),
        }
    }
}

/// The attribute of the root directory that its stubs have too.
const SELINUX: &[u8] = b"security.selinux";

/// Returns the name of a stub: two hexadecimal digits.
fn stub_name(stub: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [
        DIGITS[usize::from(stub >> 4)],
        DIGITS[usize::from(stub & 15)],
    ]
}

impl Kind<'_> {
    /// Returns the type in a directory entry.
    pub(super) const fn dirent(&self) -> u8 {
        match self {
            Self::Directory => dirent::DIRECTORY,
            Self::Empty | Self::File { .. } => dirent::FILE,
            Self::Symlink(_) => dirent::SYMLINK,
            Self::CharDevice(_) => dirent::CHAR_DEVICE,
            Self::BlockDevice(_) => dirent::BLOCK_DEVICE,
            Self::Fifo => dirent::FIFO,
            Self::Socket => dirent::SOCKET,
        }
    }
}
