//! One line: a name and what it names.

use std::borrow::Cow;

use lithify_tree::{Device, Entry, EntryKind, Metadata, Timestamp, TreePath, Xattrs};
use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::error::LineFault;
use super::escape;
use crate::source::{Content, INLINE_CONTENT_MAX};

/// Longest line in bytes: a file's attributes at their longest, each byte escaped.
pub(super) const LINE_MAX: usize = 16 << 20;
/// Fields before the attributes.
const FIELDS: usize = 11;

/// `st_mode` of Linux.
const TYPE_BITS: u32 = 0o170_000;
const PERMISSION_BITS: u32 = 0o7777;

/// A line that was read.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) entry: Entry,
    pub(super) link_count: u32,
    /// The content of a regular file that is not empty.
    pub(super) content: Option<Content<'static>>,
}

/// Reads a line, without its end.
pub(super) fn read(line: &[u8]) -> Result<Line, LineFault> {
    let mut fields = line.split(|&b| b == b' ');
    let mut fixed = [&b""[..]; FIELDS];
    for (found, field) in fixed.iter_mut().enumerate() {
        *field = fields.next().ok_or(LineFault::Fields { found })?;
    }
    let [
        path,
        size,
        mode,
        nlink,
        uid,
        gid,
        rdev,
        mtime,
        payload,
        content,
        digest,
    ] = fixed;
    let (mode, is_link) = match mode.strip_prefix(b"@") {
        Some(mode) => (mode, true),
        None => (mode, false),
    };
    let mode = octal(mode)?;
    let shown = unescape("path", path)?.into_owned();
    let path = absolute(&shown)?;
    let payload = optional("payload", payload)?;
    if is_link {
        if mode & TYPE_BITS == 0o040_000 {
            return Err(LineFault::DirectoryLink { path: shown });
        }
        let target = payload.ok_or(LineFault::NoTarget { path: shown })?;
        return Ok(Line {
            entry: Entry {
                path,
                metadata: Metadata::default(),
                kind: EntryKind::HardLink {
                    target: absolute(&target)?,
                },
            },
            link_count: 0,
            content: None,
        });
    }
    let size = number("size", "a number of bytes", size)?;
    let link_count = number("number of links", "a number of 32 bits", nlink)?;
    let content = optional("content", content)?;
    let device = device(number("device", "a number of 32 bits", rdev)?);
    let mut data = None;
    let kind = match mode & TYPE_BITS {
        0o040_000 => EntryKind::Directory,
        0o100_000 => {
            data = file(&shown, size, payload, content, digest)?;
            EntryKind::File {
                size,
                segments: None,
            }
        }
        0o120_000 => EntryKind::Symlink {
            target: payload
                .ok_or(LineFault::NoTarget { path: shown })?
                .into_owned(),
        },
        0o020_000 => EntryKind::CharDevice(device),
        0o060_000 => EntryKind::BlockDevice(device),
        0o010_000 => EntryKind::Fifo,
        0o140_000 => EntryKind::Socket,
        _ => return Err(LineFault::Mode { path: shown, mode }),
    };
    Ok(Line {
        entry: Entry {
            path,
            metadata: Metadata {
                // Twelve bits.
                mode: (mode & PERMISSION_BITS) as u16,
                uid: number("owner", "a number of 32 bits", uid)?,
                gid: number("group", "a number of 32 bits", gid)?,
                mtime: time(mtime)?,
                xattrs: attributes(fields)?,
            },
            kind,
        },
        link_count,
        content: data,
    })
}

