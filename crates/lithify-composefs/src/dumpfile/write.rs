//! A tree with contents as a dumpfile.

use std::io::{self, Write};

use lithify_cancel::CancelToken;
use lithify_tree::{InodeKind, NodeId};

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
        escape::write(&path(node), false, &mut line);
        let mode = u32::from(inode.kind.type_bits() | inode.mode);
        let nlink = source.link_count(id).unwrap_or(inode.nlink);
        let link = if earlier.is_some() { "@" } else { "" };
        let (uid, gid, mtime) = (inode.uid, inode.gid, inode.mtime);
        write!(
            line,
            " {size} {link}{mode:o} {nlink} {uid} {gid} {device} {}.{} ",
            mtime.seconds, mtime.nanoseconds
        )?;
        escape::write_optional(payload.as_deref(), &mut line);
        line.push(b' ');
        escape::write_optional(inline.as_deref(), &mut line);
        line.push(b' ');
        match digest {
            Some(digest) => line.extend_from_slice(digest.hex().as_bytes()),
            None => line.push(b'-'),
        }
        if earlier.is_none() {
            for (name, value) in tree.xattrs(inode.xattrs).iter() {
                line.push(b' ');
                escape::write(name, true, &mut line);
                line.push(b'=');
                escape::write(value, true, &mut line);
            }
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}
