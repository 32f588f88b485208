//! Extended attributes in PAX records.

use std::borrow::Cow;
use std::collections::HashSet;

use lithify_tree::{NAME_MAX, Xattrs};

use crate::error::TarFault;
use crate::limits::{Limit, LimitExceeded, Limits};
use crate::pax::XattrRecord;

/// What the keyword of an attribute begins with in the form everyone reads.
const SCHILY: &[u8] = b"SCHILY.xattr.";

/// The keyword of an attribute. A keyword ends at the first equals sign, so those of the name are `%3D`, and percent signs
/// `%25`: GNU tar's spelling (since 1.29; tried with 1.34).
pub(crate) fn key(name: &[u8]) -> Vec<u8> {
    let mut key = SCHILY.to_vec();
    for &byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            _ => key.push(byte),
        }
    }
    key
}

/// The name in a `SCHILY` keyword: as GNU tar reads it, `%3D` and `%25` stand for what they replace and everything else for
/// itself.
fn name(mut text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let (byte, length) = match text.get(..3) {
            Some(b"%3D") => (b'=', 3),
            Some(b"%25") => (b'%', 3),
            _ => (first, 1),
        };
        out.push(byte);
        text = text.get(length..).unwrap_or(rest);
    }
    Cow::Owned(out)
}

/// The attributes of one entry; and the names of those that were left out ([`Limits::drop_xattrs`]), cut to what a name may have.
///
/// libarchive writes each attribute both ways; where the two differ, the `SCHILY` one counts, being the one every
/// reader knows. But libarchive encodes the name the same way in both, so where a `LIBARCHIVE` record has the same
/// encoded name, that is what the `SCHILY` one means (bsdtar 3.6.2). POSIX lets an empty value delete a key, but an
/// empty attribute is an attribute.
pub(crate) fn collect(
    body: &[u8],
    records: &[XattrRecord],
    limits: &Limits,
) -> Result<(Xattrs, Vec<Vec<u8>>), TarFault> {
    let mut pairs = Vec::with_capacity(records.len());
    let mut bytes = 0u64;
    let text = |record: &XattrRecord| &body[record.name.clone()];
    let encoded_names: HashSet<&[u8]> = records
        .iter()
        .filter(|record| record.encoded && text(record).contains(&b'%'))
        .map(text)
        .collect();
    for record in records {
        let (name, value) = (text(record), &body[record.value.clone()]);
        bytes += (name.len() + value.len()) as u64;
        LimitExceeded::check(Limit::XattrBytes, limits.xattr_bytes, bytes)?;
        let encoding = || TarFault::XattrEncoding {
            key: body[record.key.clone()].to_vec(),
        };
        let pair = if record.encoded {
            (
                Cow::Owned(url_decode(name).ok_or_else(encoding)?),
                Cow::Owned(base64_decode(value).ok_or_else(encoding)?),
            )
        } else if encoded_names.contains(name) {
            let name = url_decode(name).ok_or_else(encoding)?;
            (Cow::Owned(name), Cow::Borrowed(value))
        } else {
            (self::name(name), Cow::Borrowed(value))
        };
        pairs.push((record.encoded, pair));
    }
    // The last of a name replaces those before. In order of names, each is added at the end: many attributes
    // do not take quadratic time.
    pairs.sort_by(|(a_encoded, a), (b_encoded, b)| a.0.cmp(&b.0).then(b_encoded.cmp(a_encoded)));
    let mut xattrs = Xattrs::new();
    let mut dropped: Vec<Vec<u8>> = Vec::new();
    for (_, (name, value)) in &pairs {
        match xattrs.set(name, value) {
            Err(_) if limits.drop_xattrs => {
                // An earlier value of the name does not count either.
                xattrs.remove(name);
                let shown = &name[..name.len().min(NAME_MAX)];
                if dropped.last().is_none_or(|last| last != shown) {
                    dropped.push(shown.to_vec());
                }
            }
            set => {
                set?;
                dropped.pop_if(|last| last[..] == **name);
            }
        }
    }
    Ok((xattrs, dropped))
}

