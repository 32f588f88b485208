//! The one rule by which names and words of others are shown to a person.
//!
//! A name in an image, a media type, what a registry says: all of it may hold what drives a terminal or forges a line. [`Escaped`]
//! is for names, and can be read back; [`Printable`] is for sentences, whose backslashes are theirs.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;

/// Bytes from an image, printed so that they cannot drive a terminal or forge a line.
///
/// The spelling can be read back: [`unescape`] gives the same bytes.
///
/// Printable text stays as it is (UTF-8 included); control characters, backslashes, bidirectional and other
/// invisible formatting characters and bytes that are not UTF-8 appear as `\n`, `\\`, `\xNN` or `\u{…}`.
///
/// ```
/// use lithify_escape::Escaped;
///
/// assert_eq!(Escaped(b"a\nb\x1b[31m\xff").to_string(), r"a\nb\x1b[31m\xff");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a, T: AsRef<[u8]> + ?Sized = [u8]>(pub &'a T);

impl<'a> Escaped<'a> {
    /// Shows a path of the host, whose bytes need not be UTF-8.
    #[must_use]
    pub fn path(path: &'a (impl AsRef<OsStr> + ?Sized)) -> Self {
        Self(path.as_ref().as_encoded_bytes())
    }
}

impl<T: AsRef<[u8]> + ?Sized> fmt::Display for Escaped<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_ref().utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c => write_char(f, c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Text that is shown as it stands, backslashes and all, but for what could drive a terminal or forge a line: that is
/// escaped as by [`Escaped`]. For text that is escaped in its own way already, such as JSON and messages.
///
/// ```
/// use lithify_escape::Printable;
///
/// assert_eq!(Printable("[\"a\\n\"]\u{9b}").to_string(), r#"["a\n"]\u{9b}"#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write_char(f, c))
    }
}

fn write_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\n' => f.write_str("\\n"),
        '\t' => f.write_str("\\t"),
        '\r' => f.write_str("\\r"),
        c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c)),
        c if is_unsafe(c) => write!(f, "{}", c.escape_unicode()),
        c => write!(f, "{c}"),
    }
}

/// Whether a character must not reach a terminal as it is: control characters, and those that have no picture of their
/// own or change how their neighbours are shown.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// The bytes a spelling of [`Escaped`] stands for. A backslash that begins none of its forms stands for itself, so that names
/// without backslashes, and most with them, are themselves.
///
/// ```
/// use lithify_escape::{Escaped, unescape};
///
/// let name = b"a\\b\nc\xff\xc2\x85";
/// assert_eq!(unescape(Escaped(name).to_string().as_bytes()), name);
/// assert_eq!(unescape(br"C:\dir\xyz"), br"C:\dir\xyz");
/// ```
#[must_use]
pub fn unescape(spelled: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(spelled.len());
    let mut rest = spelled;
    while let Some((&first, behind)) = rest.split_first() {
        rest = match (first, escape(behind)) {
            (b'\\', Some((character, behind))) => {
                character.push_to(&mut bytes);
                behind
            }
            _ => {
                bytes.push(first);
                behind
            }
        };
    }
    bytes
}

/// What an escape stands for.
enum Unescaped {
    Byte(u8),
    Char(char),
}

impl Unescaped {
    fn push_to(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Byte(byte) => bytes.push(byte),
            Self::Char(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// The escape behind a backslash, and what follows it.
fn escape(text: &[u8]) -> Option<(Unescaped, &[u8])> {
    let (&kind, rest) = text.split_first()?;
    let number = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let byte = |byte| Some((Unescaped::Byte(byte), rest));
    match kind {
        b'\\' => byte(b'\\'),
        b'n' => byte(b'\n'),
        b't' => byte(b'\t'),
        b'r' => byte(b'\r'),
        b'x' => {
            let (digits, rest) = rest.split_at_checked(2)?;
            let both = digits.iter().all(u8::is_ascii_hexdigit);
            let byte = u8::try_from(number(digits).filter(|_| both)?).ok()?;
            Some((Unescaped::Byte(byte), rest))
        }
        b'u' => {
            let rest = rest.strip_prefix(b"{")?;
            let end = rest.iter().take(7).position(|&b| b == b'}')?;
            let digits = &rest[..end];
            let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
            let c = char::from_u32(number(digits).filter(|_| all)?)?;
            Some((Unescaped::Char(c), &rest[end + 1..]))
        }
        _ => None,
    }
}

/// Characters that have no picture of their own or change how their neighbours are shown: Unicode's
/// `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt), line and paragraph separators, interlinear annotations.
/// UTR #36 and "Trojan Source" (CVE-2021-42574) show what they can be used for.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}
