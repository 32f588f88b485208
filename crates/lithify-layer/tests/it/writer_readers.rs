//! The tar writer beside other programs: Python, the tar crate, GNU tar and bsdtar read what it writes.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::support::oracles::{self, members};
use crate::support::written::{file, samples, write};
use crate::support::{Bytes, read};
use lithify_tree::{EntryKind, Xattrs};

/// Attributes set in the kernel, archived by one program and read by the other, in both directions.
#[test]
fn names_of_attributes_survive_gnu_tar_and_bsdtar() {
    use lithify_testkit::require;
    if !["setfattr", "getfattr", "tar", "bsdtar"]
        .iter()
        .all(|t| require::tool(t))
    {
        return;
    }
    let names: [&[u8]; 9] = [
        b"user.a=b",
        b"user.a%b",
        b"user.a%3Db",
        b"user.a%25b",
        b"user.a%3db",
        b"user.p=",
        b"user.=",
        b"user.new\nline",
        b"user.caf\xe9",
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    fs::write(&path, "").unwrap();
    let mut xattrs = Xattrs::new();
    for (number, name) in names.iter().enumerate() {
        let value = format!("{number}=%3D");
        let set = Command::new("setfattr")
            .arg("-n")
            .arg(std::ffi::OsStr::from_bytes(name))
            .args(["-v", &value])
            .arg(&path)
            .status()
            .unwrap();
        if !require::met(set.success(), "a filesystem with user attributes") {
            return;
        }
        xattrs.set(name, value.as_bytes()).unwrap();
    }
    let dump = |path: &std::path::Path| {
        let output = Command::new("getfattr")
            .args(["-d", "-m", "^user", "-e", "hex", "--absolute-names"])
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout.escape_ascii().to_string().into_bytes())
            .unwrap()
            .split_once("\\n")
            .unwrap()
            .1
            .to_owned()
    };
    let expected = dump(&path);
    let gnu = [
        "--xattrs",
        "--xattrs-include=*",
        "--format=pax",
        "-cf",
        "-",
        "f",
    ];
    for (program, arguments) in [
        ("tar", &gnu[..]),
        ("bsdtar", &["--xattrs", "--format", "pax", "-cf", "-", "f"]),
    ] {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}");
        let found = read(&output.stdout).unwrap();
        assert_eq!(found.len(), 1, "{program}");
        assert_eq!(found[0].0.metadata.xattrs, xattrs, "{program}");
    }
    let mut ours = file(b"f", 0);
    ours.metadata.xattrs = xattrs.clone();
    let tar = write(&[(ours.clone(), Bytes(Vec::new()))]);
    assert_eq!(read(&tar).unwrap()[0].0.metadata.xattrs, xattrs);
    fs::remove_file(&path).unwrap();
    let extract = ["--xattrs", "--xattrs-include=*", "-x", "-C"];
    let arguments = [
        &extract[..],
        &[directory.path().to_str().unwrap(), "-f", "-"],
    ]
    .concat();
    let (_, errors, success) = crate::support::run("tar", &arguments, &tar).unwrap();
    assert!(success, "{}", String::from_utf8_lossy(&errors));
    assert_eq!(dump(&path), expected);
}

#[test]
fn python_reads_it() {
    let samples = samples();
    let Some(found) = oracles::python(&write(&samples)) else {
        return;
    };
    let found = found.expect("Python reads it");
    for (ours, theirs) in members(&samples).iter().zip(&found) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(found.len(), samples.len());
}

#[test]
fn the_tar_crate_reads_it() {
    // It knows no PAX sparse files.
    let samples: Vec<_> = samples()
        .into_iter()
        .filter(|(e, _)| {
            !matches!(
                e.kind,
                EntryKind::File {
                    segments: Some(_),
                    ..
                }
            )
        })
        .collect();
    let samples: Vec<_> = samples
        .into_iter()
        .map(|(mut e, data)| {
            e.metadata.xattrs.remove(b"user.lines"); // it ends records at newlines
            (e, data)
        })
        .collect();
    for sample in &samples {
        assert_eq!(
            oracles::tar_crate(&write(std::slice::from_ref(sample))),
            Ok(members(std::slice::from_ref(sample)))
        );
    }
    assert_eq!(oracles::tar_crate(&write(&samples)), Ok(members(&samples)));
}

/// Extracted by GNU tar and bsdtar: everything but what needs root.
#[test]
fn gnu_tar_and_bsdtar_extract_it() {
    let samples: Vec<_> = samples()
        .into_iter()
        .filter(|(e, _)| !matches!(e.kind, EntryKind::CharDevice(_) | EntryKind::BlockDevice(_)))
        .map(|(mut e, data)| {
            // Neither is told to restore them, and the filesystem may not hold all of them.
            e.metadata.xattrs = Xattrs::new();
            (e, data)
        })
        .collect();
    let tar = write(&samples);
    for program in ["tar", "bsdtar"] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["-x", "-p", "-f", "-", "--no-same-owner"];
        let child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: needs {program}");
            return;
        };
        child.stdin.take().unwrap().write_all(&tar).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        for (entry, data) in &samples {
            let path = directory
                .path()
                .join(std::ffi::OsStr::from_bytes(entry.path.as_bytes()));
            let shown = format!("{program}: {} {errors}", entry.path);
            let metadata = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{shown}: {e}"));
            match &entry.kind {
                EntryKind::File { size, .. } => {
                    assert_eq!(metadata.len(), *size, "{shown}");
                    assert!(
                        fs::read(&path).unwrap() == crate::support::expand(entry, data),
                        "{shown}"
                    );
                    // libarchive keeps set-id bits only together with the owner.
                    let bits = if program == "tar" { 0o7777 } else { 0o777 };
                    assert_eq!(
                        metadata.mode() & bits,
                        u32::from(entry.metadata.mode) & bits,
                        "{shown}"
                    );
                    let mtime = entry.metadata.mtime;
                    // Before 1970 libarchive reads fractions the wrong way round; ext4 ends in 1901 and 2446.
                    if mtime.seconds >= 0 && mtime.seconds < 1 << 33
                        || program == "tar" && mtime.seconds > -1 << 31 && mtime.seconds < 0
                    {
                        assert_eq!(
                            (metadata.mtime(), metadata.mtime_nsec()),
                            (mtime.seconds, i64::from(mtime.nanoseconds)),
                            "{shown}"
                        );
                    }
                }
                EntryKind::Directory => assert!(metadata.is_dir(), "{shown}"),
                EntryKind::Symlink { target } => assert_eq!(
                    fs::read_link(&path).unwrap().as_os_str().as_bytes(),
                    target,
                    "{shown}"
                ),
                EntryKind::HardLink { .. } => assert_eq!(metadata.nlink(), 2, "{shown}"),
                _ => {}
            }
        }
    }
}
