//! Images whose documents say nothing, or little, in one of the many ways to do so.

use std::fs;

use crate::common::documents::{Documents, TAR, documents};
use crate::common::{layer, lithify, lithify_output, names, paths, stderr};
use lithify_testkit::registry::Faulty;
use lithify_testkit::{TarEntry, digest, require, run, temp_dir};
use serde_json::{Value, json};

const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

fn tar() -> Vec<u8> {
    layer([TarEntry::file("a", "hello")])
}

/// `umoci new`, `go-containerregistry` and others write `null`; exit 0 and an image nobody could open came of it.
#[test]
fn commits_on_images_of_nothing_can_be_opened() {
    let tmp = temp_dir();
    let upper = tmp.path().join("up");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("new"), "data").unwrap();
    let bases = [
        (json!({ "type": "layers", "diff_ids": null }), json!(null)),
        (json!({ "type": "layers", "diff_ids": [] }), json!([])),
        (json!({ "type": "layers" }), json!(null)),
        (json!({ "diff_ids": null }), json!([])),
        (json!({ "type": null }), json!(null)),
        (json!({}), json!(null)),
        (json!(null), json!(null)),
    ];
    for (number, (rootfs, history)) in bases.into_iter().enumerate() {
        let mut base = Documents::new(rootfs);
        base.config["history"] = history;
        base.config["config"] = json!(null);
        base.config["created"] = json!(null);
        let said = base.config.to_string();
        let source = base.write(&tmp.path().join(format!("base{number}")));
        let new = tmp.path().join(format!("new{number}"));
        let name = format!("oci:{}:n", new.display());
        let mut command = lithify();
        command.args(["-q", "commit", "--base", &source, "-o", &name]);
        run::ok(command.arg(&upper));
        assert_eq!(paths(&name), ["/new"], "{said}");
        let (manifest, config) = documents(&new);
        assert_eq!(config["rootfs"]["type"], "layers", "{said}");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        // A history speaks of every layer.
        assert_eq!(config["history"].as_array().unwrap().len(), 1, "{said}");
        assert_eq!(config["history"][0].get("created"), None);
        if require::tool("umoci") && require::root() {
            let bundle = tmp.path().join(format!("bundle{number}"));
            let image = format!("{}:n", new.display());
            run::ok(
                run::command("umoci")
                    .args(["unpack", "--image", &image])
                    .arg(&bundle),
            );
            assert_eq!(names(&bundle.join("rootfs")), ["new"]);
        }
    }
}

