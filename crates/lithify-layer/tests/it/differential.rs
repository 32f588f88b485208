//! The parser against other parsers, on tars of many makers, whole and damaged.
//!
//! Where lithify reads a tar, the others read the same from it, save for the differences listed in [`agree`]. Where it
//! refuses one, that is right as long as no honest maker wrote it, which `producers.rs` and the tests here make sure of.

use std::fs;
use std::process::Command;

use crate::corpus;
use crate::support::oracles::{self, Member, members};
use crate::support::{BLOCK, decode};
use lithify_layer::{BlobError, Error, Expected, Limits, TarFault};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Oracle {
    Python,
    TarCrate,
}

/// Whether another parser's members are ours, up to what is known to differ.
fn agree(tar: &[u8], oracle: Oracle, ours: &[Member], theirs: &[Member]) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!(
            "{} and {} members:\n{ours:#?}\n{theirs:#?}",
            ours.len(),
            theirs.len()
        ));
    }
    for (ours, theirs) in ours.iter().zip(theirs) {
        let mut theirs = theirs.clone();
        match oracle {
            Oracle::Python => {
                // It takes the last of an attribute's two records, we `SCHILY`, which is all it lists.
                if ours.xattrs.len() != theirs.xattrs.len() && contains(tar, b"LIBARCHIVE.xattr") {
                    theirs.xattrs.clone_from(&ours.xattrs);
                }
                // A header of type NUL whose name ends with `/` is a directory, as GNU tar and Go read it. Behind a PAX
                // header Debian's Python 3.11.2-6+deb12u9 reads a file, earlier ones a directory.
                if ours.kind == 'd' && theirs.kind == 'f' && theirs.data.is_empty() {
                    theirs.kind = 'd';
                }
                // It does not apply global records to old GNU sparse files.
                if contains_type(tar, b'g') && contains_type(tar, b'S') {
                    (theirs.mtime, theirs.uid, theirs.gid) = (ours.mtime, ours.uid, ours.gid);
                }
                // It reads a prefix in headers of any format; in GNU's own, access and change times are there.
                let prefix = theirs.path.strip_suffix(&ours.path[..]);
                let prefixed =
                    prefix.is_some_and(|prefix| prefix.ends_with(b"/") || ours.path.is_empty());
                let not_posix = |block: &[u8]| {
                    block.len() == BLOCK && &block[257..263] != b"ustar\0" && block[345] != 0
                };
                if prefixed && tar.chunks(BLOCK).any(not_posix) {
                    theirs.path.clone_from(&ours.path);
                }
            }
            Oracle::TarCrate => {
                // It does not apply global records.
                if contains_type(tar, b'g') {
                    (theirs.mtime, theirs.uid, theirs.gid) = (ours.mtime, ours.uid, ours.gid);
                }
                // It reads a PAX attribute up to its first newline only, and lists a deleted key's empty value.
                theirs.xattrs.clone_from(&ours.xattrs);
                // It knows no directories of type `0` or NUL.
                if ours.kind == 'd' && theirs.kind == 'f' && theirs.data.is_empty() {
                    theirs.kind = 'd';
                }
                // Its times are unsigned, so those before 1970 come out huge or not at all.
                if ours.mtime < 0 {
                    theirs.mtime = ours.mtime;
                }
            }
        }
        if *ours != theirs {
            return Err(format!("{ours:#?}\n{theirs:#?}"));
        }
    }
    Ok(())
}

fn contains(tar: &[u8], needle: &[u8]) -> bool {
    tar.windows(needle.len()).any(|w| w == needle)
}

fn contains_type(tar: &[u8], typeflag: u8) -> bool {
    tar.chunks(BLOCK)
        .any(|block| block.get(156) == Some(&typeflag))
}

/// Our reading, or why there is none. Tars with whiteouts are not for other readers.
fn ours(tar: &[u8]) -> Result<Vec<Member>, Error> {
    decode(tar, Expected::nothing(), Limits::default()).map(|(entries, _)| members(&entries))
}

