//! A tree with contents as a dumpfile.

use std::io::{self, Write};

use lithify_cancel::CancelToken;
use lithify_tree::{InodeKind, NodeId, Timestamp};
use lithify_verity::file::FileDigest;

use super::escape;
use crate::object_path;
use crate::source::{Content, Source, device_number};

/// Size of a directory, which says nothing.
const DIRECTORY_SIZE: u64 = 4096;

/// Writes a tree as a dumpfile, directories before what is in them, names in the order of their bytes. Of a file with several names all but the
/// first are links to that.
///
/// # Errors
/// Those of `out`, and [`io::ErrorKind::Interrupted`] with [`lithify_cancel::Cancelled`] in it.
pub fn write<S: Source + ?Sized>(
    source: &S,
    out: &mut dyn Write,
    cancel: &CancelToken,
) -> io::Result<()> {
    let tree = source.tree();
    let mut first: Vec<Option<NodeId>> = vec![None; tree.inode_count()];
    let mut line = Vec::new();
    for (number, node) in tree.walk().enumerate() {
        if number % 1024 == 0 {
            cancel
                .check()
                .map_err(|e| io::Error::new(io::ErrorKind::Interrupted, e))?;
        }
        line.clear();
        let id = tree.inode_id(node);
        let inode = tree.inode(id);
        let earlier = first[id.index()];
        first[id.index()].get_or_insert(node);
        let path = |node| [b"/", &*tree.path(node)].concat();
        let (mut size, mut device, mut payload, mut inline, mut digest) = (0, 0, None, None, None);
        match inode.kind {
            InodeKind::Directory => size = DIRECTORY_SIZE,
            InodeKind::Symlink { target } => {
                size = target.len() as u64;
                payload = Some(target.to_vec());
            }
            InodeKind::CharDevice(number) | InodeKind::BlockDevice(number) => {
                device = device_number(number).ok_or_else(|| {
                    let text = format!("device {}:{} has no number", number.major, number.minor);
                    io::Error::new(io::ErrorKind::InvalidData, text)
                })?;
            }
            InodeKind::File {
                size: bytes,
                content,
            } => {
                size = bytes;
                match content.map(|id| source.content(id)) {
                    None => {}
                    Some(Content::Inline(bytes)) => inline = Some(bytes),
                    Some(Content::Object(object)) => {
                        payload = Some(object_path(&object).into_bytes());
                        digest = Some(object);
                    }
                    Some(Content::External { path, digest: said }) => {
                        payload = path.map(|path| path.into_owned());
                        digest = said;
                    }
                }
            }
            _ => {}
        }
        if let Some(earlier) = earlier {
            (payload, inline, digest) = (Some(path(earlier)), None, None);
        }
        let fields = Fields {
            path: &path(node),
            is_link: earlier.is_some(),
            mode: inode.kind.type_bits() | inode.mode,
            nlink: source.link_count(id).unwrap_or(inode.nlink),
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            payload: payload.as_deref(),
            content: inline.as_deref(),
            digest: digest.as_ref(),
            size,
            device,
        };
        fields.write(&mut line)?;
        if earlier.is_none() {
            for (name, value) in tree.xattrs(inode.xattrs).iter() {
                write_attribute(name, value, &mut line);
            }
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}

/// The fields of a line before the attributes.
pub(super) struct Fields<'a> {
    /// With a slash at its front.
    pub(super) path: &'a [u8],
    pub(super) size: u64,
    pub(super) is_link: bool,
    /// With its type bits.
    pub(super) mode: u16,
    pub(super) nlink: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) device: u32,
    pub(super) mtime: Timestamp,
    pub(super) payload: Option<&'a [u8]>,
    pub(super) content: Option<&'a [u8]>,
    pub(super) digest: Option<&'a FileDigest>,
}

impl Fields<'_> {
    pub(super) fn write(&self, line: &mut Vec<u8>) -> io::Result<()> {
        escape::write(self.path, false, line);
        let link = if self.is_link { "@" } else { "" };
        let Self {
            size,
            mode,
            nlink,
            uid,
            gid,
            device,
            mtime,
            ..
        } = self;
        write!(
            line,
            " {size} {link}{mode:o} {nlink} {uid} {gid} {device} {}.{} ",
            mtime.seconds, mtime.nanoseconds
        )?;
        escape::write_optional(self.payload, line);
        line.push(b' ');
        escape::write_optional(self.content, line);
        line.push(b' ');
        match self.digest {
            Some(digest) => line.extend_from_slice(digest.hex().as_bytes()),
            None => line.push(b'-'),
        }
        Ok(())
    }
}

pub(super) fn write_attribute(name: &[u8], value: &[u8], line: &mut Vec<u8>) {
    line.push(b' ');
    escape::write(name, true, line);
    line.push(b'=');
    escape::write(value, true, line);
}
