//! JSON objects whose members keep their order and their text.
//!
//! Files with secrets are read in two steps, because serde's own messages quote the offending value: first an object
//! is cut into members, then each member is asked for the type it should have. No error made here holds a value.

use std::fmt;

use lithify_escape::Escaped;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of an object, in order, verbatim.
#[derive(Default)]
pub(crate) struct Members(pub(crate) Vec<(String, Box<RawValue>)>);

/// What is wrong with a JSON text. It never holds a value of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON.
    #[error("no valid JSON at line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Valid, but of another type.
    #[error("expected {expected}")]
    Type {
        /// What belongs there.
        expected: &'static str,
    },
    /// A name that occurs twice in one object.
    #[error("member `{}` is given twice", Escaped(.name))]
    Duplicate {
        /// The name.
        name: String,
    },
}

impl Members {
    pub(crate) fn parse(text: &str) -> Result<Self, JsonError> {
        if !text.trim_start().starts_with('{') {
            return Err(match text.trim().is_empty() {
                true => JsonError::Syntax { line: 1, column: 1 },
                false => JsonError::Type {
                    expected: "an object",
                },
            });
        }
        let members: Self = serde_json::from_str(text).map_err(|error| JsonError::Syntax {
            line: error.line(),
            column: error.column(),
        })?;
        let mut names: Vec<&str> = members.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(JsonError::Duplicate {
                name: pair[0].to_owned(),
            });
        }
        Ok(members)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| &**value)
            .filter(|value| value.get() != "null")
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<String>, JsonError> {
        self.get(name).map(string).transpose()
    }

    /// A member that is an object; an empty one if it is missing.
    pub(crate) fn object(&self, name: &str) -> Result<Self, JsonError> {
        self.get(name)
            .map_or_else(|| Ok(Self::default()), |value| Self::parse(value.get()))
    }

    /// Puts a member in its old place, or at the end.
    pub(crate) fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The object as text, a member to a line, indented by `depth` tabs as docker writes its own file.
    pub(crate) fn print(&self, depth: usize) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let indent = "\t".repeat(depth + 1);
        let members: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{indent}{}: {}", quote(name), value.get()))
            .collect();
        format!("{{\n{}\n{}}}", members.join(",\n"), "\t".repeat(depth))
    }
}

/// A JSON string.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(crate) fn string(value: &RawValue) -> Result<String, JsonError> {
    serde_json::from_str(value.get()).map_err(|_| JsonError::Type {
        expected: "a string",
    })
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_order_and_text() {
        let text = "{ \"b\": 1e400, \"a\": [ 1 ], \"c\": null }";
        let members = Members::parse(text).unwrap();
        assert_eq!(
            members.print(0),
            "{\n\t\"b\": 1e400,\n\t\"a\": [ 1 ],\n\t\"c\": null\n}"
        );
        assert!(members.get("c").is_none());
        assert_eq!(Members::parse("{}").unwrap().print(3), "{}");
    }

    #[test]
    fn errors_hold_no_values() {
        for text in [
            "\"hunter2\"",
            "{\"a\": hunter2}",
            "{\"a\": \"hunter2\"",
            "",
            "[]",
            "{} x",
            "{\"a\":1,\"a\":2}",
        ] {
            let error = Members::parse(text).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let members = Members::parse("{\"a\": [\"hunter2\"]}").unwrap();
        assert!(
            !members
                .string("a")
                .unwrap_err()
                .to_string()
                .contains("hunter2")
        );
        assert!(members.object("a").is_err());
    }
}
