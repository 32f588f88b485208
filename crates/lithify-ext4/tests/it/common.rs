//! Small trees with data, and the programs that look at what becomes of them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use lithify_ext4::{DataOptions, FinishReport, ImageOptions, WriteError, Writer};
use lithify_tree::{
    ContentId, ContentSink, DataSegment, Entry, EntryKind, LayerEntries, Merge, Metadata, Tree,
    TreePath,
};
use tempfile::TempDir;

/// A tree being made, and the image its data goes to.
pub(crate) struct Builder {
    dir: TempDir,
    path: PathBuf,
    writer: Writer<File>,
    layer: LayerEntries,
}

impl Builder {
    pub(crate) fn new(options: DataOptions) -> Self {
        let dir = lithify_testkit::temp_dir();
        let path = dir.path().join("image.ext4");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        Self {
            writer: Writer::new(file, options).unwrap(),
            layer: LayerEntries::new(),
            dir,
            path,
        }
    }

    pub(crate) fn entry(
        &mut self,
        path: impl AsRef<[u8]>,
        mode: u16,
        kind: EntryKind,
        content: Option<ContentId>,
    ) {
        let metadata = Metadata {
            mode,
            ..Metadata::default()
        };
        self.with(path, metadata, kind, content);
    }

    pub(crate) fn with(
        &mut self,
        path: impl AsRef<[u8]>,
        metadata: Metadata,
        kind: EntryKind,
        content: Option<ContentId>,
    ) {
        let path = TreePath::clean(path.as_ref()).unwrap();
        let entry = Entry {
            path,
            metadata,
            kind,
        };
        self.layer.push(&entry, content).unwrap();
    }

    /// A file without anything.
    pub(crate) fn empty(&mut self, path: impl AsRef<[u8]>) {
        let kind = EntryKind::File {
            size: 0,
            segments: None,
        };
        self.entry(path, 0o644, kind, None);
    }

    pub(crate) fn data(&mut self, data: &[u8]) -> ContentId {
        self.writer.begin(data.len() as u64, None).unwrap();
        self.writer.write(data).unwrap();
        self.writer.finish().unwrap()
    }

    pub(crate) fn file(&mut self, path: &str, data: &[u8]) {
        let content = self.data(data);
        let kind = EntryKind::File {
            size: data.len() as u64,
            segments: None,
        };
        self.entry(path, 0o644, kind, Some(content));
    }

    /// A file with `data` at each of these offsets and nothing elsewhere.
    pub(crate) fn sparse(&mut self, path: &str, size: u64, at: &[u64], data: &[u8]) {
        let length = data.len() as u64;
        let segments: Vec<_> = at
            .iter()
            .map(|&offset| DataSegment { offset, length })
            .collect();
        self.writer.begin(size, Some(&segments)).unwrap();
        for _ in at {
            self.writer.write(data).unwrap();
        }
        let content = self.writer.finish().unwrap();
        let kind = EntryKind::File {
            size,
            segments: Some(segments),
        };
        self.entry(path, 0o600, kind, Some(content));
    }

    pub(crate) fn finish(self, options: &ImageOptions) -> Image {
        self.try_finish(options).unwrap()
    }

    pub(crate) fn try_finish(self, options: &ImageOptions) -> Result<Image, WriteError> {
        let mut merge = Merge::new();
        merge.apply(self.layer).unwrap();
        let tree: Tree = merge.finish();
        let (_, report) = self.writer.finish_image(&tree, options)?;
        Ok(Image {
            _dir: self.dir,
            path: self.path,
            report,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Image {
    _dir: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) report: FinishReport,
}

/// Runs a program and returns what it says, which has to be success.
pub(crate) fn run(program: &str, args: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(args).arg(path).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    said
}

impl Image {
    /// Has `e2fsck` look at everything. It finds nothing: there is no line but those it always prints.
    pub(crate) fn fsck(&self) {
        let said = run("e2fsck", &["-fn"], &self.path);
        for line in said.lines() {
            let expected = line.starts_with("e2fsck 1.")
                || line.starts_with("Pass ")
                || line.contains(" files (") && line.ends_with(" blocks");
            assert!(expected, "{said}");
        }
    }

    /// Returns what `dumpe2fs` says of the superblock, by field.
    pub(crate) fn superblock(&self) -> Fields {
        Fields::of(&self.path)
    }
}

/// What `dumpe2fs -h` says of a filesystem.
#[derive(Debug)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn of(path: &Path) -> Self {
        let said = run("dumpe2fs", &["-h"], path);
        let fields = said.lines().filter_map(|line| line.split_once(':'));
        Self(
            fields
                .map(|(name, value)| (name.into(), value.trim().into()))
                .collect(),
        )
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        let value = self.get(name);
        let digits = value.and_then(|value| value.split(' ').next());
        digits.and_then(|digits| digits.parse().ok()).unwrap()
    }
}
