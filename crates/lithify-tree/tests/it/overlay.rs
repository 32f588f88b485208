//! Layers for an overlay: stacked by the rules of overlayfs, they show what the merge of the layers is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::common::{listing, try_layer};
use lithify_tree::overlay::{self, OverlayError};
use lithify_tree::{
    Device, Entry, EntryKind, InodeId, InodeKind, LayerEntries, Merge, Metadata, NodeId, Tree,
    TreePath,
};
use proptest::prelude::*;

/// What a name shows: a description of its inode, and the first name of the same inode.
type View = BTreeMap<Vec<u8>, (String, Vec<u8>)>;

fn describe(tree: &Tree, node: NodeId, strip: bool) -> String {
    let inode = tree.node_inode(node);
    let kind = match inode.kind {
        InodeKind::File { size, content } => {
            format!(
                "file {size} {}",
                content.map(crate::common::content).unwrap_or_default()
            )
        }
        kind => format!("{kind:?}"),
    };
    let mut set = tree.xattrs(inode.xattrs).clone();
    if strip {
        overlay::Marks::take(&mut set, overlay::Namespace::Trusted);
    }
    format!(
        "{kind} {:o} {}:{} {:?} {set:?}",
        inode.mode, inode.uid, inode.gid, inode.mtime
    )
}

/// The filesystem as the merge made it, the root's own metadata aside.
fn merged_view(tree: &Tree) -> View {
    let mut first: HashMap<InodeId, Vec<u8>> = HashMap::new();
    tree.walk()
        .filter(|&n| n != NodeId::ROOT)
        .map(|n| {
            let path = tree.path(n);
            let name = first.entry(tree.inode_id(n)).or_insert(path.clone());
            (path, (describe(tree, n, false), name.clone()))
        })
        .collect()
}

fn is_whiteout(tree: &Tree, node: NodeId) -> bool {
    tree.node_inode(node).kind == InodeKind::CharDevice(Device::default())
}

fn has(tree: &Tree, node: NodeId, name: &[u8]) -> bool {
    let set = tree.node_inode(node).xattrs;
    tree.xattrs(set).get(name).is_some()
}

/// The filesystem as an overlay of the layers shows it (`fs/overlayfs/namei.c`, `ovl_lookup`), top first.
fn overlay_view(layers: &[&Tree]) -> View {
    let mut view = View::new();
    let mut first = HashMap::new();
    let stack: Vec<(usize, NodeId)> = (0..layers.len()).map(|n| (n, NodeId::ROOT)).collect();
    show(layers, &stack, b"", &mut first, &mut view);
    view
}

fn show(
    layers: &[&Tree],
    stack: &[(usize, NodeId)],
    path: &[u8],
    first: &mut HashMap<(usize, InodeId), Vec<u8>>,
    view: &mut View,
) {
    let names: BTreeSet<Vec<u8>> = stack
        .iter()
        .flat_map(|&(n, d)| {
            layers[n]
                .children(d)
                .map(move |c| layers[n].name(c).to_vec())
        })
        .collect();
    for name in names {
        let mut found: Vec<(usize, NodeId)> = Vec::new();
        for &(n, directory) in stack {
            let Some(child) = layers[n].child(directory, &name) else {
                continue;
            };
            if is_whiteout(layers[n], child) {
                assert!(has(layers[n], directory, overlay::ORIGIN_XATTR));
                break;
            }
            let is_directory = matches!(layers[n].node_inode(child).kind, InodeKind::Directory);
            if !is_directory {
                if found.is_empty() {
                    found.push((n, child));
                }
                break;
            }
            found.push((n, child));
            if has(layers[n], child, overlay::OPAQUE_XATTR) {
                break;
            }
        }
        let Some(&(n, node)) = found.first() else {
            continue;
        };
        let mut full = path.to_vec();
        if !full.is_empty() {
            full.push(b'/');
        }
        full.extend_from_slice(&name);
        let is_directory = matches!(layers[n].node_inode(node).kind, InodeKind::Directory);
        let key = (n, layers[n].inode_id(node));
        let known = first.entry(key).or_insert_with(|| full.clone()).clone();
        view.insert(full.clone(), (describe(layers[n], node, true), known));
        if is_directory {
            show(layers, &found, &full, first, view);
        }
    }
}

/// Makes the overlay layers as a build does, and says for each whether its entries alone were enough.
fn stack(layers: &[&[&str]]) -> Option<(Tree, Vec<Tree>, Vec<bool>)> {
    let mut merge = Merge::new().track_changes();
    let (mut trees, mut kinds) = (Vec::new(), Vec::new());
    for lines in layers {
        let before = merge.tree();
        let layer = try_layer(lines).ok()?;
        let (report, changes) = merge.apply_changes(&layer, 0).ok()?;
        assert_eq!(changes.is_some(), !report.is_self_contained());
        let tree = match changes {
            None => overlay::alone(&layer).unwrap(),
            Some(changes) => {
                let (mut asked, mut compared) = (Vec::new(), Vec::new());
                let noted = changes.overlay(|id, size| {
                    asked.push((id, size));
                    Ok::<_, OverlayError>(id)
                });
                let found = overlay::difference(&before, &merge.tree(), |id, size| {
                    compared.push((id, size));
                    Ok::<_, OverlayError>(id)
                });
                let (noted, found) = (noted.unwrap(), found.unwrap());
                assert_eq!(asked, compared);
                assert_same(&noted, &found);
                noted
            }
        };
        trees.push(tree);
        kinds.push(report.is_self_contained());
    }
    Some((merge.finish(), trees, kinds))
}

