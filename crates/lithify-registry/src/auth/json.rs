//! JSON objects whose members keep their order and their text.
//!
//! Of a member that is given twice the last one counts, and objects given twice are put together, as Go 1.19.8 reads
//! them: these files and answers have one author each, and everyone who reads them reads the same.
//!
//! A member is found by its name in any case where none has exactly that name. (Go 1.19.8 takes the last in any case.)
//!
//! Files with secrets are read in two steps, because serde's own messages quote the offending value: first an object
//! is cut into members, then each member is asked for the type it should have. No error made here holds a value.

use std::fmt;

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
        serde_json::from_str(text).map_err(|error| JsonError::Syntax {
            line: error.line(),
            column: error.column(),
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.all(name).last()
    }

    /// The values of a member, in order; `null` says nothing.
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a RawValue> {
        let name = self.spelled(name);
        let values = self.0.iter();
        let values = values.filter(move |(known, _)| Some(known.as_str()) == name);
        values
            .map(|(_, value)| &**value)
            .filter(|value| value.get() != "null")
    }

    /// A name as it is spelled here: exactly, or else as the last member that differs in case only.
    fn spelled<'a>(&'a self, name: &str) -> Option<&'a str> {
        let names = || self.0.iter().map(|(known, _)| known.as_str());
        names()
            .find(|known| *known == name)
            .or_else(|| names().rev().find(|known| known.eq_ignore_ascii_case(name)))
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<String>, JsonError> {
        self.get(name).map(string).transpose()
    }

    /// A member that is an object; an empty one if it is missing.
    pub(crate) fn object(&self, name: &str) -> Result<Self, JsonError> {
        let mut together = Self::default();
        for value in self.all(name) {
            together.0.extend(Self::parse(value.get())?.0);
        }
        Ok(together)
    }

    /// Puts a member in the place of the one that counts, however its name is spelled.
    pub(crate) fn set_field(&mut self, name: &str, value: Box<RawValue>) {
        let name = self.spelled(name).unwrap_or(name).to_owned();
        self.set(&name, value);
    }

    /// Puts a member in its old place, or at the end, instead of all of that name.
    pub(crate) fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter().position(|(known, _)| known == name) {
            Some(place) => {
                self.0[place].1 = value;
                let mut index = 0;
                self.0.retain(|(known, _)| {
                    index += 1;
                    index <= place + 1 || known != name
                });
            }
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
    fn the_last_of_two_counts() {
        let text = r#"{"a":"1","o":{"x":1,"y":2},"a":"2","o":{"x":3},"o":null}"#;
        let mut members = Members::parse(text).unwrap();
        assert_eq!(members.string("a").unwrap().as_deref(), Some("2"));
        let object = members.object("o").unwrap();
        assert_eq!(object.get("x").unwrap().get(), "3");
        assert_eq!(object.get("y").unwrap().get(), "2");
        members.set("a", RawValue::from_string("3".to_owned()).unwrap());
        members.set("o", RawValue::from_string("{}".to_owned()).unwrap());
        assert_eq!(members.print(0), "{\n\t\"a\": 3,\n\t\"o\": {}\n}");
    }

    #[test]
    fn names_count_in_any_case() {
        let text = r#"{"Token":"1","TOKEN":"2","Auths":{"a":"x"},"user":"3","User":"4"}"#;
        let mut members = Members::parse(text).unwrap();
        assert_eq!(members.string("token").unwrap().as_deref(), Some("2"));
        assert_eq!(members.string("user").unwrap().as_deref(), Some("3"));
        assert_eq!(members.object("auths").unwrap().0.len(), 1);
        members.set_field("auths", RawValue::from_string("{}".to_owned()).unwrap());
        assert!(members.print(0).contains("\"Auths\": {}"));
        assert!(!members.print(0).contains("\"auths\""));
        // Keys of a map are what they are.
        let mut hosts = Members::parse(r#"{"H.example":1}"#).unwrap();
        hosts.set("h.example", RawValue::from_string("2".to_owned()).unwrap());
        assert_eq!(hosts.0.len(), 2);
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
