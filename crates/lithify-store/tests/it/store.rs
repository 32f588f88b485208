//! Opening, filling and finding.

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;

use crate::common::{assert_clean, build, bytes, key, names, open, task};
use lithify_store::{Access, Error, Facts, Lookup, OpenOptions, Origin, Pending, Store};
use lithify_testkit::{program, require, run, temp_dir};

#[test]
fn an_entry_is_built_once_and_found_with_all_it_had() {
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    assert!(store.get(&key(1)).unwrap().is_none());
    let (built, origin) = build(&store, 1, 10_000);
    assert_eq!(origin, Origin::Built);
    let (entry, origin) = build(&store, 1, 10_000);
    assert_eq!(origin, Origin::Reused);
    assert_eq!(entry.record(), built.record());
    assert_eq!(entry.key(), &key(1));
    assert_eq!(entry.facts()["entries"], 1);
    let names: Vec<_> = entry
        .files()
        .iter()
        .map(|f| (f.name.as_str(), f.size))
        .collect();
    assert_eq!(
        names,
        [("layer.erofs", 10_000), ("layer.erofs.dmverity", 4)]
    );
    let path = entry.path("layer.erofs").unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes(1, 10_000));
    assert_eq!(
        fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o444
    );
    assert!(entry.verify("layer.erofs").unwrap());
    assert!(
        matches!(entry.path("other"), Err(Error::NoSuchFile { available, .. }) if available == "layer.erofs, layer.erofs.dmverity")
    );
    assert!(store.get(&key(2)).unwrap().is_none());
    assert_eq!(crate::common::names(&store.path().join("tmp")), [""; 0]);
    assert_eq!(crate::common::names(&store.path().join("locks")), [""; 0]);
    assert_clean(&store);
}

#[test]
fn an_entry_may_be_facts_alone() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let pending = store.insert(store.lock(&key(1)).unwrap()).unwrap();
    let facts = Facts::from_iter([("self_contained".to_owned(), true.into())]);
    pending.commit(facts.clone()).unwrap();
    assert_eq!(store.get(&key(1)).unwrap().unwrap().facts(), &facts);
    assert_clean(&store);
}

#[test]
fn nothing_unfinished_is_visible() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let pending = store.insert(store.lock(&key(1)).unwrap()).unwrap();
    pending
        .create("layer.erofs")
        .unwrap()
        .write_all(b"half")
        .unwrap();
    assert!(store.get(&key(1)).unwrap().is_none());
    assert_eq!(names(&tmp.path().join("tmp")).len(), 1);
    drop(pending);
    assert!(names(&tmp.path().join("tmp")).is_empty());
    assert!(names(&tmp.path().join("locks")).is_empty());
    // A builder that fails leaves the key to the next.
    let failed: Result<_, Error> = store.get_or_build(&key(1), None, |p| {
        p.create("../escape").map(|_| Facts::new())
    });
    assert!(matches!(failed, Err(Error::FileName { .. })));
    assert_eq!(build(&store, 1, 10).1, Origin::Built);
}

#[test]
fn a_key_can_be_told_at_the_end() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let pending = store.begin().unwrap();
    assert_eq!(pending.key(), None);
    pending.create("a").unwrap().write_all(b"abc").unwrap();
    let lock = store.lock(&key(7)).unwrap();
    let entry = pending.commit_as(lock, Facts::new()).unwrap();
    assert_eq!(entry.key(), &key(7));
    // What another made meanwhile is used instead.
    let pending = store.begin().unwrap();
    pending.create("b").unwrap();
    let other = pending
        .commit_as(store.lock(&key(7)).unwrap(), Facts::new())
        .unwrap();
    assert_eq!(other.record(), entry.record());
    // By its name, as from an image's record.
    let Lookup::Hit(found) = store.look_up_id(entry.id()).unwrap() else {
        panic!("the entry is there");
    };
    assert_eq!(found.key(), &key(7));
    let pending = store.begin().unwrap();
    assert!(matches!(pending.commit(Facts::new()), Err(Error::NoKey)));
    assert!(names(&store.path().join("tmp")).is_empty());
    assert_clean(&store);
}

