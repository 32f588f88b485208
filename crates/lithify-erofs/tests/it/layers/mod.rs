//! Layers described once, built three ways: as one flat image, as an overlay-ready image each, and merged over these.
#![allow(unreachable_pub, reason = "shared by test programs")]

pub(crate) mod views; // who looks at merged images

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use lithify_erofs::{
    DataOptions, FsmetaOptions, FsmetaReport, Image, LayerImage, ReadAt, Storage, write_fsmeta,
};
use lithify_tree::{Device, EntryKind, Metadata, overlay};

use crate::common::{Builder, Content, Expected, metadata, pattern};

/// An attribute overlayfs looks at.
type Mark = (&'static [u8], &'static [u8]);

/// What a layer says of a path.
#[derive(Clone, Debug)]
pub enum What {
    Directory,
    Data(Content),
    Symlink(Vec<u8>),
    /// Of an earlier path of the same layer.
    Link(String),
    Node(EntryKind),
    Whiteout,
    Opaque,
}

/// A layer in which every directory is described but the root.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    pub items: Vec<(String, Metadata, What)>,
    pub describes_root: bool,
}

impl Layer {
    pub fn add(mut self, path: &str, metadata: Metadata, what: What) -> Self {
        self.describes_root |= path.is_empty() && !matches!(what, What::Opaque);
        self.items.push((path.into(), metadata, what));
        self
    }

    pub fn directory(self, path: &str) -> Self {
        self.add(path, metadata(0o755), What::Directory)
    }

    pub fn file(self, path: &str, data: &[u8]) -> Self {
        self.add(path, metadata(0o644), What::Data(Content::plain(data)))
    }

    pub fn pattern(self, path: &str, length: usize) -> Self {
        let data = pattern(path.len() + self.items.len(), length);
        self.file(path, &data)
    }

    pub fn whiteout(self, path: &str) -> Self {
        self.add(path, Metadata::default(), What::Whiteout)
    }

    pub fn opaque(self, path: &str) -> Self {
        self.add(path, Metadata::default(), What::Opaque)
    }

    /// Describes this layer as it is in a tar.
    pub fn describe<S: Storage>(&self, builder: &mut Builder<S>) {
        for (path, metadata, what) in &self.items {
            match what {
                What::Whiteout => {
                    builder.entry(path, metadata.clone(), EntryKind::Whiteout, None);
                }
                What::Opaque => builder.entry(path, metadata.clone(), EntryKind::Opaque, None),
                what => common(builder, path, metadata.clone(), what),
            }
        }
    }

    /// Describes this layer as overlayfs wants it.
    pub fn describe_overlay<S: Storage>(&self, builder: &mut Builder<S>) {
        let mut directories: BTreeMap<&str, Vec<Mark>> = BTreeMap::new();
        for (path, _, what) in &self.items {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            match what {
                What::Whiteout => directories
                    .entry(parent)
                    .or_default()
                    .push((overlay::ORIGIN_XATTR, b"")),
                What::Opaque => directories
                    .entry(path)
                    .or_default()
                    .push((overlay::OPAQUE_XATTR, overlay::OPAQUE_VALUE)),
                _ => {}
            }
        }
        if !self.describes_root
            && let Some(marks) = directories.get("")
        {
            let mut root = Metadata::implicit_directory(Default::default());
            marks
                .iter()
                .for_each(|(name, value)| root.xattrs.set(name, value).unwrap());
            builder.directory("", root);
        }
        for (path, metadata, what) in &self.items {
            let mut metadata = metadata.clone();
            let mut own = lithify_tree::Xattrs::new();
            for (name, value) in metadata.xattrs.iter() {
                let name = match name.strip_prefix(overlay::XATTR_PREFIX) {
                    Some(rest) => [overlay::XATTR_ESCAPE, rest].concat(),
                    None => name.to_vec(),
                };
                own.set(&name, value).unwrap();
            }
            metadata.xattrs = own;
            match what {
                What::Whiteout => builder.entry(
                    path,
                    Metadata::default(),
                    EntryKind::CharDevice(Device::default()),
                    None,
                ),
                What::Opaque => {}
                What::Directory => {
                    for (name, value) in directories.get(path.as_str()).into_iter().flatten() {
                        metadata.xattrs.set(name, value).unwrap();
                    }
                    builder.directory(path, metadata);
                }
                what => common(builder, path, metadata, what),
            }
        }
    }
}

