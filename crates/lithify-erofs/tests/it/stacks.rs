//! Random stacks of layers: the merged image is the flat one, for this crate's reader and, for some, for the kernel.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;

use crate::common::{Content, check_image, check_mounted, metadata, pattern, with_xattrs};
use crate::layers::{
    Layer, What, aligned, build, build_with, flat, layer_image_with, merge, small_inline,
};
use lithify_erofs::{FsmetaOptions, Image};
use lithify_testkit::{Allow, Field, Mount, Snapshot, require};
use lithify_tree::{Device, EntryKind, Metadata, overlay};
use proptest::prelude::*;

/// What becomes of a name.
#[derive(Clone, Debug)]
enum Node {
    File(usize),
    Sparse(Vec<(u64, usize)>),
    Directory { opaque: bool },
    Symlink,
    Device,
    Link,
    Whiteout,
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        5 => prop_oneof![Just(0), 1..100_usize, 4090..4100_usize, 0..40_000_usize].prop_map(Node::File),
        2 => prop::collection::vec((0..60_000_u64, 0..9000_usize), 0..5).prop_map(Node::Sparse),
        4 => prop::bool::weighted(0.3).prop_map(|opaque| Node::Directory { opaque }),
        1 => Just(Node::Symlink),
        1 => Just(Node::Device),
        2 => Just(Node::Link),
        4 => Just(Node::Whiteout),
    ]
}

fn attributes() -> impl Strategy<Value = Metadata> {
    prop_oneof![
        4 => Just(metadata(0o755)),
        1 => (0..9_usize).prop_map(|n| with_xattrs(&[("user.a", &pattern(n, n))])),
        1 => Just(with_xattrs(&[("trusted.overlay.opaque", b"y"), ("trusted.overlay.origin", b"x")])),
        1 => Just(Metadata { uid: 70_000, ..metadata(0o4711) }),
    ]
}

/// A layer over few names, so that layers meet: directories on the way to a name are described, and nothing has two
/// entries.
fn layer() -> impl Strategy<Value = Layer> {
    let path = prop::collection::vec(0..4_u8, 1..4);
    let items = prop::collection::vec((path, node(), attributes()), 0..12);
    (items, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(items, root, opaque_root)| {
        let mut chosen: BTreeMap<String, (Node, Metadata)> = BTreeMap::new();
        for (parts, node, attributes) in items {
            let names: Vec<String> = parts.iter().map(|n| format!("n{n}")).collect();
            let usable = (1..names.len()).all(|n| {
                chosen
                    .get(&names[..n].join("/"))
                    .is_none_or(|(node, _)| matches!(node, Node::Directory { .. }))
            });
            let path = names.join("/");
            if !usable || chosen.contains_key(&path) {
                continue;
            }
            for n in 1..names.len() {
                let directory = (Node::Directory { opaque: false }, metadata(0o755));
                chosen.entry(names[..n].join("/")).or_insert(directory);
            }
            chosen.insert(path, (node, attributes));
        }
        let mut layer = Layer::default();
        if root {
            layer = layer.add("", metadata(0o700), What::Directory);
        }
        if opaque_root {
            layer = layer.opaque("");
        }
        let mut file = None;
        for (number, (path, (node, attributes))) in chosen.into_iter().enumerate() {
            let what = match node {
                Node::File(length) => What::Data(Content::plain(&pattern(number, length))),
                Node::Sparse(ref gaps) => What::Data(sparse(gaps, number)),
                Node::Directory { .. } => What::Directory,
                Node::Symlink => What::Symlink(b"n0/n1".to_vec()),
                Node::Device => What::Node(EntryKind::BlockDevice(Device { major: 8, minor: 1 })),
                Node::Link => match &file {
                    Some(target) => What::Link(String::clone(target)),
                    None => continue,
                },
                Node::Whiteout => What::Whiteout,
            };
            if matches!(what, What::Data(_)) {
                file = Some(path.clone());
            }
            // Linux lists `user.` attributes of these and refuses to read them.
            let attributes = match what {
                What::Symlink(_) | What::Node(_) => metadata(0o777),
                _ => attributes,
            };
            layer = layer.add(&path, attributes, what);
            if let Node::Directory { opaque: true } = node {
                layer = layer.opaque(&path);
            }
        }
        layer
    })
}

