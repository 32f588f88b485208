//! Deltas of random trees: each makes the tar that it was created from, whatever it took to create it.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::Mutex;

use lithify_cancel::CancelToken;
use lithify_delta::apply::Files;
use lithify_delta::create::{
    CreateError, CreateOptions, LayerDelta, OldFile, OldFiles, OldImage, Report,
};
use lithify_delta::diff::{Effort, covers};
use lithify_testkit::{Tar, TarEntry};
use lithify_tree::TreePath;
use proptest::prelude::*;

use crate::common::{apply, assert_tidy, path};
use crate::random::{Contents as _, Random};

/// Old files in memory.
#[derive(Clone)]
pub(crate) struct Old(pub(crate) Vec<(TreePath, Vec<u8>)>);

impl OldFiles for Old {
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        let part = self.0[file].1.get(from..from + buffer.len());
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Old {
    pub(crate) fn list(&self) -> Vec<OldFile> {
        let file = |(path, data): &(TreePath, Vec<u8>)| OldFile {
            path: path.clone(),
            size: data.len() as u64,
        };
        self.0.iter().map(file).collect()
    }

    pub(crate) fn files(&self) -> Files {
        self.0.iter().cloned().collect()
    }

    pub(crate) fn create(
        &self,
        tar: &mut dyn Read,
        options: &CreateOptions,
    ) -> Result<(Vec<u8>, Report), CreateError> {
        let old = OldImage::read(self.list(), self.clone(), options)?;
        create(tar, &old, Vec::new(), options)
    }
}

/// Creates a delta of what a reader gives, in the pieces it gives.
pub(crate) fn create<W: io::Write>(
    tar: &mut dyn Read,
    old: &OldImage,
    out: W,
    options: &CreateOptions,
) -> Result<(W, Report), CreateError> {
    let mut delta = LayerDelta::new(old, out, options)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match tar.read(&mut buffer).unwrap() {
            0 => return delta.finish(),
            length => delta.push(&buffer[..length])?,
        }
    }
}

pub(crate) fn options(effort: Effort, threads: usize) -> CreateOptions {
    CreateOptions {
        effort,
        threads: NonZeroUsize::new(threads).unwrap(),
        ..CreateOptions::default()
    }
}

/// An old image and the tar of a new layer, which has about everything that layers have.
pub(crate) fn trees(seed: u64) -> (Old, Vec<u8>) {
    let mut random = Random::new(seed);
    let mut old = Vec::new();
    for number in 0..random.below(12) {
        let length = match random.below(4) {
            0 => random.index(30),
            1 => random.index(100_000),
            _ => random.index(5000),
        };
        let name = match random.below(3) {
            0 => format!("usr/lib/libx{number}.so.1.{}", random.below(20)),
            1 => format!("etc/conf.d/{number}"),
            _ => format!("opt/v{}/tool{number}", random.below(3)),
        };
        old.push((path(&name), random.content(length)));
    }
    let mut tar = Tar::new();
    tar.add(TarEntry::directory("usr").mode(0o700).owner(5, 6));
    let mut names: Vec<String> = Vec::new();
    for (path, data) in &old {
        let path = String::from_utf8(path.as_bytes().to_vec()).unwrap();
        let (name, new) = match random.below(8) {
            0 => continue,
            1 | 2 => (path, data.clone()),
            3 => (format!("renamed/{}", path.len()), data.clone()),
            4 => (path.replace(".so.1.", ".so.2."), random.edited(data)),
            5 => {
                let length = random.index(4000);
                (path, random.content(length))
            }
            _ => (path, random.edited(data)),
        };
        let mut entry = TarEntry::file(&name, new).mtime(1_700_000_000, 5);
        if random.chance(20) {
            let value = random.bytes(40);
            entry = entry.xattr("user.note", value).owner(70_000, 3_000_000_000);
        }
        tar.add(entry);
        names.push(name);
        others(&mut random, &mut tar, &names);
    }
    for number in 0..random.below(4) {
        let length = random.index(20_000);
        let data = random.content(length);
        tar.add(TarEntry::file(format!("new/{number}"), data));
    }
    let tar = match random.below(4) {
        0 => tar.unfinished(),
        1 => [tar.finish(), vec![0; 10_240]].concat(),
        _ => tar.finish(),
    };
    (Old(old), tar)
}

