//! Other programs' readings of a tar, in one form.

use std::fmt;
use std::io::{self, Cursor, Read};

use lithify_tree::{Device, Entry, EntryKind, TreePath};

use super::{Bytes, expand, run};

/// A tar's member as any reader understands it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    /// `f`, `d`, `l`, `h`, `c`, `b` or `p`.
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Whole seconds, rounded towards the past.
    pub(crate) mtime: i64,
    pub(crate) link: Vec<u8>,
    pub(crate) device: (u32, u32),
    pub(crate) data: Bytes,
    /// Sorted; only where the reader knows them.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            mode,
            uid,
            gid,
            mtime,
            device,
            ..
        } = self;
        let (path, link) = (self.path.escape_ascii(), self.link.escape_ascii());
        write!(
            f,
            "{kind} {mode:o} {uid}:{gid} {mtime} {device:?} {path} -> {link} {:?} {:?}",
            self.data, self.xattrs
        )
    }
}

/// Entries in that form.
pub(crate) fn members(entries: &[(Entry, Bytes)]) -> Vec<Member> {
    entries
        .iter()
        .map(|(entry, data)| member(entry, data))
        .collect()
}

fn member(entry: &Entry, data: &Bytes) -> Member {
    let mut link = Vec::new();
    let mut device = (0, 0);
    let mut number = |Device { major, minor }: &Device| device = (*major, *minor);
    let kind = match &entry.kind {
        EntryKind::File { .. } => 'f',
        EntryKind::Directory => 'd',
        EntryKind::Symlink { target } => {
            link.clone_from(target);
            'l'
        }
        EntryKind::HardLink { target } => {
            link = target.as_bytes().to_vec();
            'h'
        }
        EntryKind::CharDevice(device) => {
            number(device);
            'c'
        }
        EntryKind::BlockDevice(device) => {
            number(device);
            'b'
        }
        EntryKind::Fifo => 'p',
        other => panic!("{other:?}"),
    };
    Member {
        path: entry.path.as_bytes().to_vec(),
        kind,
        mode: u32::from(entry.metadata.mode),
        uid: u64::from(entry.metadata.uid),
        gid: u64::from(entry.metadata.gid),
        mtime: entry.metadata.mtime.seconds,
        link,
        device,
        data: Bytes(expand(entry, data)),
        xattrs: entry
            .metadata
            .xattrs
            .iter()
            .map(|(n, v)| (n.to_vec(), v.to_vec()))
            .collect(),
    }
}

const PYTHON: &str = r"
import io, math, os, sys, tarfile
from decimal import Decimal
def raw(text):
    return text.encode('utf-8', 'surrogateescape')
kinds = {tarfile.REGTYPE: 'f', tarfile.AREGTYPE: 'f', tarfile.CONTTYPE: 'f', tarfile.GNUTYPE_SPARSE: 'f', tarfile.DIRTYPE: 'd',
         tarfile.SYMTYPE: 'l', tarfile.LNKTYPE: 'h', tarfile.CHRTYPE: 'c', tarfile.BLKTYPE: 'b', tarfile.FIFOTYPE: 'p'}
def read(archive):
    tar = tarfile.open(fileobj=io.BytesIO(archive), mode='r:', encoding='utf-8', errors='surrogateescape')
    for m in tar:
        data = tar.extractfile(m).read() if m.isreg() else b''
        if m.isreg() and len(data) != m.size:
            raise ValueError('short data')
        mtime = m.pax_headers.get('mtime')
        mtime = math.floor(Decimal(mtime)) if mtime else math.floor(m.mtime)
        xattrs = sorted((raw(k[13:]), raw(v)) for k, v in m.pax_headers.items() if k.startswith('SCHILY.xattr.'))
        fields = [raw(m.name), kinds.get(m.type, '?').encode(), m.mode & 0o7777, m.uid, m.gid, mtime, raw(m.linkname),
                  m.devmajor, m.devminor, data] + [x for pair in xattrs for x in pair]
        yield '\t'.join(f.hex() if isinstance(f, bytes) else str(f) for f in fields)
while length := sys.stdin.buffer.read(8):
    try:
        for line in list(read(sys.stdin.buffer.read(int.from_bytes(length, 'little')))):
            print(line)
        print('end')
    except Exception as e:
        print('error', type(e).__name__)
";

/// What Python's `tarfile` makes of tars: their members, or nothing where it fails. `None` without Python.
pub(crate) fn python_each(tars: &[Vec<u8>]) -> Option<Vec<Option<Vec<Member>>>> {
    let input: Vec<u8> = tars
        .iter()
        .flat_map(|tar| [&(tar.len() as u64).to_le_bytes()[..], tar].concat())
        .collect();
    let (output, errors, success) = run("python3", &["-c", PYTHON], &input)?;
    assert!(success, "{}", String::from_utf8_lossy(&errors));
    let output = String::from_utf8(output).unwrap();
    let mut results = Vec::new();
    let mut members = Some(Vec::new());
    for line in output.lines() {
        if line == "end" || line.starts_with("error") {
            results.push(members.take().filter(|_| line == "end"));
            members = Some(Vec::new());
        } else if let (Some(list), Some(member)) = (&mut members, python_member(line)) {
            list.push(member);
        } else {
            members = None;
        }
    }
    assert_eq!(results.len(), tars.len());
    Some(results)
}

