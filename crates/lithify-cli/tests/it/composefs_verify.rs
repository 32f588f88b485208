//! `lithify verify` of composefs images, in repositories and by themselves.

use std::fs;
use std::path::{Path, PathBuf};

use lithify_testkit::{run, temp_dir};
use lithify_verity::file::{FileAlgorithm, FileDigest};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::repositories::{object, object_of, repository, store_dump, store_tree};
use crate::common::{lithify, lithify_output, stderr};

/// A repository with one image, `composefs:REPOSITORY:tree`.
struct Place {
    tmp: TempDir,
    algorithm: FileAlgorithm,
    id: FileDigest,
}

impl Place {
    fn new(algorithm: FileAlgorithm) -> Self {
        let tmp = temp_dir();
        let tree = tmp.path().join("tree");
        fs::create_dir_all(tree.join("d")).unwrap();
        for (name, length) in [("a", 10), ("b", 65), ("d/c", 300_000), ("d/d", 5000)] {
            fs::write(tree.join(name), data(length)).unwrap();
        }
        fs::write(tree.join("same"), data(65)).unwrap();
        fs::hard_link(tree.join("d/c"), tree.join("d/e\n")).unwrap();
        let repository = repository(&tmp.path().join("repository"), algorithm);
        let id = store_tree(&repository, &tree, "tree");
        drop(repository);
        Self { tmp, algorithm, id }
    }

    fn repository(&self) -> PathBuf {
        self.tmp.path().join("repository")
    }

    fn source(&self, name: &str) -> String {
        format!("composefs:{}{name}", self.repository().display())
    }

    fn object(&self, length: usize) -> PathBuf {
        object_of(&self.repository(), self.algorithm, &data(length))
    }

    /// Standard output and standard error of a check that finds damage.
    #[track_caller]
    fn damage(&self, name: &str) -> (String, String) {
        let output = lithify_output(["verify", &self.source(name)]);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{error}");
        (String::from_utf8(output.stdout).unwrap(), error)
    }
}

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 11 + length) as u8).collect()
}

fn below(path: &Path) -> String {
    let names: Vec<_> = path
        .iter()
        .rev()
        .take(3)
        .map(|n| n.to_str().unwrap())
        .collect();
    format!("{}/{}/{}", names[2], names[1], names[0])
}

#[test]
fn an_image_and_its_objects_are_read() {
    for algorithm in FileAlgorithm::ALL {
        let place = Place::new(algorithm);
        let id = place.id.to_string();
        for name in ["", ":tree", &format!(":{}", place.id.hex())] {
            let said = run::text(lithify().args(["verify", &place.source(name)]));
            assert!(said.contains(": ok, "), "{said}");
            let composefs = format!("  composefs image {id} of format 1, 3 objects\n");
            assert!(said.ends_with(&composefs), "{said}");
        }
        let said = run::text(lithify().args(["verify", "--json", &place.source(":tree")]));
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["composefs"]["id"], id);
        assert_eq!(said["composefs"]["has_objects"], true);
        assert_eq!(said["data"], true);
        let size = fs::metadata(object(&place.repository(), &place.id))
            .unwrap()
            .len();
        assert_eq!(said["bytes"], size + 65 + 5000 + 300_000);
    }
}

#[test]
fn damaged_objects_are_named_by_every_file_they_are_of() {
    let place = Place::new(FileAlgorithm::Sha256);
    let [b, c, d] = [65, 300_000, 5000].map(|length| place.object(length));
    fs::remove_file(&b).unwrap();
    let mut bytes = data(300_000);
    bytes[299_999] ^= 1;
    fs::write(&c, bytes).unwrap();
    let (listed, error) = place.damage(":tree");
    let lines: Vec<&str> = listed.lines().collect();
    let expected = [
        ("/b", &b, "is missing"),
        ("/d/c", &c, "is damaged"),
        ("/d/e\\n", &c, "is damaged"),
        ("/same", &b, "is missing"),
    ];
    assert_eq!(lines.len(), expected.len(), "{listed}");
    for (line, (name, object, fault)) in lines.iter().zip(expected) {
        assert!(
            line.starts_with(&format!("{name} -> {}: ", below(object))),
            "{line}"
        );
        assert!(line.contains(fault), "{line}");
    }
    let id = place.id.to_string();
    assert!(error.contains("4 files of the composefs image"), "{error}");
    assert!(error.contains(&id), "{error}");
    let output = lithify_output(["verify", "--json", &place.source(":tree")]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["damaged"][2]["path"], "/d/e\n");
    assert_eq!(said["damaged"][0]["object"], below(&b));
    assert_eq!(said["more"], 0);
    // Shorter, and not a file.
    fs::write(&b, data(65)).unwrap();
    fs::write(&c, data(299_999)).unwrap();
    fs::remove_file(&d).unwrap();
    fs::create_dir(&d).unwrap();
    let (listed, _) = place.damage(":tree");
    let names: Vec<_> = listed
        .lines()
        .map(|l| l.split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["/d/c", "/d/d", "/d/e\\n"]);
}

#[test]
fn an_image_that_is_another_one_is_damage() {
    let place = Place::new(FileAlgorithm::Sha256);
    let path = object(&place.repository(), &place.id);
    let mut bytes = fs::read(&path).unwrap();
    // Where nothing is kept: as a filesystem it is the same.
    bytes[1000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (_, error) = place.damage(":tree");
    assert!(error.contains(&place.id.hex()), "{error}");
}

/// Files without a digest, or with another one than their object's, cannot be right.
#[test]
fn files_that_an_image_says_no_object_of_are_damage() {
    let place = Place::new(FileAlgorithm::Sha256);
    let object = place.object(5000);
    let path = below(&object).replacen("objects/", "", 1);
    let digest = path.replace('/', "");
    let line = |name: &str, size: u64, payload: &str, digest: &str| {
        format!("/{name} {size} 100644 1 0 0 0 0.0 {payload} - {digest}\n")
    };
    let text = [
        "/ 4096 40755 2 0 0 0 0.0 - - -\n".to_owned(),
        line("elsewhere", 5000, "other/file", &digest),
        line("longer", 5001, &path, &digest),
        line("right", 5000, &path, &digest),
        line("unknown", 5000, &path, "-"),
    ];
    let repository = repository(&place.repository(), FileAlgorithm::Sha256);
    store_dump(&repository, &text.concat(), "odd");
    drop(repository);
    let (listed, _) = place.damage(":odd");
    let lines: Vec<&str> = listed.lines().collect();
    let [elsewhere, longer, unknown] = lines[..] else {
        panic!("{listed}")
    };
    assert!(
        elsewhere.starts_with("/elsewhere -> objects/"),
        "{elsewhere}"
    );
    assert!(elsewhere.contains("`other/file`"), "{elsewhere}");
    assert!(
        longer.contains("has 5001 bytes, and its object has 5000"),
        "{longer}"
    );
    assert!(unknown.starts_with("/unknown -> -: "), "{unknown}");
}

#[test]
fn an_image_by_itself_is_told_for_what_it_is() {
    for algorithm in FileAlgorithm::ALL {
        let place = Place::new(algorithm);
        let file = place.tmp.path().join("image.cfs");
        fs::copy(object(&place.repository(), &place.id), &file).unwrap();
        let said = run::text(lithify().arg("verify").arg(&file));
        let composefs = format!(
            "  composefs image {} of format 1, 3 objects, which are not here",
            place.id
        );
        assert!(said.contains(&composefs), "{said}");
    }
}
