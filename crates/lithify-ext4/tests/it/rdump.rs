//! Files as `debugfs rdump` copies them out of an image, without the kernel.

use std::path::Path;

use lithify_ext4::FileType;
use lithify_testkit::{Kind, Node, Snapshot, require, run};

use crate::shown;

/// What is copied for it, at most: it takes its time for each, and writes holes.
const NAMES_MAX: usize = 2000;
const BYTES_MAX: u64 = 64 << 20;

/// Compares the directories, files and symbolic links that it copies with what this crate shows. It knows no others, no attributes,
/// and of times only some.
pub(crate) fn compare(image: &Path) {
    if !require::tool("debugfs") || !require::root() {
        return;
    }
    let opened = shown::open(image);
    let files = opened.walk().map(|found| found.unwrap().inode);
    let sizes: Vec<u64> = files
        .map(|inode| match inode.file_type() {
            FileType::File => inode.size(),
            _ => 0,
        })
        .take(NAMES_MAX + 1)
        .collect();
    if sizes.len() > NAMES_MAX || sizes.iter().sum::<u64>() > BYTES_MAX {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let command = format!("rdump / {}", directory.path().display());
    let output = run::command("debugfs")
        .args(["-R", &command])
        .arg(image)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let version = said.lines().all(|line| line.starts_with("debugfs 1."));
    assert!(output.status.success() && version, "{said}");
    let copied = nodes(Snapshot::of(directory.path()));
    let expected = nodes(shown::of(&opened));
    for (path, node) in &expected {
        let name = path.escape_ascii();
        let found = copied.iter().find(|(found, _)| found == path);
        let (_, found) = found.unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(found.to_string(), node.to_string(), "{name}");
    }
    assert_eq!(copied.len(), expected.len());
}

/// What is the same in a copy.
fn nodes(snapshot: Snapshot) -> Vec<(Vec<u8>, Node)> {
    let is_copied = |node: &Node| {
        matches!(
            node.kind,
            Kind::File { .. } | Kind::Directory | Kind::Symlink(_)
        )
    };
    let nodes = snapshot
        .nodes
        .into_iter()
        .filter(|(_, node)| is_copied(node));
    nodes
        .map(|(path, mut node)| {
            node.mtime = (0, 0);
            node.links = 1;
            node.same_as = None;
            node.xattrs.clear();
            // It copies permissions, no more.
            node.mode &= 0o777;
            if let Kind::Symlink(_) = node.kind {
                (node.mode, node.uid, node.gid) = (0o777, 0, 0);
            }
            (path, node)
        })
        .collect()
}
