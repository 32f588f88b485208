//! Values to bytes.

use super::value::{Json, Key};

impl Json {
    /// Returns the canonical form of the value (RFC 8785): no spaces, keys in order, only those escapes that have to be.
    pub(crate) fn canonical(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(value) => out.push_str(&value.to_string()),
            Self::String(value) => write_string(value, out),
            Self::Array(values) => {
                out.push('[');
                for (number, value) in values.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Object(values) => {
                out.push('{');
                for (number, (Key(key), value)) in values.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Writes a string (RFC 8785, section 3.2.2.2).
fn write_string(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn canonical(text: &str) -> String {
        parse(text.as_bytes(), 1 << 20).unwrap().canonical()
    }

    #[test]
    fn keys_are_in_the_order_of_the_rfc() {
        // RFC 8785, section 3.2.3: the emoji's surrogates are less than U+FB33.
        let text = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(text), expected);
    }

    #[test]
    fn strings_have_the_escapes_of_the_rfc() {
        // RFC 8785, section 3.2.2, but for the numbers.
        let text = r#"{"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#;
        let expected =
            "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(canonical(text), expected);
    }

    #[test]
    fn it_is_its_own_form() {
        let once = canonical(
            "{ \"b\" : [ 1 , {} , [] , \"\\u007f\\b\\f\\t\" ] , \"a\" : 9007199254740991 }",
        );
        assert_eq!(
            once,
            "{\"a\":9007199254740991,\"b\":[1,{},[],\"\u{7f}\\b\\f\\t\"]}"
        );
        assert_eq!(canonical(&once), once);
    }
}
