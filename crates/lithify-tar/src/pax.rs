//! PAX extended headers (POSIX `pax`, "pax Extended Header"): `LENGTH KEY=VALUE\n` records about the next entry, or
//! about all that follow.

use std::ops::Range;

use lithify_tree::Timestamp;

use crate::detail::Detail;
use crate::error::{SparseFault, TarFault};
use crate::limits::{Limit, LimitExceeded, Limits};
use crate::number;

/// A key's value: an empty one takes back what global records said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Value<T> {
    #[default]
    Absent,
    Deleted,
    Set(T),
}

impl<T> Value<T> {
    pub(crate) const fn as_set(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Deleted => None,
        }
    }

    pub(crate) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// The records of one extended header. Text stays in the header's data; these are ranges of it.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) path: Value<Range<usize>>,
    pub(crate) linkpath: Value<Range<usize>>,
    pub(crate) size: Value<u64>,
    pub(crate) uid: Value<u32>,
    pub(crate) gid: Value<u32>,
    pub(crate) mtime: Value<Timestamp>,
    pub(crate) xattrs: Vec<XattrRecord>,
    pub(crate) sparse: SparseRecords,
}

/// An extended attribute as recorded.
#[derive(Debug)]
pub(crate) struct XattrRecord {
    /// `SCHILY.xattr.`: as it is; `LIBARCHIVE.xattr.`: URL-encoded name, Base64 value.
    pub(crate) encoded: bool,
    pub(crate) key: Range<usize>,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// `GNU.sparse.*` of all three versions.
#[derive(Debug, Default)]
pub(crate) struct SparseRecords {
    pub(crate) present: bool,
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Range<usize>>,
    pub(crate) size: Option<u64>,
    pub(crate) segments: Option<u64>,
    /// Offset, length, offset, length…
    pub(crate) map: Option<Vec<u64>>,
}

impl Records {
    /// Reads all records. The last of several with one key counts (see the [crate's documentation](crate#repeated-keys)).
    pub(crate) fn parse(body: &[u8], limits: &Limits, detail: Detail) -> Result<Self, TarFault> {
        let mut records = Self::default();
        let mut at = 0;
        while at < body.len() {
            let record = split(body, at)?;
            at = record.end;
            records.take(body, &record, limits, detail)?;
        }
        Ok(records)
    }

