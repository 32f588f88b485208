//! Files of every size and with every number of extents.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use lithify_ext4::{BlockSize, DataOptions, ImageOptions, WriteError, Writer};
use lithify_storage::{ReadAt, Storage};
use lithify_testkit::{Mount, require};
use lithify_tree::{ContentSink as _, Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};

use crate::common::{Builder, run};

const TIB: u64 = 1 << 40;

/// An extent for each block of a file: a block of 1 KiB has 84 of them, an inode four.
#[test]
fn trees_of_extents_of_every_depth() {
    let mut cases = vec![
        (4, 0),
        (5, 1),
        (4 * 84, 1),
        (4 * 84 + 1, 2),
        (4 * 84 * 84, 2),
        (4 * 84 * 84 + 1, 3),
    ];
    if lithify_testkit::wants_all() {
        // The next needs an image of 200 GiB. Linux takes five levels.
        cases.extend([(4 * 84 * 84 * 84, 3), (4 * 84 * 84 * 84 + 1, 4)]);
    }
    let mut options = DataOptions::default();
    options.block_size = BlockSize::Small;
    let mut b = Builder::new(options);
    for (count, _) in &cases {
        let at: Vec<u64> = (0..*count).map(|n| n * 2048).collect();
        b.sparse(&format!("{count}"), count * 2048, &at, b"data");
    }
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    for (count, depth) in &cases {
        let said = run("debugfs", &["-R", &format!("ex /{count}")], &image.path);
        // The first column is the level and the deepest.
        assert!(
            said.contains(&format!(" {depth}/ {depth} ")),
            "{count}: {said:.300}"
        );
    }
    if require::kernel_filesystem("ext4") {
        let mount = Mount::image("ext4", &image.path);
        for (count, _) in &cases {
            let file = File::open(mount.path().join(format!("{count}"))).unwrap();
            for n in 0..*count {
                let mut found = [1; 8];
                file.read_exact_at(&mut found, n * 2048).unwrap();
                assert_eq!(&found, b"data\0\0\0\0");
            }
        }
    }
}

/// Blocks of a file are counted in 32 bits: 16 TiB with blocks of 4 KiB.
#[test]
fn files_with_the_last_block_there_can_be() {
    for block_size in [BlockSize::Small, BlockSize::Medium, BlockSize::Large] {
        let block = u64::from(block_size.bytes());
        let most = u64::from(u32::MAX) * block;
        let mut options = DataOptions::default();
        options.block_size = block_size;
        let mut b = Builder::new(options.clone());
        b.sparse("long", most, &[0, most / 2, most - 4], b"data");
        let image = b.finish(&ImageOptions::default());
        image.fsck();
        assert!(image.report.size < 20 << 20, "{:?}", image.report);
        if require::kernel_filesystem("ext4") {
            let mount = Mount::writable("ext4", &image.path);
            let path = mount.path().join("long");
            let mut file = File::options().read(true).write(true).open(path).unwrap();
            assert_eq!(file.metadata().unwrap().len(), most);
            for at in [0, most / 2, most - 4] {
                let mut found = [1; 4];
                file.read_exact_at(&mut found, at).unwrap();
                assert_eq!(&found, b"data");
            }
            file.write_all_at(b"more", most - 3 * block).unwrap();
            drop(file);
            drop(mount);
            image.fsck();
        }
        let mut writer = Writer::new(tempfile::tempfile().unwrap(), options).unwrap();
        let refused = writer.begin(most + 1, Some(&[])).unwrap_err();
        assert!(
            matches!(refused, WriteError::FileTooLarge { .. }),
            "{refused}"
        );
    }
}

/// The byte of which there is so much that it is left out.
const FILLING: u8 = 0xa5;

/// A file of which large pieces of one byte are not written.
struct Left {
    file: File,
}

impl ReadAt for Left {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&self.file)
    }
}

impl Storage for Left {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let is_filling =
            data.len() > 1 << 20 && data.first() == Some(&FILLING) && data.last() == Some(&FILLING);
        match is_filling {
            true => Ok(()),
            false => self.file.write_all_at(data, offset),
        }
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.file.set_size(length)
    }
}

/// A file of more than 2³² sectors, which `huge_file` is for.
#[test]
fn a_file_of_over_two_tebibytes_of_data() {
    let directory = lithify_testkit::temp_dir();
    let path = directory.path().join("image.ext4");
    let mut new = File::options();
    let file = new.read(true).write(true).create_new(true).open(&path);
    let mut options = DataOptions::default();
    options.size = Some(3 * TIB);
    let mut writer = Writer::new(
        Left {
            file: file.unwrap(),
        },
        options,
    )
    .unwrap();
    let size = 2 * TIB + (5 << 30) + 123;
    let filling = vec![FILLING; 16 << 20];
    writer.begin(size, None).unwrap();
    let mut left = size;
    while left > 0 {
        let piece = left.min(filling.len() as u64);
        writer.write(&filling[..piece as usize]).unwrap();
        left -= piece;
    }
    let content = writer.finish().unwrap();
    let mut layer = LayerEntries::new();
    let entry = Entry {
        path: TreePath::clean(b"huge").unwrap(),
        metadata: Metadata::default(),
        kind: EntryKind::File {
            size,
            segments: None,
        },
    };
    layer.push(&entry, Some(content)).unwrap();
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    writer
        .finish_image(&merge.finish(), &ImageOptions::default())
        .unwrap();
    let said = run("e2fsck", &["-fn"], &path);
    assert!(said.contains("Pass 5"), "{said}");
    let said = run("debugfs", &["-R", "stat /huge"], &path);
    let count = said.split("Blockcount: ").nth(1).unwrap();
    let count: u64 = count.split_whitespace().next().unwrap().parse().unwrap();
    // In sectors, with the tree of extents: one for each group, and two where a copy stands between.
    assert!(count > size / 512 && count < size / 512 + 8 * 70, "{count}");
    if require::kernel_filesystem("ext4") {
        let mount = Mount::image("ext4", &path);
        let found = mount.path().join("huge").metadata().unwrap();
        assert_eq!((found.len(), found.blocks()), (size, count));
    }
}
