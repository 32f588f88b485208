//! `lithify ls`.

use std::io::{BufWriter, Write};

use lithify::{Escaped, Listing, NodeId, Subject, TreeKind};

use super::{decoding_session, with_path, with_progress};
use crate::args::LsArgs;
use crate::failure::Failure;
use crate::{human, terminal};

pub(crate) fn run(args: LsArgs, quiet: bool) -> Result<(), Failure> {
    let (mut session, renderer) = decoding_session(&args.read, quiet)?;
    // Of layers that are EROFS images only what is asked for has to be read.
    session.layers = lithify::LayerKind::Erofs;
    let depth = match args.depth {
        Some(depth) => Some(depth),
        None if args.directory => Some(0),
        // Data is of everything: whoever wants less says so.
        None if args.recursive || args.json => None,
        None => Some(1),
    };
    // As `ls` has it: a symbolic link itself where it is described, what it leads to where that is listed.
    let itself = args.directory || (args.long && !args.json);
    let (listing, top) = with_progress(&renderer, || {
        let subject = Subject::open(&args.image, &session)?;
        with_path(&args.path, |path| {
            let listing = subject.list_part(path, depth, &session)?;
            let top = match itself {
                true => listing.find_itself(path)?,
                false => listing.find(path)?,
            };
            Ok((listing, top))
        })
    })?;
    if !quiet {
        for (name, files) in listing.left_out_xattrs() {
            terminal::say(&format!(
                "not shown: the extended attribute {name} of {}, which no Linux filesystem holds",
                human::files(*files)
            ));
        }
    }
    let tree = listing.tree();
    // Of a directory what is in it.
    let is_listed = matches!(tree.node_inode(top).kind, TreeKind::Directory) && depth != Some(0);
    let mut out = BufWriter::new(terminal::stdout());
    let mut stack = vec![(top, 0)];
    while let Some((node, level)) = stack.pop() {
        if node != top || args.json || !is_listed {
            line(&mut out, &args, &listing, node)?;
        }
        if depth.is_none_or(|max| level < max) {
            let shown =
                |child: &NodeId| args.all || args.json || !tree.name(*child).starts_with(b".");
            let children = tree.children(node).rev().filter(shown);
            stack.extend(children.map(|child| (child, level + 1)));
        }
    }
    Ok(out.flush()?)
}

fn line(
    out: &mut impl Write,
    args: &LsArgs,
    listing: &Listing,
    node: NodeId,
) -> Result<(), Failure> {
    if args.json {
        lithify::write_json(&mut *out, &listing.entry(node))?;
        return Ok(out.write_all(b"\n")?);
    }
    let tree = listing.tree();
    let path = tree.path(node);
    let path = format!("/{}", Escaped(&path));
    if !args.long {
        return Ok(writeln!(out, "{path}")?);
    }
    let inode = tree.node_inode(node);
    let (letter, size, arrow) = match inode.kind {
        TreeKind::File { size, .. } => ('-', size.to_string(), String::new()),
        TreeKind::Directory => ('d', "0".to_owned(), String::new()),
        TreeKind::Symlink { target } => (
            'l',
            target.len().to_string(),
            format!(" -> {}", Escaped(target)),
        ),
        TreeKind::CharDevice(d) => ('c', format!("{},{}", d.major, d.minor), String::new()),
        TreeKind::BlockDevice(d) => ('b', format!("{},{}", d.major, d.minor), String::new()),
        TreeKind::Fifo => ('p', "0".to_owned(), String::new()),
        TreeKind::Socket => ('s', "0".to_owned(), String::new()),
        _ => ('?', String::new(), String::new()),
    };
    let mode = human::permissions(letter, inode.mode);
    let extra = if tree.xattrs(inode.xattrs).is_empty() {
        ' '
    } else {
        '+'
    };
    let (nlink, uid, gid) = (inode.nlink, inode.uid, inode.gid);
    let time = human::time(inode.mtime.seconds);
    Ok(writeln!(
        out,
        "{mode}{extra}{nlink:>3} {uid:>5} {gid:>5} {size:>11} {time} {path}{arrow}"
    )?)
}
