//! What is mounted where: `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where.
    pub(crate) point: PathBuf,
    /// Type of its filesystem.
    pub(crate) filesystem: String,
    /// What it says it was made from.
    pub(crate) source: OsString,
    /// Options of the filesystem, escaped as in the file. Paths in them need not be UTF-8.
    pub(crate) options: Vec<u8>,
}

/// All mounts, in the order they were made at any one place.
pub(crate) fn mounts() -> Result<Vec<Mount>, crate::MountError> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read(path).map_err(|source| crate::MountError::Table {
        path: path.into(),
        source,
    })?;
    Ok(parse(&text))
}

/// Lines that are not as documented are left out.
fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&b| b == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let point = fields.nth(4)?;
    // Options of the mount, then any number of optional fields up to a dash.
    fields.next()?;
    fields.find(|f| f == b"-")?;
    let filesystem = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    let options = fields.next().unwrap_or_default().to_vec();
    Some(Mount {
        point: unescape(point).into(),
        filesystem,
        source,
        options,
    })
}

/// The kernel writes space, tab, newline and backslash as `\` and three octal digits (`mangle_path`).
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'\\'
            && let Some(digits) = after.get(..3)
            && let Some(byte) = octal(digits)
        {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    OsString::from_vec(bytes)
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

impl Mount {
    /// The value of one option of the filesystem.
    pub(crate) fn option(&self, name: &str) -> Option<PathBuf> {
        let value = self
            .options
            .split(|&b| b == b',')
            .find_map(|o| o.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(unescape(value).into())
    }

    /// Whether this is mounted below a directory.
    pub(crate) fn is_below(&self, directory: &Path) -> bool {
        self.point != directory && self.point.starts_with(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_lines_of_the_kernel() {
        let text = br"22 28 0:21 / /proc rw,nosuid - proc proc rw
36 35 98:0 /mnt1 /mnt\040\134a rw,noatime master:1 shared:2 - erofs /dev/root ro,user_xattr
nonsense
37 35 0:50 / /o rw - overlay lithify rw,lowerdir=/proc/self/fd/5,upperdir=/a\054b/upper,workdir=/w
";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[1].point, Path::new("/mnt \\a"));
        assert_eq!(mounts[1].filesystem, "erofs");
        assert_eq!(mounts[1].source, "/dev/root");
        let upper = mounts[2].option("upperdir");
        assert_eq!(upper.as_deref(), Some(Path::new("/a,b/upper")));
        assert_eq!(mounts[2].option("upper"), None);
        let odd = parse(b"37 35 0:50 / /o rw - overlay lithify rw,upperdir=/caf\xe9/upper\n");
        let expected = OsString::from_vec(b"/caf\xe9/upper".to_vec());
        assert_eq!(odd[0].option("upperdir"), Some(expected.into()));
        assert!(mounts[1].is_below(Path::new("/")) && !mounts[1].is_below(Path::new("/mnt")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&text);
        }

        #[test]
        fn escapes_round_trip(path in proptest::collection::vec(1u8..=255, 1..50)) {
            let escaped: Vec<u8> = path
                .iter()
                .flat_map(|&b| match b {
                    b' ' | b'\t' | b'\n' | b'\\' => format!("\\{b:03o}").into_bytes(),
                    _ => vec![b],
                })
                .collect();
            prop_assert_eq!(unescape(&escaped), OsString::from_vec(path));
        }
    }
}
