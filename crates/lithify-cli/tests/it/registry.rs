//! Registries, as a user meets them: Debian's `docker-registry` in every set-up, beside skopeo and buildah.

use std::fs;
use std::path::Path;

use crate::common::registries::{Place, paths_of, skopeo, two_layers};
use crate::common::{layer, paths, stderr};
use lithify_testkit::registry::{Action, Answer, Authority, Faulty, Kind, On, Proxy, Real};
use lithify_testkit::{Layout, TarEntry, require, run};
use serde_json::Value;

fn digest_of(text: &str) -> String {
    let line = text.lines().find(|l| l.starts_with("sha256:"));
    line.unwrap_or_else(|| panic!("no digest in {text}"))
        .to_owned()
}

#[test]
fn round_trips_through_a_registry() {
    if !require::tool("docker-registry") || !require::tool("skopeo") {
        return;
    }
    let (place, real) = (Place::new(), Real::start());
    let image = place.image();
    let remote = format!("docker://{}/team/app:1", real.address());
    let pushed = digest_of(&place.ok(&["push", &image, &remote]));

    // Others read what we wrote.
    let inspected = run::text(skopeo().args(["inspect", "--tls-verify=false", &remote]));
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Digest"], Value::String(pushed.clone()));
    run::ok(skopeo().args([
        "copy",
        "--quiet",
        "--src-tls-verify=false",
        &remote,
        &format!("oci:{}:x", place.text("by-skopeo")),
    ]));
    let theirs = format!("oci:{}:x", place.text("by-skopeo"));
    assert_eq!(paths(&theirs), paths(&image));

    // Straight from the wire, and from the layout it came from, the same bytes are made.
    place.ok(&[
        "-q",
        "build",
        "--no-fsync",
        &image,
        "-o",
        &place.text("local.erofs"),
    ]);
    place.ok(&[
        "-q",
        "build",
        "--no-fsync",
        &remote,
        "-o",
        &place.text("wire.erofs"),
    ]);
    let (local, wire) = (place.path("local.erofs"), place.path("wire.erofs"));
    assert!(fs::read(local).unwrap() == fs::read(wire).unwrap());

    // A second push sends nothing; another repository of the same registry mounts.
    let again = place.ok(&["push", "--json", &image, &remote]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["blobs"]["copied"], &again["blobs"]["existed"]),
        (&0.into(), &3.into())
    );
    let other = format!("docker://{}/other:2", real.address());
    let mounted: Value =
        serde_json::from_str(&place.ok(&["copy", "--json", &remote, &other])).unwrap();
    assert_eq!(
        (&mounted["blobs"]["copied"], &mounted["blobs"]["mounted"]),
        (&0.into(), &3.into())
    );
    assert_eq!(mounted["digest"], Value::String(pushed.clone()));

    // Pieces are put together again.
    let pieces = format!("docker://{}/pieces:1", real.address());
    assert_eq!(
        digest_of(&place.ok(&["push", "--chunk", "100K", &image, &pieces])),
        pushed
    );
    assert_eq!(paths_of(&place, &pieces), paths(&image));
}