/// Go's programs refuse an empty time and an empty system, so a commit must not carry them on.
#[test]
fn commits_on_images_that_say_little_are_read_by_others() {
    let tmp = temp_dir();
    let upper = tmp.path().join("up");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("new"), "data").unwrap();
    let host = lithify::Platform::host();
    let arch = host.architecture();
    let ids = json!({ "type": "layers", "diff_ids": [digest(&tar())] });
    let full = json!({ "os": "linux", "architecture": arch, "rootfs": ids, "config": {}, "history": [{}] });
    let with = |key: &str, value: Value| {
        let mut config = full.clone();
        config[key] = value;
        config
    };
    let without = |key: &str| {
        let mut config = full.clone();
        config.as_object_mut().unwrap().remove(key);
        config
    };
    for (number, config) in [
        with("created", json!("")),
        with("history", json!([{ "created": "" }])),
        with("history", json!([null])),
        with("os", json!("")),
        with("os", json!(null)),
        without("os"),
        with("architecture", json!("")),
        without("architecture"),
        with("config", json!(null)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut base = Documents::of(&[tar()]);
        base.config = config.clone();
        let source = base.write(&tmp.path().join(format!("base{number}")));
        let name = format!("new{number}");
        let image = format!("oci:{}:n", tmp.path().join(&name).display());
        let mut command = lithify();
        command.args(["-q", "commit", "--base", &source, "-o", &image]);
        run::ok(command.arg(&upper));
        let (_, written) = documents(&tmp.path().join(&name));
        assert_eq!(
            (&written["os"], &written["architecture"]),
            (&json!("linux"), &json!(arch)),
            "{config}"
        );
        assert_eq!(written.get("created"), None, "{config}");
        let history = written["history"].as_array().unwrap();
        assert_eq!(history.len(), 2, "{config}");
        assert!(history.iter().all(|step| step.get("created").is_none()));
        let index = fs::read(tmp.path().join(&name).join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let platform = json!({ "os": "linux", "architecture": arch });
        assert_eq!(index["manifests"][0]["platform"], platform, "{config}");
        if require::tool("skopeo") {
            run::ok(run::command("skopeo").args(["inspect", &image]));
        }
        if require::tool("umoci") && require::root() {
            let bundle = tmp.path().join(format!("bundle{number}"));
            let image = format!("{}:n", tmp.path().join(&name).display());
            let mut umoci = run::command("umoci");
            run::ok(umoci.args(["unpack", "--image", &image]).arg(&bundle));
            assert_eq!(names(&bundle.join("rootfs")), ["a", "new"], "{config}");
        }
    }
    // Whole documents that say nothing, which skopeo and umoci read too.
    for (number, config) in [json!({}), json!(null)].into_iter().enumerate() {
        let mut base = Documents::new(json!(null));
        base.config = config;
        let source = base.write(&tmp.path().join(format!("nothing{number}")));
        let image = format!("oci:{}:n", tmp.path().join(format!("of{number}")).display());
        let mut command = lithify();
        command.args(["-q", "commit", "--base", &source, "-o", &image]);
        run::ok(command.arg(&upper));
        assert_eq!(paths(&image), ["/new"]);
        if require::tool("skopeo") {
            run::ok(run::command("skopeo").args(["inspect", &source]));
            run::ok(run::command("skopeo").args(["inspect", &image]));
        }
    }
}

/// On layers nobody wrote a history of, one entry would speak of the wrong layer.
#[test]
fn commits_on_images_without_history_have_none() {
    let tmp = temp_dir();
    let upper = tmp.path().join("up");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("new"), "data").unwrap();
    for (number, history) in [json!(null), json!([])].into_iter().enumerate() {
        let mut base = Documents::of(&[tar()]);
        base.config["history"] = history;
        let source = base.write(&tmp.path().join(format!("base{number}")));
        let new = tmp.path().join(format!("new{number}"));
        let name = format!("oci:{}:n", new.display());
        let mut command = lithify();
        command.args(["-q", "commit", "--base", &source, "-o", &name]);
        run::ok(command.arg(&upper));
        assert_eq!(paths(&name), ["/a", "/new"]);
        assert_eq!(documents(&new).1.get("history"), None);
    }
}

/// What says nothing of the files is no reason to refuse them.
#[test]
fn fields_without_meaning_are_no_reason_to_refuse_an_image() {
    let tmp = temp_dir();
    let ids = json!([digest(&tar())]);
    let mut number = 0;
    let mut written = |image: &Documents| {
        number += 1;
        image.write(&tmp.path().join(number.to_string()))
    };
    for rootfs in [
        json!({ "diff_ids": ids }),
        json!({ "type": null, "diff_ids": ids }),
        json!({ "type": "", "diff_ids": ids }),
    ] {
        let nothing = json!({ "annotations": null, "urls": null });
        let source = written(&Documents::new(rootfs).layer(TAR, &tar(), nothing));
        assert_eq!(paths(&source), ["/a"]);
    }
    for config_type in [
        "",
        "application/json",
        "text/plain",
        "text/html",
        "application/octet-stream",
        "application/vnd.unknown",
    ] {
        let mut image = Documents::of(&[tar()]);
        image.config_type = config_type.to_owned();
        assert_eq!(paths(&written(&image)), ["/a"], "{config_type}");
        // As Docker's registries had them for years.
        image.manifest_type = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
        assert_eq!(paths(&written(&image)), ["/a"], "{config_type}");
        let mut empty = Documents::of(&[]);
        empty.config_type = config_type.to_owned();
        empty.manifest_type = image.manifest_type;
        assert_eq!(paths(&written(&empty)), [""; 0], "{config_type}");
    }
    // An unknown value is one; and an artifact is no image because a tar is in it.
    let other = json!({ "type": "layers+base", "diff_ids": ids });
    let source = written(&Documents::new(other).layer(TAR, &tar(), json!({})));
    let output = lithify_output(["-q", "ls", &source]);
    assert!(
        stderr(&output).contains("layers+base"),
        "{}",
        stderr(&output)
    );
    for (config_type, config) in [
        ("application/vnd.oci.empty.v1+json", json!({})),
        (
            "application/vnd.cncf.helm.config.v1+json",
            json!({ "name": "chart" }),
        ),
        ("application/vnd.unknown", json!("no object")),
    ] {
        let mut artifact = Documents::of(&[tar()]);
        artifact.config = config;
        artifact.config_type = config_type.to_owned();
        let output = lithify_output(["-q", "ls", &written(&artifact)]);
        assert_eq!(output.status.code(), Some(1));
        let says = stderr(&output);
        assert!(
            says.contains("not a container image") && says.contains(config_type),
            "{says}"
        );
    }
}