/// The same numbers, names and inodes.
#[track_caller]
fn assert_same(a: &Tree, b: &Tree) {
    assert_eq!((a.len(), a.inode_count()), (b.len(), b.inode_count()));
    for (one, other) in a.walk().zip(b.walk()) {
        assert_eq!(a.path(one), b.path(other));
        assert_eq!(a.inode_id(one), b.inode_id(other));
        let (one, other) = (a.node_inode(one), b.node_inode(other));
        assert_eq!(
            (one.mode, one.uid, one.gid),
            (other.mode, other.uid, other.gid)
        );
        assert_eq!((one.mtime, one.nlink), (other.mtime, other.nlink));
        assert_eq!((one.kind, one.xattrs), (other.kind, other.xattrs));
        assert_eq!(a.xattrs(one.xattrs), b.xattrs(other.xattrs));
    }
}

/// An overlay layer as a layer of an image again.
fn restored(tree: &Tree) -> LayerEntries {
    let mut layer = LayerEntries::new();
    let mut first: HashMap<InodeId, TreePath> = HashMap::new();
    for node in tree.walk() {
        let path = TreePath::clean(&tree.path(node)).unwrap();
        let inode = tree.node_inode(node);
        let mut content = None;
        let kind = match (first.get(&tree.inode_id(node)), inode.kind) {
            (Some(target), _) => EntryKind::HardLink {
                target: target.clone(),
            },
            (None, InodeKind::File { size, content: id }) => {
                content = id;
                EntryKind::File {
                    size,
                    segments: None,
                }
            }
            (None, InodeKind::Directory) => EntryKind::Directory,
            (None, InodeKind::Symlink { target }) => EntryKind::Symlink {
                target: target.to_vec(),
            },
            (None, InodeKind::CharDevice(device)) => EntryKind::CharDevice(device),
            (None, InodeKind::BlockDevice(device)) => EntryKind::BlockDevice(device),
            (None, InodeKind::Fifo) => EntryKind::Fifo,
            (None, InodeKind::Socket) => EntryKind::Socket,
            (None, kind) => panic!("{kind:?}"),
        };
        first.entry(tree.inode_id(node)).or_insert(path.clone());
        let metadata = Metadata {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            xattrs: tree.xattrs(inode.xattrs).clone(),
        };
        let restored = overlay::restore(Entry {
            path,
            metadata,
            kind,
        });
        let restored = restored.unwrap();
        for entry in [Some(restored.entry.clone()), restored.marker()]
            .into_iter()
            .flatten()
        {
            layer.push(&entry, content).unwrap();
        }
    }
    layer
}

#[track_caller]
fn check(layers: &[&[&str]]) -> bool {
    let Some((merged, trees, kinds)) = stack(layers) else {
        return false;
    };
    let top_first: Vec<&Tree> = trees.iter().rev().collect();
    let seen = overlay_view(&top_first);
    let expected = merged_view(&merged);
    let mut again = Merge::new();
    for tree in &trees {
        again.apply(restored(tree)).unwrap();
    }
    assert_eq!(
        merged_view(&again.finish()),
        expected,
        "restored: {layers:#?}"
    );
    if seen != expected {
        let each: Vec<_> = trees.iter().map(listing).collect();
        panic!(
            "{layers:#?} ({kinds:?}) became {each:#?}\nwhich shows\n{seen:#?}\ninstead of\n{expected:#?}"
        );
    }
    true
}

/// Like [`check`], and whether the last layer can be shared.
#[track_caller]
fn check_last(layers: &[&[&str]], alone: bool, expected: &[&str]) {
    assert!(check(layers));
    let (_, trees, kinds) = stack(layers).unwrap();
    assert_eq!(kinds.last(), Some(&alone));
    assert_eq!(listing(trees.last().unwrap()), expected);
}

const BASE: &[&str] = &[
    "d a",
    "f a/x=1",
    "f a/y=2",
    "d run",
    "d var",
    "l var/run -> /run",
];

#[test]
fn whiteouts_become_devices() {
    check_last(
        &[BASE, &["d a", "w a/x"]],
        true,
        &["d a trusted.overlay.origin=", "c a/x 0:0 0000 @0"],
    );
    check_last(
        &[BASE, &["w a"]],
        true,
        &["d . @0 trusted.overlay.origin=", "c a 0:0 0000 @0"],
    );
}

