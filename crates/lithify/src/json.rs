//! JSON that is safe to show: what could drive a terminal or turn text around stands as `\uXXXX`.
//!
//! JSON itself escapes only what is below U+0020. The same value with more escaped is the same value to every reader.

use std::io::{self, Write};

use lithify_tree::is_unsafe;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

/// Writes a value as JSON on one line.
///
/// ```
/// let mut line = Vec::new();
/// lithify::write_json(&mut line, &"\u{9b}2J\u{202e}\u{e0001}")?;
/// assert_eq!(line, br#""\u009b2J\u202e\udb40\udc01""#);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What the writer says, or that the value is none JSON has.
pub fn write_json(out: impl Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(out, Safe(CompactFormatter));
    Ok(value.serialize(&mut serializer)?)
}

/// Writes a value as indented JSON.
///
/// # Errors
/// As [`write_json`].
pub fn write_json_pretty(out: impl Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(out, Safe(PrettyFormatter::new()));
    Ok(value.serialize(&mut serializer)?)
}

/// Escapes more of strings, and leaves the rest to another.
struct Safe<F>(F);

impl<F: Formatter> Formatter for Safe<F> {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_unsafe(c)) {
            out.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_key(out)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_character_comes_back_and_none_can_drive_a_terminal() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        let value = json!({ all.as_str(): [all.as_str(), {"k\u{7f}": 1.5}, null, [], {}] });
        for pretty in [false, true] {
            let mut text = Vec::new();
            match pretty {
                false => write_json(&mut text, &value).unwrap(),
                true => write_json_pretty(&mut text, &value).unwrap(),
            }
            let text = String::from_utf8(text).unwrap();
            let bad = text.chars().find(|&c| c != '\n' && is_unsafe(c));
            assert_eq!(bad, None);
            let back: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(back == value);
        }
    }

    #[test]
    fn without_such_characters_it_is_the_json_of_everyone() {
        let value = json!({"a": [1, "\u{1}\t\"\\ä/\u{1f600}", {}, [true]], "b": null});
        let mut text = Vec::new();
        write_json(&mut text, &value).unwrap();
        assert_eq!(text, serde_json::to_vec(&value).unwrap());
        text.clear();
        write_json_pretty(&mut text, &value).unwrap();
        assert_eq!(text, serde_json::to_vec_pretty(&value).unwrap());
    }
}