#[test]
fn the_store_is_a_layout_others_read() {
    if !require::tool("docker-registry") || !require::tool("skopeo") || !require::tool("umoci") {
        return;
    }
    let (place, real) = (Place::new(), Real::start());
    let name = format!("{}/team/app:1", real.address());
    place.ok(&["push", &place.image(), &format!("docker://{name}")]);
    let pulled = digest_of(&place.ok(&["pull", &name]));
    let store = place.text("store");

    let theirs = run::text(skopeo().args(["inspect", &format!("oci:{store}:{name}")]));
    assert!(theirs.contains(&pulled), "{theirs}");
    let listed = run::text(run::command("umoci").args(["ls", "--layout", &store]));
    assert_eq!(listed.trim(), name);
    if require::root() {
        let bundle = place.text("bundle");
        run::ok(run::command("umoci").args([
            "unpack",
            "--image",
            &format!("{store}:{name}"),
            &bundle,
        ]));
        assert_eq!(
            fs::read(Path::new(&bundle).join("rootfs/etc/motd")).unwrap(),
            b"good evening\n"
        );
    }

    // What is there is used, whatever the registry does.
    place.ok(&["tag", &name, "mine:1"]);
    drop(real);
    assert_eq!(paths_of(&place, "mine:1"), paths(&place.image()));
    let missing = place.ok(&["pull", "--policy", "missing", &name]);
    assert!(missing.contains("in the store"), "{missing}");
    place.ok(&["pull", "--policy", "never", &name]);
    let never = place.fails(&["pull", "--policy", "never", "nothing/such:1"], 1);
    assert!(never.contains("docker.io/nothing/such:1"), "{never}");
    let gone = place.fails(&["--quiet", "pull", "--retries", "0", &name], 1);
    assert!(gone.contains(name.split('/').next().unwrap()), "{gone}");

    let images: Value = serde_json::from_str(&place.ok(&["images", "--json"])).unwrap();
    let names: Vec<&str> = images
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, [name.as_str(), "docker.io/library/mine:1"]);
    place.ok(&["rm", &name]);
    place.ok(&["gc"]);
    assert_eq!(paths_of(&place, "mine:1"), paths(&place.image()));
    place.ok(&["rm", "mine:1"]);
    let collected: Value = serde_json::from_str(&place.ok(&["gc", "--json"])).unwrap();
    assert_eq!(
        collected["blobs"].as_array().unwrap().len(),
        4,
        "{collected}"
    );
    place.ok(&["fsck"]);
}

#[test]
fn what_skopeo_and_buildah_pushed_is_pulled() {
    if !require::tool("docker-registry") || !require::tool("skopeo") || !require::tool("buildah") {
        return;
    }
    let (place, real) = (Place::new(), Real::start());
    let image = place.image();
    let (source, _) = image.rsplit_once(':').unwrap();
    for (format, name) in [("oci", "a:1"), ("v2s2", "b:1")] {
        let remote = format!("docker://{}/{name}", real.address());
        run::ok(skopeo().args([
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            "--format",
            format,
            &format!("{source}:latest"),
            &remote,
        ]));
        assert_eq!(paths_of(&place, &remote), paths(&image), "{format}");
        place.ok(&["pull", &format!("{}/{name}", real.address())]);
        assert_eq!(
            paths_of(&place, &format!("{}/{name}", real.address())),
            paths(&image),
            "{format}"
        );
    }
    if !require::root() {
        return;
    }
    let storage = place.text("containers");
    let buildah = |args: &[&str]| {
        let mut command = run::command_with_mounted_root("buildah");
        command.args([
            "--root",
            &storage,
            "--runroot",
            &place.text("containers-run"),
            "--storage-driver",
            "vfs",
        ]);
        command.env("BUILDAH_ISOLATION", "chroot").args(args);
        run::text(&mut command)
    };
    let container = buildah(&[
        "from",
        "--tls-verify=false",
        &format!("{}/a:1", real.address()),
    ]);
    let file = place.path("added");
    fs::write(&file, "added\n").unwrap();
    buildah(&[
        "copy",
        container.trim(),
        &file.display().to_string(),
        "/added",
    ]);
    let theirs = format!("docker://{}/buildah:1", real.address());
    buildah(&["commit", "--tls-verify=false", container.trim(), &theirs]);
    let found = paths_of(&place, &theirs);
    assert!(
        found.contains(&"/added".to_owned()) && found.contains(&"/etc/motd".to_owned()),
        "{found:?}"
    );
    let motd = place.ok(&["-q", "cat", &theirs, "/etc/motd"]);
    assert_eq!(motd, "good evening\n");
}