/// Tars of the programs installed here, of whatever version.
fn made_here() -> Vec<(String, Vec<u8>)> {
    const MAKE: &str = r#"
import os, sys
os.chdir(sys.argv[1])
open("plain", "wb").write(b"content\n" * 20)
open("empty", "wb").close()
os.link("plain", "hard")
os.symlink("plain", "symlink")
os.symlink("t" * 120, "long-target")
os.mkdir("dir")
open("dir/" + "n" * 120, "wb").write(b"x" * 513)
os.mkfifo("fifo")
with open("sparse", "wb") as f:
    f.truncate(100000)
    for at in range(7):
        f.seek(at * 12288 + 4096)
        f.write(b"d" * 4096)
for name in sorted(os.listdir(".")) + ["dir/" + "n" * 120, "."]:
    os.utime(name, ns=(0, 1700000000000000000), follow_symlinks=False)
os.utime("plain", ns=(0, 1700000000123456789))
os.utime("symlink", ns=(0, 1700000000500000000), follow_symlinks=False)
"#;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    if crate::support::run("python3", &["-c", MAKE, path], b"")
        .is_none_or(|(_, _, success)| !success)
    {
        return Vec::new();
    }
    let gnu = |options: &[&str]| {
        let arguments = [&["-c", "-f", "-", "--sort=name", "-b1"], options, &["."]].concat();
        (
            options.join(" "),
            "tar",
            arguments
                .iter()
                .map(|a| (*a).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let bsd = |format: &str| {
        let option = format!("--format={format}");
        let arguments = ["-c", "-f", "-", "-b1", &option, "."];
        (
            format!("bsdtar {format}"),
            "bsdtar",
            arguments
                .iter()
                .map(|a| (*a).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let python = |format: &str| {
        let script = "import sys, tarfile
tar = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[1]))
tar.add('.')
tar.close()";
        (
            format!("python {format}"),
            "python3",
            vec!["-c".to_owned(), script.to_owned(), format.to_owned()],
        )
    };
    let makers = [
        gnu(&["--format=v7"]),
        gnu(&["--format=ustar"]),
        gnu(&["--format=oldgnu", "-S"]),
        gnu(&["--format=gnu", "-S", "--label=label"]),
        gnu(&["--format=posix"]),
        gnu(&["--format=posix", "-S", "--sparse-version=0.0"]),
        gnu(&["--format=posix", "-S", "--sparse-version=0.1"]),
        gnu(&["--format=posix", "-S", "--sparse-version=1.0"]),
        bsd("v7"),
        bsd("ustar"),
        bsd("gnutar"),
        bsd("pax"),
        python("GNU_FORMAT"),
        python("PAX_FORMAT"),
    ];
    let mut made = Vec::new();
    for (name, program, arguments) in makers {
        match Command::new(program)
            .args(arguments)
            .current_dir(&directory)
            .output()
        {
            Ok(output) => made.push((name, output.stdout)),
            Err(_) => eprintln!("skipped: needs {program}"),
        }
    }
    made
}

#[test]
fn whole_tars_of_every_maker() {
    for (name, tar) in made_here().into_iter().chain(corpus::all()) {
        let ours = ours(&tar).unwrap_or_else(|e| panic!("{name}: {e}"));
        let sparse_in_pax = contains(&tar, b"GNU.sparse.");
        if let Some(python) = oracles::python(&tar) {
            let python = python.unwrap_or_else(|| panic!("{name}: Python fails"));
            // It knows labels only as members of an unknown type.
            let python: Vec<_> = python.into_iter().filter(|m| m.kind != '?').collect();
            agree(&tar, Oracle::Python, &ours, &python)
                .unwrap_or_else(|e| panic!("{name}, Python: {e}"));
        }
        // The crate fails at labels, whose size is blank.
        if !sparse_in_pax && !name.contains("label") {
            let theirs =
                oracles::tar_crate(&tar).unwrap_or_else(|e| panic!("{name}: the crate says {e}"));
            agree(&tar, Oracle::TarCrate, &ours, &theirs)
                .unwrap_or_else(|e| panic!("{name}, tar crate: {e}"));
        }
    }
}

/// The test archive of Python's own tests: 30 members of every format and encoding.
#[test]
fn pythons_test_archive() {
    let script = "import os, test; base = os.path.dirname(test.__file__)
for name in ['testtar.tar', 'archivetestdata/testtar.tar']:
    if os.path.exists(os.path.join(base, name)):
        print(os.path.join(base, name), end='')";
    // The first Python on `PATH` may lack its tests where the system's has them.
    let found = ["python3", "/usr/bin/python3"].iter().find_map(|python| {
        let (path, _, _) = crate::support::run(python, &["-c", script], b"")?;
        fs::read(String::from_utf8(path).ok()?).ok()
    });
    let Some(tar) = found else {
        eprintln!("skipped: needs Python's test archive");
        return;
    };
    let ours = ours(&tar).unwrap();
    let python = oracles::python(&tar).unwrap().expect("Python reads it");
    assert!(ours.len() >= 30);
    agree(&tar, Oracle::Python, &ours, &python).unwrap();
}

/// Damages a tar: bytes changed, fields swapped for odd ones, blocks moved; checksums made right again.
fn damaged(tar: &[u8], choices: &[(u16, u16, u8, u8)]) -> Vec<u8> {
    const ODD: [&[u8]; 14] = [
        b"\0",
        b" ",
        b"7",
        b"0",
        b"x",
        b"/",
        b"\x80",
        b"\xff",
        b"00000000000\0",
        b"77777777777\0",
        b"ustar\0",
        b"ustar  \0",
        b"-1",
        b"\n",
    ];
    let mut tar = tar.to_vec();
    for &(block, at, how, what) in choices {
        let blocks = tar.len() / BLOCK;
        let headers: Vec<usize> = (0..blocks)
            .filter(|b| &tar[b * BLOCK + 257..b * BLOCK + 262] == b"ustar")
            .collect();
        let pick = |list: &[usize]| {
            list.get(usize::from(block) % list.len().max(1))
                .copied()
                .unwrap_or(0)
        };
        let header = pick(&headers) * BLOCK;
        match how % 8 {
            0 => {
                let at = (usize::from(block) * BLOCK + usize::from(at)) % tar.len();
                tar[at] ^= what | 1;
            }
            1 | 2 => {
                let odd = ODD[usize::from(what) % ODD.len()];
                let starts = [
                    0, 99, 100, 108, 116, 124, 135, 136, 156, 157, 257, 263, 329, 337, 345, 386,
                    398, 482, 483, 499,
                ];
                let start = header + starts[usize::from(at) % starts.len()];
                tar[start..start + odd.len()].copy_from_slice(odd);
            }
            3 => tar[header + 156] = b"\x001234567LKSVxgDMNXAE"[usize::from(what) % 20],
            4 => {
                let size = format!("{:011o}\0", u64::from(what) * 64);
                tar[header + 124..header + 136].copy_from_slice(size.as_bytes());
            }
            5 => {
                let moved: Vec<u8> = tar.drain(header..header + BLOCK).collect();
                let to = (usize::from(at) % (blocks - 1)) * BLOCK;
                tar.splice(to..to, moved);
            }
            6 => {
                // In the data of an extended header, if that is what the block is.
                let at = header + BLOCK + usize::from(at) % 120;
                if at < tar.len() {
                    tar[at] = b"0123456789=\n .-x,\0\xff"[usize::from(what) % 19];
                }
            }
            _ => {
                let block = tar[header..header + BLOCK].to_vec();
                tar.splice(header..header, block);
            }
        }
        for block in tar.chunks_exact_mut(BLOCK) {
            if &block[257..262] == b"ustar" {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
    }
    tar
}

/// Whether the crate can read a tar: it knows no PAX sparse files, no Solaris headers, and nothing of a POSIX header whose
/// version is not `00`.
fn tar_crate_knows(tar: &[u8]) -> bool {
    let other_version =
        |block: &[u8]| block.get(257..263) == Some(b"ustar\0") && block[263..265] != *b"00";
    !contains(tar, b"GNU.sparse.")
        && !contains_type(tar, b'X')
        && !tar.chunks(BLOCK).any(other_version)
}

/// What the others accept beyond us is not compared; what we accept, they read as we do or refuse.
fn check_damaged(tar: &[u8], name: &str) -> Result<(), TestCaseError> {
    let Ok(ours) = std::panic::catch_unwind(|| ours(tar)) else {
        return Err(TestCaseError::fail(format!("{name}: panicked")));
    };
    let Ok(ours) = ours else { return Ok(()) };
    if tar_crate_knows(tar)
        && let Ok(theirs) = oracles::tar_crate(tar)
        // It takes the size of a directory for that of data, which Go, Python, libarchive and GNU tar do not.
        && !theirs.iter().any(|m| m.kind != 'f' && !m.data.is_empty())
    {
        agree(tar, Oracle::TarCrate, &ours, &theirs)
            .map_err(|e| TestCaseError::fail(format!("{name}, tar crate: {e}")))?;
    }
    Ok(())
}

#[test]
fn damaged_tars_against_the_tar_crate() {
    let corpus = corpus::all();
    let mut runner = TestRunner::new(Config {
        cases: 3000,
        failure_persistence: None,
        ..Config::default()
    });
    let choice = (any::<u16>(), any::<u16>(), any::<u8>(), any::<u8>());
    let strategy = (0..corpus.len(), prop::collection::vec(choice, 1..4));
    runner
        .run(&strategy, |(which, choices)| {
            let (name, tar) = &corpus[which];
            check_damaged(&damaged(tar, &choices), name)
        })
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn damaged_tars_against_python() {
    let mut cases = Vec::new();
    for (index, (name, tar)) in corpus::all().iter().enumerate() {
        for seed in 0..300u16 {
            let random = crate::support::noise(64, u64::from(seed) * 1000 + index as u64);
            let choice = |at: usize| {
                (
                    u16::from_le_bytes([random[at], random[at + 1]]),
                    u16::from_le_bytes([random[at + 2], random[at + 3]]),
                    random[at + 4],
                    random[at + 5],
                )
            };
            let choices: Vec<_> = (0..1 + usize::from(seed % 3))
                .map(|i| choice(40 + i * 6))
                .collect();
            let tar = damaged(tar, &choices);
            if let Ok(ours) = ours(&tar) {
                cases.push((format!("{name} {choices:?}"), tar, ours));
            }
        }
    }
    let tars: Vec<_> = cases.iter().map(|(_, tar, _)| tar.clone()).collect();
    let Some(found) = oracles::python_each(&tars) else {
        return;
    };
    for ((name, tar, ours), theirs) in cases.iter().zip(found) {
        let Some(theirs) = theirs else { continue };
        let theirs: Vec<_> = theirs.into_iter().filter(|m| m.kind != '?').collect();
        if let Err(difference) = agree(tar, Oracle::Python, ours, &theirs) {
            // Python's reading of damage changes with its patch level. The other reader's version is ours to choose: where
            // it reads as we do, that is the answer.
            let agreed = tar_crate_knows(tar)
                && oracles::tar_crate(tar)
                    .is_ok_and(|theirs| agree(tar, Oracle::TarCrate, ours, &theirs).is_ok());
            assert!(agreed, "{name}, Python: {difference}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Nothing a header can hold makes the parser panic or take memory it does not have bytes for.
    #[test]
    fn header_shaped_bytes(blocks in prop::collection::vec((prop::collection::vec(any::<u8>(), BLOCK), 0..6u8, any::<u8>()), 1..6)) {
        let mut tar = Vec::new();
        for (mut block, magic, typeflag) in blocks {
            let magics: [&[u8; 8]; 6] = [b"ustar\x0000", b"ustar  \0", b"ustar\0\0\0", &[0; 8], b"ustar\x0000", b"ustar  \0"];
            block[257..265].copy_from_slice(magics[usize::from(magic)]);
            block[156] = b"0123456\0LKSVxg57"[usize::from(typeflag) % 16];
            // Numbers that mostly are some.
            for range in [100..108, 108..116, 116..124, 124..136, 136..148, 329..337, 337..345] {
                for byte in &mut block[range] {
                    *byte = b"01234567 \0"[usize::from(*byte) % 10];
                }
            }
            if typeflag & 0x40 != 0 {
                block[124..133].fill(b'0');
            }
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            tar.extend_from_slice(&block);
        }
        match decode(&tar, Expected::nothing(), Limits::default()) {
            Ok(_) | Err(Error::Tar(_)) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn any_bytes(blob in prop::collection::vec(any::<u8>(), 0..3000), start in 0..4usize) {
        let starts: [&[u8]; 4] = [b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", &[0; BLOCK]];
        let blob = [starts[start], &blob].concat();
        // Both ways of reading agree; that is all there is to expect.
        drop(decode(&blob, Expected::nothing(), Limits::default()));
    }
}

#[test]
fn the_faults_of_damage_are_faults_of_the_tar() {
    let (_, tar) = corpus::all().pop().unwrap();
    for at in 0..tar.len() - 2 * BLOCK {
        let mut damaged = tar.clone();
        damaged[at] ^= 0x11;
        match ours(&damaged) {
            Ok(_) => assert!(
                !tar[at - at % BLOCK..].starts_with(b"last")
                    || at % BLOCK >= 500
                    || at % BLOCK == 155
                    || at % BLOCK == 154
            ),
            Err(Error::Tar(error)) => {
                assert!(!matches!(error.fault, TarFault::Limit(_)), "{error}")
            }
            Err(Error::Blob(BlobError::NotATar { .. })) => assert!(at < BLOCK),
            Err(other) => panic!("{other:?}"),
        }
    }
}