fn common<S: Storage>(builder: &mut Builder<S>, path: &str, metadata: Metadata, what: &What) {
    match what {
        What::Directory => builder.directory(path, metadata),
        What::Data(content)
            if content.parts.len() == 1 && content.parts[0].1.len() as u64 == content.size =>
        {
            builder.file(path, metadata, &content.parts[0].1);
        }
        What::Data(content) => builder.sparse(path, metadata, content.clone()),
        What::Symlink(target) => {
            let kind = EntryKind::Symlink {
                target: target.clone(),
            };
            builder.entry(path, metadata, kind, None);
        }
        What::Link(target) => builder.link(path, target),
        What::Node(kind) => builder.entry(path, metadata, kind.clone(), None),
        What::Whiteout | What::Opaque => unreachable!(),
    }
}

pub fn aligned() -> DataOptions {
    let mut options = DataOptions::default();
    options.block_aligned = true;
    options
}

/// Like [`aligned`], but files of up to 1024 bytes are behind their inodes.
pub fn small_inline() -> DataOptions {
    let mut options = aligned();
    options.small_file_max = 1024;
    options
}

/// The flat image of layers, and what it is.
pub fn flat<S: Storage>(layers: &[Layer], storage: S) -> (S, Expected) {
    let mut builder = Builder::new(storage);
    for (i, layer) in layers.iter().enumerate() {
        if i > 0 {
            builder.next_layer();
        }
        layer.describe(&mut builder);
    }
    let (storage, _, expected) = builder.finish();
    (storage, expected)
}

/// The overlay-ready image of a layer.
pub fn layer_image<S: Storage>(layer: &Layer, storage: S) -> S {
    layer_image_with(layer, storage, aligned())
}

/// The same, its data placed in some way.
pub fn layer_image_with<S: Storage>(layer: &Layer, storage: S, data: DataOptions) -> S {
    let mut builder = Builder::with(storage, data);
    layer.describe_overlay(&mut builder);
    builder.finish().0
}

pub fn tag(number: usize) -> [u8; 64] {
    let mut tag = [0; 64];
    tag.copy_from_slice(format!("{number:064x}").as_bytes());
    tag
}

/// Merges images of layers.
pub fn merge<R: ReadAt, S: Storage>(
    layers: &[Layer],
    images: &[Image<R>],
    storage: S,
    options: &FsmetaOptions,
) -> (S, FsmetaReport) {
    let inputs: Vec<_> = layers
        .iter()
        .zip(images)
        .enumerate()
        .map(|(i, (layer, image))| LayerImage {
            image,
            describes_root: layer.describes_root,
            tag: tag(i + 1),
        })
        .collect();
    write_fsmeta(&inputs, storage, options).unwrap()
}

/// Everything in files.
pub struct Files {
    pub directory: tempfile::TempDir,
    pub flat: PathBuf,
    pub layers: Vec<PathBuf>,
    pub fsmeta: PathBuf,
    pub report: FsmetaReport,
    pub expected: Expected,
}

pub fn create(path: &Path) -> File {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap()
}

pub fn build(layers: &[Layer], options: &FsmetaOptions) -> Files {
    build_with(layers, aligned, options)
}

pub fn build_with(layers: &[Layer], data: fn() -> DataOptions, options: &FsmetaOptions) -> Files {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (_, expected) = flat(layers, create(&at("flat")));
    let paths: Vec<_> = (0..layers.len()).map(|i| at(&format!("l{i}"))).collect();
    let images: Vec<_> = layers
        .iter()
        .zip(&paths)
        .map(|(layer, path)| Image::open(layer_image_with(layer, create(path), data())).unwrap())
        .collect();
    let (_, report) = merge(layers, &images, create(&at("fsmeta")), options);
    Files {
        flat: at("flat"),
        layers: paths,
        fsmeta: at("fsmeta"),
        report,
        expected,
        directory,
    }
}

impl Files {
    pub fn devices(&self) -> Vec<&Path> {
        self.layers.iter().map(PathBuf::as_path).collect()
    }

    /// The merged image opened with its devices.
    pub fn open(&self) -> Image<File> {
        let open = |path: &PathBuf| File::open(path).unwrap();
        let devices = self.layers.iter().map(open).collect();
        Image::open_with_devices(open(&self.fsmeta), devices).unwrap()
    }

    /// A single device with everything, as the report says.
    pub fn concatenate(&self) -> PathBuf {
        let path = self.directory.path().join("disk");
        let mut disk = create(&path);
        disk.write_all_at(&std::fs::read(&self.fsmeta).unwrap(), 0)
            .unwrap();
        for (layer, slot) in self.layers.iter().zip(&self.report.devices) {
            let bytes = std::fs::read(layer).unwrap();
            assert_eq!(bytes.len() as u64, u64::from(slot.blocks) * 4096);
            disk.write_all_at(&bytes, u64::from(slot.mapped_block) * 4096)
                .unwrap();
        }
        assert_eq!(disk.metadata().unwrap().len(), self.report.flat_size);
        path
    }
}
