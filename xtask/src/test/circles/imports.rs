//! The paths a source file names, as far as they lead into its own crate.

use std::collections::{BTreeMap, BTreeSet};

/// The names of a path from the root of its crate.
pub(super) type Names = Vec<String>;

/// What a file imports and hands on.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// Paths from the root of the crate that the file makes use of.
    pub(super) paths: BTreeSet<Names>,
    /// Names the file has by `use`, and where they come from.
    pub(super) names: BTreeMap<String, Names>,
}

impl Imports {
    /// Reads a file that is this module.
    pub(super) fn of(text: &str, module: &[String]) -> Self {
        let code = code_of(text);
        let tokens = tokens(&code);
        let children = children(&tokens);
        let mut found = Self::default();
        let mut at = 0;
        while at < tokens.len() {
            let is_public = at > 0 && matches!(tokens[at - 1], "pub" | ")");
            if tokens[at] == "use" {
                let end = (at..tokens.len())
                    .find(|i| tokens[*i] == ";")
                    .unwrap_or(tokens.len());
                let mut leaves = Vec::new();
                tree(&tokens[at + 1..end], &mut 0, &mut Vec::new(), &mut leaves);
                for (path, name) in leaves {
                    let Some(path) = absolute(&path, module, &children) else {
                        continue;
                    };
                    // Handing on is no use of one's own.
                    if !is_public {
                        found.paths.insert(path.clone());
                    }
                    found.names.insert(name, path);
                }
                at = end;
            } else if tokens.get(at + 1) == Some(&"::")
                && (at == 0 || tokens[at - 1] != "::")
                && (matches!(tokens[at], "crate" | "super" | "self")
                    || children.iter().any(|child| child == tokens[at]))
            {
                let mut path = vec![tokens[at].to_owned()];
                while tokens.get(at + 1) == Some(&"::")
                    && let Some(name) = tokens.get(at + 2).filter(|t| is_name(t))
                {
                    path.push((*name).to_owned());
                    at += 2;
                }
                found.paths.extend(absolute(&path, module, &children));
            }
            at += 1;
        }
        found
    }
}

/// Reads a tree of `use`, from the token `at` on: each path, and the name it is known by.
fn tree(tokens: &[&str], at: &mut usize, before: &mut Names, leaves: &mut Vec<(Names, String)>) {
    let depth = before.len();
    while let Some(token) = tokens.get(*at) {
        match *token {
            "{" => {
                *at += 1;
                while tokens.get(*at).is_some_and(|t| *t != "}") {
                    tree(tokens, at, before, leaves);
                    if tokens.get(*at) == Some(&",") {
                        *at += 1;
                    }
                }
                *at += 1;
                before.truncate(depth);
                return;
            }
            "," | "}" => break,
            "as" => {
                let name = tokens.get(*at + 1).unwrap_or(&"_");
                leaves.push((before.clone(), (*name).to_owned()));
                *at += 2;
                before.truncate(depth);
                return;
            }
            "::" => {}
            name => before.push(name.to_owned()),
        }
        *at += 1;
    }
    // `a::{self}` is `a`.
    let mut path = before.clone();
    if path.len() > 1 && path.last().is_some_and(|n| n == "self") {
        path.pop();
    }
    if let Some(name) = path.last().cloned() {
        leaves.push((path, name));
    }
    before.truncate(depth);
}

/// Returns a path from the root of the crate; `None` for one into another crate.
fn absolute(path: &[String], module: &[String], children: &[String]) -> Option<Names> {
    let mut names = path.iter().peekable();
    let mut base: Names = match names.peek()?.as_str() {
        "crate" => {
            names.next();
            Names::new()
        }
        "self" => {
            names.next();
            module.to_vec()
        }
        "super" => module.to_vec(),
        child if children.iter().any(|c| c == child) => module.to_vec(),
        _ => return None,
    };
    while names.peek().is_some_and(|n| *n == "super") {
        names.next();
        base.pop();
    }
    base.extend(names.cloned());
    Some(base)
}

/// Returns the modules a file declares.
fn children(tokens: &[&str]) -> Names {
    let declared = tokens.windows(3).filter(|w| w[0] == "mod" && w[2] == ";");
    declared.map(|w| w[1].to_owned()).collect()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits code into names, `::` and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if c.is_alphanumeric() || c == '_' => rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

/// Returns a file's text without comments, without what is in quotes, and without its tests.
fn code_of(text: &str) -> String {
    let text = match text.find("#[cfg(test)]\nmod ") {
        Some(tests) => &text[..tests],
        None => text,
    };
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |end| end + 2),
            '\'' => character(rest),
            _ => 0,
        };
        match skipped {
            0 => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
            length => {
                code.push(' ');
                rest = &rest[length..];
            }
        }
    }
    code
}

/// Returns the length of a text in quotes.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns the length of a character in quotes; 0 for a lifetime.
fn character(text: &str) -> usize {
    let inside = &text[1..];
    if let Some(escaped) = inside.strip_prefix('\\') {
        let end = escaped.char_indices().skip(1).find(|(_, c)| *c == '\'');
        return end.map_or(0, |(at, _)| at + 3);
    }
    let Some(first) = inside.chars().next() else {
        return 0;
    };
    match inside[first.len_utf8()..].starts_with('\'') {
        true => first.len_utf8() + 2,
        false => 0,
    }
}
