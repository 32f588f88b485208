//! Text of others in messages of ours.

use std::fmt;

/// What a registry or daemon said, on one line: its own lines one behind the other, what could drive a terminal escaped.
pub(crate) struct Said<'a>(pub(crate) &'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.split(['\n', '\r']).map(str::trim);
        for (number, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            for c in line.chars() {
                match c {
                    // Quotes are harmless, and what people search the web for.
                    '"' | '\'' | '\\' => write!(f, "{c}")?,
                    '\t' => f.write_str(" ")?,
                    c => write!(f, "{}", c.escape_debug())?,
                }
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
            r#"toomanyrequests: "slow down"; see https://x/y; bye\u{1b}[2J\u{202e}"#
        );
    }
}
