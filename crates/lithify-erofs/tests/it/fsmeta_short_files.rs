//! Short files in merged images: layers keep them where a merged image cannot point, so they are copied into it.
#![cfg(target_os = "linux")]

use crate::common::{Content, metadata, pattern, with_xattrs};
use crate::layers::views::devices_and_disk;
use crate::layers::{Layer, What, build_with, small_inline};
use lithify_erofs::{
    DataLayout, FsmetaError, FsmetaOptions, Image, LayerImage, Operation, ReadAt, ReadError,
    WriteError, write_fsmeta,
};
use lithify_testkit::{require, run};

/// A file of one byte took a block of 4096 in its layer: 293 MB for 70,000 of them. Behind their inodes they share
/// blocks, and since chunks cannot point there, the merged image has a copy.
#[test]
fn short_files_are_copied_into_the_merged_image() {
    let long = pattern(5, 3300);
    let base = (0..40)
        .fold(Layer::default(), |layer, i| {
            layer.pattern(&format!("s{i}"), 1 + i * 29)
        })
        .directory("d")
        .pattern("d/first", 1)
        .pattern("d/exact", 1024)
        .pattern("d/more", 1025)
        .pattern("d/block", 4096)
        .pattern("d/tail", 4097)
        .pattern("d/gone", 700)
        .add("d/link", metadata(0o644), What::Link("d/exact".into()))
        // No room behind the inode, in neither image.
        .add(
            "d/attributes",
            with_xattrs(&[("user.long", &long)]),
            What::Data(Content::plain(&pattern(3, 1000))),
        )
        .add(
            "d/hole",
            metadata(0o600),
            What::Data(Content {
                size: 900,
                parts: vec![(800, pattern(4, 20))],
            }),
        );
    let top = Layer::default()
        .directory("d")
        .whiteout("d/gone")
        .pattern("d/first", 999)
        .add("d/other", metadata(0o644), What::Data(Content::plain(b"2")));
    let layers = [base, top];
    let options = FsmetaOptions::default();
    let files = build_with(&layers, small_inline, &options);
    devices_and_disk(&files);
    let merged = files.open();
    let layout = |path: &str| merged.lookup(path.as_bytes()).unwrap().unwrap().layout();
    for path in ["s0", "s35", "d/first", "d/exact", "d/link", "d/other"] {
        assert_eq!(layout(path), DataLayout::Inline, "{path}");
    }
    for path in ["d/more", "d/block", "d/tail"] {
        assert_eq!(layout(path), DataLayout::Chunked, "{path}");
    }
    // What was removed is not there, nor the replaced version.
    let bytes = std::fs::read(&files.fsmeta).unwrap();
    let has = |data: &[u8]| bytes.windows(data.len()).any(|w| w == data);
    let data = |layer: usize, path: &str| {
        let found = layers[layer].items.iter().find(|item| item.0 == path);
        match &found.unwrap().2 {
            What::Data(content) => content.parts[0].1.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(has(&data(0, "d/exact")) && has(&data(1, "d/first")));
    assert!(!has(&data(0, "d/gone")));
    // The same each time, and another for other data.
    let again = build_with(&layers, small_inline, &options);
    assert!(std::fs::read(&again.fsmeta).unwrap() == bytes);
    // Without the layers all of it can be read that is here.
    let alone = Image::open(bytes).unwrap();
    assert!(alone.verify().unwrap().is_sound());
    let exact = alone.lookup(b"d/exact").unwrap().unwrap();
    assert_eq!(alone.read_to_vec(&exact, 2000).unwrap(), data(0, "d/exact"));
}

#[test]
fn many_short_files_take_what_they_take_in_a_flat_image() {
    let layer = (0..3000).fold(Layer::default(), |layer, i| {
        layer.file(&format!("file{i}"), b"x")
    });
    let layers = [layer];
    let images = [Image::open(crate::layers::layer_image_with(
        &layers[0],
        Vec::new(),
        small_inline(),
    ))
    .unwrap()];
    let (fsmeta, report) =
        crate::layers::merge(&layers, &images, Vec::new(), &FsmetaOptions::default());
    let (flat, _) = crate::layers::flat(&layers, Vec::new());
    let [image] = images;
    let layer = image.into_source();
    assert_eq!(
        (report.image.inline_tails, report.image.external_files),
        (3000, 0)
    );
    // Superblock, device table.
    assert!(fsmeta.len() <= flat.len() + 2 * 4096, "{}", fsmeta.len());
    assert!(layer.len() <= flat.len() + 4096, "{}", layer.len());
}

/// Others have short files behind their inodes unless told not to.
#[test]
fn short_files_of_mkfs_erofs_are_copied() {
    if !require::tool("mkfs.erofs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("d")).unwrap();
    let files: Vec<_> = [1, 40, 2000, 3900, 4096, 8192]
        .map(|size| (format!("d/{size}"), pattern(size, size)))
        .into();
    for (name, data) in &files {
        std::fs::write(source.join(name), data).unwrap();
    }
    let path = directory.path().join("layer");
    run::ok(run::command("mkfs.erofs").args([&path, &source]));
    let layer = Image::open(std::fs::read(&path).unwrap()).unwrap();
    let inline = layer.lookup(b"d/40").unwrap().unwrap();
    assert_eq!(inline.layout(), DataLayout::Inline);
    let inputs = [LayerImage {
        image: &layer,
        describes_root: true,
        tag: crate::layers::tag(1),
    }];
    let (fsmeta, _) = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap();
    let merged = Image::open_with_devices(fsmeta, vec![layer.into_source()]).unwrap();
    assert!(merged.verify().unwrap().is_sound());
    for (name, data) in &files {
        let inode = merged.lookup(name.as_bytes()).unwrap().unwrap();
        assert!(
            merged.read_to_vec(&inode, 10_000).unwrap() == *data,
            "{name}"
        );
    }
}

/// A layer that cannot be read any more, and a short file that claims to be where nothing is.
#[test]
fn short_files_that_are_not_there_are_named() {
    let layer = Layer::default().pattern("f", 900);
    let bytes = crate::layers::layer_image_with(&layer, Vec::new(), small_inline());
    let image = Image::open(Failing(bytes)).unwrap();
    let inputs = [LayerImage {
        image: &image,
        describes_root: false,
        tag: crate::layers::tag(1),
    }];
    let error = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap_err();
    assert!(
        matches!(
            &error,
            FsmetaError::Write(WriteError::Io {
                operation: Operation::ReadLayer,
                ..
            })
        ),
        "{error}"
    );

    // The inode's size is past the end of its block.
    let mut bytes = crate::layers::layer_image_with(&layer, Vec::new(), small_inline());
    let at = {
        let image = Image::open(bytes.as_slice()).unwrap();
        image.lookup(b"f").unwrap().unwrap().nid() as usize * 32
    };
    assert_eq!(bytes[at + 8..at + 12], 900_u32.to_le_bytes());
    bytes[at + 8..at + 12].copy_from_slice(&4090_u32.to_le_bytes());
    // No checksum then.
    bytes[1024 + 8] &= !1;
    let image = Image::open(bytes).unwrap();
    let inputs = [LayerImage {
        image: &image,
        describes_root: false,
        tag: crate::layers::tag(1),
    }];
    let error = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap_err();
    assert!(
        matches!(
            &error,
            FsmetaError::Read {
                layer: 0,
                source: ReadError::InlineCrossesBlock { .. }
            }
        ),
        "{error}"
    );
}

/// An image whose storage fails for reads of 900 bytes, which only a file of that length asks for.
struct Failing(Vec<u8>);

impl ReadAt for Failing {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        if buffer.len() == 900 {
            return Err(std::io::Error::other("gone"));
        }
        self.0.as_slice().read_exact_at(buffer, offset)
    }

    fn size(&self) -> std::io::Result<u64> {
        self.0.as_slice().size()
    }
}
