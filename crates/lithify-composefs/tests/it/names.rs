//! Names in a repository.

use std::fs;

use lithify_composefs::repository::{Category, EntryError, Publication};
use lithify_testkit::temp_dir;

use crate::common::{ALGORITHM, gc, list_image, repository};

#[test]
fn names_never_lead_outside() {
    let tmp = temp_dir();
    let path = tmp.path().join("a/b/c");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let repository = repository(&path, ALGORITHM);
    let id = repository.store_object(b"x").unwrap().id;
    let mut publication = Publication::new();
    for name in ["../../../zz", "/tmp/zz", "..", "a/../../../../zz", ""] {
        publication.stream(name, id).unwrap_err();
        publication.stream_reference(name, "x").unwrap_err();
        publication.image_reference(name, &id).unwrap_err();
        repository.entry(Category::Streams, name).unwrap_err();
        repository.reference(Category::Images, name).unwrap_err();
        repository
            .remove_reference(Category::Images, name)
            .unwrap_err();
    }
    // Nor does a link inside.
    fs::create_dir_all(path.join("streams/refs")).unwrap();
    std::os::unix::fs::symlink(tmp.path(), path.join("streams/refs/out")).unwrap();
    publication.stream("x", id).unwrap();
    publication.stream_reference("out/zz", "x").unwrap();
    repository.publish(&publication).unwrap_err();
    assert!(!tmp.path().join("zz").exists());
}

/// No directory has the name of a link.
#[test]
fn names_do_not_begin_with_others() {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    let id = repository.store_object(&list_image(&[])).unwrap().id;
    let named = |name: &str| {
        let mut publication = Publication::new();
        publication.image(id);
        publication.image_reference(name, &id).unwrap();
        publication
    };
    repository.publish(&named("a/b/c")).unwrap();
    for (name, other) in [
        ("a", "images/refs/a"),
        ("a/b", "images/refs/a/b"),
        ("a/b/c/d", "images/refs/a/b/c"),
        ("a/b/c/d/e", "images/refs/a/b/c"),
    ] {
        let error = repository.publish(&named(name)).unwrap_err();
        assert!(
            matches!(&error, EntryError::Taken { other: found, .. } if found == other),
            "{error}"
        );
    }
    repository.publish(&named("a/b/c")).unwrap();
    repository.publish(&named("a/b/d")).unwrap();
    // A collection leaves no empty directory in the way.
    repository
        .remove_reference(Category::Images, "a/b/c")
        .unwrap();
    gc(&mut repository);
    repository.publish(&named("a/b/c")).unwrap();
    for name in ["a/b/c", "a/b/d"] {
        repository.remove_reference(Category::Images, name).unwrap();
    }
    gc(&mut repository);
    let id = repository.store_object(&list_image(&[])).unwrap().id;
    let mut publication = Publication::new();
    publication.image(id);
    publication.image_reference("a", &id).unwrap();
    repository.publish(&publication).unwrap();
}