/// Adds some of what is no plain file.
fn others(random: &mut Random, tar: &mut Tar, names: &[String]) {
    let name = format!("other/{}", names.len());
    let last = names.last().unwrap();
    match random.below(12) {
        0 => tar.add(TarEntry::hard_link(name, last)),
        1 => tar.add(TarEntry::symlink(name, "x".repeat(random.index(300) + 1))),
        2 => tar.add(TarEntry::whiteout(name)),
        3 => tar.add(TarEntry::char_device(name, 1, 3)),
        4 => tar.add(TarEntry::file(name, b"")),
        5 => tar.add(TarEntry::file(
            format!("{name}/{}", "n".repeat(200)),
            b"long",
        )),
        6 => {
            let data = random.content(1024);
            tar.add(sparse(&name, &data))
        }
        // A name that is no path of UTF-8.
        7 => tar.add(TarEntry::file(
            [name.as_bytes(), b"\xe9\xff"].concat(),
            random.text(3000),
        )),
        // The same file twice.
        8 => tar.add(TarEntry::file(last, random.text(2000))),
        _ => tar,
    };
}

/// A file with holes, of which two blocks are in the tar.
fn sparse(name: &str, data: &[u8]) -> TarEntry {
    let half = data.len() / 2;
    let size = 1 << 20;
    let map = format!("4096,{half},65536,{half},{size},0");
    TarEntry::file("GNUSparseFile.0/x", data)
        .record("GNU.sparse.size", size.to_string())
        .record("GNU.sparse.numblocks", "3")
        .record("GNU.sparse.map", map)
        .record("GNU.sparse.name", name)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_delta_makes_the_tar_it_was_created_from(seed in any::<u64>()) {
        let (old, tar) = trees(seed);
        for effort in [Effort::Fast, Effort::Default, Effort::Best] {
            // The best one takes the longest, and differs by little.
            if effort == Effort::Best && !seed.is_multiple_of(4) {
                continue;
            }
            let (delta, report) = old.create(&mut &*tar, &options(effort, 1)).unwrap();
            assert_tidy(&delta, true);
            prop_assert!(apply(&delta, old.files()).unwrap() == tar);
            prop_assert_eq!(report.tar_bytes, tar.len() as u64);
            prop_assert!(report.same_bytes + report.changed_bytes + report.new_bytes <= report.tar_bytes);
            let ops = zstd::decode_all(&delta[8..]).unwrap();
            prop_assert_eq!(report.op_bytes, ops.len() as u64);
            for threads in 2..4 {
                let again = old.create(&mut &*tar, &options(effort, threads)).unwrap();
                prop_assert!(again == (delta.clone(), report), "{threads} threads");
            }
        }
    }

    #[test]
    fn files_that_take_more_memory_than_there_is_are_worked_on_in_parts(
        seed in any::<u64>(),
        memory in prop_oneof![Just(0_u64), Just(1), Just(100), Just(4096), Just(64 << 10), Just(256 << 10)],
    ) {
        let (old, tar) = trees(seed);
        let options = |threads| CreateOptions { memory, ..options(Effort::Fast, threads) };
        let first = old.create(&mut &*tar, &options(1)).unwrap();
        assert_tidy(&first.0, true);
        prop_assert!(apply(&first.0, old.files()).unwrap() == tar);
        let again = old.create(&mut &*tar, &options(3)).unwrap();
        prop_assert!(first == again);
    }

    #[test]
    fn covers_are_in_order_and_within_the_files(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let length = random.index(60_000);
        let old = random.content(length);
        let new = match random.below(3) {
            0 => random.content(length / 2),
            _ => random.edited(&old),
        };
        for effort in [Effort::Fast, Effort::Default, Effort::Best] {
            let found = covers(&old, &new, effort, 1 << 20);
            let mut end = 0;
            for cover in &found {
                prop_assert!(cover.length > 0);
                prop_assert!(cover.new >= end);
                end = cover.new_end();
                prop_assert!(end <= new.len() && cover.old_end() <= old.len());
            }
            prop_assert_eq!(&found, &covers(&old, &new, effort, 1 << 20));
        }
    }
}