#[test]
fn only_files_of_their_own_are_stored() {
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let outside = tmp.path().join("outside");
    fs::write(&outside, "x").unwrap();
    let commit = |make: &dyn Fn(&Pending)| {
        let pending = store.insert(store.lock(&key(1)).unwrap()).unwrap();
        make(&pending);
        pending.commit(Facts::new()).unwrap_err()
    };
    let error = commit(&|p| symlink(&outside, p.path("a").unwrap()).unwrap());
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    let error = commit(&|p| fs::hard_link(&outside, p.path("a").unwrap()).unwrap());
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    let error = commit(&|p| fs::create_dir(p.path("a").unwrap()).unwrap());
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    let error = commit(&|p| {
        let directory = p.path("a").unwrap();
        fs::write(directory.with_file_name("entry.json"), "{}").unwrap();
    });
    assert!(matches!(error, Error::FileName { .. }), "{error}");
    assert_eq!(fs::read(&outside).unwrap(), b"x");
    assert!(names(&store.path().join("tmp")).is_empty());
    assert!(names(&store.path().join("artifacts")).is_empty());
}

#[test]
fn a_given_digest_is_recorded() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let digest = |data: &[u8]| lithify_digest::Digest::of(lithify_digest::Algorithm::Sha256, data);
    let mut pending = store.insert(store.lock(&key(1)).unwrap()).unwrap();
    pending.create("a").unwrap().write_all(b"abc").unwrap();
    pending.set_sha256("a", digest(b"abc"));
    let entry = pending.commit(Facts::new()).unwrap();
    assert_eq!(entry.file("a").unwrap().sha256, digest(b"abc"));
    assert_clean(&store);
    // One of another kind is refused.
    let mut pending = store.insert(store.lock(&key(2)).unwrap()).unwrap();
    pending.create("a").unwrap();
    pending.set_sha256(
        "a",
        lithify_digest::Digest::of(lithify_digest::Algorithm::Sha512, b""),
    );
    assert!(matches!(
        pending.commit(Facts::new()),
        Err(Error::Unrecordable { .. })
    ));
}

#[test]
fn facts_without_end_are_refused() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let pending = store.insert(store.lock(&key(1)).unwrap()).unwrap();
    let facts = Facts::from_iter([("x".to_owned(), "x".repeat(5 << 20).into())]);
    assert!(matches!(
        pending.commit(facts),
        Err(Error::Unrecordable { .. })
    ));
    assert!(names(&store.path().join("artifacts")).is_empty());
    assert!(names(&store.path().join("tmp")).is_empty());
}

#[test]
fn waiting_can_be_given_up() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let held = store.lock(&key(1)).unwrap();
    let mut calls = 0;
    let mut process = None;
    let result = store.lock_with(
        &key(1),
        Some(&mut |waiting| {
            calls += 1;
            process = waiting.process;
            match calls {
                3 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }),
    );
    assert!(matches!(result, Err(Error::Abandoned { key: id }) if id == key(1).id()));
    assert_eq!(calls, 3);
    assert_eq!(process, Some(std::process::id()));
    drop(held);
    store.lock(&key(1)).unwrap();
}

#[test]
fn several_locks_are_taken_in_one_order() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..25 {
                    let mut keys: Vec<_> = (0..4).map(key).collect();
                    keys.rotate_left((thread + round) % 4);
                    keys.push(keys[0].clone());
                    assert_eq!(store.lock_all(&keys, None).unwrap().len(), 4);
                }
            });
        }
    });
    assert!(names(&store.path().join("locks")).is_empty());
}

