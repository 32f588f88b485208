//! Random layers, applied by the crate and by the slow model of `model/`: the same tree, or the same error.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p lithify-tree --test differential` runs as many as wanted.

use std::fmt;

use crate::model::{Error, Model};
use lithify_tree::{
    Change, ContentId, Device, Entry, EntryKind, InodeKind, LayerEntries, Merge, MergeError,
    Metadata, Timestamp, Tree, TreePath, changes,
};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("c")]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let some = prop::collection::vec(name(), 1..5);
    prop_oneof![1 => Just(Vec::new()), 60 => some]
        .prop_map(|components| components.join("/").into_bytes())
}

fn symlink_target() -> impl Strategy<Value = Vec<u8>> {
    let component = prop_oneof![6 => name(), 3 => Just(".."), 1 => Just("."), 1 => Just("")];
    (any::<bool>(), prop::collection::vec(component, 1..5)).prop_map(|(absolute, components)| {
        let slash = if absolute { "/" } else { "" };
        match format!("{slash}{}", components.join("/")).into_bytes() {
            target if target.is_empty() => b".".to_vec(),
            target => target,
        }
    })
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        8 => Just(EntryKind::File { size: 1, segments: None }),
        10 => Just(EntryKind::Directory),
        6 => symlink_target().prop_map(|target| EntryKind::Symlink { target }),
        6 => path().prop_map(|p| EntryKind::HardLink { target: TreePath::clean(&p).unwrap() }),
        1 => Just(EntryKind::CharDevice(Device { major: 1, minor: 3 })),
        1 => Just(EntryKind::BlockDevice(Device { major: 8, minor: 0 })),
        1 => Just(EntryKind::Fifo),
        1 => Just(EntryKind::Socket),
        6 => Just(EntryKind::Whiteout),
        3 => Just(EntryKind::Opaque),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (path(), kind()).prop_map(|(path, kind)| Entry {
        path: TreePath::clean(&path).unwrap(),
        metadata: Metadata::default(),
        kind,
    })
}

/// A layer that shows itself in the lines of `common/`.
#[derive(Clone)]
struct Layer(Vec<Entry>);

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(line)).finish()
    }
}

fn line(entry: &Entry) -> String {
    let path = match entry.path.to_string() {
        path if path == "/" => ".".to_owned(),
        path => path[1..].to_owned(),
    };
    match &entry.kind {
        EntryKind::File { .. } => format!("f {path}"),
        EntryKind::Directory => format!("d {path}"),
        EntryKind::Symlink { target } => format!("l {path} -> {}", target.escape_ascii()),
        EntryKind::HardLink { target } => format!("h {path} -> {target}"),
        EntryKind::CharDevice(_) => format!("c {path} 1:3"),
        EntryKind::BlockDevice(_) => format!("b {path} 8:0"),
        EntryKind::Fifo => format!("p {path}"),
        EntryKind::Socket => format!("s {path}"),
        EntryKind::Whiteout => format!("w {path}"),
        EntryKind::Opaque => format!("o {path}"),
        kind => panic!("{kind:?}"),
    }
}

fn layer(entries: std::ops::Range<usize>) -> impl Strategy<Value = Layer> {
    prop::collection::vec(entry(), entries).prop_map(Layer)
}

fn layers(count: std::ops::Range<usize>, entries: usize) -> impl Strategy<Value = Vec<Layer>> {
    prop::collection::vec(layer(0..entries), count)
}

/// Gives each entry metadata and content of its own, so that no two can be mistaken for each other. The group is the
/// layer's number.
fn number(layers: &mut [Layer]) {
    let mut n = 0;
    for (index, layer) in layers.iter_mut().enumerate() {
        for entry in &mut layer.0 {
            n += 1;
            entry.metadata.uid = n;
            entry.metadata.gid = index as u32 + 1;
            entry.metadata.mode = n as u16 & 0o7777;
            entry.metadata.mtime = Timestamp {
                seconds: i64::from(n),
                nanoseconds: n,
            };
            if n % 3 == 0 {
                let value = n.to_string();
                entry
                    .metadata
                    .xattrs
                    .set(b"user.n", value.as_bytes())
                    .unwrap();
            }
        }
    }
}

fn text(entry: &Entry) -> String {
    match entry.kind {
        EntryKind::File { .. } => format!("file {}", entry.metadata.uid),
        EntryKind::CharDevice(d) => format!("char {}:{}", d.major, d.minor),
        EntryKind::BlockDevice(d) => format!("block {}:{}", d.major, d.minor),
        EntryKind::Fifo => "fifo".into(),
        EntryKind::Socket => "socket".into(),
        _ => String::new(),
    }
}

fn stored(layer: &Layer) -> LayerEntries {
    let mut stored = LayerEntries::new();
    for entry in &layer.0 {
        let is_file = matches!(entry.kind, EntryKind::File { .. });
        let content = is_file.then_some(ContentId(entry.metadata.uid));
        stored.push(entry, content).unwrap();
    }
    stored
}

fn which(error: &MergeError) -> (Error, Option<&[u8]>) {
    match error {
        MergeError::RootNotDirectory { .. } => (Error::RootNotDirectory, None),
        MergeError::ParentNotDirectory { path, .. } => (Error::ParentNotDirectory, Some(path)),
        MergeError::SymlinkLoop { path } => (Error::SymlinkLoop, Some(path)),
        MergeError::LinkTargetMissing { path, .. } => (Error::LinkTargetMissing, Some(path)),
        MergeError::LinkTargetIsDirectory { path, .. } => {
            (Error::LinkTargetIsDirectory, Some(path))
        }
        error => panic!("unexpected: {error:?}"),
    }
}