#[test]
fn what_is_no_registry_s_name_is_refused_and_not_shown() {
    let place = Place::new();
    for name in [
        "ftp://registry.example",
        "me:hunter2@registry.example",
        "https://me:hunter2@registry.example/",
        "ftp://me:hunter2@registry.example",
        "registry.example?hunter2",
        "registry.example#hunter2",
        "https://",
        "a b",
    ] {
        for command in [&["login", "-u", "me", name][..], &["logout", name]] {
            let said = place.fails(command, 2);
            assert!(said.contains("the registry has "), "{name}: {said}");
            assert!(said.contains("expected HOST[:PORT]"), "{name}: {said}");
            assert!(!said.contains("hunter2"), "{name}: {said}");
        }
    }
}

#[test]
fn proxies_of_the_environment() {
    if !require::tool("openssl") {
        return;
    }
    let place = Place::new();
    let authority = Authority::new();
    let registry = Faulty::start_with(&authority.server_for("DNS:registry.example"));
    let proxy = Proxy::start_with(&authority.server());
    proxy.map("registry.example:443", &registry.address());
    let image = place.image();
    let run = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = place.lithify();
        command.env("SSL_CERT_FILE", authority.certificate());
        for (name, value) in variables {
            command.env(name, value);
        }
        run::output(command.args(args).args(["--retries", "0"]))
    };
    let remote = "docker://registry.example/team/app:1";
    let way = format!("https://me:s3cret@{}", proxy.address());
    let pushed = run(&[("HTTPS_PROXY", &way)], &["push", &image, remote]);
    assert!(pushed.status.success(), "{}", stderr(&pushed));
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.method, "CONNECT");
        let credentials = request.header("proxy-authorization");
        assert_eq!(credentials, Some("Basic bWU6czNjcmV0"));
    }
    // The proxy is to blame, by the variable it was named in.
    let nobody = Proxy::start().address();
    let way = format!("me:s3cret@{nobody}");
    let refused = run(&[("https_proxy", &way)], &["ls", remote]);
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1));
    let words = format!("the proxy http://{nobody} ($https_proxy): ");
    assert!(said.contains(&words) && !said.contains("s3cret"), "{said}");
    let direct = [
        ("https_proxy", way.as_str()),
        ("no_proxy", "x, Example:443"),
    ];
    let said = stderr(&run(&direct, &["ls", remote]));
    assert!(!said.contains("proxy"), "{said}");
}

#[test]
fn mirrors_are_asked_first_and_said() {
    if !require::tool("docker-registry") {
        return;
    }
    let place = Place::new();
    let (origin, mirror) = (Real::start(), Real::start());
    let image = place.image();
    place.ok(&[
        "push",
        &image,
        &format!("docker://{}/cache/app:1", mirror.address()),
    ]);
    place.ok(&[
        "push",
        &image,
        &format!("docker://{}/app:1", origin.address()),
    ]);
    let configured = place.path("registries.toml");
    let down = "127.0.0.1:9";
    fs::write(
        &configured,
        format!(
            "[[registry]]\nprefix = {:?}\nmirror = [{{ location = {:?} }}, {{ location = {:?} }}]\n",
            origin.address(), format!("{down}/x"), format!("{}/cache", mirror.address()),
        ),
    )
    .unwrap();
    let source = format!("docker://{}/app:1", origin.address());
    let output = run::output(
        place
            .lithify()
            .env("LITHIFY_REGISTRIES", &configured)
            .env("LITHIFY_LOG", "info")
            .args(["ls", &source]),
    );
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(&format!("asking the mirror {down}")),
        "{said}"
    );
    assert!(
        said.contains(&format!("asking the mirror {}", mirror.address())),
        "{said}"
    );
    assert!(
        !said.contains(&format!("asking {}", origin.address())),
        "{said}"
    );
}

