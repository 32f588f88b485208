//! Bytes as printable ASCII that can be read back.

use std::fmt;

/// Bytes with everything but printable ASCII, and besides that space, `"`, `\`, `%` and `=`, as `%XX`.
///
/// The result needs no quoting in JSON, in a line of words, or in front of an `=`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percent<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Percent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'%' | b'=');
        let mut rest = self.0;
        while let Some(first) = rest.first() {
            let length = rest.iter().take_while(|b| plain(b)).count();
            if length == 0 {
                write!(f, "%{first:02X}")?;
                rest = &rest[1..];
                continue;
            }
            let (run, after) = rest.split_at(length);
            // Printable ASCII is UTF-8.
            f.write_str(std::str::from_utf8(run).map_err(|_| fmt::Error)?)?;
            rest = after;
        }
        Ok(())
    }
}

/// Bytes in lower-case hexadecimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_leaves_names_readable_and_hides_the_rest() {
        let text = Percent(b"usr/bin/a b\"c\\d%e\n\xff=").to_string();
        assert_eq!(text, "usr/bin/a%20b%22c%5Cd%25e%0A%FF%3D");
        assert_eq!(Hex(&[0, 0xff, 0x1a]).to_string(), "00ff1a");
    }
}
