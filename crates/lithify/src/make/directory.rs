//! `-f dir`: a directory on this host.

use lithify_hostfs::{DirTarget, MaterialiseOptions};

use lithify_tree::{InodeKind, Tree};

use crate::Error;
use crate::Event;
use crate::Image;
use crate::image::add_dropped;
use crate::image::decode;
use crate::make::format::Format;
use crate::make::options::BuildOptions;
use crate::make::options::Output;
use crate::make::result::Built;
use crate::make::result::artifact;
use crate::make::result::output_path;
use crate::name::shown_path;
use crate::session::Session;
use crate::session::budgets::Budgets;

pub(super) fn build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Built {
    let path = output_path(output, Format::Directory)?;
    let mut materialise = MaterialiseOptions::default();
    materialise.sync = options.durable;
    materialise.cancel = session.cancel.clone();
    let target = DirTarget::create(path, materialise)?;
    let budgets = Budgets::of_data(session);
    let decoded = decode(image, &mut target.sink(), session, &budgets, Error::from)?;
    let (tree, summaries) = decoded.merge(image, session)?;
    session.progress.event(Event::Finishing);
    let report = target.finish(&tree)?;
    let mut artifact = artifact(Format::Directory, &shown_path(path));
    let not_set = &report.not_set;
    artifact.statistics = [
        ("names", report.names),
        ("inodes", report.inodes),
        ("not_set_owners", not_set.owners),
        ("not_set_devices", not_set.devices),
        ("not_set_modes", not_set.modes),
        ("not_set_times", not_set.times),
        ("not_set_capabilities", not_set.capabilities),
        ("not_set_trusted_xattrs", not_set.trusted_xattrs),
        ("not_set_other_xattrs", not_set.other_xattrs),
    ]
    .into_iter()
    .filter(|&(_, count)| count > 0)
    .map(|(name, count)| (name.to_owned(), count))
    .collect();
    artifact.size = data_bytes(&tree);
    add_dropped(&mut artifact.dropped_xattrs, &summaries);
    Ok((artifact, summaries).into())
}

/// Apparent size of all files together, each inode once.
fn data_bytes(tree: &Tree) -> u64 {
    let size = |id| match tree.inode(id).kind {
        InodeKind::File { size, .. } => size,
        _ => 0,
    };
    tree.inode_ids().map(size).sum()
}