#[test]
fn opaque_directories_get_the_attribute() {
    let opaque = &["d a trusted.overlay.opaque=y", "f a/new=3"];
    check_last(&[BASE, &["o a", "d a", "f a/new=3"]], true, opaque);
    // Removed and made again is the same to an overlay.
    check_last(&[BASE, &["w a", "d a", "f a/new=3"]], true, opaque);
    // So is a directory after something else of the same layer had its name.
    check_last(&[BASE, &["f a=9", "d a", "f a/new=3"]], true, opaque);
}

#[test]
fn an_emptied_root_takes_a_whiteout_for_each_name() {
    check_last(
        &[BASE, &["o .", "f new=1"]],
        false,
        &[
            "d . @0 trusted.overlay.origin=",
            "c a 0:0 0000 @0",
            "f new=1",
            "c run 0:0 0000 @0",
            "c var 0:0 0000 @0",
        ],
    );
}

#[test]
fn directories_on_the_way_look_as_below() {
    check_last(
        &[&["d a 0700 7:7", "f a/x"], &["f a/y=2"]],
        false,
        &["d a 0700 7:7", "f a/y=2"],
    );
    // Through a symbolic link of a lower layer.
    check_last(
        &[BASE, &["f var/run/pid=7"]],
        false,
        &["d run", "f run/pid=7"],
    );
}

#[test]
fn names_of_one_file_stay_together() {
    check_last(
        &[BASE, &["h z -> a/x"]],
        false,
        &["d a", "f a/x=1", "h z -> a/x"],
    );
    // Two files that nothing but their numbers tells apart.
    assert!(check(&[&["f e", "f f"], &["h f -> e"]]));
    assert!(check(&[&["p a", "h b -> a"], &["p a", "w a/a"]]));
}

#[test]
fn what_overlays_cannot_say_is_refused() {
    let device = try_layer(&["d dev", "c dev/zero 0:0"]).unwrap();
    let path = b"dev/zero".to_vec();
    let refused = Some(OverlayError::WhiteoutDevice { path });
    assert_eq!(overlay::alone(&device).err(), refused);
    let mut merge = Merge::new();
    let before = merge.tree();
    merge.apply(device).unwrap();
    let found = overlay::difference(&before, &merge.tree(), |id, _| Ok::<_, OverlayError>(id));
    assert_eq!(found.err(), refused);
    let mut merge = Merge::new().track_changes();
    let device = try_layer(&["c dev/zero 0:0"]).unwrap();
    let (_, changes) = merge.apply_changes(&device, 0).unwrap();
    let found = changes.unwrap().overlay(|id, _| Ok::<_, OverlayError>(id));
    assert_eq!(found.err(), refused);
    let stray = try_layer(&["w nowhere/x"]).unwrap();
    assert!(matches!(
        overlay::alone(&stray),
        Err(OverlayError::NeedsLowerLayers { .. })
    ));
}

#[test]
fn attributes_of_the_image_are_escaped() {
    check_last(
        &[&["d a trusted.overlay.opaque=y user.x=1"]],
        true,
        &["d a trusted.overlay.overlay.opaque=y user.x=1"],
    );
    check_last(
        &[&["f a/x=1"], &["f a/y trusted.overlay.redirect=/etc"]],
        false,
        &["d a @0", "f a/y trusted.overlay.overlay.redirect=/etc"],
    );
}

fn line() -> impl Strategy<Value = String> {
    let name = || prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("c")];
    let path = move || {
        let some = prop::collection::vec(name(), 1..4).prop_map(|c| c.join("/"));
        prop_oneof![1 => Just(".".to_owned()), 40 => some]
    };
    let target = prop_oneof![
        path(),
        path().prop_map(|p| format!("/{p}")),
        path().prop_map(|p| format!("../{p}"))
    ];
    let owner = 0u32..3;
    prop_oneof![
        6 => (path(), 0u32..9).prop_map(|(p, n)| format!("f {p}={n}")),
        10 => (path(), owner).prop_map(|(p, o)| format!("d {p} {o}:0")),
        3 => (path(), target).prop_map(|(p, t)| format!("l {p} -> {t}")),
        4 => (path(), path()).prop_map(|(p, t)| format!("h {p} -> {t}")),
        1 => path().prop_map(|p| format!("c {p} 1:3")),
        1 => path().prop_map(|p| format!("p {p}")),
        5 => path().prop_map(|p| format!("w {p}")),
        3 => path().prop_map(|p| format!("o {p}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn stacked_layers_show_the_merge(
        layers in prop::collection::vec(prop::collection::vec(line(), 0..7), 1..5)
    ) {
        // Only lines that can be applied.
        let mut fit: Vec<Vec<&str>> = Vec::new();
        for layer in &layers {
            fit.push(Vec::new());
            for line in layer {
                let mut tried = fit.clone();
                tried.last_mut().unwrap().push(line);
                let tried_layers: Vec<&[&str]> = tried.iter().map(Vec::as_slice).collect();
                if crate::common::try_merge(&tried_layers).is_ok() {
                    fit = tried;
                }
            }
        }
        let fit: Vec<&[&str]> = fit.iter().map(Vec::as_slice).collect();
        prop_assert!(check(&fit));
    }
}