/// What Python's `tarfile` makes of one tar.
pub(crate) fn python(tar: &[u8]) -> Option<Option<Vec<Member>>> {
    python_each(&[tar.to_vec()])?.pop()
}

fn python_member(line: &str) -> Option<Member> {
    let fields: Vec<&str> = line.split('\t').collect();
    let number = |i: usize| fields[i].parse::<i64>().unwrap_or(-1);
    let kind = char::from(unhex(fields[1])[0]);
    let link = unhex(fields[6]);
    Some(Member {
        path: clean(&unhex(fields[0]))?,
        kind,
        mode: number(2) as u32,
        uid: number(3) as u64,
        gid: number(4) as u64,
        mtime: number(5),
        link: link_of(kind, link)?,
        device: if matches!(kind, 'c' | 'b') {
            (number(7) as u32, number(8) as u32)
        } else {
            (0, 0)
        },
        data: Bytes(unhex(fields[9])),
        xattrs: fields[10..]
            .chunks_exact(2)
            .map(|pair| (unhex(pair[0]), unhex(pair[1])))
            .collect(),
    })
}

/// What the `tar` crate makes of a tar: its members, or why it fails.
pub(crate) fn tar_crate(tar: &[u8]) -> Result<Vec<Member>, String> {
    let mut archive = tar::Archive::new(Cursor::new(tar));
    let entries = archive.entries().map_err(|e| e.to_string())?;
    entries
        .map(|entry| entry.and_then(crate_member).map_err(|e| e.to_string()))
        .filter_map(Result::transpose)
        .collect()
}

/// `None` for what is no member of a layer.
fn crate_member(mut entry: tar::Entry<'_, Cursor<&[u8]>>) -> io::Result<Option<Member>> {
    let header = entry.header().clone();
    let kind = match header.entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => 'f',
        tar::EntryType::Directory => 'd',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Link => 'h',
        tar::EntryType::Char => 'c',
        tar::EntryType::Block => 'b',
        tar::EntryType::Fifo => 'p',
        _ => return Ok(None),
    };
    let odd = |what: &str| io::Error::other(what.to_owned());
    // A GNU long name ends at its first NUL; the crate takes a single one off the end.
    let until_nul = |bytes: &[u8]| bytes.split(|&b| b == 0).next().unwrap_or_default().to_vec();
    let path = until_nul(&entry.path_bytes());
    let link = entry
        .link_name_bytes()
        .map(|l| until_nul(&l))
        .unwrap_or_default();
    let (mut uid, mut gid, mut mtime) = (header.uid()?, header.gid()?, header.mtime()? as i64);
    let mut xattrs = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let (Ok(key), value) = (extension.key(), extension.value_bytes()) else {
                continue;
            };
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                xattrs.push((name.as_bytes().to_vec(), value.to_vec()));
            }
            let text = std::str::from_utf8(value).unwrap_or_default();
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let number = whole.parse::<i64>();
            match (key, number) {
                (_, Err(_)) => {}
                ("uid", Ok(number)) => uid = number as u64,
                ("gid", Ok(number)) => gid = number as u64,
                ("mtime", Ok(number)) => {
                    let down = whole.starts_with('-') && fraction.bytes().any(|b| b != b'0');
                    mtime = number - i64::from(down);
                }
                _ => {}
            }
        }
    }
    xattrs.sort();
    let mut data = Vec::new();
    entry.read_to_end(&mut data)?;
    if data.len() as u64 != entry.size() {
        return Err(odd("short data"));
    }
    Ok(Some(Member {
        path: clean(&path).ok_or_else(|| odd("path"))?,
        kind,
        mode: header.mode()? & 0o7777,
        uid,
        gid,
        mtime,
        link: link_of(kind, link).ok_or_else(|| odd("link"))?,
        device: match kind {
            'c' | 'b' => (
                header.device_major()?.unwrap_or(0),
                header.device_minor()?.unwrap_or(0),
            ),
            _ => (0, 0),
        },
        data: Bytes(data),
        xattrs,
    }))
}

fn clean(path: &[u8]) -> Option<Vec<u8>> {
    TreePath::clean(path).ok().map(|p| p.as_bytes().to_vec())
}

fn link_of(kind: char, link: Vec<u8>) -> Option<Vec<u8>> {
    match kind {
        'l' => Some(link),
        'h' => clean(&link),
        _ => Some(Vec::new()),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}