#[test]
fn images_for_several_platforms() {
    if !require::tool("docker-registry") || !require::tool("skopeo") {
        return;
    }
    let (place, real) = (Place::new(), Real::start());
    // Two images, one for each architecture, under one index made by hand.
    let dir = place.path("multi");
    let mut manifests = Vec::new();
    for (architecture, word) in [("amd64", "one\n"), ("arm64", "two\n")] {
        let part = place.path(architecture);
        let tar = layer([TarEntry::file("word", word)]);
        Layout::new()
            .image_config("architecture", architecture.into())
            .gzip_layer(&tar)
            .write(&part);
        run::ok(
            run::command("cp")
                .arg("-rn")
                .arg(part.join("blobs"))
                .arg(part.join("oci-layout"))
                .arg({
                    fs::create_dir_all(&dir).unwrap();
                    &dir
                }),
        );
        let index: Value =
            serde_json::from_slice(&fs::read(part.join("index.json")).unwrap()).unwrap();
        let mut manifest = index["manifests"][0].clone();
        manifest.as_object_mut().unwrap().remove("annotations");
        manifest["platform"] = serde_json::json!({ "os": "linux", "architecture": architecture });
        manifests.push(manifest);
    }
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests });
    let bytes = serde_json::to_vec(&index).unwrap();
    let digest = lithify_testkit::digest(&bytes);
    fs::write(
        dir.join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:")),
        &bytes,
    )
    .unwrap();
    let top = serde_json::json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": bytes.len(),
        "annotations": { "org.opencontainers.image.ref.name": "1" } }] });
    fs::write(dir.join("index.json"), serde_json::to_vec(&top).unwrap()).unwrap();

    let source = format!("oci:{}:1", dir.display());
    let name = format!("{}/multi:1", real.address());
    let remote = format!("docker://{name}");
    assert_eq!(
        digest_of(&place.ok(&["push", "--all-platforms", &source, &remote])),
        digest
    );
    let raw = run::text(skopeo().args(["inspect", "--raw", "--tls-verify=false", &remote]));
    assert_eq!(raw.trim(), String::from_utf8(bytes).unwrap());

    let cat = |subject: &str, platform: &str| {
        place.ok(&["-q", "cat", "--platform", platform, subject, "/word"])
    };
    assert_eq!(cat(&remote, "linux/amd64"), "one\n");
    assert_eq!(cat(&remote, "linux/arm64"), "two\n");
    place.fails(&["ls", "--platform", "linux/s390x", &remote], 1);

    // Each platform alone, then both, in one store.
    place.ok(&["pull", "--platform", "linux/arm64", &name]);
    place.ok(&["pull", "--platform", "linux/amd64", &name]);
    assert_eq!(cat(&name, "linux/amd64"), "one\n");
    assert_eq!(cat(&name, "linux/arm64"), "two\n");
    let pinned = format!("{}/multi@{digest}", real.address());
    assert_eq!(
        place.ok(&[
            "-q",
            "cat",
            "--pull",
            "never",
            "--platform",
            "linux/arm64",
            &pinned,
            "/word"
        ]),
        "two\n"
    );
    assert_eq!(
        digest_of(&place.ok(&["pull", "--all-platforms", &name])),
        digest
    );
    assert_eq!(cat(&name, "linux/arm64"), "two\n");
    place.ok(&["fsck"]);
    // From the store to a layout, everything.
    let out = format!("oci:{}:all", place.text("out"));
    assert_eq!(
        digest_of(&place.ok(&["copy", "--all-platforms", &name, &out])),
        digest
    );
    assert_eq!(
        place.ok(&["-q", "cat", "--platform", "linux/arm64", &out, "/word"]),
        "two\n"
    );
}

