//! Limits of merged images: what cannot be merged, and what many layers and files take.
#![cfg(target_os = "linux")]

use crate::common::with_xattrs;
use crate::layers::Layer;
use lithify_erofs::{
    FsmetaError, FsmetaOptions, Image, LayerImage, ReadAt, ReadError, write_fsmeta,
};
use lithify_testkit::{require, run};

#[test]
fn what_cannot_be_merged_is_named() {
    let options = FsmetaOptions::default();
    let try_merge = |images: &[Image<Vec<u8>>], options: &FsmetaOptions| {
        let inputs: Vec<_> = images
            .iter()
            .map(|image| LayerImage {
                image,
                describes_root: false,
                tag: crate::layers::tag(1),
            })
            .collect();
        write_fsmeta(&inputs, Vec::new(), options).unwrap_err()
    };
    let image = |layer: &Layer| Image::open(crate::layers::layer_image(layer, Vec::new())).unwrap();
    let plain = || image(&Layer::default().file("f", b"x"));

    assert!(matches!(
        try_merge(&[], &options),
        FsmetaError::LayerCount { found: 0, .. }
    ));
    for alignment in [0, 1, 2048, 4095, 3 << 20, 1 << 32] {
        let mut options = FsmetaOptions::default();
        options.alignment = alignment;
        assert!(
            matches!(try_merge(&[plain()], &options), FsmetaError::Alignment { found } if found == alignment)
        );
    }

    // The end of a file behind its inode.
    let mut builder = crate::common::Builder::new(Vec::new());
    Layer::default()
        .directory("d")
        .pattern("d/tail", 5000)
        .describe(&mut builder);
    let inline = Image::open(builder.finish().0).unwrap();
    let error = try_merge(&[plain(), inline], &options);
    assert!(
        matches!(&error, FsmetaError::NotAligned { layer: 1, path } if path == b"d/tail"),
        "{error}"
    );

    // A merged image as a layer.
    let (fsmeta, _) = crate::layers::merge(&[Layer::default()], &[plain()], Vec::new(), &options);
    let error = try_merge(&[Image::open(fsmeta).unwrap()], &options);
    assert!(
        matches!(
            error,
            FsmetaError::LayerDevices {
                layer: 0,
                devices: 1
            }
        ),
        "{error}"
    );

    for name in ["redirect", "metacopy", "whiteout", "verity", "opaque"] {
        let marked = with_xattrs(&[(&format!("trusted.overlay.{name}"), b"x")]);
        let mut builder = crate::common::Builder::with(Vec::new(), crate::layers::aligned());
        builder.directory("d", marked);
        let error = try_merge(&[Image::open(builder.finish().0).unwrap()], &options);
        let FsmetaError::Read {
            layer: 0,
            source: ReadError::OverlayXattr { .. },
        } = error
        else {
            panic!("{error:?}");
        };
    }

    // Twice 2³¹ blocks, and a block for the merged image.
    let mut bytes = crate::layers::layer_image(&Layer::default(), Vec::new());
    bytes[1024 + 8] &= !1;
    bytes[1024 + 36..][..4].copy_from_slice(&(1_u32 << 31).to_le_bytes());
    let huge = Image::open(Endless(bytes)).unwrap();
    let inputs = [&huge, &huge].map(|image| LayerImage {
        image,
        describes_root: false,
        tag: crate::layers::tag(1),
    });
    let error = write_fsmeta(&inputs, Vec::new(), &options).unwrap_err();
    assert!(
        matches!(error, FsmetaError::TooLarge { blocks } if blocks > 1 << 32),
        "{error}"
    );

    // Other block sizes.
    let mut bytes = crate::layers::layer_image(&Layer::default(), Vec::new());
    (bytes[1024 + 8], bytes[1024 + 12]) = (2, 11);
    let error = try_merge(&[Image::open(bytes).unwrap()], &options);
    assert!(
        matches!(
            error,
            FsmetaError::BlockSize {
                layer: 0,
                found: 2048,
                ..
            }
        ),
        "{error}"
    );

    if require::tool("mkfs.erofs") {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        std::fs::create_dir(directory.path().join("source")).unwrap();
        std::fs::write(directory.path().join("source/zeros"), vec![0; 1 << 20]).unwrap();
        run::ok(
            run::command("mkfs.erofs")
                .arg("-zlz4")
                .args([&path, &directory.path().join("source")]),
        );
        let error = try_merge(
            &[Image::open(std::fs::read(&path).unwrap()).unwrap()],
            &options,
        );
        assert!(
            matches!(&error, FsmetaError::Compressed { layer: 0, path } if path == b"zeros"),
            "{error}"
        );
    }
}

/// An image followed by zeros without end.
struct Endless(Vec<u8>);

impl ReadAt for Endless {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        buffer.fill(0);
        let start = self.0.len().min(offset as usize);
        let n = buffer.len().min(self.0.len() - start);
        buffer[..n].copy_from_slice(&self.0[start..start + n]);
        Ok(())
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(u64::MAX >> 1)
    }
}

#[test]
fn as_many_layers_as_there_are_numbers() {
    let image = Image::open(crate::layers::layer_image(
        &Layer::default().file("f", b"x"),
        Vec::new(),
    ))
    .unwrap();
    let input = || LayerImage {
        image: &image,
        describes_root: false,
        tag: crate::layers::tag(1),
    };
    let inputs: Vec<_> = (0..65535).map(|_| input()).collect();
    let (fsmeta, report) = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap();
    assert_eq!((report.devices.len(), report.removed), (65535, 0));
    let merged = Image::open(fsmeta).unwrap();
    assert!(merged.verify().unwrap().is_sound());
    let file = merged.lookup(b"f").unwrap().unwrap();
    assert_eq!(merged.extent(&file, 0).unwrap().unwrap().device, 65535);
    let more: Vec<_> = (0..65536).map(|_| input()).collect();
    let error = write_fsmeta(&more, Vec::new(), &FsmetaOptions::default()).unwrap_err();
    assert!(
        matches!(error, FsmetaError::LayerCount { found: 65536, .. }),
        "{error}"
    );
}

/// A file costs an inode with one index and its name, whatever its length, and what is removed costs nothing.
#[test]
fn many_files_take_little() {
    let mut base = Layer::default();
    let mut top = Layer::default();
    for directory in 0..200 {
        let path = format!("d{directory}");
        (base, top) = (base.directory(&path), top.directory(&path));
        for file in 0..100 {
            base = base.file(&format!("{path}/file{file}"), b"x");
        }
        for file in 0..20 {
            top = top.whiteout(&format!("{path}/file{file}"));
        }
    }
    let layers = [base, top];
    let images: Vec<_> = layers
        .iter()
        .map(|layer| Image::open(crate::layers::layer_image(layer, Vec::new())).unwrap())
        .collect();
    let (fsmeta, report) =
        crate::layers::merge(&layers, &images, Vec::new(), &FsmetaOptions::default());
    assert_eq!(
        (report.removed, report.image.external_files),
        (4000, 16_000)
    );
    // 64 bytes for inode and index, 18 for the name; directories and what does not fill a block come to it.
    assert!(
        fsmeta.len() < 16_000 * 85 + 200 * 128,
        "{} bytes",
        fsmeta.len()
    );
    assert!(report.image.padding_bytes < 8192);
    assert!(Image::open(fsmeta).unwrap().verify().unwrap().is_sound());
}
