//! Objects: stored whole, found good or replaced, never linked to somebody's file.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use lithify_cancel::CancelToken;
use lithify_composefs::repository::{ObjectError, OpenOptions, Outcome, Repository};
use lithify_testkit::{Mount, temp_dir};
use lithify_verity::file::{FileAlgorithm, FileDigest};

use crate::common::{ALGORITHM, bytes, digest_of, open_with, repository};

fn path_of(repository: &Path, id: &FileDigest) -> PathBuf {
    let hex = id.hex();
    repository.join("objects").join(&hex[..2]).join(&hex[2..])
}

fn store(repository: &Repository, content: &[u8]) -> (FileDigest, Outcome) {
    let stored = repository.store_object(content).unwrap();
    assert_eq!(stored.size, content.len() as u64);
    assert_eq!(stored.id, digest_of(repository.algorithm(), content));
    (stored.id, stored.outcome)
}

#[test]
fn objects_of_all_sizes_are_stored_once() {
    for algorithm in FileAlgorithm::ALL {
        let tmp = temp_dir();
        let repository = repository(tmp.path(), algorithm);
        for length in [0, 1, 65, 4096, 4097, 131_072, 131_073, 600_000] {
            let content = bytes(length as u64, length);
            let (id, outcome) = store(&repository, &content);
            assert_eq!(outcome, Outcome::New);
            let path = path_of(tmp.path(), &id);
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o644
            );
            assert_eq!(store(&repository, &content).1, Outcome::Existing);
            repository.check_object(&id).unwrap();
            assert_eq!(repository.object_size(&id).unwrap(), Some(length as u64));
        }
        // Nothing else is left: no temporary files.
        let top: Vec<_> = fs::read_dir(tmp.path().join("objects")).unwrap().collect();
        assert!(
            top.iter()
                .all(|d| d.as_ref().unwrap().file_name().len() == 2)
        );
    }
}

/// A defect of `cfsctl` 0.9.4: an object with the right size is taken for good, whatever is in it.
#[test]
fn damaged_objects_are_replaced_when_they_are_stored_again() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    for length in [100, 200_000] {
        let content = bytes(1, length);
        let (id, _) = store(&repository, &content);
        let path = path_of(tmp.path(), &id);
        let mut damaged = content.clone();
        damaged[length / 2] ^= 1;
        for other in [damaged, vec![], [&content[..], b"x"].concat()] {
            fs::write(&path, other).unwrap();
            assert!(matches!(
                repository.check_object(&id),
                Err(ObjectError::Damaged { .. })
            ));
            assert_eq!(store(&repository, &content), (id, Outcome::Replaced));
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        // A link in its place is not followed.
        fs::remove_file(&path).unwrap();
        let outside = tmp.path().join("outside");
        fs::write(&outside, &content).unwrap();
        symlink(&outside, &path).unwrap();
        repository.open_object(&id).unwrap_err();
        assert_eq!(store(&repository, &content), (id, Outcome::Replaced));
        assert!(!path.is_symlink());
        fs::remove_file(outside).unwrap();
    }
}

#[test]
fn trusted_objects_are_compared_by_size_alone() {
    let tmp = temp_dir();
    let content = bytes(1, 100);
    let (id, _) = store(&repository(tmp.path(), ALGORITHM), &content);
    let path = path_of(tmp.path(), &id);
    fs::write(&path, bytes(2, 100)).unwrap();
    let trusting = open_with(
        tmp.path(),
        ALGORITHM,
        &OpenOptions::new().sync(false).trust(true),
    );
    assert_eq!(store(&trusting, &content), (id, Outcome::Existing));
    fs::write(&path, bytes(2, 99)).unwrap();
    assert_eq!(store(&trusting, &content), (id, Outcome::Replaced));
}

#[test]
fn holes_stay_holes() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    let mut writer = repository.write_object().unwrap();
    let mut content = Vec::new();
    writer.write(b"begin").unwrap();
    content.extend_from_slice(b"begin");
    for length in [10, 4096, 1 << 20] {
        writer.hole(length).unwrap();
        content.resize(content.len() + length as usize, 0);
        writer.write(b"data").unwrap();
        content.extend_from_slice(b"data");
    }
    writer.hole(3 << 20).unwrap();
    content.resize(content.len() + (3 << 20), 0);
    let stored = writer.finish().unwrap();
    assert_eq!(stored.id, digest_of(ALGORITHM, &content));
    let path = path_of(tmp.path(), &stored.id);
    assert_eq!(fs::read(&path).unwrap(), content);
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20);
}

/// A tar of few kilobytes says a file of a terabyte.
#[test]
fn holes_of_what_is_there_are_not_read() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    let write = || {
        let mut writer = repository.write_object().unwrap();
        writer.hole(1 << 40).unwrap();
        writer.write(b"data").unwrap();
        writer.hole(1 << 40).unwrap();
        writer.finish().unwrap()
    };
    let stored = write();
    assert_eq!(stored.outcome, Outcome::New);
    assert_eq!(write().outcome, Outcome::Existing);
    repository.check_object(&stored.id).unwrap();
    // What is written there later is read.
    let path = path_of(tmp.path(), &stored.id);
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(3 << 30)).unwrap();
    file.write_all(b"x").unwrap();
    drop(file);
    assert!(matches!(
        repository.check_object(&stored.id),
        Err(ObjectError::Damaged { .. })
    ));
    assert_eq!(write().outcome, Outcome::Replaced);
    repository.check_object(&stored.id).unwrap();
}

