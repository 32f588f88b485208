//! Work that is stopped: it ends where it is, says so, and leaves nothing.

use std::fs::{self, File};
use std::path::Path;

use crate::common::*;
use lithify_cancel::CancelToken;
use lithify_hostfs::{
    CopyError, DirTarget, MaterialiseError, MaterialiseOptions, Ownership, ScanError, ScanOptions,
    Scanner, UpperError, UpperOptions, UpperScanner,
};
use lithify_tree::{ContentId, ContentSink, DataSegment, EntryKind, LayerEntries, Merge, Tree};

/// More than can be read while anybody waits.
const ENDLESS: u64 = 1 << 40;

fn scan_options(cancel: &CancelToken) -> ScanOptions {
    let mut options = ScanOptions::default();
    options.cancel = cancel.clone();
    options
}

fn options(cancel: &CancelToken) -> MaterialiseOptions {
    let mut options = MaterialiseOptions::default();
    options.cancel = cancel.clone();
    options
}

/// Stops the work when the first data comes, and counts what comes.
struct Stops(CancelToken, usize);

impl ContentSink for Stops {
    type Error = std::convert::Infallible;

    fn begin(&mut self, _: u64, _: Option<&[DataSegment]>) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write(&mut self, _: &[u8]) -> Result<(), Self::Error> {
        self.0.cancel();
        self.1 += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        Ok(ContentId(0))
    }
}

fn a_directory() -> tempfile::TempDir {
    let work = tempfile::tempdir().unwrap();
    fs::create_dir(work.path().join("source")).unwrap();
    fs::write(work.path().join("source/large"), vec![7; 5 << 20]).unwrap();
    work
}

#[test]
fn a_scan_ends_in_the_middle_of_a_file() {
    let work = a_directory();
    let token = CancelToken::new();
    let mut scanner = Scanner::open(work.path().join("source"), scan_options(&token)).unwrap();
    scanner.next_entry().unwrap();
    scanner.next_entry().unwrap();
    let mut sink = Stops(token, 0);
    let error = scanner.copy_into(&mut sink).unwrap_err();
    assert!(
        matches!(error, CopyError::Scan(ScanError::Cancelled(_))),
        "{error}"
    );
    assert_eq!(sink.1, 1);
    let error = scanner.next_entry().unwrap_err();
    assert!(matches!(error, ScanError::Cancelled(_)), "{error}");
}

#[test]
fn an_upper_directory_is_read_no_further() {
    let work = a_directory();
    let token = CancelToken::new();
    let mut options = UpperOptions::default();
    options.cancel = token.clone();
    let mut scanner = UpperScanner::open(work.path().join("source"), options).unwrap();
    scanner.next_entry().unwrap();
    token.cancel();
    let error = scanner.next_entry().unwrap_err();
    assert!(
        matches!(error, UpperError::Scan(ScanError::Cancelled(_))),
        "{error}"
    );
}

/// A file beside a directory may have a gigabyte.
#[test]
fn what_lies_beside_a_directory_is_read_no_further() {
    let work = a_directory();
    let beside = work.path().join("source.lithify-metadata.jsonl");
    let header = "{\"format\":\"lithify-metadata\",\"version\":2}\n";
    fs::write(&beside, header).unwrap();
    let token = CancelToken::new();
    token.cancel();
    let opened = Scanner::open(work.path().join("source"), scan_options(&token));
    let error = opened.unwrap_err();
    assert!(matches!(error, ScanError::Cancelled(_)), "{error}");
}

/// A tree with one file, whose data is one hole.
fn one_file(target: &DirTarget, mode: u16, size: u64) -> Tree {
    let mut sink = target.sink();
    let segments = Some(Vec::new());
    sink.begin(size, segments.as_deref()).unwrap();
    let content = sink.finish().unwrap();
    let mut layer = LayerEntries::new();
    // Somebody else's: root can give it to them, others write down whose it is.
    let mut metadata = meta(mode);
    metadata.uid = rustix::process::geteuid().as_raw() + 1;
    let (entry, _) = item("file", metadata, EntryKind::File { size, segments });
    layer.push(&entry, Some(content)).unwrap();
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    merge.finish()
}

/// Only the target's own work directory is there while it is made.
fn assert_nothing_left(work: &Path) {
    assert_eq!(names(work), Vec::<String>::new());
}

#[test]
fn names_are_not_made_any_more_and_what_was_made_goes() {
    for sync in [false, true] {
        let work = tempfile::tempdir().unwrap();
        let token = CancelToken::new();
        let mut options = options(&token);
        options.sync = sync;
        let target = DirTarget::create(work.path().join("out"), options).unwrap();
        let tree = one_file(&target, 0o644, 10);
        assert_eq!(names(work.path()).len(), 1);
        token.cancel();
        let error = target.finish(&tree).unwrap_err();
        assert!(matches!(error, MaterialiseError::Cancelled(_)), "{error}");
        assert_nothing_left(work.path());
    }
}

/// What a file with somebody's rights holds is written down.
#[test]
fn the_digest_of_a_file_just_made_is_not_computed_to_the_end() {
    let work = tempfile::tempdir().unwrap();
    let token = CancelToken::new();
    let mut options = options(&token);
    options.ownership = Ownership::Record;
    let target = DirTarget::create(work.path().join("out"), options).unwrap();
    let tree = one_file(&target, 0o4755, ENDLESS);
    let error = std::thread::scope(|scope| {
        let making = scope.spawn(|| target.finish(&tree));
        token.cancel();
        making.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, MaterialiseError::Cancelled(_)), "{error}");
    assert_nothing_left(work.path());
}

#[test]
fn the_digest_of_a_recorded_file_is_not_computed_to_the_end() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = File::create(source.join("file")).unwrap();
    file.set_len(ENDLESS).unwrap();
    let mtime = std::os::unix::fs::MetadataExt::mtime(&file.metadata().unwrap());
    let nanoseconds = std::os::unix::fs::MetadataExt::mtime_nsec(&file.metadata().unwrap());
    let beside = format!(
        "{{\"format\":\"lithify-metadata\",\"version\":2}}\n{{\"path\":\"file\",\"mode\":\"4755\",\"is\":\"file\",\"size\":{ENDLESS},\
         \"at\":[{mtime},{nanoseconds}],\"sha256\":\"{}\"}}\n",
        "0".repeat(64)
    );
    fs::write(work.path().join("source.lithify-metadata.jsonl"), beside).unwrap();
    let token = CancelToken::new();
    let mut scanner = Scanner::open(&source, scan_options(&token)).unwrap();
    scanner.next_entry().unwrap();
    let error = std::thread::scope(|scope| {
        let scanning = scope.spawn(|| scanner.next_entry().map(drop));
        token.cancel();
        scanning.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, ScanError::Cancelled(_)), "{error}");
}
