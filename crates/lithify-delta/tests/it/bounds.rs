//! Bounds of creation: what it holds, what it depends on, and how it ends.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use lithify_delta::create::{CreateError, CreateOptions, OldFiles, OldImage};
use lithify_delta::diff::Effort;
use lithify_testkit::{Tar, TarEntry};

use crate::common::{path, read};
use crate::create::{Old, create, options};
use crate::random::{Contents as _, Random};

/// Gives a reader's bytes in pieces of at most so many.
struct Slowly<'a>(&'a [u8], usize);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

/// Panics if the delta of a tar is another one when its reader gives less at a time.
#[track_caller]
fn assert_same_in_pieces(old: &Old, tar: &[u8], memory: u64) {
    let options = CreateOptions {
        memory,
        ..options(Effort::Fast, 1)
    };
    let whole = old.create(&mut &*tar, &options).unwrap();
    for length in [1000, 7777, 100_000] {
        let pieces = old.create(&mut Slowly(tar, length), &options).unwrap();
        assert!(pieces == whole, "{length}");
    }
}

#[test]
fn the_parts_of_a_file_do_not_depend_on_how_the_tar_is_read() {
    let mut random = Random::new(20);
    let content = random.bytes(100_000);
    let old = Old(vec![(path("f"), content.clone())]);
    let mut tar = Tar::new();
    tar.add(TarEntry::file("f", random.edited(&content)));
    assert_same_in_pieces(&old, &tar.finish(), 64 << 10);
}

#[test]
fn the_parts_of_what_is_no_file_do_not_depend_on_how_the_tar_is_read() {
    // More than 4 MiB of headers, and of what follows the end.
    let mut tar = Tar::new();
    for number in 0..9000 {
        tar.add(TarEntry::directory(format!("d{number}")));
    }
    let headers = tar.finish();
    let padded = [&headers[..], &vec![0; 9 << 20]].concat();
    for tar in [headers, padded] {
        assert_same_in_pieces(&Old(vec![]), &tar, 512 << 20);
    }
}

#[test]
fn the_data_of_a_sparse_file_is_not_held_whole() {
    let data = Random::new(21).bytes(12 << 20);
    let mut tar = Tar::new();
    tar.add(sparse_large("holes", &data));
    let options = options(Effort::Fast, 1);
    let (delta, report) = Old(vec![]).create(&mut &*tar.finish(), &options).unwrap();
    assert_eq!(report.new, 0, "it is no plain file");
    let (_, ops) = read(&delta).unwrap();
    let longest = ops.iter().map(|(_, payload)| payload.len()).max();
    assert!(longest < Some(5 << 20), "{longest:?} bytes are one piece");
}

fn sparse_large(name: &str, data: &[u8]) -> TarEntry {
    let (length, size) = (data.len(), 1 << 30);
    TarEntry::file("GNUSparseFile.0/x", data)
        .record("GNU.sparse.size", size.to_string())
        .record("GNU.sparse.numblocks", "2")
        .record("GNU.sparse.map", format!("4096,{length},{size},0"))
        .record("GNU.sparse.name", name)
}

/// Remembers the most bytes that were read at once.
struct Most(Old, Mutex<usize>);

impl OldFiles for Most {
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut most = self.1.lock().unwrap();
        *most = buffer.len().max(*most);
        self.0.read(file, buffer, offset)
    }
}

#[test]
fn old_files_that_take_more_memory_than_there_is_are_not_read_whole() {
    let content = Random::new(22).bytes(3 << 20);
    let old = Old(vec![(path("f"), content.clone())]);
    let mut tar = Tar::new();
    tar.add(TarEntry::file("f", &content[..200 << 10]));
    let options = CreateOptions {
        memory: 1 << 20,
        ..options(Effort::Fast, 1)
    };
    let most = Arc::new(Most(old.clone(), Mutex::new(0)));
    let image = OldImage::read(old.list(), Arc::clone(&most), &options).unwrap();
    create(&mut &*tar.finish(), &image, Vec::new(), &options).unwrap();
    let most = *most.1.lock().unwrap();
    assert!(most <= 1 << 20, "{most} bytes of an old file are held");
}

/// Old files whose storage panics once they were all read.
struct Panics(Old, Mutex<Vec<bool>>);

impl OldFiles for Panics {
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let was_read = {
            let mut read = self.1.lock().unwrap();
            std::mem::replace(&mut read[file], true)
        };
        assert!(!was_read || file > 0, "the storage panics");
        self.0.read(file, buffer, offset)
    }
}

#[test]
fn a_panic_in_a_thread_does_not_leave_the_others_waiting() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut random = Random::new(23);
        let file = |n| (path(&format!("f{n}")), random.bytes(3000));
        let old = Old((0..50).map(file).collect());
        let mut tar = Tar::new();
        for (path, data) in &old.0 {
            tar.add(TarEntry::file(path.as_bytes(), data));
        }
        let options = CreateOptions {
            memory: 64 << 10,
            ..options(Effort::Fast, 2)
        };
        let panics = Panics(old.clone(), Mutex::new(vec![false; old.0.len()]));
        let image = OldImage::read(old.list(), panics, &options).unwrap();
        let result = create(&mut &*tar.finish(), &image, Vec::new(), &options);
        done.send(result.map(drop)).unwrap();
    });
    // Much longer than it takes.
    let result = finished.recv_timeout(std::time::Duration::from_secs(30));
    let result = result.expect("creation ends");
    assert!(matches!(result, Err(CreateError::ThreadLost)), "{result:?}");
}
