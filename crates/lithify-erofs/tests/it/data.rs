//! Data of files: one image per case that other writers got wrong or could, read back by this crate, checked by
//! `fsck.erofs`, mounted and compared in full.
#![cfg(target_os = "linux")]

use crate::common::{Builder, Content, acl, build, build_with, metadata, pattern, with_xattrs};
use lithify_erofs::{DataLayout, DataOptions};
use lithify_testkit::require;
use lithify_tree::{EntryKind, Metadata};

#[test]
fn sizes_around_block_boundaries() {
    let built = build(|b| {
        for size in [
            0,
            1,
            11,
            31,
            32,
            33,
            2900,
            3967,
            3968,
            3969,
            4000,
            4032,
            4063,
            4064,
            4065,
            4095,
            4096,
            4097,
            8191,
            8192,
            8193,
            12_345,
            1 << 20,
            (1 << 20) + 1,
            3_000_001,
        ] {
            b.file(format!("f{size}"), metadata(0o644), &pattern(size, size));
        }
        // All of them once more with inodes of 64 bytes.
        for size in [
            0, 1, 3967, 3968, 3969, 4031, 4032, 4033, 4095, 4096, 4097, 8064, 8065,
        ] {
            let m = Metadata {
                uid: 1 << 20,
                ..metadata(0o644)
            };
            b.file(format!("e{size}"), m, &pattern(size, size));
        }
    });
    assert_eq!(built.report.inline_tails, 27);
}

#[test]
fn every_tail_length() {
    build(|b| {
        for size in 0..4096 {
            b.file(
                format!("d{}/f{size}", size % 7),
                metadata(0o644),
                &pattern(size, size),
            );
        }
    });
}

#[test]
fn tails_with_attributes_that_leave_no_room() {
    let acl = acl(&[
        (1, 7, u32::MAX),
        (2, 5, 1000),
        (4, 5, u32::MAX),
        (16, 7, u32::MAX),
        (32, 5, u32::MAX),
    ]);
    let many: Vec<(String, Vec<u8>)> = (0..60)
        .map(|i| (format!("user.a{i:02}"), vec![i as u8; 3]))
        .collect();
    let built = build(|b| {
        for (i, size) in (3800..4100).chain(7900..8200).step_by(7).enumerate() {
            b.file(
                format!("acl{size}"),
                with_xattrs(&[("system.posix_acl_access", &acl)]),
                &pattern(i, size),
            );
            // Different values, so that none is shared.
            let values: Vec<(String, Vec<u8>)> = many
                .iter()
                .map(|(n, v)| (n.clone(), [v.as_slice(), &size.to_le_bytes()].concat()))
                .collect();
            let pairs: Vec<(&str, &[u8])> = values
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_slice()))
                .collect();
            b.file(
                format!("many{size}"),
                with_xattrs(&pairs),
                &pattern(i, size),
            );
        }
    });
    assert_eq!(built.image().verify().unwrap().own.shared_data_bytes, 0);
}

#[test]
fn sparse_files() {
    let part = |offset: u64, length: usize| (offset, pattern(length, length));
    let built = build(|b| {
        let mut sparse =
            |name: &str, size, parts| b.sparse(name, metadata(0o644), Content { size, parts });
        sparse("hole at start", 1 << 20, vec![part((1 << 20) - 100, 100)]);
        sparse("hole at end", 1 << 20, vec![part(0, 100)]);
        sparse(
            "hole at end, unaligned",
            (1 << 20) + 77,
            vec![part(10, 5000)],
        );
        sparse("all hole", 5 << 20, vec![]);
        sparse("all hole, one byte", 1, vec![]);
        sparse("all hole, huge", 1 << 42, vec![]);
        sparse("data to the last byte", 100_001, vec![part(90_000, 10_001)]);
        sparse("no holes", 10_000, vec![part(0, 5000), part(5000, 5000)]);
        sparse(
            "small holes",
            10_000,
            vec![part(10, 100), part(4000, 200), part(9000, 999)],
        );
        sparse(
            "hole in the tail",
            4096 + 100,
            vec![part(0, 4096), part(4096 + 90, 10)],
        );
        sparse(
            "empty segments",
            1 << 16,
            vec![(0, vec![]), part(4096, 10), (1 << 16, vec![])],
        );
        sparse(
            "every other block",
            1 << 20,
            (0..128).map(|i| part(i * 8192, 4096)).collect(),
        );
        sparse(
            "scattered",
            1 << 30,
            (0..300_u64).map(|i| part(i * i * 11_113, 300)).collect(),
        );
        sparse(
            "far away",
            5 << 40,
            vec![part(0, 10), part((5 << 40) - 10, 10)],
        );
        b.sparse(
            "with attributes",
            with_xattrs(&[("user.a", b"123")]),
            Content {
                size: 1 << 24,
                parts: vec![part(1 << 20, 10)],
            },
        );
        b.sparse(
            "with one more",
            with_xattrs(&[("user.a", b"12345")]),
            Content {
                size: 1 << 24,
                parts: vec![part(1 << 20, 10)],
            },
        );
        b.file("dense", metadata(0o644), &pattern(9, 9999));
    });
    assert_eq!(
        built.image().lookup(b"no holes").unwrap().unwrap().layout(),
        DataLayout::Inline
    );
    assert_eq!(
        built
            .image()
            .lookup(b"hole at start")
            .unwrap()
            .unwrap()
            .layout(),
        DataLayout::Chunked
    );
    // Most of it is the map of the file of 5 TiB.
    assert!(built.report.size < 17 << 20, "{}", built.report.size);
}

