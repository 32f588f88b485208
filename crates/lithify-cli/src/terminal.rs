//! What goes to a terminal: text that cannot drive it.
//!
//! Names from images are escaped where they are printed. This is the last look, at everything that is printed for a
//! person: an error deep below may hold words of a registry, a path from somebody's description, a daemon's answer.

use std::fmt::Write as _;
use std::io::{self, Stderr, Stdout, Write};

use lithify::{Printable, is_unsafe};

/// Standard output, for text.
pub(crate) fn stdout() -> Text<Stdout> {
    Text::new(io::stdout())
}

/// Standard error, for text.
pub(crate) fn stderr() -> Text<Stderr> {
    Text::new(io::stderr())
}

/// A message as it is printed. Its further lines are indented, so that none can be taken for another message.
pub(crate) fn message(message: &str) -> String {
    let mut text = String::from("lithify: ");
    for (number, line) in message.lines().enumerate() {
        if number > 0 {
            text.push_str("\n  ");
        }
        // Writing to a string does not fail.
        write!(text, "{}", Printable(line)).ok();
    }
    text.push('\n');
    text
}

/// Prints a message on standard error. Nobody listening is no reason to fail.
pub(crate) fn say(text: &str) {
    io::stderr().lock().write_all(message(text).as_bytes()).ok();
}

/// Writes text whose characters that could drive a terminal are escaped; lines and tabs are not its concern.
#[derive(Debug)]
pub(crate) struct Text<W: Write> {
    out: W,
    /// The first bytes of a character whose last ones did not come yet.
    begun: Vec<u8>,
}

impl<W: Write> Text<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            begun: Vec::new(),
        }
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' | '\t' => text.push(c),
                    c if is_unsafe(c) => {
                        let mut utf8 = [0; 4];
                        // As above.
                        write!(text, "{}", Printable(c.encode_utf8(&mut utf8))).ok();
                    }
                    c => text.push(c),
                }
            }
            for byte in chunk.invalid() {
                write!(text, "\\x{byte:02x}").ok();
            }
        }
        self.out.write_all(text.as_bytes())
    }
}

impl<W: Write> Write for Text<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_plain = |b: &u8| matches!(b, b'\n' | b'\t' | b' '..=b'~');
        if self.begun.is_empty() && bytes.iter().all(is_plain) {
            self.out.write_all(bytes)?;
            return Ok(bytes.len());
        }
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        if let Err(e) = std::str::from_utf8(&all)
            && e.error_len().is_none()
        {
            self.begun = all.split_off(e.valid_up_to());
        }
        self.pass(&all)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let begun = std::mem::take(&mut self.begun);
        self.pass(&begun)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_drive_a_terminal_however_it_is_cut() {
        let hostile = "a\u{1b}[2Jb\u{9b}31mc\u{7f}\u{202e}d\u{2028}\u{e0001}ä\t\\\"e\n\u{200f}\r";
        let wanted =
            "a\\x1b[2Jb\\u{9b}31mc\\x7f\\u{202e}d\\u{2028}\\u{e0001}ä\t\\\"e\n\\u{200f}\\r";
        for cut in 1..hostile.len() {
            let mut text = Text::new(Vec::new());
            for piece in hostile.as_bytes().chunks(cut) {
                text.write_all(piece).unwrap();
            }
            text.flush().unwrap();
            assert_eq!(String::from_utf8(text.out).unwrap(), wanted, "{cut}");
        }
        let mut text = Text::new(Vec::new());
        text.write_all(b"x\xff\xc3").unwrap();
        text.flush().unwrap();
        assert_eq!(text.out, b"x\\xff\\xc3");
    }
}
