//! What this crate's reader shows of an image, in the form in which the kernel's view of it is compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use lithify_ext4::{FileType, Image, Inode, ReadAt};
use lithify_testkit::{Kind, Node, Snapshot};
use sha2::{Digest as _, Sha256};

/// Opens an image.
pub(crate) fn open(path: &Path) -> Image<File> {
    Image::open(File::open(path).unwrap()).unwrap()
}

/// Reads all of an image, which has to be sound.
pub(crate) fn snapshot(path: &Path) -> Snapshot {
    let image = open(path);
    assert_eq!(problems(&image), [""; 0]);
    of(&image)
}

/// Returns what `verify` finds.
pub(crate) fn problems<R: ReadAt>(image: &Image<R>) -> Vec<String> {
    let found = image.verify().unwrap();
    found.problems.iter().map(ToString::to_string).collect()
}

/// Reads all of an image.
pub(crate) fn of<R: ReadAt>(image: &Image<R>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut names: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    for found in image.walk() {
        let found = found.unwrap();
        let inode = &found.inode;
        let again = image.lookup(&found.path).unwrap().unwrap();
        assert_eq!(again.number(), inode.number());
        if inode.file_type() != FileType::Directory && inode.nlink() > 1 {
            let all = names.entry(inode.number()).or_default();
            all.push(found.path.clone());
        }
        snapshot.nodes.insert(found.path, node(image, inode));
    }
    for mut all in names.into_values() {
        all.sort();
        for name in all.iter().filter(|_| all.len() > 1) {
            snapshot.nodes.get_mut(name).unwrap().same_as = Some(all[0].clone());
        }
    }
    snapshot
}

fn node<R: ReadAt>(image: &Image<R>, inode: &Inode) -> Node {
    let device = inode.device();
    let is_directory = inode.file_type() == FileType::Directory;
    let xattrs = image.xattrs(inode).unwrap();
    Node {
        kind: match inode.file_type() {
            FileType::File => Kind::File {
                size: inode.size(),
                sha256: sha256(image, inode),
            },
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink(image.read_link(inode).unwrap()),
            FileType::CharDevice => Kind::CharDevice(device.major, device.minor),
            FileType::BlockDevice => Kind::BlockDevice(device.major, device.minor),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
        },
        mode: inode.mode().into(),
        uid: inode.uid(),
        gid: inode.gid(),
        mtime: (inode.mtime().seconds, inode.mtime().nanoseconds),
        links: if is_directory {
            1
        } else {
            inode.nlink().into()
        },
        same_as: None,
        xattrs: xattrs
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
    }
}

/// The sum of a file's data, as it is and by its segments.
fn sha256<R: ReadAt>(image: &Image<R>, inode: &Inode) -> String {
    let mut reader = image.reader(inode).unwrap();
    let mut buffer = vec![0; 1 << 18];
    let mut hasher = Sha256::new();
    let mut data: u64 = 0;
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    if let Some(segments) = image.segments(inode).unwrap() {
        let mut at = 0;
        let mut again = Sha256::new();
        let zeros = vec![0; 1 << 18];
        let hole = |length: u64, again: &mut Sha256| {
            let mut left = length;
            while left > 0 {
                let n = left.min(zeros.len() as u64);
                again.update(&zeros[..n as usize]);
                left -= n;
            }
        };
        for segment in &segments {
            hole(segment.offset - at, &mut again);
            let mut bytes = vec![0; segment.length as usize];
            let read = image.read(inode, segment.offset, &mut bytes).unwrap();
            assert_eq!(read, bytes.len());
            again.update(&bytes);
            at = segment.offset + segment.length;
            data += segment.length;
        }
        hole(inode.size() - at, &mut again);
        assert!(data <= inode.size());
        assert_eq!(again.finalize()[..], hasher.clone().finalize()[..]);
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