    fn take(
        &mut self,
        body: &[u8],
        record: &Record,
        limits: &Limits,
        detail: Detail,
    ) -> Result<(), TarFault> {
        let key = &body[record.key.clone()];
        let value = &body[record.value.clone()];
        let bad = |expected| TarFault::PaxValue {
            key: key.to_vec(),
            value: value[..value.len().min(64)].to_vec(),
            expected,
        };
        let number = || number::decimal(value).ok_or_else(|| bad("a decimal number"));
        let id = |field: &'static str| -> Result<u32, TarFault> {
            let found = number()?;
            u32::try_from(found).map_err(|_| TarFault::NumberRange {
                field,
                found: i64::try_from(found).unwrap_or(i64::MAX),
                max: u64::from(u32::MAX),
            })
        };
        match key {
            b"path" => self.path = text(value, &record.value),
            b"linkpath" => self.linkpath = text(value, &record.value),
            b"size" => {
                self.size = if value.is_empty() {
                    Value::Deleted
                } else {
                    Value::Set(number()?)
                }
            }
            b"uid" | b"gid" | b"mtime" if detail == Detail::Placement => {}
            b"uid" => {
                self.uid = if value.is_empty() {
                    Value::Deleted
                } else {
                    Value::Set(id("uid")?)
                }
            }
            b"gid" => {
                self.gid = if value.is_empty() {
                    Value::Deleted
                } else {
                    Value::Set(id("gid")?)
                }
            }
            b"mtime" if value.is_empty() => self.mtime = Value::Deleted,
            b"mtime" => {
                let time =
                    number::time(value).ok_or_else(|| bad("seconds with an optional fraction"))?;
                self.mtime = Value::Set(time);
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                self.sparse.take(key, value, record, &number, limits)?
            }
            // A label is no part of the image; the rest says that a file goes on in another archive.
            b"GNU.volume.label" => {}
            _ if key.starts_with(b"GNU.volume.") => {
                return Err(TarFault::UnsupportedType {
                    typeflag: b'x',
                    meaning: "part of a multi-volume archive",
                });
            }
            _ => {
                for (prefix, encoded) in
                    [(&b"SCHILY.xattr."[..], false), (b"LIBARCHIVE.xattr.", true)]
                {
                    if key.starts_with(prefix) {
                        let name = record.key.start + prefix.len()..record.key.end;
                        let (key, value) = (record.key.clone(), record.value.clone());
                        self.xattrs.push(XattrRecord {
                            encoded,
                            key,
                            name,
                            value,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// The first record that cannot be global.
    pub(crate) fn global_fault(&self, body: &[u8]) -> Option<TarFault> {
        let key: &[u8] = if !self.path.is_absent() {
            b"path"
        } else if !self.linkpath.is_absent() {
            b"linkpath"
        } else if !self.size.is_absent() {
            b"size"
        } else if self.sparse.present {
            b"GNU.sparse"
        } else {
            &body[self.xattrs.first()?.key.clone()]
        };
        Some(TarFault::GlobalKey { key: key.to_vec() })
    }
}

fn text(value: &[u8], range: &Range<usize>) -> Value<Range<usize>> {
    if value.is_empty() {
        Value::Deleted
    } else {
        Value::Set(range.clone())
    }
}

impl SparseRecords {
    fn take(
        &mut self,
        key: &[u8],
        value: &[u8],
        record: &Record,
        number: &dyn Fn() -> Result<u64, TarFault>,
        limits: &Limits,
    ) -> Result<(), TarFault> {
        self.present = true;
        match key {
            b"GNU.sparse.major" => self.major = Some(number()?),
            b"GNU.sparse.minor" => self.minor = Some(number()?),
            b"GNU.sparse.name" => self.name = Some(record.value.clone()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                let second = number()?;
                match self.size {
                    Some(first) if first != second => {
                        return Err(SparseFault::Size { first, second }.into());
                    }
                    _ => self.size = Some(second),
                }
            }
            b"GNU.sparse.numblocks" => self.segments = Some(number()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let map = self.map.get_or_insert_default();
                let is_length = key == b"GNU.sparse.numbytes";
                if (map.len() % 2 == 1) != is_length {
                    return Err(SparseFault::Map.into());
                }
                map.push(number()?);
                check_segments(map.len(), limits)?;
            }
            b"GNU.sparse.map" => {
                if self.map.is_some() {
                    return Err(SparseFault::Map.into());
                }
                let mut map = Vec::new();
                for number in value.split(|&b| b == b',').filter(|_| !value.is_empty()) {
                    map.push(number::decimal(number).ok_or(SparseFault::Map)?);
                    check_segments(map.len(), limits)?;
                }
                if map.len() % 2 == 1 {
                    return Err(SparseFault::Map.into());
                }
                self.map = Some(map);
            }
            _ => {
                return Err(TarFault::PaxValue {
                    key: key.to_vec(),
                    value: Vec::new(),
                    expected: "a known GNU.sparse record",
                });
            }
        }
        Ok(())
    }
}

fn check_segments(numbers: usize, limits: &Limits) -> Result<(), LimitExceeded> {
    LimitExceeded::check(
        Limit::SparseSegments,
        limits.sparse_segments,
        numbers as u64 / 2,
    )
}

struct Record {
    key: Range<usize>,
    value: Range<usize>,
    end: usize,
}

/// The record at `at`. Its length counts itself, the space, the key, the equals sign, the value and the newline.
fn split(body: &[u8], at: usize) -> Result<Record, TarFault> {
    let fault = |reason| TarFault::PaxRecord {
        offset: at as u64,
        reason,
    };
    let rest = &body[at..];
    // A length of more than 19 digits is no length of anything here.
    let space = rest
        .iter()
        .take(20)
        .position(|&b| b == b' ')
        .ok_or_else(|| fault("no length and space"))?;
    let length = number::decimal(&rest[..space])
        .ok_or_else(|| fault("its length is not a decimal number"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > rest.len() {
        return Err(fault("its length goes beyond the header"));
    }
    if length < space + 4 {
        return Err(fault("its length is too small for a key and a value"));
    }
    if rest[length - 1] != b'\n' {
        return Err(fault("no newline at its end"));
    }
    let content = space + 1..length - 1;
    let equals = rest[content.clone()]
        .iter()
        .position(|&b| b == b'=')
        .ok_or_else(|| fault("no equals sign"))?;
    if equals == 0 {
        return Err(fault("its key is empty"));
    }
    let key = content.start..content.start + equals;
    if rest[key.clone()].contains(&0) {
        return Err(fault("its key has a NUL byte"));
    }
    let value = key.end + 1..content.end;
    Ok(Record {
        key: at + key.start..at + key.end,
        value: at + value.start..at + value.end,
        end: at + length,
    })
}

/// Appends a record to an extended header being written.
pub(crate) fn push(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let digits = |n: usize| n.checked_ilog10().unwrap_or(0) as usize + 1;
    // The length counts its own digits, which may push it over a power of ten.
    let mut length = rest + digits(rest);
    length = rest + digits(length);
    body.extend_from_slice(length.to_string().as_bytes());
    body.push(b' ');
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &[u8]) -> Result<Records, TarFault> {
        Records::parse(body, &Limits::default(), Detail::Everything)
    }

    #[test]
    fn values_may_hold_any_byte() {
        let mut body = Vec::new();
        push(&mut body, b"SCHILY.xattr.user.x", b"a\n5 b=\0\xff=");
        push(&mut body, b"path", b"p");
        let records = parse(&body).unwrap();
        assert_eq!(&body[records.xattrs[0].name.clone()], b"user.x");
        assert_eq!(&body[records.xattrs[0].value.clone()], b"a\n5 b=\0\xff=");
        assert_eq!(
            records.path.as_set().map(|r| &body[r.clone()]),
            Some(&b"p"[..])
        );
    }

    #[test]
    fn empty_values_delete_and_the_last_record_counts() {
        let records = parse(b"5 a=\n9 mtime=\n9 size=7\n9 size=8\n").unwrap();
        assert_eq!(records.mtime, Value::Deleted);
        assert_eq!(records.size, Value::Set(8));
        assert_eq!(records.uid, Value::Absent);
    }

    #[test]
    fn malformed_records() {
        for (body, reason) in [
            (&b"12 path=a\n"[..], "its length goes beyond the header"),
            (b"9 path=ab\n", "no newline at its end"),
            (b"10 path=a\n\0\0", "no length and space"),
            (b"x path=a\n", "its length is not a decimal number"),
            (b" 9 path=a\n", "its length is not a decimal number"),
            (b"-9 path=a\n", "its length is not a decimal number"),
            (b"9path=ab\n", "no length and space"),
            (b"6 path\n", "no newline at its end"),
            (b"7 path\n", "no equals sign"),
            (b"5 =ab\n", "no newline at its end"),
            (b"6 =ab\n", "its key is empty"),
            (b"3 \n", "its length is too small for a key and a value"),
            (
                b"0 path=a\n",
                "its length is too small for a key and a value",
            ),
            (b"7 \0a=b\n", "its key has a NUL byte"),
            (b"99999999999999999999999 path=a\n", "no length and space"),
            (b"18446744073709551615 a=b\n", "no length and space"),
            (
                b"9999999999999999999 a=b\n",
                "its length goes beyond the header",
            ),
        ] {
            match parse(body) {
                Err(TarFault::PaxRecord { reason: found, .. }) => {
                    assert_eq!(found, reason, "{body:?}")
                }
                other => panic!("{body:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn malformed_values() {
        for (key, value) in [
            ("uid", "-1"),
            ("size", "1k"),
            ("gid", "+1"),
            ("mtime", "now"),
            ("GNU.sparse.size", ""),
            ("GNU.sparse.new", "1"),
        ] {
            let mut body = Vec::new();
            push(&mut body, key.as_bytes(), value.as_bytes());
            assert!(
                matches!(parse(&body), Err(TarFault::PaxValue { .. })),
                "{key}"
            );
        }
        let mut body = Vec::new();
        push(&mut body, b"uid", b"4294967296");
        assert!(matches!(
            parse(&body),
            Err(TarFault::NumberRange {
                found: 0x1_0000_0000,
                ..
            })
        ));
    }

    proptest! {
        #[test]
        fn what_push_writes_parse_reads(key in "[a-z]{1,40}", value in prop::collection::vec(any::<u8>(), 0..2000)) {
            let key = format!("SCHILY.xattr.{key}");
            let mut body = Vec::new();
            push(&mut body, key.as_bytes(), &value);
            let records = parse(&body).unwrap();
            prop_assert_eq!(&body[records.xattrs[0].key.clone()], key.as_bytes());
            prop_assert_eq!(&body[records.xattrs[0].value.clone()], &value[..]);
        }

        #[test]
        fn any_bytes_give_an_answer(body in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&body));
        }
    }
}
