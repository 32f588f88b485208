//! PAX extended headers: `LENGTH KEY=VALUE\n` records.

use super::HeaderProblem;

/// What PAX records say of a member; other records do not matter to an index of blobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Any record of GNU's sparse formats 0.0, 0.1 and 1.0.
    pub(super) sparse: bool,
}

impl Pax {
    /// Parses all records. A record repeated, or empty where it matters, is an error: readers
    /// differ in what they make of it.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, HeaderProblem> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or(HeaderProblem::Pax)?;
            records = rest;
            match key {
                b"path" => set(&mut pax.path, name(value)?, "PAX path")?,
                b"linkpath" => set(&mut pax.linkpath, name(value)?, "PAX linkpath")?,
                b"size" => set(&mut pax.size, decimal(value)?, "PAX size")?,
                _ => pax.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(pax)
    }
}

fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|&b| b == b' ')?;
    let digits = &records[..space];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (whole, rest) = records.split_at_checked(length)?;
    let body = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&b| b == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty()).then_some((key, value, rest))
}

fn name(value: &[u8]) -> Result<Vec<u8>, HeaderProblem> {
    if value.is_empty() {
        Err(HeaderProblem::Pax)
    } else {
        Ok(value.to_vec())
    }
}

fn decimal(value: &[u8]) -> Result<u64, HeaderProblem> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|&size| i64::try_from(size).is_ok())
        .ok_or(HeaderProblem::Number { field: "PAX size" })
}

fn set<T>(slot: &mut Option<T>, value: T, what: &'static str) -> Result<(), HeaderProblem> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(HeaderProblem::Conflict { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let pax =
            Pax::parse(b"12 path=a/b\n12 size=123\n18 comment=a=b\nc \n11 mtime=1\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(
            (pax.size, pax.linkpath, pax.sparse),
            (Some(123), None, false)
        );
        assert!(Pax::parse(b"22 GNU.sparse.major=1\n").unwrap().sparse);
        assert_eq!(Pax::parse(b"").unwrap(), Pax::default());
    }

    #[test]
    fn refused() {
        for records in [
            &b"x"[..],
            b"12 path=a/b",
            b"11 path=a/b\n",
            b"13 path=a/b\n",
            b"8 path=\n",
            b" path=x\n",
            b"+9 size=1\n",
            b"10 size=-1\n",
            b"10 size=1k\n",
            b"28 size=9223372036854775808\n",
            b"9 size=1\n9 size=1\n",
            b"99999999999999999999 a=b\n",
            b"6 path\n",
            b"5 =x\n",
            b"0 ",
            b"1 ",
            b"2 ",
            b"3 =",
        ] {
            assert!(Pax::parse(records).is_err(), "{}", records.escape_ascii());
        }
    }
}
