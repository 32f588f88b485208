//! Images for tests, described entry by entry.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use lithify_storage::Storage;
use lithify_tree::{
    ContentId, ContentSink, DataSegment, Entry, EntryKind, LayerEntries, Merge, Metadata,
    Timestamp, Tree, TreePath, Xattrs,
};

use crate::{Filesystem, check_with_reader, mount_and_check};

/// Data of a file: its stretches, and zeros between them.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub size: u64,
    pub parts: Vec<(u64, Vec<u8>)>,
}

impl Content {
    pub fn plain(data: &[u8]) -> Self {
        Self {
            size: data.len() as u64,
            parts: vec![(0, data.to_vec())],
        }
    }

    /// The bytes from `offset`, at most `length`.
    pub fn slice(&self, offset: u64, length: usize) -> Vec<u8> {
        let end = self.size.min(offset + length as u64);
        let mut out = vec![0; (end - offset) as usize];
        for (at, data) in &self.parts {
            let (from, to) = ((*at).max(offset), (at + data.len() as u64).min(end));
            if from < to {
                out[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&data[(from - at) as usize..(to - at) as usize]);
            }
        }
        out
    }
}

/// An image being described, layer by layer from the bottom.
pub struct Builder<F: Filesystem, S: Storage> {
    pub writer: F::Writer<S>,
    layers: Vec<LayerEntries>,
    pub contents: HashMap<ContentId, Content>,
    pub options: F::ImageOptions,
}

/// Bytes that differ between files and offsets.
pub fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8).wrapping_mul(7) ^ seed.wrapping_mul(131)) as u8 | 1)
        .collect()
}

pub fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        mtime: Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        },
        ..Metadata::default()
    }
}

pub fn xattrs(pairs: &[(&str, &[u8])]) -> Xattrs {
    let mut x = Xattrs::new();
    for (name, value) in pairs {
        x.set(name.as_bytes(), value).unwrap();
    }
    x
}

pub fn with_xattrs(pairs: &[(&str, &[u8])]) -> Metadata {
    Metadata {
        xattrs: xattrs(pairs),
        ..metadata(0o644)
    }
}

/// An ACL as `setxattr` takes it: tag, permissions, id.
pub fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

impl<F: Filesystem, S: Storage> Builder<F, S> {
    pub fn new(storage: S) -> Self {
        Self::with(storage, F::DataOptions::default())
    }

    pub fn with(storage: S, options: F::DataOptions) -> Self {
        Self {
            writer: F::writer(storage, options),
            layers: vec![LayerEntries::new()],
            contents: HashMap::new(),
            options: F::ImageOptions::default(),
        }
    }

    pub fn next_layer(&mut self) {
        self.layers.push(LayerEntries::new());
    }

    pub fn entry(
        &mut self,
        path: impl AsRef<[u8]>,
        metadata: Metadata,
        kind: EntryKind,
        content: Option<ContentId>,
    ) {
        let path = TreePath::clean(path.as_ref()).unwrap();
        self.layers
            .last_mut()
            .unwrap()
            .push(
                &Entry {
                    path,
                    metadata,
                    kind,
                },
                content,
            )
            .unwrap();
    }

    pub fn file(&mut self, path: impl AsRef<[u8]>, metadata: Metadata, data: &[u8]) -> ContentId {
        self.writer.begin(data.len() as u64, None).unwrap();
        self.writer.write(data).unwrap();
        let id = self.writer.finish().unwrap();
        self.contents.insert(id, Content::plain(data));
        let kind = EntryKind::File {
            size: data.len() as u64,
            segments: None,
        };
        self.entry(path, metadata, kind, Some(id));
        id
    }

    pub fn sparse(&mut self, path: impl AsRef<[u8]>, metadata: Metadata, content: Content) {
        let segments: Vec<_> = content
            .parts
            .iter()
            .map(|(offset, d)| DataSegment {
                offset: *offset,
                length: d.len() as u64,
            })
            .collect();
        self.writer.begin(content.size, Some(&segments)).unwrap();
        // In pieces that have nothing to do with the segments.
        let data: Vec<u8> = content.parts.iter().flat_map(|(_, d)| d).copied().collect();
        data.chunks(1000)
            .for_each(|piece| self.writer.write(piece).unwrap());
        let id = self.writer.finish().unwrap();
        let kind = EntryKind::File {
            size: content.size,
            segments: Some(segments),
        };
        self.contents.insert(id, content);
        self.entry(path, metadata, kind, Some(id));
    }

    pub fn directory(&mut self, path: impl AsRef<[u8]>, metadata: Metadata) {
        self.entry(path, metadata, EntryKind::Directory, None);
    }

    pub fn symlink(&mut self, path: impl AsRef<[u8]>, target: &[u8]) {
        self.entry(
            path,
            metadata(0o777),
            EntryKind::Symlink {
                target: target.to_vec(),
            },
            None,
        );
    }

    pub fn link(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) {
        let target = TreePath::clean(target.as_ref()).unwrap();
        self.entry(
            path,
            Metadata::default(),
            EntryKind::HardLink { target },
            None,
        );
    }

    pub fn tree(&mut self) -> Tree {
        let mut merge = Merge::new();
        let mut added = LayerEntries::new();
        for name in F::ADDED {
            let entry = Entry {
                path: TreePath::clean(name.as_bytes()).unwrap(),
                metadata: metadata(0o700),
                kind: EntryKind::Directory,
            };
            added.push(&entry, None).unwrap();
        }
        merge.apply(added).unwrap();
        for layer in std::mem::take(&mut self.layers) {
            merge.apply(layer).unwrap();
        }
        merge.finish()
    }

    pub fn finish(mut self) -> (S, F::Report, Expected) {
        let tree = self.tree();
        let (storage, report) = F::finish_image(self.writer, &tree, &self.options).unwrap();
        (
            storage,
            report,
            Expected {
                tree,
                contents: self.contents,
            },
        )
    }
}

/// What an image should be.
pub struct Expected {
    pub tree: Tree,
    pub contents: HashMap<ContentId, Content>,
}

/// An image in a file.
pub struct Built<F: Filesystem> {
    pub directory: tempfile::TempDir,
    pub path: PathBuf,
    pub report: F::Report,
    pub expected: Expected,
}

/// Builds an image in a temporary file and has everyone check it.
pub fn build_with<F: Filesystem>(
    options: F::DataOptions,
    describe: impl FnOnce(&mut Builder<F, File>),
) -> Built<F> {
    let built = build_unchecked(options, describe);
    built.check();
    built
}

/// Builds an image in a temporary file.
pub fn build_unchecked<F: Filesystem>(
    options: F::DataOptions,
    describe: impl FnOnce(&mut Builder<F, File>),
) -> Built<F> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image").with_extension(F::NAME);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let mut builder = Builder::with(file, options);
    describe(&mut builder);
    let (file, report, expected) = builder.finish();
    assert_eq!(file.metadata().unwrap().len(), F::size(&report));
    Built {
        directory,
        path,
        report,
        expected,
    }
}

impl<F: Filesystem> Built<F> {
    /// Has everyone check the image.
    pub fn check(&self) {
        F::fsck(&self.path);
        self.check_without_fsck();
    }

    /// Has this workspace's reader and the kernel check it.
    pub fn check_without_fsck(&self) {
        check_with_reader::<F, _>(File::open(&self.path).unwrap(), &self.expected);
        mount_and_check::<F>(&self.path, &self.expected);
    }

    pub fn image(&self) -> F::Image<File> {
        F::open(File::open(&self.path).unwrap()).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }
}