fn foreign(urls: &Value) -> Documents {
    let rootfs = json!({ "type": "layers", "diff_ids": [digest(&tar())] });
    Documents::new(rootfs).layer(FOREIGN, &tar(), json!({ "urls": urls }))
}

/// Left out although it was there, it made a copy of which nothing could be built.
#[test]
fn vendor_layers_are_carried_where_they_are() {
    let tmp = temp_dir();
    for (number, urls) in [json!(null), json!(["https://vendor.example/layer"])]
        .into_iter()
        .enumerate()
    {
        let source = foreign(&urls).write(&tmp.path().join(format!("base{number}")));
        let at = |kind: &str| {
            tmp.path()
                .join(format!("{number}.{kind}"))
                .display()
                .to_string()
        };
        for to in [
            format!("oci:{}:t", at("oci")),
            format!("oci-archive:{}:t", at("oci-archive")),
            format!("docker-archive:{}:x:1", at("docker-archive")),
        ] {
            let mut command = lithify();
            command.args(["-q", "copy", "--no-fsync", "--json", &source, &to]);
            let report: Value = serde_json::from_slice(&run::ok(&mut command)).unwrap();
            assert_eq!(report["blobs"]["foreign"], 0, "{to}");
            run::ok(lithify().args(["-q", "verify", &to]));
            assert_eq!(paths(&to), ["/a"]);
        }
    }
}

/// A registry would distribute what its vendor says to get from elsewhere; what nobody else has it takes.
#[test]
fn registries_get_vendor_layers_only_if_nobody_else_has_them() {
    let tmp = temp_dir();
    let registry = Faulty::start();
    for (name, urls, left) in [
        ("ours", json!([]), 0),
        ("theirs", json!(["https://vendor.example/layer"]), 1),
    ] {
        let source = foreign(&urls).write(&tmp.path().join(name));
        let to = format!("docker://{}/{name}:1", registry.address());
        let mut command = lithify();
        command.args(["-q", "copy", "--no-fsync", "--json", &source, &to]);
        let report: Value = serde_json::from_slice(&run::ok(&mut command)).unwrap();
        assert_eq!(report["blobs"]["foreign"], left, "{name}");
        let output = lithify_output(["-q", "verify", &to]);
        assert_eq!(output.status.success(), left == 0, "{}", stderr(&output));
        // The way back: what is there comes along, what is not stays with its vendor.
        let back = format!(
            "oci:{}:t",
            tmp.path().join(format!("{name}.back")).display()
        );
        let mut command = lithify();
        command.args(["-q", "copy", "--no-fsync", "--json", &to, &back]);
        let report: Value = serde_json::from_slice(&run::ok(&mut command)).unwrap();
        assert_eq!(report["blobs"]["foreign"], left, "{name}");
    }
}

