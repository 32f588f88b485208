//! Filesystems that were not unmounted: what is read is what is there once `e2fsck` has replayed the journal.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lithify_ext4::{Image, JournalDamage, ReadError};
use lithify_fstests::pattern;
use lithify_testkit::{Mount, run};

use crate::peers::{compare, has_peers, mke2fs, same};
use crate::shown;

/// Compares what this crate shows of an image with what is in it when it is replayed.
fn compare_with_replayed(image: &Path) {
    let opened = shown::open(image);
    assert!(opened.is_replayed());
    assert_eq!(shown::problems(&opened), [""; 0]);
    let before = shown::of(&opened);
    let replayed = image.with_extension("replayed");
    fs::copy(image, &replayed).unwrap();
    let output = run::command("e2fsck").arg("-fy").arg(&replayed).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    let said = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("orrupt"), "{said}");
    let after = compare(&replayed);
    same(&before, &after);
    assert!(!shown::open(&replayed).is_replayed());
}

/// Has the kernel end a transaction: all that was changed is in the log.
fn commit(mounted: &Mount) {
    rustix::fs::syncfs(File::open(mounted.path()).unwrap()).unwrap();
}

/// Copies an image that is mounted.
fn copy(mounted: &Mount, image: &Path) -> PathBuf {
    commit(mounted);
    let to = image.with_extension("copy");
    fs::copy(image, &to).unwrap();
    to
}

#[test]
fn disks_copied_while_they_are_mounted() {
    if !has_peers() {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let image = directory.path().join("image");
    let variants: &[(&[&str], &str)] = &[
        (&[], "loop"),
        (&["-b", "1024"], "loop"),
        (&["-O", "^metadata_csum"], "loop"),
        (&["-O", "^metadata_csum,^64bit"], "loop"),
        (&["-O", "^metadata_csum,^64bit"], "loop,journal_checksum"),
        (&["-O", "^64bit,^extent", "-b", "1024"], "loop"),
        (&["-O", "orphan_file"], "loop"),
        (&["-O", "inline_data,ea_inode"], "loop"),
        (&[], "loop,data=journal"),
        (&["-J", "size=4"], "loop,data=journal"),
    ];
    for (options, how) in variants {
        println!("{options:?} {how}");
        // Of options that are there twice the last counts.
        mke2fs(&image, "128M", &[&["-b", "4096"], *options].concat());
        let mounted = Mount::with(
            ["-t", "ext4", "-o", how]
                .map(std::ffi::OsStr::new)
                .into_iter()
                .chain([image.as_os_str()]),
        )
        .unwrap();
        let root = mounted.path();
        fs::create_dir(root.join("many")).unwrap();
        for n in 0..1500_usize {
            let path = root.join(format!("many/{n:0100}"));
            fs::write(&path, pattern(n, n % 3000)).unwrap();
            if n % 3 == 0 {
                fs::remove_file(&path).unwrap();
            }
            if n % 300 == 0 {
                commit(&mounted);
            }
        }
        // Blocks that begin like the journal's own, which it has to escape.
        let magic = [&[0xc0, 0x3b, 0x39, 0x98][..], &pattern(5, 4092)].concat();
        fs::write(root.join("magic"), magic.repeat(20)).unwrap();
        // A block that is metadata, then data: its earlier content is revoked.
        fs::create_dir(root.join("revoked")).unwrap();
        for n in 0..200 {
            fs::write(root.join(format!("revoked/{n:0200}")), "").unwrap();
        }
        commit(&mounted);
        fs::remove_dir_all(root.join("revoked")).unwrap();
        for n in 0..200 {
            fs::write(root.join(format!("after {n}")), pattern(n, 9000)).unwrap();
        }
        // Files without a name, which are orphans.
        let mut orphans = Vec::new();
        for n in 0..20 {
            let path = root.join(format!("orphan {n}"));
            let file = File::create(&path).unwrap();
            file.write_all_at(&pattern(n, 50_000), 0).unwrap();
            fs::remove_file(&path).unwrap();
            orphans.push(file);
        }
        let copied = copy(&mounted, &image);
        drop(orphans);
        drop(mounted);
        let opened = shown::open(&copied);
        assert_eq!(opened.verify().unwrap().own.orphans, 20);
        compare_with_replayed(&copied);
        fs::remove_file(&image).unwrap();
    }
}

/// Runs commands of `debugfs` that write transactions into an image's journal.
fn log(image: &Path, commands: &[String]) {
    let script = image.with_extension("commands");
    let mut file = File::create(&script).unwrap();
    for command in commands {
        writeln!(file, "{command}").unwrap();
    }
    drop(file);
    run::ok(
        run::command("debugfs")
            .args(["-w", "-f"])
            .arg(&script)
            .arg(image),
    );
}

/// An image with a file of three blocks, and where these are.
fn with_file(directory: &Path, options: &[&str]) -> (PathBuf, Vec<u64>) {
    let image = directory.join("image");
    let root = directory.join("root");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("file"), pattern(1, 3 * 4096)).unwrap();
    let all = ["-b", "4096", "-d", root.to_str().unwrap()];
    mke2fs(&image, "32M", &[&all, options].concat());
    let said = run::text(
        run::command("debugfs")
            .args(["-R", "blocks /file"])
            .arg(&image),
    );
    let blocks = said.split_whitespace().filter_map(|word| word.parse().ok());
    (image, blocks.collect())
}

fn data(image: &Image<File>) -> Vec<u8> {
    let file = image.lookup(b"file").unwrap().unwrap();
    image.read_to_vec(&file, u64::MAX).unwrap()
}

