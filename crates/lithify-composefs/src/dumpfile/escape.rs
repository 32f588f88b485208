//! Bytes in fields.

use std::borrow::Cow;

/// The field of something that is not there.
const NONE: &[u8] = b"-";

/// Reads a field. `None` for a backslash that escapes nothing.
pub(super) fn read(field: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !field.contains(&b'\\') {
        return Some(field.into());
    }
    let mut read = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            read.push(byte);
            continue;
        }
        let (&kind, behind) = rest.split_first()?;
        rest = behind;
        read.push(match kind {
            b'\\' => b'\\',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                let digit = |d: u8| char::from(d).to_digit(16);
                let byte = digit(digits[0])? << 4 | digit(digits[1])?;
                byte.to_le_bytes()[0]
            }
            _ => return None,
        });
    }
    Some(read.into())
}

/// Reads a field that may say that there is nothing.
pub(super) fn read_optional(field: &[u8]) -> Option<Option<Cow<'_, [u8]>>> {
    match field {
        NONE => Some(None),
        field => read(field).map(Some),
    }
}

/// Writes a name as lists have it: a lone `-` means nothing there.
pub(super) fn write_name(name: &[u8], out: &mut Vec<u8>) {
    // Nor does one byte of a longer name.
    name.chunks(1).for_each(|byte| match byte {
        b"-" => out.push(b'-'),
        byte => write(byte, false, out),
    });
}

/// Writes a path as lists have it: with its spaces.
pub(super) fn write_path(path: &[u8], out: &mut Vec<u8>) {
    for (number, part) in path.split(|&b| b == b' ').enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        write_name(part, out);
    }
}

/// Writes a field: what is no printable ASCII, a space, a backslash, `=` in attributes, and a lone `-` are escaped.
pub(super) fn write(bytes: &[u8], in_attribute: bool, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if bytes == NONE && !in_attribute {
        out.extend_from_slice(b"\\x2d");
        return;
    }
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'=' if !in_attribute => out.push(byte),
            b'!'..=b'~' if byte != b'=' => out.push(byte),
            _ => {
                out.extend_from_slice(b"\\x");
                out.push(DIGITS[usize::from(byte >> 4)]);
                out.push(DIGITS[usize::from(byte & 15)]);
            }
        }
    }
}

/// Writes a field that may say that there is nothing. An empty one says so too.
pub(super) fn write_optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None | Some(b"") => out.extend_from_slice(NONE),
        Some(bytes) => write(bytes, false, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        for in_attribute in [false, true] {
            let mut written = Vec::new();
            write(&all, in_attribute, &mut written);
            assert!(written.iter().all(u8::is_ascii_graphic));
            assert_eq!(read(&written).as_deref(), Some(&all[..]));
            assert_eq!(written.contains(&b'='), !in_attribute);
        }
        let mut written = Vec::new();
        write_optional(Some(b"-"), &mut written);
        assert_eq!(written, b"\\x2d");
        assert_eq!(read_optional(&written), Some(Some(b"-"[..].into())));
        assert_eq!(read_optional(b"-"), Some(None));
    }

    #[test]
    fn what_escapes_nothing() {
        for field in [&b"\\"[..], b"a\\q", b"\\x", b"\\x1", b"\\xg0", b"\\x+1"] {
            assert_eq!(read(field), None, "{field:?}");
        }
        assert_eq!(read(b"\\xfF\\t").as_deref(), Some(&b"\xff\t"[..]));
    }
}