fn url_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            out.push(hex(*rest.next()?)? << 4 | hex(*rest.next()?)?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// Base64 of RFC 4648 with or without its padding: libarchive leaves it out.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&b| b == b'=').count();
    if padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return None;
    }
    let digits = &text[..text.len() - padding];
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for &digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detail::Detail;
    use crate::pax::{self, Records};

    #[test]
    fn base64_as_rfc_4648_and_libarchive_have_it() {
        for (text, bytes) in [
            (&b""[..], &b""[..]),
            (b"Zg==", b"f"),
            (b"Zg", b"f"),
            (b"Zm8=", b"fo"),
            (b"Zm8", b"fo"),
            (b"Zm9v", b"foo"),
            (b"Zm9vYg", b"foob"),
            (b"/+8A", b"\xff\xef\0"),
        ] {
            assert_eq!(base64_decode(text).as_deref(), Some(bytes), "{text:?}");
        }
        for text in [
            &b"Z"[..],
            b"Zm9vY",
            b"Zg=",
            b"====",
            b"Zg==Zg==",
            b"Zm 9v",
            b"Zm9_",
        ] {
            assert_eq!(base64_decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn url_encoding() {
        assert_eq!(
            url_decode(b"user.a%3Db%00").as_deref(),
            Some(&b"user.a=b\0"[..])
        );
        assert_eq!(url_decode(b"%4"), None);
        assert_eq!(url_decode(b"%zz"), None);
        assert_eq!(url_decode(b"%+1"), None);
    }

    fn attributes(records: &[(&[u8], &[u8])], limits: &Limits) -> Result<Xattrs, TarFault> {
        let mut body = Vec::new();
        for (key, value) in records {
            pax::push(&mut body, key, value);
        }
        let records = Records::parse(&body, limits, Detail::Everything)?;
        collect(&body, &records.xattrs, limits).map(|(xattrs, dropped)| {
            assert!(limits.drop_xattrs || dropped.is_empty());
            xattrs
        })
    }

    #[test]
    fn what_linux_cannot_hold_is_left_out_on_request() {
        let limits = Limits {
            drop_xattrs: true,
            ..Limits::default()
        };
        let long = vec![b'v'; 65537];
        let name = [&b"user."[..], &[b'n'; 251]].concat();
        let mut body = Vec::new();
        for (key, value) in [
            (&b"user.kept"[..], &b"1"[..]),
            (b"user.long", b"short"),
            (b"user.long", &long),
            (&name, b""),
            (b"", b"x"),
        ] {
            pax::push(&mut body, &[SCHILY, key].concat(), value);
        }
        let records = Records::parse(&body, &limits, Detail::Everything).unwrap();
        let (xattrs, dropped) = collect(&body, &records.xattrs, &limits).unwrap();
        assert_eq!(
            xattrs.iter().collect::<Vec<_>>(),
            [(&b"user.kept"[..], &b"1"[..])]
        );
        let expected = [&b""[..], b"user.long", &name[..255]];
        assert_eq!(dropped, expected);
        let strict = Limits::default();
        assert!(collect(&body, &records.xattrs, &strict).is_err());
    }

    #[test]
    fn schily_goes_before_libarchive_and_empty_values_stay() {
        let xattrs = attributes(
            &[
                (b"SCHILY.xattr.user.both", b"schily"),
                (b"LIBARCHIVE.xattr.user.both", b"bGli"),
                (b"LIBARCHIVE.xattr.user.%6fnly", b"bGli"),
                (b"SCHILY.xattr.user.empty", b""),
                (b"SCHILY.xattr.user.twice", b"1"),
                (b"SCHILY.xattr.user.twice", b"2"),
            ],
            &Limits::default(),
        )
        .unwrap();
        let found: Vec<_> = xattrs.iter().collect();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"user.both", b"schily"),
            (b"user.empty", b""),
            (b"user.only", b"lib"),
            (b"user.twice", b"2"),
        ];
        assert_eq!(found, expected);
    }

    /// Names of files that GNU tar 1.34 and bsdtar 3.6.2 archived, as they wrote them.
    #[test]
    fn names_with_equals_and_percent_signs() {
        for (written, name) in [
            (&b"user.a%3Db"[..], &b"user.a=b"[..]),
            (b"user.a%25b", b"user.a%b"),
            (b"user.a%253Db", b"user.a%3Db"),
            (b"user.a%2525b", b"user.a%25b"),
            (b"user.a%253db", b"user.a%3db"),
            (b"user.p%3D", b"user.p="),
            (b"user.new\nline", b"user.new\nline"),
            (b"user.\xff", b"user.\xff"),
        ] {
            assert_eq!(key(name), [b"SCHILY.xattr.", written].concat());
            let key = [b"SCHILY.xattr.", written].concat();
            let xattrs = attributes(&[(&key, b"v=1")], &Limits::default()).unwrap();
            let found: Vec<_> = xattrs.iter().collect();
            assert_eq!(found, [(name, &b"v=1"[..])]);
        }
        // What no one escapes stays what it is.
        for name in [
            &b"user.a%b"[..],
            b"user.a%3db",
            b"user.a%",
            b"user.%2",
            b"user.%41",
        ] {
            let key = [b"SCHILY.xattr.", name].concat();
            let xattrs = attributes(&[(&key, b"")], &Limits::default()).unwrap();
            assert_eq!(xattrs.iter().collect::<Vec<_>>(), [(name, &b""[..])]);
        }
        for (written, name) in [
            (&b"user.new%0Aline"[..], &b"user.new\nline"[..]),
            (b"user.%FF", b"user.\xff"),
            (b"user.a%3Db", b"user.a=b"),
            (b"user.a%253Db", b"user.a%3Db"),
        ] {
            let schily = [b"SCHILY.xattr.", written].concat();
            let libarchive = [b"LIBARCHIVE.xattr.", written].concat();
            let records: [(&[u8], &[u8]); 2] = [(&libarchive, b"dj0x"), (&schily, b"v=1")];
            let xattrs = attributes(&records, &Limits::default()).unwrap();
            assert_eq!(xattrs.iter().collect::<Vec<_>>(), [(name, &b"v=1"[..])]);
        }
    }

    #[test]
    fn bad_attributes_are_errors() {
        let limits = Limits {
            xattr_bytes: 100,
            ..Limits::default()
        };
        assert!(matches!(
            attributes(&[(b"SCHILY.xattr.", b"x")], &limits),
            Err(TarFault::Xattr(_))
        ));
        assert!(matches!(
            attributes(&[(b"LIBARCHIVE.xattr.a%00", b"")], &limits),
            Err(TarFault::Xattr(_))
        ));
        assert!(matches!(
            attributes(&[(b"LIBARCHIVE.xattr.a", b"*")], &limits),
            Err(TarFault::XattrEncoding { .. })
        ));
        assert!(matches!(
            attributes(&[(b"SCHILY.xattr.a", &[0; 100])], &limits),
            Err(TarFault::Limit(LimitExceeded {
                limit: Limit::XattrBytes,
                max: 100,
                found: 101
            }))
        ));
    }
}