fn file(
    path: &[u8],
    size: u64,
    payload: Option<Cow<'_, [u8]>>,
    content: Option<Cow<'_, [u8]>>,
    digest: &[u8],
) -> Result<Option<Content<'static>>, LineFault> {
    let length = content.as_ref().map(|content| content.len() as u64);
    if let Some(found) = length.filter(|&l| l != size || l > INLINE_CONTENT_MAX as u64) {
        return Err(LineFault::Content {
            path: path.to_vec(),
            expected: size,
            found,
        });
    }
    if size == 0 {
        return Ok(None);
    }
    if let Some(content) = content {
        return Ok(Some(Content::Inline(content.into_owned().into())));
    }
    let digest = match digest {
        b"-" => None,
        hex => {
            let algorithm = FileAlgorithm::ALL
                .into_iter()
                .find(|a| a.digest_size() * 2 == hex.len());
            let parsed = algorithm
                .zip(std::str::from_utf8(hex).ok())
                .and_then(|(algorithm, hex)| FileDigest::from_hex(algorithm, hex).ok());
            Some(parsed.ok_or_else(|| LineFault::Digest {
                path: path.to_vec(),
            })?)
        }
    };
    Ok(Some(Content::External {
        path: payload.map(|path| path.into_owned().into()),
        digest,
    }))
}

fn attributes<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Result<Xattrs, LineFault> {
    let mut attributes = Xattrs::new();
    for field in fields {
        let split = field.iter().position(|&b| b == b'=');
        let at = split.ok_or_else(|| LineFault::NoValue {
            text: field.to_vec(),
        })?;
        let name = unescape("attribute", &field[..at])?;
        let value = unescape("attribute", &field[at + 1..])?;
        attributes.set(&name, &value)?;
    }
    Ok(attributes)
}

fn unescape<'a>(field: &'static str, text: &'a [u8]) -> Result<Cow<'a, [u8]>, LineFault> {
    escape::read(text).ok_or_else(|| LineFault::Escape {
        field,
        text: text.to_vec(),
    })
}

fn optional<'a>(field: &'static str, text: &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, LineFault> {
    escape::read_optional(text).ok_or_else(|| LineFault::Escape {
        field,
        text: text.to_vec(),
    })
}

/// Reads a path as dumpfiles have them: with nothing to clean.
fn absolute(path: &[u8]) -> Result<TreePath, LineFault> {
    let clean = TreePath::clean(path)?;
    if path.strip_prefix(b"/") != Some(clean.as_bytes()) {
        return Err(LineFault::NotAbsolute {
            path: path.to_vec(),
        });
    }
    Ok(clean)
}

/// Reads a decimal number: digits alone.
fn number<N: std::str::FromStr>(
    field: &'static str,
    expected: &'static str,
    text: &[u8],
) -> Result<N, LineFault> {
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text);
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| LineFault::Number {
            field,
            expected,
            text: text.to_vec(),
        })
}

fn octal(text: &[u8]) -> Result<u32, LineFault> {
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text);
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .ok_or_else(|| LineFault::Number {
            field: "mode",
            expected: "octal digits, `@` before those of a hard link",
            text: text.to_vec(),
        })
}

/// Reads `SECONDS.NANOSECONDS`: two numbers, no fraction.
fn time(text: &[u8]) -> Result<Timestamp, LineFault> {
    let fault = || LineFault::Number {
        field: "time",
        expected: "SECONDS.NANOSECONDS",
        text: text.to_vec(),
    };
    let at = text.iter().position(|&b| b == b'.').ok_or_else(fault)?;
    let (seconds, nanoseconds) = (&text[..at], &text[at + 1..]);
    let (is_negative, digits) = match seconds.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, seconds),
    };
    let seconds: i64 = number("time", "", digits).map_err(|_| fault())?;
    let nanoseconds: u32 = number("time", "", nanoseconds).map_err(|_| fault())?;
    if nanoseconds >= 1_000_000_000 {
        return Err(fault());
    }
    Ok(Timestamp {
        seconds: if is_negative { -seconds } else { seconds },
        nanoseconds,
    })
}

/// Reads a device number of 32 bits (`new_decode_dev` of the kernel's `include/linux/kdev_t.h`).
fn device(number: u32) -> Device {
    Device {
        major: number >> 8 & 0xfff,
        minor: number & 0xff | number >> 12 & 0xf_ff00,
    }
}
