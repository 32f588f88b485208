//! Odd bytes, shown.

use std::fmt::Write as _;

/// Shows bytes as text: printable ASCII as it is, a backslash as `\\`, anything else as `\xNN`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string takes any text"),
        }
    }
    text
}