/// The report and the bytes of operations of a layer with these files.
fn report(old: &Old, new: &[(&str, &[u8])]) -> (Report, u64) {
    let mut tar = Tar::new();
    for (name, data) in new {
        tar.add(TarEntry::file(name, data));
    }
    let tar = tar.finish();
    let (delta, report) = old
        .create(&mut &*tar, &options(Effort::Default, 2))
        .unwrap();
    assert_tidy(&delta, true);
    assert!(apply(&delta, old.files()).unwrap() == tar);
    // Without headers, padding and the end.
    let headers = new
        .iter()
        .map(|(_, data)| 512 + (512 - data.len() as u64 % 512) % 512);
    let headers = headers.sum::<u64>() + 1024;
    (report, report.op_bytes.saturating_sub(headers))
}

#[test]
fn files_that_are_there_already_take_next_to_nothing() {
    let mut random = Random::new(10);
    let content = random.bytes(50_000);
    let old = Old(vec![
        (path("usr/lib/libx.so.1"), random.bytes(50_000)),
        (path("usr/bin/x"), content.clone()),
    ]);
    for name in ["usr/bin/x", "elsewhere/y"] {
        let (report, ops) = report(&old, &[(name, &content)]);
        assert_eq!((report.same, report.same_bytes), (1, 50_000));
        assert_eq!((report.changed, report.new), (0, 0));
        assert!(ops < 40, "{ops}");
    }
}

#[test]
fn files_that_changed_take_what_changed() {
    let mut random = Random::new(11);
    let first = random.bytes(60_000);
    let second = random.bytes(60_000);
    let old = Old(vec![
        (path("usr/lib/liba.so.1.2"), first.clone()),
        (path("usr/lib/libb.so.1.2"), second.clone()),
    ]);
    let mut new = second.clone();
    new.splice(30_000..30_000, *b"more");
    new[100] ^= 1;
    // By its path, by a name with another version, and by its content alone.
    for name in ["usr/lib/libb.so.1.2", "usr/lib64/libb.so.1.10", "y"] {
        let (report, ops) = report(&old, &[(name, &new)]);
        assert_eq!((report.changed, report.same, report.new), (1, 0, 0));
        assert!(ops < 80, "{name} {ops}");
    }
}

#[test]
fn files_that_have_nothing_in_common_are_new() {
    let mut random = Random::new(12);
    let old = Old(vec![(path("x"), random.bytes(20_000))]);
    let new = random.bytes(20_000);
    let (report, ops) = report(&old, &[("x", &new), ("y", b"")]);
    assert_eq!((report.new, report.new_bytes), (1, 20_000));
    assert!(ops < 20_020, "{ops}");
}

#[test]
fn an_image_without_files_is_no_source() {
    let old = Old(vec![]);
    let (report, _) = report(&old, &[("a", b"some text"), ("b", &[0; 5000])]);
    assert_eq!((report.new, report.same, report.changed), (2, 0, 0));
}

#[test]
fn an_empty_layer_has_a_delta() {
    let old = Old(vec![(path("a"), b"x".to_vec())]);
    for tar in [Tar::new().finish(), vec![0; 10_240], vec![]] {
        let (delta, report) = old.create(&mut &*tar, &options(Effort::Fast, 1)).unwrap();
        assert_eq!(apply(&delta, old.files()).unwrap(), tar);
        assert_eq!(report.tar_bytes, tar.len() as u64);
    }
}

#[test]
fn files_that_no_delta_can_name_are_no_sources() {
    let content = Random::new(13).bytes(9000);
    let names: [&[u8]; 3] = [
        b"caf\xe9",
        b"sysroot/ostree/repo/objects/00/11.file",
        b"\xff/x",
    ];
    let named = names.map(|name| (TreePath::clean(name).unwrap(), content.clone()));
    let old = Old(named.into());
    let (report, _) = report(&old, &[("x", &content)]);
    assert_eq!((report.new, report.same), (1, 0));
}

