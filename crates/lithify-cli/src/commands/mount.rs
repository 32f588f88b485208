//! `lithify mount`, `lithify umount` and `lithify mounts`.

use std::io::Write as _;

use lithify::{Escaped, MountKind, MountOptions};
use serde_json::json;

use super::{decoding_session, insert_path, print_json, with_progress};
use crate::args::{MountArgs, UmountArgs};
use crate::failure::Failure;

pub(crate) fn mount(args: MountArgs, quiet: bool) -> Result<(), Failure> {
    let (mut session, renderer) = decoding_session(&args.read, quiet)?;
    // Layers that are EROFS images already are mounted as they are.
    session.layers = lithify::LayerKind::Erofs;
    let mut options = MountOptions::default();
    options.writable = args.rw;
    options.setuid = args.suid;
    options.devices = args.dev;
    options.drop_xattrs = args.drop_xattrs;
    options.verity = args.verity;
    with_progress(&renderer, || {
        lithify::mount(&args.image, &args.directory, &options, &session)
    })
}

pub(crate) fn umount(args: &UmountArgs) -> Result<(), Failure> {
    Ok(lithify::umount(&args.directory)?)
}

pub(crate) fn mounts(as_json: bool) -> Result<(), Failure> {
    let mounts = lithify::mounts()?;
    let kind = |kind: MountKind| match kind {
        MountKind::Erofs => "erofs",
        MountKind::Squashfs => "squashfs",
        MountKind::Ext4 => "ext4",
        MountKind::Overlay => "overlay",
        MountKind::Composefs => "composefs",
        _ => "other",
    };
    if as_json {
        let list: Vec<_> = mounts
            .iter()
            .map(|m| {
                let mut mount = json!({ "kind": kind(m.kind) });
                insert_path(&mut mount, "target", Some(&m.target));
                insert_path(&mut mount, "source", m.source.as_deref());
                insert_path(&mut mount, "writable", m.writable.as_deref());
                mount
            })
            .collect();
        return print_json(&list);
    }
    let mut out = crate::terminal::stdout();
    for mount in mounts {
        let shown = |path: Option<&std::path::PathBuf>| {
            path.map_or("-".to_owned(), |p| Escaped::path(p).to_string())
        };
        let (target, source) = (shown(Some(&mount.target)), shown(mount.source.as_ref()));
        write!(out, "{target}  {}  {source}", kind(mount.kind))?;
        match &mount.writable {
            Some(path) => writeln!(out, "  changes in {}", shown(Some(path)))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}