/// What is made of such an image leaves them where a copy does, and says what they are.
#[test]
fn what_is_made_of_vendor_layers_leaves_them_too() {
    let tmp = temp_dir();
    let upper = tmp.path().join("upper");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("new"), "n").unwrap();
    let lithify = || crate::common::stores::lithify_at(&tmp.path().join("store"));
    let layer = digest(&tar());
    for (name, urls, left) in [
        ("ours", json!([]), false),
        ("theirs", json!(["https://vendor.example/layer"]), true),
    ] {
        let registry = Faulty::start();
        let source = foreign(&urls).write(&tmp.path().join(name));
        let remote = |name: &str| format!("docker://{}/{name}:1", registry.address());
        for form in ["erofs", "squashfs"] {
            let args = ["-q", "push", "--as", form, &source, &remote("published")];
            let planned: Value = serde_json::from_slice(&run::ok(
                lithify().args(args).args(["--dry-run", "--json"]),
            ))
            .unwrap();
            assert_eq!(planned["foreign"], u64::from(left), "{name} {form}");
            run::ok(lithify().args(args));
        }
        let layout = format!("oci:{}:t", tmp.path().join(format!("{name}-new")).display());
        for to in [&remote("committed"), &layout] {
            let mut command = lithify();
            command.args(["-q", "commit", "--base", &source, "-o", to]);
            run::ok(command.arg(&upper));
        }
        for repository in ["published", "committed"] {
            let there = registry.blob(repository, &layer).is_some();
            assert_eq!(there, !left, "{name} {repository}");
        }
        let (manifest, _) = documents(&tmp.path().join(format!("{name}-new")));
        let made = registry.manifest("committed", "1").unwrap().1;
        assert_eq!(serde_json::from_slice::<Value>(&made).unwrap(), manifest);
        assert_eq!(manifest["layers"][0]["mediaType"], FOREIGN);
        assert_eq!(manifest["layers"][0].get("urls"), left.then_some(&urls));
        run::ok(lithify().args(["-q", "verify", &layout]));
    }
}

#[test]
fn vendor_layers_that_nobody_has_are_an_error() {
    let tmp = temp_dir();
    for (name, urls) in [
        ("hole", json!([])),
        ("url", json!(["https://vendor.example/layer"])),
    ] {
        let dir = tmp.path().join(name);
        let source = foreign(&urls).write(&dir);
        fs::remove_file(dir.join("blobs").join(digest(&tar()).replace(':', "/"))).unwrap();
        let copy = tmp.path().join(format!("{name}.copy"));
        let to = format!("oci:{}:t", copy.display());
        let output = lithify_output(["copy", "--no-fsync", &source, &to]);
        let says = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        if urls.as_array().unwrap().is_empty() {
            assert_eq!(output.status.code(), Some(1));
            assert!(
                says.contains("layers[0] is not distributed with the image"),
                "{says}"
            );
            assert!(!copy.join("index.json").exists());
        } else {
            assert!(
                output.status.success() && says.contains("1 left to their vendor"),
                "{says}"
            );
        }
    }
}

fn sha512(dir: &std::path::Path, bytes: &[u8]) -> String {
    let file = dir.join("hashed");
    fs::write(&file, bytes).unwrap();
    let text = run::text(run::command("sha512sum").arg(file));
    format!("sha512:{}", text.split_whitespace().next().unwrap())
}