#[test]
fn contents_of_one_checksum_are_compared() {
    // CRC-32 is affine: these differ and have one size and one checksum.
    let mut random = Random::new(14);
    let first = random.bytes(4096);
    let mut second = first.clone();
    second[1000] ^= 0xff;
    let differs = |bytes: &[u8]| crc32fast::hash(bytes) ^ crc32fast::hash(&first);
    // Finds the last four bytes that make the checksum the first one's, a bit at a time.
    let base = differs(&second);
    let mut basis: Vec<(u32, u32)> = Vec::new();
    for bit in 0..32 {
        let mut flipped = second.clone();
        flipped[2000 + bit / 8] ^= 1 << (bit % 8);
        let (mut value, mut mask) = (differs(&flipped) ^ base, 1_u32 << bit);
        for (other, with) in &basis {
            if value ^ other < value {
                (value, mask) = (value ^ other, mask ^ with);
            }
        }
        if value != 0 {
            basis.push((value, mask));
            basis.sort_by_key(|(value, _)| std::cmp::Reverse(*value));
        }
    }
    let (mut left, mut bits) = (base, 0);
    for (value, mask) in &basis {
        if left ^ value < left {
            (left, bits) = (left ^ value, bits ^ mask);
        }
    }
    assert_eq!(left, 0);
    for bit in 0..32 {
        if bits >> bit & 1 == 1 {
            second[2000 + bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert_ne!(first, second);
    assert_eq!(crc32fast::hash(&first), crc32fast::hash(&second));
    let old = Old(vec![(path("a"), first)]);
    let (report, _) = report(&old, &[("b", &second)]);
    assert_eq!((report.same, report.changed), (0, 1));
}

#[test]
fn something_that_is_no_tar_has_no_delta() {
    let old = Old(vec![(path("a"), b"x".to_vec())]);
    let mut cut = Tar::new();
    cut.add(TarEntry::file("f", [7; 5000]));
    let cut = cut.finish();
    for tar in [&[1; 4096][..], &cut[..3000]] {
        let result = old.create(&mut &*tar, &options(Effort::Fast, 3));
        assert!(matches!(result, Err(CreateError::Tar(_))), "{result:?}");
    }
}

#[test]
fn storage_and_writers_that_fail_are_errors() {
    struct Broken;
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl OldFiles for Broken {
        fn read(&self, _: usize, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::Error::other("the old disk"))
        }
    }
    let (old, tar) = trees(7);
    let options = options(Effort::Fast, 2);
    let image = OldImage::read(old.list(), old.clone(), &options).unwrap();
    let result = create(&mut &*tar, &image, Broken, &options);
    assert!(matches!(result, Err(CreateError::Write(_))));
    let file = OldFile {
        path: path("a"),
        size: 5,
    };
    let result = OldImage::read(vec![file], Broken, &options);
    assert!(matches!(result, Err(CreateError::Old { .. })));
}

/// Old files that can be read once, and then no more.
struct Once(Old, Mutex<Vec<bool>>);

impl OldFiles for Once {
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if std::mem::replace(&mut self.1.lock().unwrap()[file], true) {
            return Err(io::Error::other("unplugged"));
        }
        self.0.read(file, buffer, offset)
    }
}

#[test]
fn old_files_that_are_gone_are_an_error() {
    let mut random = Random::new(15);
    let files: Vec<_> = (0..50)
        .map(|n| (path(&format!("f{n}")), random.bytes(3000)))
        .collect();
    let old = Old(files);
    let mut tar = Tar::new();
    for (path, data) in &old.0 {
        tar.add(TarEntry::file(path.as_bytes(), data));
    }
    // Less memory than the files need together: whoever waits for it goes on.
    let options = CreateOptions {
        memory: 64 << 10,
        ..options(Effort::Fast, 3)
    };
    let once = Once(old.clone(), Mutex::new(vec![false; old.0.len()]));
    let image = OldImage::read(old.list(), once, &options).unwrap();
    let result = create(&mut &*tar.finish(), &image, Vec::new(), &options);
    assert!(matches!(result, Err(CreateError::Old { .. })));
}

#[test]
fn creation_can_be_stopped() {
    let (old, tar) = trees(8);
    let cancel = CancelToken::new();
    let options = CreateOptions {
        cancel: cancel.clone(),
        ..options(Effort::Fast, 2)
    };
    let image = OldImage::read(old.list(), old.clone(), &options).unwrap();
    cancel.cancel();
    let result = create(&mut &*tar, &image, Vec::new(), &options);
    assert!(matches!(result, Err(CreateError::Cancelled(_))));
    let result = OldImage::read(old.list(), old.clone(), &options);
    assert!(matches!(result, Err(CreateError::Cancelled(_))));
}
