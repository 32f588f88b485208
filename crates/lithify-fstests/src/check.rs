//! What a reader sees, compared with what was asked for.

use std::collections::HashMap;

use lithify_fskit::read::{FileType, Image, Inode, Walk};
use lithify_storage::ReadAt;
use lithify_tree::{InodeId, InodeKind};

use crate::{Content, Expected, Filesystem};

/// Compares what the format's reader sees with what should be there.
pub fn check_with_reader<F: Filesystem, R: ReadAt>(source: R, expected: &Expected) {
    check_image::<F, R>(&F::open(source).unwrap(), expected);
}

/// Compares what the format's reader sees of an opened image with what should be there.
pub fn check_image<F: Filesystem, R: ReadAt>(image: &F::Image<R>, expected: &Expected) {
    let verification = F::verify(image).unwrap();
    let shown: Vec<String> = verification
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, [""; 0]);
    assert_eq!(verification.inodes, expected.tree.inode_count() as u64);
    F::check_counts(&verification.own);

    let tree = &expected.tree;
    let mut places: HashMap<InodeId, u64> = HashMap::new();
    let mut walked = Walk::new(image);
    for node in tree.walk() {
        let found = walked.next().expect("a name is missing").unwrap();
        let path = tree.path(node);
        assert_eq!(
            found.path.escape_ascii().to_string(),
            path.escape_ascii().to_string()
        );
        let id = tree.inode_id(node);
        assert_eq!(
            *places.entry(id).or_insert(found.inode.place()),
            found.inode.place(),
            "hard link"
        );
        compare_inode::<F, R>(image, &found.inode, expected, id, &path);
    }
    assert!(walked.next().is_none(), "a name too many");
    let distinct: std::collections::HashSet<_> = places.values().collect();
    assert_eq!(distinct.len(), tree.inode_count());
    // A sample of look-ups by bisection.
    for node in tree.walk().step_by(tree.len().div_ceil(500)) {
        let path = tree.path(node);
        let found = F::lookup(image, &path).unwrap().expect("look-up");
        assert_eq!(found.place(), places[&tree.inode_id(node)]);
    }
}

fn compare_inode<F: Filesystem, R: ReadAt>(
    image: &F::Image<R>,
    found: &F::Inode,
    expected: &Expected,
    id: InodeId,
    path: &[u8],
) {
    let shown = path.escape_ascii();
    let inode = expected.tree.inode(id);
    assert_eq!(found.mode(), inode.mode, "mode of {shown}");
    assert_eq!(
        (found.uid(), found.gid()),
        (inode.uid, inode.gid),
        "owner of {shown}"
    );
    assert_eq!(found.mtime(), F::time(inode.mtime), "time of {shown}");
    let is_directory = found.file_type() == FileType::Directory;
    let links = F::links(inode.nlink, is_directory);
    assert_eq!(found.nlink(), links, "links of {shown}");
    assert_eq!(
        image.xattrs(found).unwrap(),
        F::kept(expected.tree.xattrs(inode.xattrs)),
        "attributes of {shown}"
    );
    match inode.kind {
        InodeKind::File { size, content } => {
            assert_eq!(
                (found.file_type(), found.size()),
                (FileType::File, size),
                "{shown}"
            );
            let Some(content) = content.map(|c| &expected.contents[&c]) else {
                return;
            };
            for_each_window(content, |offset, data| {
                let mut bytes = vec![0; data.len()];
                assert_eq!(
                    F::read(image, found, offset, &mut bytes).unwrap(),
                    data.len()
                );
                assert!(bytes == data, "content of {shown} at {offset}");
            });
        }
        InodeKind::Directory => assert_eq!(found.file_type(), FileType::Directory),
        InodeKind::Symlink { target } => assert_eq!(image.read_link(found).unwrap(), target),
        InodeKind::CharDevice(d) => assert_eq!(
            (found.file_type(), found.device()),
            (FileType::CharDevice, d)
        ),
        InodeKind::BlockDevice(d) => assert_eq!(
            (found.file_type(), found.device()),
            (FileType::BlockDevice, d)
        ),
        InodeKind::Fifo => assert_eq!(found.file_type(), FileType::Fifo),
        InodeKind::Socket => assert_eq!(found.file_type(), FileType::Socket),
        _ => panic!("a new kind"),
    }
}

/// All of a small file; of a large one what is around its data, and its ends.
pub(crate) fn for_each_window(content: &Content, mut check: impl FnMut(u64, &[u8])) {
    if content.size <= 64 << 20 {
        return check(0, &content.slice(0, content.size as usize));
    }
    let ends = [0, content.size - 10_000];
    let around = content.parts.iter().map(|(at, _)| at.saturating_sub(5000));
    for offset in ends.into_iter().chain(around) {
        check(offset, &content.slice(offset, 1 << 20));
    }
}
