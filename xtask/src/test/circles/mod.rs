//! Import circles between the source files of a crate.
//!
//! Files that import each other in a circle can only be understood together. The facade has none between files, no crate
//! has one between folders, or between a folder and a file beside it. What a `mod.rs` or `lib.rs` hands on (`pub use`)
//! counts for the file it comes from. Tests inside a file do not count.

mod graph; // circles in any graph
mod imports; // what a file imports

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use imports::{Imports, Names};
use xtask::error::{At as _, Error};
use xtask::sh;

/// The crate whose files are in no circle at all.
const STRICT: &str = "lithify";

/// Returns a line for each circle of each crate.
fn of_the_workspace() -> Result<Vec<String>, Error> {
    let crates = sh::root().join("crates");
    let mut found = Vec::new();
    for entry in fs::read_dir(&crates).at("read", &crates)? {
        let source = entry.at("read", &crates)?.path().join("src");
        if source.is_dir() {
            found.extend(Crate::read(&source)?.circles());
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a crate, by the modules they are.
struct Crate {
    name: String,
    files: BTreeMap<Names, File>,
}

struct File {
    /// Relative to the crate's `src`.
    path: PathBuf,
    imports: Imports,
}

impl Crate {
    fn read(source: &Path) -> Result<Self, Error> {
        let mut paths = Vec::new();
        list(source, &mut paths)?;
        let mut files = BTreeMap::new();
        for path in paths {
            let text = fs::read_to_string(&path).at("read", &path)?;
            let path = path.strip_prefix(source).unwrap_or(&path).to_owned();
            let module = module(&path);
            let imports = Imports::of(&text, &module);
            files.insert(module, File { path, imports });
        }
        let name = source.parent().and_then(Path::file_name);
        let name = name.map(|n| n.to_string_lossy().into_owned());
        Ok(Self {
            name: name.unwrap_or_default(),
            files,
        })
    }

    /// Returns a line for each circle.
    fn circles(&self) -> Vec<String> {
        let edges = self.edges();
        let mut found = Vec::new();
        if self.name == STRICT {
            found.extend(graph::circles(&edges));
        }
        let mut folders: BTreeSet<&Path> = BTreeSet::new();
        for file in self.files.values() {
            folders.extend(file.path.ancestors().skip(1));
        }
        for folder in folders {
            let inside = edges.iter().filter_map(|(from, to)| {
                let (from, to) = (child(folder, from)?, child(folder, to)?);
                (from != to).then_some((from, to))
            });
            let circles = graph::circles(&inside.collect());
            found.extend(
                circles
                    .into_iter()
                    .filter(|c| c.iter().any(|p| p.extension().is_none())),
            );
        }
        found.sort();
        found.dedup();
        let shown = found.into_iter().map(|circle| {
            let names: Vec<_> = circle.iter().map(|p| p.display().to_string()).collect();
            let within = |p: &PathBuf| circle.iter().any(|c| p.starts_with(c));
            let arrows = edges.iter().filter(|(from, to)| {
                let apart = circle
                    .iter()
                    .all(|c| !(from.starts_with(c) && to.starts_with(c)));
                apart && within(from) && within(to)
            });
            let arrows: Vec<_> = arrows
                .map(|(from, to)| format!("{} -> {}", from.display(), to.display()))
                .collect();
            format!(
                "{}: {} ({})",
                self.name,
                names.join(", "),
                arrows.join("; ")
            )
        });
        shown.collect()
    }

    /// Returns which file imports which other one.
    fn edges(&self) -> BTreeSet<(PathBuf, PathBuf)> {
        let mut edges = BTreeSet::new();
        for file in self.files.values() {
            for path in &file.imports.paths {
                if let Some(to) = self.resolve(path, 8)
                    && to != file.path
                {
                    edges.insert((file.path.clone(), to.to_owned()));
                }
            }
        }
        edges
    }

    /// Returns the file that has what a path from the crate's root leads to.
    fn resolve(&self, path: &[String], depth: usize) -> Option<&Path> {
        let depth = depth.checked_sub(1)?;
        let modules = (0..=path.len())
            .rev()
            .find(|n| self.files.contains_key(&path[..*n]))?;
        let file = &self.files[&path[..modules]];
        let rest = &path[modules..];
        if let Some(source) = rest.first().and_then(|name| file.imports.names.get(name)) {
            let source: Names = source.iter().chain(&rest[1..]).cloned().collect();
            // What comes from another crate is this file's own.
            return self.resolve(&source, depth).or(Some(&file.path));
        }
        // A name of the root that is none of its own is no path into this crate.
        (modules > 0 || !rest.is_empty()).then_some(&*file.path)
    }
}

/// Returns the file or folder in `folder` that a file is or is in; `None` for what hands on what the others have.
fn child(folder: &Path, file: &Path) -> Option<PathBuf> {
    let inside = file.strip_prefix(folder).ok()?;
    let first = inside.iter().next()?;
    match first.to_str()? {
        "mod.rs" | "lib.rs" | "main.rs" => None,
        _ => Some(folder.join(first)),
    }
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).at("read", folder)? {
        let path = entry.at("read", folder)?.path();
        if path.is_dir() {
            list(&path, paths)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// Returns the names of the module a file is.
fn module(path: &Path) -> Names {
    let stem = path.with_extension("");
    let names = stem.iter().map(|n| n.to_string_lossy().into_owned());
    let mut names: Names = names.collect();
    if names
        .last()
        .is_some_and(|n| ["mod", "lib", "main"].contains(&n.as_str()))
    {
        names.pop();
    }
    names
}

mod tests {
    use super::*;

    #[test]
    fn the_workspace_has_none() {
        let found = of_the_workspace().unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| {
            let path = PathBuf::from(path);
            let module = module(&path);
            let imports = Imports::of(text, &module);
            (module, File { path, imports })
        });
        let found = Crate {
            name: STRICT.into(),
            files: files.collect(),
        };
        let name = |circle: String| circle.split(" (").next().unwrap().to_owned();
        found.circles().into_iter().map(name).collect()
    }

    #[test]
    fn files_that_import_each_other_are_found() {
        let none: [&str; 0] = [];
        assert_eq!(
            circles(&[("a.rs", "use crate::b::B;"), ("b.rs", "struct B;")]),
            none
        );
        assert_eq!(
            circles(&[
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "fn f() -> crate::a::A {}")
            ]),
            ["lithify: a.rs, b.rs"]
        );
        // By what is handed on, over three files.
        assert_eq!(
            circles(&[
                (
                    "lib.rs",
                    "mod a; mod b; mod c; pub use c::{C, other::D as E};"
                ),
                ("a.rs", "use super::b::{self, B};"),
                ("b.rs", "use crate::{C, x::y};"),
                ("c.rs", "use crate::a; // use crate::b"),
            ]),
            ["lithify: a.rs, b.rs, c.rs"]
        );
        // Tests do not count, nor do words in texts.
        assert_eq!(
            circles(&[
                ("a.rs", "use crate::b::B;"),
                (
                    "b.rs",
                    "const X: &str = \"crate::a::A\";\n#[cfg(test)]\nmod tests { use crate::a::A; }"
                ),
            ]),
            none
        );
    }

    #[test]
    fn folders_that_import_each_other_are_found() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod one; pub(crate) use one::One;"),
            ("a/one.rs", "use crate::b::two::Two;"),
            ("b/mod.rs", "pub(crate) mod two; pub(crate) mod three;"),
            ("b/two.rs", ""),
            ("b/three.rs", "use crate::a::One;"),
        ];
        assert_eq!(circles(&files), ["lithify: a, b"]);
    }
}