#[test]
fn transactions_with_and_without_checksums_and_revoked_blocks() {
    if !has_peers() {
        return;
    }
    for options in [
        &[][..],
        &["-O", "^metadata_csum"],
        &["-O", "^metadata_csum,^64bit"],
        &["-O", "^64bit"],
    ] {
        for version in ["-c -v 2", "-c -v 3", ""] {
            println!("{options:?} {version}");
            let directory = lithify_testkit::temp_dir();
            let (image, blocks) = with_file(directory.path(), options);
            let content = |name: &str, byte: u8| {
                let path = directory.path().join(name);
                fs::write(&path, [[byte; 4096], [byte + 1; 4096]].concat()).unwrap();
                path.display().to_string()
            };
            let right = pattern(1, 4096);
            let (first, second) = (content("first", 0x10), content("second", 0x20));
            let escaped = directory.path().join("escaped");
            let magic = [&[0xc0, 0x3b, 0x39, 0x98][..], &pattern(5, 4092)].concat();
            fs::write(&escaped, &magic).unwrap();
            let [a, b, c] = blocks[..] else {
                panic!("{blocks:?}");
            };
            // With checksums of whole transactions this `debugfs` writes wrong ones where there is nothing but what is revoked.
            let is_old =
                options.contains(&"^metadata_csum") || options.contains(&"^metadata_csum,^64bit");
            let revokes = !(is_old && version.starts_with("-c"));
            let revoke = if revokes {
                format!("jw -r {a}")
            } else {
                String::new()
            };
            log(
                &image,
                &[
                    format!("jo {version}"),
                    format!("jw -b {a},{b} {first}"),
                    revoke,
                    format!("jw -b {b},{c} {second}"),
                    format!("jw -b {c} {}", escaped.display()),
                    "jc".into(),
                ],
            );
            let opened = shown::open(&image);
            assert!(opened.is_replayed());
            let expected = [
                if revokes {
                    &right[..4096]
                } else {
                    &[0x10; 4096]
                },
                &[0x20; 4096],
                magic.as_slice(),
            ]
            .concat();
            assert!(data(&opened) == expected, "{options:?} {version}");
            compare_with_replayed(&image);
        }
    }
}

fn reason(image: &Path) -> JournalDamage {
    match Image::open(File::open(image).unwrap()) {
        Err(ReadError::Journal { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Changes a byte of a block of the journal.
fn damage(image: &Path, block: u32, at: u64) {
    let command = format!("bmap <8> {block}");
    let said = run::text(run::command("debugfs").args(["-R", &command]).arg(image));
    let block: u64 = said.split_whitespace().last().unwrap().parse().unwrap();
    let file = File::options().read(true).write(true).open(image).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, block * 4096 + at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], block * 4096 + at)
        .unwrap();
}

/// A transaction of which something was lost is not taken for one that was never there.
#[test]
fn damaged_journals_are_not_replayed() {
    if !has_peers() {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let (image, blocks) = with_file(directory.path(), &[]);
    let first = directory.path().join("first");
    fs::write(&first, [7; 8192]).unwrap();
    log(
        &image,
        &[
            "jo -c -v 3".into(),
            format!("jw -b {},{} {}", blocks[0], blocks[1], first.display()),
            "jc".into(),
        ],
    );
    let right = fs::read(&image).unwrap();
    assert_eq!(data(&shown::open(&image))[..8192], [7; 8192]);
    // The journal's superblock, then the list, two blocks and the commit.
    for (block, at, what) in [
        (0, 900, "the superblock"),
        (1, 30, "a list"),
        (2, 4000, "a logged block"),
        (4, 60, "a commit"),
    ] {
        fs::write(&image, &right).unwrap();
        damage(&image, block, at);
        let found = reason(&image);
        assert!(
            matches!(found, JournalDamage::Checksum { what: w, .. } if w == what),
            "{what}: {found}"
        );
        let said = ReadError::Journal { reason: found }.to_string();
        assert!(said.contains("e2fsck -f"), "{said}");
    }
    // A commit that never came.
    fs::write(&image, &right).unwrap();
    damage(&image, 4, 0);
    assert_eq!(data(&shown::open(&image)), pattern(1, 3 * 4096));
}

#[test]
fn journals_elsewhere_and_fast_commits_are_refused() {
    if !has_peers() {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let image = directory.path().join("image");
    let device = directory.path().join("device");
    mke2fs(&device, "16M", &["-O", "journal_dev", "-b", "4096"]);
    mke2fs(&image, "32M", &["-b", "4096", "-O", "^has_journal"]);
    let set = |field: &str| {
        let command = format!("set_super_value {field}");
        run::ok(
            run::command("debugfs")
                .args(["-w", "-R", &command])
                .arg(&image),
        );
    };
    set("feature_incompat 0x2c6");
    assert!(matches!(reason(&image), JournalDamage::Missing));
    set("journal_dev 0x801");
    assert!(matches!(reason(&image), JournalDamage::External));

    // A log that was emptied by a full commit, with a fast commit behind it.
    fs::remove_file(&image).unwrap();
    mke2fs(&image, "64M", &["-b", "4096", "-O", "fast_commit"]);
    let mounted = Mount::writable("ext4", &image);
    fs::write(mounted.path().join("before"), "x").unwrap();
    commit(&mounted);
    let mut file = File::create(mounted.path().join("file")).unwrap();
    file.write_all(b"fast").unwrap();
    file.sync_all().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&pattern(3, 20_000)).unwrap();
    file.sync_all().unwrap();
    let copied = image.with_extension("copy");
    fs::copy(&image, &copied).unwrap();
    drop(mounted);
    let found = reason(&copied);
    assert!(matches!(found, JournalDamage::FastCommits), "{found}");
    let output = run::command("e2fsck").arg("-fy").arg(&copied).output();
    assert!(matches!(output.unwrap().status.code(), Some(0 | 1)));
    compare(&copied);
}