fn sparse(gaps: &[(u64, usize)], seed: usize) -> Content {
    let mut content = Content {
        size: 20_000,
        parts: Vec::new(),
    };
    for &(gap, length) in gaps {
        let offset = content.size + gap;
        content.parts.push((offset, pattern(seed, length)));
        content.size = offset + length as u64;
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn merged_is_flat(stack in prop::collection::vec(layer(), 1..5)) {
        let (_, expected) = flat(&stack, Vec::new());
        for data in [aligned, small_inline] {
            let image = |layer| Image::open(layer_image_with(layer, Vec::new(), data())).unwrap();
            let images: Vec<_> = stack.iter().map(image).collect();
            let (fsmeta, _) = merge(&stack, &images, Vec::new(), &FsmetaOptions::default());
            let devices = images.into_iter().map(Image::into_source).collect();
            check_image(&Image::open_with_devices(fsmeta, devices).unwrap(), &expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_agrees(stack in prop::collection::vec(layer(), 2..5)) {
        if !require::kernel_erofs() || !require::kernel_filesystem("overlay") {
            return Ok(());
        }
        let files = build_with(&stack, small_inline, &FsmetaOptions::default());
        let merged = Mount::erofs_with_devices(&files.fsmeta, &files.devices()).unwrap();
        check_mounted(merged.path(), &files.expected);

        // The roots of an overlay's layers are merged whatever they say: below an opaque one nothing must be.
        let is_opaque = |layer: &Layer| {
            layer.items.iter().any(|(path, _, what)| path.is_empty() && matches!(what, What::Opaque))
        };
        let bottom = stack.iter().rposition(is_opaque).unwrap_or(0);
        let mounts: Vec<_> = files.layers[bottom..].iter().map(|l| Mount::erofs(l)).collect();
        let top_first: Vec<_> = mounts.iter().rev().map(Mount::path).collect();
        // Two at least are needed.
        let empty = tempfile::tempdir().unwrap();
        let lower: Vec<_> = top_first.into_iter().chain([empty.path()]).collect();
        let overlay = Mount::overlay(&lower).unwrap();
        let allow = Allow::nothing()
            .also("a layer's image has a root of its own", |d| {
                d.path.is_empty() && d.field != Field::Presence
            })
            .also("a name of a link that another layer removed or replaced still counts", |d| {
                d.field == Field::Links
            });
        Snapshot::of(merged.path()).assert_same(&Snapshot::of(overlay.path()), &allow);
    }
}

/// Names of the image's own that look like overlayfs's survive.
#[test]
fn attributes_of_the_image_stay_its_own() {
    let own = [
        overlay::OPAQUE_XATTR,
        overlay::ORIGIN_XATTR,
        b"trusted.overlay.overlay.redirect",
        b"trusted.overlay.metacopy",
    ];
    let names = own.map(|name| std::str::from_utf8(name).unwrap());
    let all = with_xattrs(&names.map(|name| (name, &b"y"[..])));
    let stack = [
        Layer::default()
            .add("d", all.clone(), What::Directory)
            .file("d/below", b"1"),
        Layer::default().add("d", all.clone(), What::Directory).add(
            "d/f",
            all,
            What::Data(Content::plain(b"2")),
        ),
    ];
    let files = build(&stack, &FsmetaOptions::default());
    check_image(&files.open(), &files.expected);
    if require::kernel_erofs() {
        let merged = Mount::erofs_with_devices(&files.fsmeta, &files.devices()).unwrap();
        check_mounted(merged.path(), &files.expected);
    }
}
