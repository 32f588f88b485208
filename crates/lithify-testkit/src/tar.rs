//! Small layers.

use std::fmt::Write as _;

const BLOCK: usize = 512;

/// A tar archive in memory: ustar headers, PAX records where a value does not fit (POSIX.1-2017, `pax`).
///
/// It writes what it is told to, so hostile archives can be made with it too.
#[derive(Clone, Debug, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

/// One member of a [`Tar`].
#[derive(Clone, Debug)]
pub struct TarEntry {
    path: Vec<u8>,
    kind: u8,
    data: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    owner: (u64, u64),
    mtime: (i64, u32),
    device: (u32, u32),
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Tar {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a member.
    pub fn add(&mut self, entry: TarEntry) -> &mut Self {
        entry.write(&mut self.bytes);
        self
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The archive with its two closing zero blocks.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    /// The archive without an end.
    #[must_use]
    pub fn unfinished(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

impl TarEntry {
    /// A member of any type flag.
    #[must_use]
    pub fn new(kind: u8, path: impl AsRef<[u8]>) -> Self {
        Self {
            path: path.as_ref().to_vec(),
            kind,
            data: Vec::new(),
            link: Vec::new(),
            mode: 0o644,
            owner: (0, 0),
            mtime: (1_600_000_000, 0),
            device: (0, 0),
            records: Vec::new(),
        }
    }

    /// A regular file, 0644.
    #[must_use]
    pub fn file(path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self::new(b'0', path).data(data)
    }

    /// A directory, 0755.
    #[must_use]
    pub fn directory(path: impl AsRef<[u8]>) -> Self {
        let mut path = path.as_ref().to_vec();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        Self::new(b'5', path).mode(0o755)
    }

    /// A symbolic link, 0777.
    #[must_use]
    pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(b'2', path).link(target).mode(0o777)
    }

    /// A hard link to another path of the image.
    #[must_use]
    pub fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(b'1', path).link(target)
    }

    /// A character device.
    #[must_use]
    pub fn char_device(path: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self::new(b'3', path).device(major, minor)
    }

    /// A block device.
    #[must_use]
    pub fn block_device(path: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self::new(b'4', path).device(major, minor)
    }

    /// A named pipe.
    #[must_use]
    pub fn fifo(path: impl AsRef<[u8]>) -> Self {
        Self::new(b'6', path)
    }

    /// The marker that removes a path of lower layers.
    #[must_use]
    pub fn whiteout(path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        let name = path
            .iter()
            .rposition(|&b| b == b'/')
            .map_or(0, |slash| slash + 1);
        let marker = [&path[..name], b".wh.", &path[name..]].concat();
        Self::file(marker, b"").mode(0)
    }

    /// The marker that hides all of a directory of lower layers.
    #[must_use]
    pub fn opaque(directory: impl AsRef<[u8]>) -> Self {
        let directory = directory.as_ref();
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        Self::file([directory, slash, b".wh..wh..opq"].concat(), b"").mode(0)
    }

    /// Sets the data.
    #[must_use]
    pub fn data(mut self, data: impl AsRef<[u8]>) -> Self {
        self.data = data.as_ref().to_vec();
        self
    }

    /// Sets the link target.
    #[must_use]
    pub fn link(mut self, target: impl AsRef<[u8]>) -> Self {
        self.link = target.as_ref().to_vec();
        self
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Sets the modification time: seconds since 1970 (may be negative) and nanoseconds.
    #[must_use]
    pub fn mtime(mut self, seconds: i64, nanoseconds: u32) -> Self {
        self.mtime = (seconds, nanoseconds);
        self
    }

    /// Sets the device number.
    #[must_use]
    pub fn device(mut self, major: u32, minor: u32) -> Self {
        self.device = (major, minor);
        self
    }

    /// Adds an extended attribute (as a `SCHILY.xattr.` record).
    #[must_use]
    pub fn xattr(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let key = [b"SCHILY.xattr.", name.as_ref()].concat();
        self.record(key, value)
    }

    /// Adds any PAX record.
    #[must_use]
    pub fn record(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.records
            .push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    fn write(self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        // A time before 1970 or finer than a second has no octal form.
        let octal_time = u64::try_from(self.mtime.0)
            .ok()
            .filter(|&s| self.mtime.1 == 0 && s < 1 << 33);
        if octal_time.is_none() {
            records.push((b"mtime".to_vec(), pax_time(self.mtime)));
        }
        for (key, value, limit) in [
            (&b"uid"[..], self.owner.0, 1u64 << 21),
            (b"gid", self.owner.1, 1 << 21),
            (b"size", self.data.len() as u64, 1 << 33),
        ] {
            if value >= limit {
                records.push((key.to_vec(), value.to_string().into_bytes()));
            }
        }
        for (key, value) in [(&b"path"[..], &self.path), (b"linkpath", &self.link)] {
            if value.len() > 100 {
                records.push((key.to_vec(), value.clone()));
            }
        }
        records.extend(self.records.iter().cloned());
        if !records.is_empty() {
            let body: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
            let mut header = Header::new(b"pax", b'x', body.len() as u64);
            header.octal(100..108, 0o644);
            header.write(out);
            padded(&body, out);
        }
        let mut header = Header::new(&self.path, self.kind, self.data.len() as u64);
        header.octal(100..108, u64::from(self.mode));
        header.octal(108..116, self.owner.0.min((1 << 21) - 1));
        header.octal(116..124, self.owner.1.min((1 << 21) - 1));
        header.octal(136..148, octal_time.unwrap_or(0));
        header.bytes(157..257, &self.link);
        header.octal(329..337, u64::from(self.device.0));
        header.octal(337..345, u64::from(self.device.1));
        header.write(out);
        padded(&self.data, out);
    }
}

struct Header([u8; BLOCK]);

impl Header {
    fn new(path: &[u8], kind: u8, size: u64) -> Self {
        let mut header = Self([0; BLOCK]);
        header.bytes(0..100, path);
        header.octal(108..116, 0);
        header.octal(116..124, 0);
        header.octal(124..136, size);
        header.octal(136..148, 0);
        header.0[156] = kind;
        header.bytes(257..265, b"ustar\x0000");
        header
    }

    /// Fills a field, cutting what does not fit: a PAX record then holds the whole.
    fn bytes(&mut self, field: std::ops::Range<usize>, value: &[u8]) {
        let field = &mut self.0[field];
        let len = value.len().min(field.len());
        field[..len].copy_from_slice(&value[..len]);
    }

    fn octal(&mut self, field: std::ops::Range<usize>, value: u64) {
        let digits = format!("{value:0width$o}", width = field.len() - 1);
        self.bytes(field, digits.as_bytes());
    }

    fn write(mut self, out: &mut Vec<u8>) {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|&b| u64::from(b)).sum();
        self.bytes(148..156, format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&self.0);
    }
}

fn padded(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

/// Decimal seconds. The nanoseconds of a time before 1970 count forwards, the text's fraction counts away from zero.
fn pax_time((seconds, nanoseconds): (i64, u32)) -> Vec<u8> {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, fraction) = (
        total.unsigned_abs() / 1_000_000_000,
        total.unsigned_abs() % 1_000_000_000,
    );
    let mut text = format!("{sign}{whole}");
    if fraction != 0 {
        write!(text, ".{fraction:09}").expect("a string takes any text");
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for len in 0..2000 {
            let bytes = record(b"k", &vec![b'v'; len]);
            let digits = bytes.split(|&b| b == b' ').next().unwrap();
            let stated: usize = std::str::from_utf8(digits).unwrap().parse().unwrap();
            assert_eq!(stated, bytes.len());
        }
    }

    #[test]
    fn times_are_decimal() {
        assert_eq!(pax_time((-1, 500_000_000)), b"-0.500000000");
        assert_eq!(pax_time((-2, 0)), b"-2");
        assert_eq!(pax_time((3, 7)), b"3.000000007");
    }
}
