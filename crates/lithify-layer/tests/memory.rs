//! Memory: a layer takes the same few megabytes whatever its size and whatever it says of itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

#[path = "it/support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lithify_layer::{Expected, LayerReader, Limits, Options, Threading};
use support::{BLOCK, Header, Tar, gzip, zstd};

/// The system's allocator, with the bytes in use and their highest number.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One at a time: they share the counters.
static TURN: Mutex<()> = Mutex::new(());

/// Bytes in use at most while something runs, beyond those before.
fn peak(run: impl FnOnce()) -> usize {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    run();
    PEAK.load(Ordering::Relaxed) - before
}

fn read_all(blob: impl Read + Send + 'static, limits: Limits, threading: Threading) {
    let options = Options {
        limits,
        threading,
        ..Options::default()
    };
    let mut layer = LayerReader::new(blob, Expected::nothing(), options).unwrap();
    while let Ok(Some(_)) = layer.next_entry() {
        while let Ok(Some(_)) = layer.next_data() {}
    }
    layer.finish().ok();
}

/// A tar of so many files of a mebibyte each, made as it is read.
struct Endless {
    left: usize,
    block: Vec<u8>,
    at: usize,
}

impl Endless {
    fn new(files: usize) -> Self {
        let block = Tar::new().file("f", &support::noise(1 << 20, 1)).0;
        Self {
            left: files,
            at: block.len(),
            block,
        }
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() && self.left > 0 {
            self.left -= 1;
            self.at = 0;
        }
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

const BOUND: usize = 8 << 20;

#[test]
fn memory_does_not_grow_with_the_layer() {
    let _turn = TURN.lock().unwrap();
    for threading in [Threading::Pipelined, Threading::Inline] {
        let of = |files| {
            let source = Endless::new(files);
            peak(move || read_all(source, Limits::default(), threading))
        };
        let (small, large) = (of(20), of(400));
        assert!(large < BOUND, "{large}");
        assert!(
            large <= small + (1 << 20),
            "{threading:?}: {small} and {large}"
        );
    }
}

#[test]
fn memory_of_bombs() {
    let _turn = TURN.lock().unwrap();
    let zeros = Tar::new().file("zeros", &vec![0; 300 << 20]).end();
    for blob in [gzip(&zeros), zstd(&zeros)] {
        for threading in [Threading::Pipelined, Threading::Inline] {
            let blob = io::Cursor::new(blob.clone());
            let peak = peak(move || read_all(blob, Limits::default(), threading));
            assert!(peak < BOUND, "{peak}");
        }
    }
}

/// Sizes, counts and windows that are announced and not there.
#[test]
fn memory_of_lies() {
    let _turn = TURN.lock().unwrap();
    let mut limits = Limits::default();
    limits.metadata_bytes = u64::MAX;
    limits.file_bytes = u64::MAX;
    limits.sparse_segments = u64::MAX;
    limits.xattr_bytes = u64::MAX;
    limits.zstd_window_log = 31;
    let huge = b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    let lying = |header: Header| {
        Tar::new()
            .raw(header.field(124, huge), &[b'1'; 4 * BLOCK])
            .0
    };
    let sparse: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", b"9223372036854775807"),
        ("size", b"9223372036854775807"),
    ];
    let text = Tar::new()
        .pax(sparse)
        .raw(Header::new(b'0', b"s"), b"9223372036854775807\n0\n1\n")
        .0;
    let blobs = [
        lying(Header::new(b'x', b"pax")),
        lying(Header::new(b'g', b"pax")),
        lying(Header::gnu(b'L', b"long")),
        lying(Header::gnu(b'K', b"long")),
        lying(Header::new(b'0', b"file")),
        lying(Header::gnu(b'V', b"label")),
        lying(Header::gnu(b'S', b"sparse")),
        text,
        b"\x1f\x8b\x08\x04\0\0\0\0\0\0\xff\xff".to_vec(),
        b"\x50\x2a\x4d\x18\xff\xff\xff\xff".to_vec(),
    ];
    for blob in blobs {
        for threading in [Threading::Pipelined, Threading::Inline] {
            let source = io::Cursor::new(blob.clone());
            let peak = peak(move || read_all(source, limits, threading));
            assert!(peak < BOUND, "{peak}: {:?}", &blob[..40.min(blob.len())]);
        }
    }
}

/// Headers of the largest size allowed, over and over, and a map of as many segments as allowed.
#[test]
fn memory_of_large_headers() {
    let _turn = TURN.lock().unwrap();
    let value = vec![b'v'; 60_000];
    let records: Vec<_> = (0..16).map(|i| format!("SCHILY.xattr.user.{i}")).collect();
    let records: Vec<(&str, &[u8])> = records
        .iter()
        .map(|key| (key.as_str(), &value[..]))
        .collect();
    let mut tar = Tar::new();
    for _ in 0..50 {
        tar = tar.pax(&records).file("f", b"");
    }
    let peak_of = |tar: Vec<u8>| {
        let source = io::Cursor::new(tar);
        peak(move || read_all(source, Limits::default(), Threading::Pipelined))
    };
    let found = peak_of(tar.end());
    assert!(found < BOUND + (4 << 20), "{found}");
    let map: String = (0..150_000).map(|i| format!("{},512,", i * 1000)).collect();
    let map = map.trim_end_matches(',');
    let size = 150_000 * 1000;
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", &size.to_string().into_bytes()),
        ("GNU.sparse.map", map.as_bytes()),
    ];
    // Over the limit of an extended header: nothing of it is kept.
    let found = peak_of(Tar::new().pax(records).file("s", b"").end());
    assert!(found < BOUND, "{found}");
}
