//! Repositories under fs-verity, in a guest: the host's kernel may not have it.

use std::fs;
use std::path::{Path, PathBuf};

use lithify_composefs::oci::{Image, promised_digest, untag};
use lithify_composefs::repository::{
    Category, CreateOptions, Depth, Fault, FsckOptions, GcOptions, Metadata, ObjectError,
    OpenOptions, Outcome, Repository, VerityMode,
};
use lithify_testkit::{program, require, run, temp_dir, vm};
use lithify_verity::file::{FileDigest, kernel};

use crate::common::{ALGORITHM, Lists, Piece, bytes, digest_of, write_image};

/// For the guest: a directory of a filesystem that has fs-verity.
const DIRECTORY: &str = "LITHIFY_TEST_VERITY";

#[test]
fn objects_are_under_fs_verity() {
    if !require::vm() || !require::tool("mkfs.ext4") {
        return;
    }
    let tmp = temp_dir();
    let disk = tmp.path().join("disk");
    run::ok(
        run::command("mkfs.ext4")
            .args(["-q", "-b", "4096", "-O", "verity"])
            .arg(&disk)
            .arg("64M"),
    );
    let this = std::env::current_exe().unwrap();
    let arguments = program::arguments("secure::guest").join(" ");
    let script = format!(
        "mkdir /disk && mount /dev/vda /disk && {DIRECTORY}=/disk {} {arguments}",
        this.display()
    );
    let output = vm::BootSpec::new(&script)
        .writable_disk(&disk)
        .module("ext4")
        .program(this.to_str().unwrap())
        .boot();
    assert_eq!(output.status, Some(0), "{output}");
    assert!(output.has_line("fs-verity was there"), "{output}");
    run::ok(run::command("e2fsck").args(["-f", "-n"]).arg(&disk));
}

fn path_of(repository: &Path, id: &FileDigest) -> PathBuf {
    let hex = id.hex();
    repository.join("objects").join(&hex[..2]).join(&hex[2..])
}

/// Not a test by itself: what the guest does.
#[test]
fn guest() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let path = directory.join("repository");
    let create = CreateOptions {
        metadata: Metadata::new(ALGORITHM),
        verity: VerityMode::Require,
    };
    let created = Repository::create(&path, &create, &OpenOptions::new()).unwrap();
    assert!(created.is_secure());
    let layer = vec![
        Piece::Raw(bytes(1, 512)),
        Piece::File(bytes(1, 65)),
        Piece::File(bytes(2, 4097)),
        // Longer than what waits in memory, and with two levels of digests.
        Piece::File(bytes(3, 700_000)),
    ];
    write_image(&created, std::slice::from_ref(&layer), "a");
    let source = directory.join("source");
    fs::write(&source, bytes(4, 300_000)).unwrap();
    let imported = created
        .import_file(&fs::File::open(&source).unwrap())
        .unwrap();
    assert_eq!(imported.object.id, digest_of(ALGORITHM, &bytes(4, 300_000)));
    let mut count = 0;
    created
        .for_each_object(|object| -> Result<(), ObjectError> {
            let file = created.open_object(&object.id)?;
            assert_eq!(kernel::measure(&file).unwrap(), Some(object.id));
            // The kernel lets nobody write to it.
            let opened = fs::OpenOptions::new()
                .write(true)
                .open(path_of(&path, &object.id));
            assert!(opened.is_err());
            count += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(count, 3 + 1 + 1 + 2 + 2 + 1); // files, image, layer, documents and their streams, import
    drop(created);

    let mut opened = Repository::open(&path, &OpenOptions::new()).unwrap();
    assert!(opened.is_secure());
    let checks = FsckOptions {
        depth: Depth::Contents,
        threads: None,
        promised: Some(promised_digest),
    };
    assert!(opened.fsck(&Lists, &checks).unwrap().is_good());
    let again = opened.store_object(&bytes(3, 700_000)).unwrap();
    assert_eq!(again.outcome, Outcome::Existing);

    // The right bytes, but nobody watches them.
    let id = digest_of(ALGORITHM, &bytes(2, 4097));
    fs::remove_file(path_of(&path, &id)).unwrap();
    fs::write(path_of(&path, &id), bytes(2, 4097)).unwrap();
    assert!(matches!(
        opened.open_object(&id),
        Err(ObjectError::NotUnderVerity { .. })
    ));
    let report = opened.fsck(&Lists, &FsckOptions::default()).unwrap();
    let [finding] = &report.findings[..] else {
        panic!("{report:?}")
    };
    assert!(matches!(finding.fault, Fault::NotUnderVerity));
    assert_eq!(
        opened.store_object(&bytes(2, 4097)).unwrap().outcome,
        Outcome::Replaced
    );
    opened.open_object(&id).unwrap();

    // Another object's bytes, watched.
    fs::remove_file(path_of(&path, &id)).unwrap();
    let other = digest_of(ALGORITHM, &bytes(1, 65));
    fs::hard_link(path_of(&path, &other), path_of(&path, &id)).unwrap();
    assert!(matches!(
        opened.open_object(&id),
        Err(ObjectError::Damaged { .. })
    ));
    let report = opened
        .repair(&Lists, &FsckOptions::default(), false)
        .unwrap();
    assert!(report.is_good() && report.findings.len() == 1, "{report:?}");
    write_image(&opened, &[layer], "a");
    assert!(opened.fsck(&Lists, &checks).unwrap().is_good());
    assert!(
        Image::open_tag(&opened, "a")
            .unwrap()
            .is_intact(&opened)
            .unwrap()
    );
    untag(&opened, "a").unwrap();
    assert_eq!(opened.gc(&Lists, &GcOptions::default()).unwrap().kept, 0);
    assert!(opened.entries(Category::Streams).unwrap().is_empty());

    // Without fs-verity on the same filesystem, if that is wanted.
    let create = CreateOptions {
        verity: VerityMode::Off,
        ..create
    };
    let plain = Repository::create(directory.join("plain"), &create, &OpenOptions::new()).unwrap();
    let stored = plain.store_object(b"x").unwrap();
    let file = plain.open_object(&stored.id).unwrap();
    assert_eq!(kernel::measure(&file).unwrap(), None);
    println!("\nfs-verity was there");
}