#[test]
fn a_directory_in_the_place_of_an_object_is_named() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    for length in [100, 200_000] {
        let content = bytes(1, length);
        let id = digest_of(ALGORITHM, &content);
        let path = path_of(tmp.path(), &id);
        fs::create_dir_all(&path).unwrap();
        let error = repository.store_object(&content).unwrap_err();
        assert!(
            matches!(&error, ObjectError::Directory { id: found } if **found == id),
            "{error}"
        );
        fs::remove_dir(&path).unwrap();
        assert_eq!(store(&repository, &content), (id, Outcome::New));
    }
}

/// An object that is a hard link of the source would change with it.
#[test]
fn imported_files_are_never_linked() {
    let tmp = temp_dir();
    let (inside, source) = (tmp.path().join("repository"), tmp.path().join("source"));
    let repository = repository(&inside, ALGORITHM);
    let mut content = bytes(1, 300_000);
    content.resize(5 << 20, 0);
    content.extend_from_slice(b"end");
    let mut file = fs::File::create_new(&source).unwrap();
    file.write_all(&content[..300_000]).unwrap();
    file.seek(SeekFrom::Start(5 << 20)).unwrap();
    file.write_all(b"end").unwrap();
    let file = fs::File::open(&source).unwrap();
    let imported = repository.import_file(&file).unwrap();
    let id = digest_of(ALGORITHM, &content);
    assert_eq!(
        (imported.object.id, imported.object.outcome),
        (id, Outcome::New)
    );
    let path = path_of(&inside, &id);
    assert_eq!(fs::read(&path).unwrap(), content);
    let (a, b) = (fs::metadata(&source).unwrap(), fs::metadata(&path).unwrap());
    assert!(a.ino() != b.ino() && b.nlink() == 1);
    assert!(
        imported.is_shared || b.blocks() * 512 < 4 << 20,
        "holes are kept"
    );
    fs::write(&source, "other").unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    let again = repository
        .import_file(&fs::File::open(&path).unwrap())
        .unwrap();
    assert_eq!(again.object.outcome, Outcome::Existing);
    let empty = tmp.path().join("empty");
    fs::write(&empty, "").unwrap();
    let empty = repository
        .import_file(&fs::File::open(empty).unwrap())
        .unwrap();
    assert_eq!(empty.object.id, digest_of(ALGORITHM, b""));
}

#[test]
fn nothing_is_left_of_an_object_that_was_not_finished() {
    let tmp = temp_dir();
    let cancel = CancelToken::new();
    let options = OpenOptions::new().sync(false).cancel(&cancel);
    let repository = open_with(tmp.path(), ALGORITHM, &options);
    let mut writer = repository.write_object().unwrap();
    writer.write(&bytes(1, 300_000)).unwrap();
    cancel.cancel();
    assert!(matches!(writer.write(b"x"), Err(ObjectError::Cancelled(_))));
    drop(writer);
    assert_eq!(fs::read_dir(tmp.path().join("objects")).unwrap().count(), 0);
}

#[test]
fn threads_store_the_same_objects_at_once() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    let new: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let stored = (0..50).map(|n| store(&repository, &bytes(n, 5000)).1);
                    stored.filter(|outcome| *outcome == Outcome::New).count()
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    assert_eq!(new, 50);
}

#[test]
fn objects_of_another_algorithm_are_refused() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    let other = digest_of(FileAlgorithm::Sha512, b"");
    assert!(matches!(
        repository.open_object(&other),
        Err(ObjectError::Algorithm { .. })
    ));
    let missing = digest_of(ALGORITHM, b"missing");
    assert!(matches!(
        repository.open_object(&missing),
        Err(ObjectError::Missing { .. })
    ));
    let (id, _) = store(&repository, b"four");
    assert_eq!(repository.read_object(&id, 4).unwrap(), b"four");
    assert!(matches!(
        repository.read_object(&id, 3),
        Err(ObjectError::TooLong {
            found: 4,
            limit: 3,
            ..
        })
    ));
}

/// Where the filesystem can, an object has its blocks together with the file it was made of.
#[test]
fn imported_files_are_clones_where_that_can_be() {
    let tmp = temp_dir();
    let Some(mounted) = Mount::reflinking(tmp.path()) else {
        return;
    };
    let repository = repository(&mounted.path().join("repository"), ALGORITHM);
    for (length, outcome) in [
        (5, Outcome::New),
        (8 << 20, Outcome::New),
        (5, Outcome::Existing),
    ] {
        let source = mounted.path().join("source");
        let content = bytes(length as u64, length);
        fs::write(&source, &content).unwrap();
        let imported = repository
            .import_file(&fs::File::open(&source).unwrap())
            .unwrap();
        assert_eq!(imported.object.outcome, outcome);
        assert_eq!(imported.is_shared, outcome == Outcome::New);
        assert_eq!(imported.object.id, digest_of(ALGORITHM, &content));
        fs::write(&source, "other").unwrap();
        repository.check_object(&imported.object.id).unwrap();
    }
    // From another filesystem it is a copy, and then one is made at once.
    for n in [1, 2] {
        let outside = tmp.path().join("outside");
        fs::write(&outside, bytes(n, 1000)).unwrap();
        let imported = repository
            .import_file(&fs::File::open(&outside).unwrap())
            .unwrap();
        assert_eq!(
            (imported.object.outcome, imported.is_shared),
            (Outcome::New, false)
        );
    }
}