/// Only what is asked for comes over the wire.
/// What was read to choose an image is not asked for again once it is chosen.
#[test]
fn documents_of_an_image_are_asked_for_once() {
    let place = Place::new();
    let registry = Faulty::start();
    let one = |name: &str, architecture: &str| {
        let path = place.path(name);
        let architecture = Value::from(architecture);
        let layout = two_layers().image_config("architecture", architecture);
        layout.write(&path);
        registry.add_layout(&path, "app", name);
        let index = fs::read(path.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        index["manifests"][0].clone()
    };
    // No descriptor says what its image is for, the configs do.
    let manifests = [one("first", "m68k"), one("second", "s390x")];
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    registry.add_manifest("app", Some("both"), media_type, index.to_string());

    let platform = ["--platform", "linux/s390x"];
    for (tag, requests) in [("second", [1, 1]), ("both", [3, 2])] {
        let remote = format!("docker://{}/app:{tag}", registry.address());
        registry.clear_requests();
        let shown = place.ok(&[&["inspect", &remote][..], &platform].concat());
        assert!(shown.contains("linux/s390x"), "{shown}");
        let asked = [Kind::Manifest, Kind::Blob];
        let asked = asked.map(|kind| registry.requests_on(&On::kind(kind)));
        assert_eq!(asked.each_ref().map(Vec::len), requests, "{asked:?}");
    }
}

#[test]
fn files_of_erofs_layers_are_read_in_parts() {
    let place = Place::new();
    let faulty = Faulty::start();
    let noise: Vec<u8> = (0..8_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let tar = layer([
        TarEntry::file("large", noise),
        TarEntry::directory("d"),
        TarEntry::file("d/small", "small\n"),
    ]);
    Layout::new().gzip_layer(&tar).write(&place.path("image"));
    let remote = format!("docker://{}/native:1", faulty.address());
    place.ok(&["push", "--as", "erofs", &place.image(), &remote]);
    faulty.clear_requests();

    assert_eq!(place.ok(&["-q", "cat", &remote, "/d/small"]), "small\n");
    assert_eq!(place.ok(&["-q", "ls", &remote, "/d"]), "/d/small\n");
    let sent: u64 = faulty
        .requests_on(&On::kind(Kind::Blob))
        .iter()
        .map(|r| r.sent)
        .sum();
    assert!(sent < 1_000_000, "{sent} bytes of 8 MB");
    // What is read as a whole is verified, and is the same.
    place.ok(&[
        "-q",
        "build",
        "--no-fsync",
        &remote,
        "--platform",
        "linux/amd64+erofs",
        "-f",
        "tar",
        "-o",
        &place.text("a.tar"),
    ]);
    place.ok(&[
        "-q",
        "build",
        "--no-fsync",
        &place.image(),
        "-f",
        "tar",
        "-o",
        &place.text("b.tar"),
    ]);
    assert!(fs::read(place.path("a.tar")).unwrap() == fs::read(place.path("b.tar")).unwrap());
}

/// A store someone named and that is none is said; nothing is read past it.
#[test]
fn a_store_that_is_none_is_no_reason_to_ask_the_registry() {
    let place = Place::new();
    let faulty = Faulty::start();
    fs::create_dir(place.path("store")).unwrap();
    fs::write(place.path("store/mine"), "mine\n").unwrap();
    let name = format!("{}/team/app:1", faulty.address());
    for policy in ["missing", "always", "never"] {
        let said = place.fails(&["ls", "--pull", policy, &name], 1);
        assert!(said.contains(&place.text("store")), "{policy}: {said}");
    }
    assert!(faulty.requests().is_empty());
}

/// The registry finds out, in words of its own and exit code 1; the source is what is damaged.
#[test]
fn a_damaged_source_is_told_from_a_registry_that_refuses() {
    if !require::tool("docker-registry") {
        return;
    }
    let (place, real) = (Place::new(), Real::start());
    let image = place.image();
    let blobs = place.path("image/blobs/sha256");
    let mut largest: Vec<_> = fs::read_dir(&blobs).unwrap().flatten().collect();
    largest.sort_by_key(|blob| blob.metadata().unwrap().len());
    let blob = largest.last().unwrap().path();
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let remote = format!("docker://{}/x:1", real.address());
    let said = place.fails(&["copy", &image, &remote], 3);
    let digest = blob.file_name().unwrap().to_str().unwrap();
    assert!(
        said.contains(digest) && said.contains("descriptor says"),
        "{said}"
    );
    // What the registry does not want for another reason is not blamed on the source.
    let refusing = Faulty::start();
    refusing.rule(
        On::kind(Kind::Upload).method("PUT"),
        Action::Answer(Answer::status(400)),
    );
    fs::remove_dir_all(place.path("image")).unwrap();
    let image = place.image();
    let remote = format!("docker://{}/x:1", refusing.address());
    let said = place.fails(&["copy", &image, &remote], 1);
    assert!(said.contains("400"), "{said}");
}