/// Compared with a SHA-256 they were reported as damage.
#[test]
fn diff_ids_of_any_algorithm_are_verified_by_it() {
    let tmp = temp_dir();
    let two = layer([TarEntry::file("b", "2")]);
    let ids = json!([sha512(tmp.path(), &tar()), sha512(tmp.path(), &two)]);
    let rootfs = |ids: &Value| json!({ "type": "layers", "diff_ids": ids });
    let image = |ids: &Value| {
        Documents::new(rootfs(ids))
            .layer(TAR, &tar(), json!({}))
            .layer(TAR, &two, json!({}))
    };
    let source = image(&ids).write(&tmp.path().join("base"));
    let at = |name: &str| tmp.path().join(name);
    let archive = format!("docker-archive:{}", at("x.tar").display());
    let named = format!("{archive}:x:1");
    for to in [
        named.as_str(),
        &format!("oci:{}:t", at("oci").display()),
        &format!("oci-archive:{}:t", at("o.tar").display()),
    ] {
        run::ok(lithify().args(["-q", "copy", "--no-fsync", &source, to]));
        run::ok(lithify().args(["-q", "verify", to]));
        assert_eq!(paths(to), ["/a", "/b"], "{to}");
    }
    // Named by what is in them, as skopeo does, which reads it back.
    let listed = run::text(run::command("tar").arg("-tf").arg(at("x.tar")));
    for tar in [&tar(), &two] {
        let name = format!("{}.tar", digest(tar).trim_start_matches("sha256:"));
        assert!(listed.contains(&name), "{listed}");
    }
    if require::tool("skopeo") {
        let to = format!("oci:{}:t", at("skopeo").display());
        run::ok(run::command("skopeo").args(["copy", "-q", &archive, &to]));
        assert_eq!(paths(&to), ["/a", "/b"]);
    }
    for format in ["erofs", "erofs-layers", "squashfs-layers"] {
        let out = at(format);
        crate::common::build(&source, format, &out);
        assert_eq!(paths(out.to_str().unwrap()), ["/a", "/b"], "{format}");
    }
    let pushed = format!("oci:{}:t", at("pushed").display());
    run::ok(lithify().args([
        "-q",
        "push",
        "--no-fsync",
        "--as",
        "erofs",
        &source,
        &pushed,
    ]));
    run::ok(lithify().args(["-q", "verify", &pushed]));

    // Docker compares SHA-256 and nothing else: it is not sent what it refuses.
    let daemon = lithify_testkit::registry::FakeDaemon::start();
    let mut command = lithify();
    command.env("DOCKER_HOST", daemon.host());
    let output = run::output(command.args(["-q", "copy", &source, "docker-daemon:x:1"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("SHA-256"), "{}", stderr(&output));
    assert!(daemon.loaded().is_empty());

    let wrong = json!([ids[1], ids[0]]);
    let source = image(&wrong).write(&at("wrong"));
    let to = format!("docker-archive:{}:x:1", at("wrong.tar").display());
    let output = lithify_output(["-q", "copy", "--no-fsync", &source, &to]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(!at("wrong.tar").exists());
}

/// `umoci init` writes `"manifests": null`: what was copied there was in no list, exit 0.
#[test]
fn a_layout_that_lists_nothing_takes_an_image() {
    let tmp = temp_dir();
    let source = Documents::of(&[tar()]).write(&tmp.path().join("source"));
    let upper = tmp.path().join("up");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("new"), "data").unwrap();
    let empty = |name: &str, index: Option<Value>| {
        let layout = tmp.path().join(name);
        match index {
            Some(index) => {
                fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
                let version = json!({ "imageLayoutVersion": "1.0.0" });
                fs::write(layout.join("oci-layout"), version.to_string()).unwrap();
                fs::write(layout.join("index.json"), index.to_string()).unwrap();
            }
            None => {
                run::ok(
                    run::command("umoci")
                        .args(["init", "--layout"])
                        .arg(&layout),
                );
            }
        }
        layout
    };
    let mut indexes = vec![
        Some(json!({ "schemaVersion": 2, "manifests": null })),
        Some(json!({ "schemaVersion": 2 })),
        Some(json!({ "schemaVersion": 2, "manifests": [] })),
    ];
    if require::tool("umoci") {
        indexes.push(None);
    }
    for (number, index) in indexes.into_iter().enumerate() {
        let layout = empty(&format!("copy{number}"), index.clone());
        let name = format!("oci:{}:t", layout.display());
        run::ok(lithify().args(["-q", "copy", &source, &name]));
        assert_eq!(paths(&name), ["/a"]);
        if require::tool("skopeo") {
            run::ok(run::command("skopeo").args(["inspect", &name]));
        }
        let layout = empty(&format!("commit{number}"), index);
        let name = format!("oci:{}:t", layout.display());
        let mut command = lithify();
        command.args(["-q", "commit", "--base", &source, "-o", &name]);
        run::ok(command.arg(&upper));
        assert_eq!(paths(&name), ["/a", "/new"]);
    }
    for (number, odd) in [json!({}), json!("x"), json!(5)].into_iter().enumerate() {
        let index = json!({ "schemaVersion": 2, "manifests": odd });
        let layout = empty(&format!("odd{number}"), Some(index.clone()));
        let name = format!("oci:{}:t", layout.display());
        let output = run::output(lithify().args(["-q", "copy", &source, &name]));
        assert_ne!(output.status.code(), Some(0));
        assert!(
            stderr(&output).contains("index.json"),
            "{}",
            stderr(&output)
        );
        assert!(names(&layout.join("blobs/sha256")).is_empty());
        let kept: Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        assert_eq!(kept, index);
    }
}