#[test]
fn what_is_no_store_is_refused() {
    let tmp = temp_dir();
    let missing = tmp.path().join("missing");
    let open = |path, create| Store::open(path, OpenOptions::new().create(create));
    assert!(matches!(open(&missing, false), Err(Error::NoStore { .. })));
    assert!(!missing.exists());

    let foreign = tmp.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
    for create in [false, true] {
        let error = open(&foreign, create).unwrap_err();
        assert!(
            matches!(&error, Error::NotAStore { found, .. } if found.as_os_str() == "thesis.txt"),
            "{error}"
        );
    }
    assert_eq!(names(&foreign), ["thesis.txt"]);

    // Somebody's image layout is not taken over.
    let layout = tmp.path().join("layout");
    fs::create_dir(&layout).unwrap();
    fs::write(layout.join("oci-layout"), "{}").unwrap();
    assert!(matches!(open(&layout, true), Err(Error::NotAStore { .. })));

    let file = tmp.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(open(&file, true).is_err());

    // An empty directory, and parents that are missing, are fine.
    let empty = tmp.path().join("empty");
    fs::create_dir(&empty).unwrap();
    open(&empty, true).unwrap();
    open(&tmp.path().join("a/b/c"), true).unwrap();
}

#[test]
fn making_a_store_can_be_interrupted_and_done_by_many() {
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    fs::create_dir(&path).unwrap();
    fs::create_dir(path.join("tmp")).unwrap();
    fs::create_dir(path.join("locks")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| open(&path));
        }
    });
    let store = open(&path);
    build(&store, 1, 10);
    assert_clean(&store);
}

#[test]
fn a_newer_store_is_named_as_such() {
    let tmp = temp_dir();
    open(tmp.path());
    let path = tmp.path().join("lithify-store.json");
    let record = br#"{"version":7,"more":true}"#;
    let digest = lithify_digest::Digest::of(lithify_digest::Algorithm::Sha256, record).hex();
    let text = format!(
        "{{\"record\":{},\"sha256\":\"{digest}\"}}\n",
        String::from_utf8_lossy(record)
    );
    fs::remove_file(&path).unwrap();
    fs::write(&path, text).unwrap();
    for options in [
        OpenOptions::new().create(true),
        OpenOptions::new().repair(true),
        OpenOptions::new().access(Access::ReadOnly),
    ] {
        let error = Store::open(tmp.path(), options).unwrap_err();
        assert!(matches!(
            error,
            Error::NewerVersion {
                found: 7,
                known: 1,
                ..
            }
        ));
        assert!(
            error
                .to_string()
                .contains("was made by a newer lithify: version 7, this one knows 1")
        );
    }
}

#[test]
fn a_store_can_be_moved_and_copied() {
    let tmp = temp_dir();
    let old = tmp.path().join("old");
    build(&open(&old), 1, 100_000);
    let new = tmp.path().join("new");
    fs::rename(&old, &new).unwrap();
    let store = open(&new);
    let entry = store.get(&key(1)).unwrap().unwrap();
    assert!(entry.path("layer.erofs").unwrap().starts_with(&new));
    assert_eq!(
        fs::read(entry.path("layer.erofs").unwrap()).unwrap(),
        bytes(1, 100_000)
    );
    assert_clean(&store);
    // A copy's files have other inodes and times: they are read, and found good.
    let copy = tmp.path().join("copy");
    run::ok(run::command("cp").arg("-r").args([&new, &copy]));
    let store = open(&copy);
    assert!(matches!(store.look_up(&key(1)).unwrap(), Lookup::Hit(_)));
    // No record tells where it was.
    for file in crate::common::files(&copy) {
        let text = fs::read(&file).unwrap();
        let path = tmp.path().as_os_str().as_encoded_bytes();
        assert!(!text.windows(path.len()).any(|w| w == path), "{file:?}");
    }
}

#[test]
fn a_relative_path_is_made_absolute() {
    let tmp = temp_dir();
    open(&tmp.path().join("s"));
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(tmp.path().strip_prefix("/").unwrap()).join("s");
    let store = Store::open(&relative, OpenOptions::new()).unwrap();
    assert!(store.path().is_absolute());
    build(&store, 1, 10);
}