#[test]
fn long_maps_behind_inodes() {
    build(|b| {
        // Maps of 1 to 40 KiB next to small files.
        for i in 1..10_u64 {
            let parts = (0..i * 256)
                .map(|n| (n * 65_536, pattern(n as usize, 4096)))
                .collect();
            b.sparse(
                format!("s{i}"),
                metadata(0o644),
                Content {
                    size: i * 256 * 65_536,
                    parts,
                },
            );
            b.file(format!("f{i}"), metadata(0o644), &pattern(1, 777));
        }
    });
}

#[test]
fn dense_file_over_4_gib() {
    // Written as zeros: the host keeps it sparse where it can, the image has all blocks.
    use lithify_tree::ContentSink;
    let size = (5 << 30) + 123_u64;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let mut b = Builder::new(HolePunch(file));
    b.writer.begin(size, None).unwrap();
    let zeros = vec![0; 1 << 20];
    let mut left = size - 5;
    while left > 0 {
        let n = left.min(1 << 20);
        b.writer.write(&zeros[..n as usize]).unwrap();
        left -= n;
    }
    b.writer.write(b"tail!").unwrap();
    let id = b.writer.finish().unwrap();
    b.contents.insert(
        id,
        Content {
            size,
            parts: vec![(size - 5, b"tail!".to_vec())],
        },
    );
    b.entry(
        "big",
        metadata(0o644),
        EntryKind::File {
            size,
            segments: None,
        },
        Some(id),
    );
    b.file("behind it", metadata(0o644), &pattern(3, 10_000));
    let (_, report, expected) = b.finish();
    assert!(report.size > 5 << 30);
    crate::common::check_with_reader(std::fs::File::open(&path).unwrap(), &expected);
    crate::common::mount_and_check(&path, &expected);
}

/// Leaves out writes of zeros.
struct HolePunch(std::fs::File);

impl lithify_erofs::ReadAt for HolePunch {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        lithify_erofs::ReadAt::read_exact_at(&self.0, buffer, offset)
    }

    fn size(&self) -> std::io::Result<u64> {
        self.0.size()
    }
}

impl lithify_erofs::Storage for HolePunch {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> std::io::Result<()> {
        if data.iter().all(|&b| b == 0) {
            return Ok(());
        }
        lithify_erofs::Storage::write_all_at(&mut self.0, data, offset)
    }

    fn set_size(&mut self, length: u64) -> std::io::Result<()> {
        self.0.set_len(length)
    }
}

#[test]
fn block_aligned_data_has_no_inline_files() {
    let mut options = DataOptions::default();
    options.block_aligned = true;
    let built = build_with(options, |b| {
        for size in [0, 1, 100, 4095, 4096, 4097, 10_000] {
            b.file(format!("f{size}"), metadata(0o644), &pattern(size, size));
        }
    });
    assert_eq!(built.report.inline_tails, 0);
    for entry in built.image().walk() {
        let inode = entry.unwrap().inode;
        let inline_file = inode.file_type() == lithify_erofs::FileType::File
            && inode.layout() == DataLayout::Inline;
        assert!(!inline_file);
    }
}

#[test]
fn block_aligned_data_has_files_behind_inodes_only_up_to_a_length() {
    let sizes = [0, 1, 100, 1023, 1024, 1025, 4095, 4096, 4097, 5000, 10_000];
    for (small_file_max, inline) in [(0, 0), (100, 2), (1024, 4), (4096, 5), (u32::MAX, 5)] {
        let mut options = DataOptions::default();
        options.block_aligned = true;
        options.small_file_max = small_file_max;
        let built = build_with(options, |b| {
            for size in sizes {
                b.file(format!("f{size}"), metadata(0o644), &pattern(size, size));
            }
        });
        assert_eq!(built.report.inline_tails, inline, "{small_file_max}");
        for entry in built.image().walk() {
            let inode = entry.unwrap().inode;
            let is_inline = inode.file_type() == lithify_erofs::FileType::File
                && inode.layout() == DataLayout::Inline;
            // A file of a block or more never ends behind its inode: chunks could not say so.
            assert!(!is_inline || inode.size() <= u64::from(small_file_max.min(4095)));
        }
        crate::common::check_with_reader(std::fs::read(&built.path).unwrap(), &built.expected);
    }
}

#[test]
fn mounts_without_a_loop_device() {
    if !require::kernel_erofs() {
        return;
    }
    let built = build(|b| {
        b.file("etc/motd", metadata(0o644), b"hello");
        b.file("large", metadata(0o644), &pattern(1, 1 << 20));
    });
    let at = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::RDONLY;
    let mounted = rustix::mount::mount(&built.path, at.path(), "erofs", flags, None).is_ok();
    if require::met(mounted, "Linux 6.12, which mounts EROFS from a file") {
        let check =
            std::panic::catch_unwind(|| crate::common::check_mounted(at.path(), &built.expected));
        rustix::mount::unmount(at.path(), rustix::mount::UnmountFlags::empty()).unwrap();
        check.unwrap();
    }
}
