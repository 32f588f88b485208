//! Whiteouts, and images that are layers of an overlay.

use lithify_fskit::read::OverlayEntries;
use lithify_tree::{Device, EntryKind};

use super::names::build;
use crate::{Builder, Filesystem, metadata, pattern, with_xattrs, xattrs};

/// Layers that replace, remove and hide, and data of which little survives.
pub fn upper_layers_win<F: Filesystem>() {
    let built = build::<F>(|b| {
        for i in 0..40 {
            b.file(format!("a/{i}"), metadata(0o644), &pattern(i, i * 1000));
        }
        b.file("gone", metadata(0o644), &pattern(50, 300_000));
        b.file("hidden/below", metadata(0o644), &pattern(51, 10_000));
        b.file("was-a-file", metadata(0o644), b"x");
        b.next_layer();
        b.entry("gone", metadata(0), EntryKind::Whiteout, None);
        b.entry("hidden", metadata(0), EntryKind::Opaque, None);
        b.file("hidden/above", metadata(0o644), &pattern(52, 10_000));
        b.directory("was-a-file", metadata(0o755));
        b.file("was-a-file/below", metadata(0o644), b"y");
        for i in (0..40).step_by(3) {
            b.entry(format!("a/{i}"), metadata(0), EntryKind::Whiteout, None);
        }
        for i in (1..40).step_by(3) {
            b.file(format!("a/{i}"), metadata(0o600), &pattern(i + 60, i * 700));
        }
        b.link("kept-by-a-link", "a/2");
        b.next_layer();
        b.entry("a/2", metadata(0), EntryKind::Whiteout, None);
    });
    let image = built.image();
    for (path, there) in [
        ("gone", false),
        ("hidden/below", false),
        ("hidden/above", true),
        ("was-a-file/below", true),
        ("a/0", false),
        ("a/1", true),
        ("a/2", false),
        ("kept-by-a-link", true),
    ] {
        let found = F::lookup(&image, path.as_bytes()).unwrap();
        assert_eq!(found.is_some(), there, "{path}");
    }
}

/// A layer of an overlay, also one that another program made: names of one whiteout are whiteouts, marks are understood,
/// and marks that no layer has are refused.
pub fn layers_of_an_overlay_are_read_as_layers<F: Filesystem>() {
    let mut b = Builder::<F, _>::new(Vec::new());
    b.directory("d", with_xattrs(&[("trusted.overlay.opaque", b"y")]));
    let whiteout = EntryKind::CharDevice(Device::default());
    b.entry("d/gone", metadata(0), whiteout, None);
    b.link("d/gone-too", "d/gone");
    let escaped = with_xattrs(&[
        ("trusted.overlay.origin", b""),
        ("trusted.overlay.overlay.opaque", b"image"),
    ]);
    b.file("f", escaped, b"x");
    let image = F::open(b.finish().0).unwrap();
    let entries: Vec<_> = OverlayEntries::new(&image, false)
        .map(|e| e.unwrap().0)
        .filter(|e| !F::ADDED.contains(&&e.path.to_string()[1..]))
        .map(|e| (e.path.to_string(), e.kind, e.metadata.xattrs))
        .collect();
    let none = xattrs(&[]);
    let own = xattrs(&[("trusted.overlay.opaque", b"image")]);
    let file = EntryKind::File {
        size: 1,
        segments: None,
    };
    let expected = [
        ("/d", EntryKind::Opaque, &none),
        ("/d", EntryKind::Directory, &none),
        ("/d/gone", EntryKind::Whiteout, &none),
        ("/d/gone-too", EntryKind::Whiteout, &none),
        ("/f", file, &own),
    ]
    .map(|(path, kind, xattrs)| (path.to_owned(), kind, xattrs.clone()));
    assert_eq!(entries, expected);

    for name in ["redirect", "metacopy", "whiteout", "opaque", "later"] {
        let mut b = Builder::<F, _>::new(Vec::new());
        let name = format!("trusted.overlay.{name}");
        b.directory("d", with_xattrs(&[(&name, b"x")]));
        let image = F::open(b.finish().0).unwrap();
        let refused = OverlayEntries::new(&image, true).find_map(Result::err);
        let refused = refused.unwrap_or_else(|| panic!("{name} is not refused"));
        assert_eq!(F::overlay_xattr(&refused), Some(name.as_bytes()));
    }
}
