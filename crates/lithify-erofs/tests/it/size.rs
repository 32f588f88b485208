//! Images are not larger than those of the reference tool.
#![cfg(target_os = "linux")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::common::{Builder, pattern};
use lithify_testkit::{require, run};
use lithify_tree::{EntryKind, Metadata, Timestamp};

/// Adds a host directory.
fn add(b: &mut Builder<Vec<u8>>, root: &Path, path: &Path) {
    let m = std::fs::symlink_metadata(path).unwrap();
    let metadata = Metadata {
        mode: (m.mode() & 0o7777) as u16,
        uid: m.uid(),
        gid: m.gid(),
        mtime: Timestamp {
            seconds: m.mtime(),
            nanoseconds: m.mtime_nsec() as u32,
        },
        ..Metadata::default()
    };
    let name = path.strip_prefix(root).unwrap().to_str().unwrap();
    if m.is_dir() {
        b.directory(name, metadata);
        let mut children: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        children.sort();
        children.iter().for_each(|child| add(b, root, child));
    } else if m.is_symlink() {
        let target = std::fs::read_link(path)
            .unwrap()
            .to_str()
            .unwrap()
            .as_bytes()
            .to_vec();
        b.entry(name, metadata, EntryKind::Symlink { target }, None);
    } else {
        b.file(name, metadata, &std::fs::read(path).unwrap());
    }
}

/// Sizes as they are in a system: many small files, few large ones.
fn size(i: usize) -> usize {
    let spread = i.wrapping_mul(2_654_435_761) % 100_000;
    match i % 10 {
        0..3 => spread % 600,
        3..7 => spread % 6_000,
        7..9 => spread % 30_000,
        _ => spread,
    }
}

#[test]
fn not_larger_than_mkfs_erofs() {
    if !require::tool("mkfs.erofs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    for i in 0..3000_usize {
        let parent = source.join(format!("usr/share/d{}/sub{}", i % 40, i % 7));
        std::fs::create_dir_all(&parent).unwrap();
        let file = parent.join(format!("file-{i}"));
        if i % 20 == 11 {
            std::os::unix::fs::symlink(format!("file-{}", i * 7), file).unwrap();
        } else {
            std::fs::write(&file, pattern(i, size(i))).unwrap();
        }
    }
    for same_time in [false, true] {
        let mut b = Builder::new(Vec::new());
        add(&mut b, &source, &source);
        let image = directory.path().join("image");
        let mut mkfs = run::command("mkfs.erofs");
        if same_time {
            mkfs.arg("-T0");
            let times = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
            b = Builder::new(Vec::new());
            set_times(&source, times);
            add(&mut b, &source, &source);
        }
        run::ok(mkfs.args([&image, &source]));
        let (ours, report, expected) = b.finish();
        crate::common::check_with_reader(&ours, &expected);
        let theirs = std::fs::metadata(&image).unwrap().len();
        eprintln!("ours {} bytes, theirs {theirs}, {report:?}", ours.len());
        assert!(
            ours.len() as u64 <= theirs,
            "{} bytes, mkfs.erofs makes {theirs}",
            ours.len()
        );
    }
}

fn set_times(path: &Path, times: std::fs::FileTimes) {
    if path.is_symlink() {
        // std sets times of what a link points to; links keep theirs.
        return;
    }
    if path.is_dir() {
        std::fs::read_dir(path)
            .unwrap()
            .for_each(|e| set_times(&e.unwrap().path(), times));
    }
    std::fs::File::open(path).unwrap().set_times(times).unwrap();
}
