//! Names in the order of the tree, and the data of files behind them.

use lithify_tree::{DataSegment, Inode, InodeKind, NodeId, TreePath, Xattrs};

use crate::Error;
use crate::error::BuildError;
use crate::image::Merged;
use crate::output::retry::read_some;
use crate::session::Session;

/// An archive that is written front to back.
pub(in crate::make) trait Archive {
    /// What is left when it is complete.
    type Done;

    /// Appends a name.
    fn append(&mut self, member: &Member<'_>) -> Result<Appended, Error>;

    /// Writes data of the last file.
    fn data(&mut self, data: &[u8]) -> Result<(), Error>;

    /// Ends the archive.
    fn finish(self) -> Result<Self::Done, Error>;
}

/// A name, and the inode it points to.
pub(in crate::make) struct Member<'a> {
    pub(in crate::make) path: TreePath,
    /// The inode's first name, if this is not it.
    pub(in crate::make) first: Option<TreePath>,
    /// Whether it is the last name of the inode.
    pub(in crate::make) is_last: bool,
    /// The inode's number: inodes are numbered from 1, in the order of their first names.
    pub(in crate::make) number: u32,
    pub(in crate::make) inode: Inode<'a>,
    pub(in crate::make) xattrs: &'a Xattrs,
    /// Where data lies in a file that has holes.
    pub(in crate::make) segments: Option<&'a [DataSegment]>,
}

/// What became of a name.
pub(in crate::make) enum Appended {
    /// The archive cannot hold it.
    LeftOut,
    /// It was written.
    Written {
        /// Bytes of the archive that are no data, at least.
        overhead: u64,
        /// Whether the data of the file comes next.
        with_data: bool,
    },
}

/// Writes an archive. Returns what it left, and how many names it could not hold.
pub(in crate::make) fn emit<A: Archive>(
    merged: &Merged,
    mut archive: A,
    session: &Session,
) -> Result<(A::Done, u64), Error> {
    let Merged { tree, spooled, .. } = merged;
    let mut seen: Vec<Seen> = vec![Seen::default(); tree.inode_count()];
    let mut inodes = 0;
    let mut buffer = vec![0; 256 << 10];
    let mut left_out = 0;
    for node in tree.walk() {
        if session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let id = tree.inode_id(node);
        let inode = tree.inode(id);
        let path = |node| TreePath::clean(&tree.path(node)).map_err(Error::tar_path);
        let seen = &mut seen[id.index()];
        let first = match seen.first {
            Some(first) => Some(path(first)?),
            None => {
                inodes += 1;
                seen.number = inodes;
                seen.first = Some(node);
                None
            }
        };
        seen.names += 1;
        let content = match inode.kind {
            InodeKind::File {
                content: Some(content),
                ..
            } => Some(spooled.content(content)),
            _ => None,
        };
        let member = Member {
            path: path(node)?,
            first,
            is_last: inode.kind.is_directory() || seen.names == inode.nlink,
            number: seen.number,
            inode,
            xattrs: tree.xattrs(inode.xattrs),
            segments: content.and_then(|content| content.segments.as_deref()),
        };
        match archive.append(&member)? {
            Appended::LeftOut => left_out += 1,
            Appended::Written {
                overhead,
                with_data,
            } => {
                let taken = merged.budgets.output_bytes.take(overhead);
                taken.map_err(|source| BuildError::OutputBudget {
                    path: Some(member.path),
                    source,
                })?;
                if let Some(content) = content.filter(|_| with_data) {
                    let mut data = spooled.reader(content);
                    loop {
                        let read = read_some(&mut data, &mut buffer).map_err(Error::scratch)?;
                        if read == 0 {
                            break;
                        }
                        archive.data(&buffer[..read])?;
                    }
                }
            }
        }
    }
    let done = archive.finish()?;
    Ok((done, left_out))
}

/// The names of an inode so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    first: Option<NodeId>,
    names: u32,
    number: u32,
}