#[test]
fn odd_things_where_entries_should_be() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let path = store.path().join("artifacts").join(key(1).id().hex());
    symlink("/", &path).unwrap();
    assert!(
        matches!(store.look_up(&key(1)).unwrap(), Lookup::Damaged(d) if d.quarantined.is_some())
    );
    fs::write(&path, "x").unwrap();
    assert!(matches!(
        store.look_up(&key(1)).unwrap(),
        Lookup::Damaged(_)
    ));
    // An empty directory is replaced, one without a record set aside.
    fs::create_dir(&path).unwrap();
    assert_eq!(build(&store, 1, 10).1, Origin::Built);
    let path = store.path().join("artifacts").join(key(2).id().hex());
    fs::create_dir(&path).unwrap();
    fs::write(path.join("layer.erofs"), "x").unwrap();
    assert_eq!(build(&store, 2, 10).1, Origin::Built);
    run::ok(run::command("mkfifo").arg(path.join("pipe")));
    let (entry, _) = build(&store, 3, 10);
    let path = entry.path("layer.erofs").unwrap();
    fs::remove_file(&path).unwrap();
    run::ok(run::command("mkfifo").arg(&path));
    drop(entry);
    assert!(matches!(
        store.look_up(&key(3)).unwrap(),
        Lookup::Damaged(_)
    ));
}

#[test]
fn no_umask_is_in_the_way() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let exe = tmp.path().join("test");
    program::copy_self(&exe);
    for umask in ["0777", "0077", "0000"] {
        let store = tmp.path().join(format!("store-{umask}"));
        let mut command = run::command("sh");
        command
            .args(["-c", "umask $0; exec \"$@\"", umask])
            .arg(&exe)
            .args(program::arguments("store::child"))
            .env(crate::common::TASK, "use")
            .env("LITHIFY_STORE_TEST_DIR", &store)
            .uid(65534)
            .gid(65534)
            .current_dir("/");
        run::ok(&mut command);
        let store = open(&store);
        let entry = store.get(&key(1)).unwrap().unwrap();
        let mode = |p| fs::symlink_metadata(p).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(entry.path("layer.erofs").unwrap()), 0o444);
        assert_eq!(
            mode(store.path().join("artifacts")),
            0o777 & !u32::from_str_radix(umask, 8).unwrap() | 0o700
        );
        assert_clean(&store);
    }
}

#[test]
fn another_users_store_can_be_used_as_far_as_it_goes() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let exe = tmp.path().join("test");
    program::copy_self(&exe);
    let path = tmp.path().join("store");
    build(&open(&path), 1, 1000);
    let mut command = program::again_from(&exe, "store::child");
    command
        .env(crate::common::TASK, "others")
        .env("LITHIFY_STORE_TEST_DIR", &path)
        .uid(65534)
        .gid(65534)
        .current_dir("/");
    run::ok(&mut command);
}

#[test]
fn child() {
    let Some((task, path)) = task() else { return };
    match task.as_str() {
        "use" => {
            let store = open(&path);
            build(&store, 1, 1000);
            let (entry, _) = build(&store, 2, 1000);
            crate::common::flip(&entry.path("layer.erofs").unwrap(), 5, 1, true);
            drop(entry);
            assert!(store.get(&key(2)).unwrap().is_none());
            build(&store, 2, 1000);
            let held = store.lock(&key(3)).unwrap();
            // Another opening of the lock file, as another process would.
            let gave_up = store.lock_with(&key(3), Some(&mut |_| ControlFlow::Break(())));
            assert!(matches!(gave_up, Err(Error::Abandoned { .. })));
            drop(held);
            store
                .gc(&lithify_store::GcOptions::new().keep_bytes(Some(u64::MAX)))
                .unwrap();
            assert_clean(&store);
        }
        "others" => {
            let error = Store::open(&path, OpenOptions::new()).unwrap_err();
            assert!(matches!(error, Error::Permission { .. }), "{error}");
            let options = OpenOptions::new().access(Access::Preferred).create(true);
            let error = Store::open(path.with_file_name("mine"), options).unwrap_err();
            assert!(error.is_read_only(), "{error}");
            let store = Store::open(&path, OpenOptions::new().access(Access::Preferred)).unwrap();
            assert!(store.read_only());
            assert!(store.get(&key(1)).unwrap().is_some());
            assert!(store.lock(&key(2)).unwrap_err().is_read_only());
            assert_clean(&store);
        }
        other => panic!("{other}"),
    }
}
