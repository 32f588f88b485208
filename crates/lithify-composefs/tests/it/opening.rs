//! Opening and creating repositories.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lithify_composefs::repository::{
    CreateOptions, ErofsFormat, Metadata, MetadataError, ObjectError, OpenError, OpenOptions,
    ReadOnly, Repository, VerityMode,
};
use lithify_testkit::temp_dir;
use lithify_verity::file::{FileAlgorithm, FileHasher, FileOptions, kernel};

use crate::common::{open_with, repository};

fn open(path: &std::path::Path) -> Result<Repository, OpenError> {
    Repository::open(path, &OpenOptions::new())
}

#[test]
fn a_repository_is_created_once() {
    let tmp = temp_dir();
    let path = tmp.path().join("new");
    let created = repository(&path, FileAlgorithm::Sha512);
    assert!(!created.is_secure());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let opened = open(&path).unwrap();
    assert_eq!(opened.metadata(), &Metadata::new(FileAlgorithm::Sha512));
    // Both are open: the locks are shared.
    drop((created, opened));
    repository(&path, FileAlgorithm::Sha512);
    let create = |metadata: Metadata, verity| {
        let create = CreateOptions { metadata, verity };
        Repository::create(&path, &create, &OpenOptions::new())
    };
    let metadata = Metadata::new(FileAlgorithm::Sha256);
    let other = create(metadata, VerityMode::Off);
    assert!(
        matches!(other, Err(OpenError::Other { expected, found, .. }) if expected == "sha256" && found == "sha512")
    );
    let metadata = Metadata {
        format: ErofsFormat::V0,
        ..Metadata::new(FileAlgorithm::Sha512)
    };
    assert!(matches!(
        create(metadata, VerityMode::Off),
        Err(OpenError::Other { .. })
    ));
    let metadata = Metadata::new(FileAlgorithm::Sha512);
    assert!(matches!(
        create(metadata.clone(), VerityMode::Require),
        Err(OpenError::Other { .. })
    ));
    create(metadata, VerityMode::IfPossible).unwrap();
}

#[test]
fn directories_that_are_no_repositories_are_told_apart() {
    let tmp = temp_dir();
    let path = tmp.path();
    assert!(matches!(open(path), Err(OpenError::NotARepository { .. })));
    fs::write(path.join("mine"), "").unwrap();
    let created = Repository::create(path, &CreateOptions::default(), &OpenOptions::new());
    assert!(matches!(created, Err(OpenError::NotEmpty { .. })));
    assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    fs::create_dir(path.join("objects")).unwrap();
    assert!(matches!(open(path), Err(OpenError::Old { .. })));
    let created = Repository::create(path, &CreateOptions::default(), &OpenOptions::new());
    assert!(matches!(created, Err(OpenError::Old { .. })));
    assert!(matches!(
        open(&path.join("missing")),
        Err(OpenError::Missing { .. })
    ));
    let below = path.join("missing").join("below");
    let created = Repository::create(&below, &CreateOptions::default(), &OpenOptions::new());
    assert!(matches!(created, Err(OpenError::NoParent { .. })));
    fs::write(path.join("meta.json"), "{}").unwrap();
    let broken = open(path);
    assert!(matches!(
        broken,
        Err(OpenError::Metadata {
            source: MetadataError::Json(_),
            ..
        })
    ));
    fs::write(path.join("meta.json"), vec![b' '; 1 << 20]).unwrap();
    assert!(matches!(open(path), Err(OpenError::Io { .. })));
    fs::remove_file(path.join("meta.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path.join("meta.json")).unwrap();
    assert!(matches!(open(path), Err(OpenError::Io { .. })));
}

#[test]
fn a_repository_of_a_later_writer_is_read_alone() {
    let tmp = temp_dir();
    let written = open_with(
        tmp.path(),
        FileAlgorithm::Sha256,
        &OpenOptions::new().sync(false),
    );
    let id = written.store_object(b"x").unwrap().id;
    drop(written);
    let path = tmp.path().join("meta.json");
    let json = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        json.replace("\"v1_erofs\"", "\"v1_erofs\",\"later\""),
    )
    .unwrap();
    let mut opened = open(tmp.path()).unwrap();
    assert_eq!(opened.read_object(&id, 1).unwrap(), b"x");
    let refused = opened.store_object(b"y");
    assert!(matches!(
        refused,
        Err(ObjectError::ReadOnly(ReadOnly::Features { features })) if features == ["later"]
    ));
    let gc = opened.gc(&crate::common::Lists, &Default::default());
    gc.unwrap_err();
    assert_eq!(opened.read_object(&id, 1).unwrap(), b"x");
}

/// Where fs-verity cannot be, `Require` leaves nothing; elsewhere all objects are under it.
#[test]
fn objects_of_a_secure_repository_are_under_fs_verity() {
    let tmp = temp_dir();
    let path = tmp.path().join("new");
    let create = CreateOptions {
        metadata: Metadata::new(FileAlgorithm::Sha256),
        verity: VerityMode::Require,
    };
    match Repository::create(&path, &create, &OpenOptions::new()) {
        Err(OpenError::Verity { .. }) => assert!(!path.join("meta.json").exists()),
        created => {
            let created = created.unwrap();
            assert!(created.is_secure());
            let stored = created.store_object(b"x").unwrap();
            let file = created.open_object(&stored.id).unwrap();
            let mut hasher = FileHasher::new(&FileOptions::new(FileAlgorithm::Sha256)).unwrap();
            hasher.update(b"x");
            assert_eq!(kernel::measure(&file).unwrap(), Some(hasher.finish()));
        }
    }
}