/// Applies the layers both ways. Where an entry is refused by both, leaves it out and goes on, so that every case ends
/// in a tree.
fn compare(mut layers: Vec<Layer>) {
    number(&mut layers);
    loop {
        let mut merge = Merge::new();
        let mut model = Model::new();
        let mut refused = None;
        for (index, layer) in layers.iter().enumerate() {
            let texts: Vec<_> = layer.0.iter().map(|e| (e.clone(), text(e))).collect();
            match (model.apply(&texts), merge.apply(stored(layer))) {
                (Ok(()), Ok(_)) => {}
                (Err((error, entry)), Err(found)) => {
                    let path = layer.0[entry].path.as_bytes();
                    let (kind, named) = which(&found);
                    assert_eq!(kind, error, "{found}");
                    assert_eq!(named.unwrap_or(path), path, "{found}");
                    refused = Some((index, entry));
                    break;
                }
                (expected, found) => panic!("model {expected:?}, crate {found:?}"),
            }
        }
        if let Some((layer, entry)) = refused {
            layers[layer].0.remove(entry);
            continue;
        }
        let found = crate::model::listing(&merge.finish(), |id| format!("file {id}"));
        assert_eq!(found, model.listing());
        return;
    }
}

/// A layer said to be self-contained leaves the same names, whatever lies below.
fn check_self_contained(lower: Vec<Layer>, other: Vec<Layer>, layer: Layer) {
    let mut all = [lower, other, vec![layer]].concat();
    number(&mut all);
    let layer = all.pop().unwrap();
    let mark = layer.0.first().map_or(0, |e| e.metadata.gid);
    let (lower, other) = all.split_at(all.len() / 2);
    let apply = |lower: &[Layer]| {
        let mut merge = Merge::new();
        for layer in lower {
            // A lower layer that is refused is as good as none, and what it did before it was, too.
            let mut probe = Merge::new();
            if probe.apply(stored(layer)).is_ok() && merge.apply(stored(layer)).is_err() {
                return None;
            }
        }
        Some(merge.apply(stored(&layer)).map(|r| (r, merge.finish())))
    };
    let Some(Ok((report, tree))) = apply(lower) else {
        return;
    };
    if !report.is_self_contained() {
        return;
    }
    let Some(again) = apply(other) else {
        return;
    };
    let (report, other) = again.unwrap();
    assert!(report.is_self_contained(), "{report:?}");
    let own = |tree| {
        let mut lines = crate::model::listing(tree, |id| id.to_string());
        lines.retain(|l| l.metadata.gid == mark);
        for line in &mut lines {
            if line.what == "directory" {
                line.links = 0;
            }
        }
        lines
    };
    assert_eq!(own(&tree), own(&other));
}

/// The tree of those layers that fit on what is below them.
fn tree_of<'a>(layers: impl Iterator<Item = &'a Layer>) -> (Vec<LayerEntries>, Tree) {
    let mut taken: Vec<LayerEntries> = Vec::new();
    for layer in layers {
        let mut probe = Merge::new();
        for below in &taken {
            probe.apply_ref(below, 0).unwrap();
        }
        if probe.apply(stored(layer)).is_ok() {
            taken.push(stored(layer));
        }
    }
    let mut merge = Merge::new();
    for layer in &taken {
        merge.apply_ref(layer, 0).unwrap();
    }
    (taken, merge.finish())
}

/// The layer of changes makes one tree of the other, and of a tree itself there are none.
fn check_changes(mut layers: Vec<Layer>, shared: usize) {
    number(&mut layers);
    // Both begin with the same layers; each goes on with others.
    let shared = shared.min(layers.len());
    let (common, rest) = layers.split_at(shared);
    let (ours, theirs) = rest.split_at(rest.len() / 2);
    let (below, old) = tree_of(common.iter().chain(ours));
    let (_, new) = tree_of(common.iter().chain(theirs));
    assert_eq!(changes(&old, &old, |a, b| a == b), []);
    let mut layer = LayerEntries::new();
    for change in changes(&old, &new, |a, b| a == b) {
        let entry = change.entry(&old, &new).unwrap();
        let content = match (change, &entry.kind) {
            (Change::Present { node, .. }, EntryKind::File { .. }) => {
                match new.node_inode(node).kind {
                    InodeKind::File { content, .. } => content,
                    _ => None,
                }
            }
            _ => None,
        };
        layer.push(&entry, content).unwrap();
    }
    let mut merge = Merge::new();
    for layer in below {
        merge.apply(layer).unwrap();
    }
    merge.apply(layer).unwrap();
    let lines = |tree| crate::model::listing(tree, |id| id.to_string());
    assert_eq!(lines(&merge.finish()), lines(&new));
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let chosen = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if chosen { default.cases } else { 3_000 },
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_crate_and_the_model_agree(layers in layers(1..5, 10)) {
        compare(layers);
    }

    #[test]
    fn changes_make_one_tree_of_another(layers in layers(1..6, 10), shared in 0..4_usize) {
        check_changes(layers, shared);
    }

    #[test]
    fn the_crate_and_the_model_agree_on_two_layers(layers in layers(2..3, 16)) {
        compare(layers);
    }

    #[test]
    fn a_self_contained_layer_means_the_same_anywhere(
        lower in layers(1..3, 8),
        other in layers(1..3, 8),
        layer in layer(1..8),
    ) {
        check_self_contained(lower, other, layer);
    }
}
