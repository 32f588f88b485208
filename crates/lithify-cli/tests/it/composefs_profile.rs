//! The rules by which composefs images are made: those of `cfsctl`.

use std::fs;
use std::path::Path;

use lithify_testkit::{TarEntry, require, run};

use crate::common::places::{Place, layers};
use crate::common::{image, layer, lithify, lithify_output, stderr};

#[test]
fn the_profile_of_cfsctl_is_what_cfsctl_makes() {
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    let made = place.build(&source, "app", &["--profile", "cfsctl"]);
    assert_eq!(made["options"]["profile"], "cfsctl");
    let tree = |name: &str, path: &str| {
        let mut command = lithify();
        let mount = format!("composefs:{}:{name}", place.at("repository").display());
        command.args(["-q", "composefs", "dump", &mount]);
        let text = run::text(&mut command);
        let lines = text
            .lines()
            .filter(|line| line.split(' ').next() == Some(path));
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let root = tree("app", "/");
    // `/usr` is of 7:8, mode 751, at 1000000.000000005.
    assert!(root[0].starts_with("/ "), "{root:?}");
    assert!(
        root[0].contains(" 40751 ") && root[0].contains(" 7 8 ") && root[0].contains(" 1000000.5 "),
        "{root:?}"
    );
    assert!(tree("app", "/run/kept").is_empty());
    assert!(
        tree("app", "/run")[0].contains(" 1000000.5 "),
        "{:?}",
        tree("app", "/run")
    );
    let marked = &tree("app", "/usr/marked")[0];
    assert!(
        marked.contains("security.capability=") && !marked.contains("user.note"),
        "{marked}"
    );
    // An image without `/usr` has nothing that cfsctl could take.
    let bare = layer([TarEntry::file("hello", [b'x'; 100])]);
    let source = image(&place.at("bare"), [bare]);
    let output = place.try_build(&source, "bare", &["--profile", "cfsctl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("`/usr`"), "{}", stderr(&output));
    place.build(&source, "bare", &[]);
}

/// Prints an id as the command line is given, or says what failed.
fn id(arguments: &[&str]) -> Result<String, (Option<i32>, String)> {
    let output = lithify_output(["-q", "composefs", "id"].iter().chain(arguments));
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err((output.status.code(), stderr(&output))),
    }
}

#[test]
fn an_id_is_known_without_the_files_in_the_repository() {
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    place.build(&source, "app", &[]);
    let ours = place.source("app");
    for profile in ["faithful", "cfsctl"] {
        for algorithm in ["sha256", "sha512"] {
            let of = |image| id(&["--profile", profile, "--algorithm", algorithm, image]);
            assert_eq!(of(&ours), of(&source), "{profile} {algorithm}");
        }
    }
    let before = id(&["--profile", "cfsctl", &ours]).unwrap();
    // The longest is that of `usr/large`.
    let size = |path: &std::path::PathBuf| fs::metadata(path).unwrap().len();
    let large = place.objects().into_iter().max_by_key(size).unwrap();
    let good = fs::read(&large).unwrap();
    let mut bad = good.clone();
    bad[1000] ^= 1;
    fs::write(&large, &bad).unwrap();
    assert_eq!(id(&["--profile", "cfsctl", &ours]), Ok(before));
    // By another algorithm it is read, and by a check.
    let (status, message) =
        id(&["--profile", "cfsctl", "--algorithm", "sha512", &ours]).unwrap_err();
    assert_eq!(status, Some(3), "{message}");
    assert_eq!(
        lithify_output(["-q", "verify", &ours]).status.code(),
        Some(3)
    );
    fs::remove_file(&large).unwrap();
    let (status, message) = id(&["--profile", "cfsctl", &ours]).unwrap_err();
    assert_eq!(status, Some(3), "{message}");
    fs::write(&large, &good).unwrap();
    // Streams are compared with their own digests.
    for object in place.objects() {
        let good = fs::read(&object).unwrap();
        if !good.starts_with(b"SplitStream") {
            continue;
        }
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&object, &bad).unwrap();
        let (status, message) = id(&["--profile", "cfsctl", &ours]).unwrap_err();
        assert_eq!(status, Some(3), "{message}");
        fs::write(&object, &good).unwrap();
    }
}

/// Images that `cfsctl` 0.9.4 takes, which wants a directory for each name and no sparse files.
fn images_for_cfsctl() -> [Vec<Vec<u8>>; 3] {
    let base = layer([
        TarEntry::directory("usr")
            .mode(0o751)
            .owner(7, 8)
            .mtime(1_000_000, 5),
        TarEntry::directory("usr/bin").mtime(1_000_001, 0),
        TarEntry::file("usr/bin/tool", [b't'; 5000]).mode(0o4755),
        TarEntry::hard_link("usr/bin/again", "usr/bin/tool"),
        TarEntry::file("usr/bin/short", "short"),
        TarEntry::file("usr/bin/able", [b'c'; 70])
            .xattr("user.note", "a note")
            .xattr(
                "security.capability",
                b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ),
        TarEntry::symlink("usr/bin/link", "tool"),
        TarEntry::directory("run").mtime(3, 0),
        TarEntry::file("run/kept", "kept"),
        TarEntry::char_device("usr/null", 1, 3),
        TarEntry::fifo("usr/fifo"),
    ]);
    let names = (0..300).map(|n| {
        let name = format!("usr/{}{n:03}", "n".repeat(252));
        TarEntry::file(name, format!("{n} ").repeat(n)).mtime(1_000_000, n as u32)
    });
    let many = layer([TarEntry::directory("usr")].into_iter().chain(names));
    let upper = layer([
        TarEntry::whiteout("usr/bin/short"),
        TarEntry::directory("usr").mode(0o700).mtime(2_000_000, 0),
        TarEntry::file("usr/bin", "a file where a directory was"),
    ]);
    [vec![base.clone()], vec![many], vec![base, upper]]
}

#[test]
fn ids_are_those_of_cfsctl() {
    let Some(cfsctl) = require::cfsctl() else {
        return;
    };
    for (number, layers) in images_for_cfsctl().into_iter().enumerate() {
        for algorithm in ["sha256", "sha512"] {
            let place = Place::new();
            let source = image(place.tmp.path(), layers.clone());
            run::ok(
                lithify()
                    .args(["-q", "composefs", "init", "--algorithm", algorithm])
                    .arg(place.at("repository")),
            );
            let made = place.build(&source, "app", &["--profile", "cfsctl"]);
            let theirs = place.at("theirs");
            let cfsctl = |repository: &Path, arguments: &[&str]| {
                let mut command = std::process::Command::new(&cfsctl);
                command.arg("--repo").arg(repository).args(arguments);
                run::text(&mut command)
            };
            let init = format!("fsverity-{algorithm}-12");
            cfsctl(&theirs, &["init", "--insecure", "--algorithm", &init]);
            cfsctl(&theirs, &["oci", "pull", &source, "app"]);
            let computed = cfsctl(&theirs, &["oci", "compute-id", "app"]);
            for repository in [&theirs, &place.at("repository")] {
                let image = format!("composefs:{}:app", repository.display());
                assert_eq!(id(&["--profile", "cfsctl", &image]), Ok(computed.clone()));
            }
            let images: Vec<String> = fs::read_dir(theirs.join("images"))
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .filter(|name| name != "refs")
                .collect();
            let id = made["image_id"].as_str().unwrap();
            assert_eq!(images, [id], "image {number}, {algorithm}");
            // Each takes what the other wrote.
            let ours = place.at("repository");
            cfsctl(&ours, &["--insecure", "fsck"]);
            cfsctl(&ours, &["--insecure", "oci", "fsck"]);
            let named = cfsctl(&ours, &["--insecure", "oci", "images"]);
            assert!(named.contains("app"), "{named}");
            let of_theirs = format!("composefs:{}:app", theirs.display());
            run::ok(lithify().args(["-q", "verify", &of_theirs]));
            assert!(place.tar(&of_theirs) == place.tar(&source));
            let again = place.build(&of_theirs, "again", &["--profile", "cfsctl"]);
            assert_eq!(again["image_id"], id);
        }
    }
}
