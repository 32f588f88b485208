//! Text of others in messages of ours.

use std::fmt;

use lithify_escape::Printable;

/// What a registry or daemon said, on one line: its own lines one behind the other, what could drive a terminal escaped.
pub(crate) struct Said<'a>(pub(crate) &'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.split(['\n', '\r']).map(str::trim);
        for (number, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            for (number, words) in line.split('\t').enumerate() {
                if number > 0 {
                    f.write_str(" ")?;
                }
                write!(f, "{}", Printable(words))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_others_are_one_line_and_harmless() {
        let said = "toomanyrequests: \"slow down\"\r\n\tsee https://x/y\n\nbye\u{1b}[2J\u{202e}\n";
        assert_eq!(
            Said(said).to_string(),
            r#"toomanyrequests: "slow down"; see https://x/y; bye\x1b[2J\u{202e}"#
        );
    }
}
