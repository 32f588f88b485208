//! Signatures beside images: copied with them, and never lost.

use crate::common::artifacts::{fails, json, sample};
use crate::common::stores::{assert_undamaged, lithify_at};
use lithify_testkit::registry::{Action, Faulty, Kind, On};
use lithify_testkit::{run, temp_dir};
use serde_json::{Value, json as object};

/// Puts under a tag what cosign would say of a manifest.
fn sign(registry: &Faulty, subject: &str, kind: &str) -> String {
    put_signature(registry, subject, kind, &format!("{kind} of {subject}"))
}

/// Puts another signature in the place of the first.
fn sign_again(registry: &Faulty, subject: &str) -> String {
    put_signature(registry, subject, "sig", "another signature")
}

fn put_signature(registry: &Faulty, subject: &str, kind: &str, payload: &str) -> String {
    put_signatures(registry, subject, kind, &[payload])
}

/// Several signatures are the layers of one manifest.
fn put_signatures(registry: &Faulty, subject: &str, kind: &str, payloads: &[&str]) -> String {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let config = registry.add_blob("team/app", format!("{{\"{kind}\":\"{subject}\"}}"));
    let config_size = registry.blob("team/app", &config).unwrap().len();
    let layers = payloads.iter().map(|payload| {
        let layer = registry.add_blob("team/app", (*payload).to_owned());
        object!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "size": payload.len(),
            "digest": layer,
            "annotations": { "dev.cosignproject.cosign/signature": payload },
        })
    });
    let manifest = object!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": config_size,
            "digest": config,
        },
        "layers": layers.collect::<Vec<_>>(),
    });
    let tag = format!("{}.{kind}", subject.replace(':', "-"));
    registry.add_manifest("team/app", Some(&tag), MANIFEST, manifest.to_string())
}

#[test]
fn signatures_under_tags_are_not_left_behind() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let store = dir.join("store");
    let registry = Faulty::start();
    let source = format!("docker://{}/team/app:v1", registry.address());
    let pushed = json(&store, &["push", &sample(dir), &source]);
    let manifest = pushed["digest"].as_str().unwrap().to_owned();
    // An index over it, as for several platforms.
    let (media_type, bytes) = registry.manifest("team/app", &manifest).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"{media_type}","size":{},"digest":"{manifest}","platform":{{"os":"linux","architecture":"{}"}}}}]}}"#,
        bytes.len(),
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            _ => "arm64",
        },
    );
    let index = registry.add_manifest(
        "team/app",
        Some("v1"),
        "application/vnd.oci.image.index.v1+json",
        index,
    );
    let signed = [
        (
            format!("{}.sig", index.replace(':', "-")),
            sign(&registry, &index, "sig"),
        ),
        (
            format!("{}.sig", manifest.replace(':', "-")),
            sign(&registry, &manifest, "sig"),
        ),
        (
            format!("{}.att", manifest.replace(':', "-")),
            sign(&registry, &manifest, "att"),
        ),
        (
            format!("{}.sbom", manifest.replace(':', "-")),
            sign(&registry, &manifest, "sbom"),
        ),
    ];
    let of_manifest = |name: &str, what: &str| {
        let shown = json(&store, &["inspect", "--referrers", name]);
        let referrers = shown["referrers"].as_array().unwrap();
        let found: Vec<_> = referrers
            .iter()
            .map(|r| {
                (
                    r["tag"].as_str().unwrap().to_owned(),
                    r["digest"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!(found, signed[1..], "{what}");
    };
    of_manifest(&source, "registry");
    let text = run::text(lithify_at(&store).args(["inspect", "--referrers", &source]));
    assert!(text.contains(&signed[1].0), "{text}");

    let layout = format!("oci:{}:v1", dir.join("layout").display());
    let archive = format!("oci-archive:{}:v1", dir.join("archive").display());
    let other = Faulty::start();
    let target = format!("docker://{}/mirror/app:v1", other.address());
    let mut from = source.clone();
    for to in [&layout, &archive, &target] {
        let copied = json(
            &store,
            &["copy", "--all-platforms", "--referrers", &from, to],
        );
        let mut named: Vec<_> = copied["referrers"].as_array().unwrap().iter().collect();
        let mut all: Vec<_> = signed
            .iter()
            .map(|(_, digest)| Value::String(digest.clone()))
            .collect();
        named.sort_by_key(|v| v.as_str());
        all.sort_by_key(|v| v.as_str().map(str::to_owned));
        assert_eq!(named, all.iter().collect::<Vec<_>>(), "{to}");
        of_manifest(to, to);
        from.clone_from(to);
    }
    for (tag, digest) in &signed {
        assert!(other.tags("mirror/app").contains(tag), "{tag}");
        let (_, bytes) = other.manifest("mirror/app", tag).unwrap();
        assert_eq!(lithify_testkit::digest(&bytes), *digest);
    }

    // Beside their image they are none that is meant without a name.
    for (number, place) in ["oci:", "oci-archive:"].into_iter().enumerate() {
        let (name, directory) = match place {
            "oci:" => (&layout, "layout"),
            _ => (&archive, "archive"),
        };
        let nameless = format!("{place}{}", dir.join(directory).display());
        let shown = json(&store, &["inspect", &nameless]);
        assert_eq!(shown["manifest_digest"], manifest.as_str(), "{shown}");
        let out = dir.join(format!("{number}.tar")).display().to_string();
        json(&store, &["build", &nameless, "-f", "tar", "-o", &out]);
        let to = format!("oci:{}:v1", dir.join(format!("nameless{number}")).display());
        let copied = json(&store, &["copy", "--all-platforms", &nameless, &to]);
        assert_eq!(copied["digest"], index.as_str());
        // By name they can be had.
        let signature = format!("{}:{}", nameless, signed[0].0);
        let to = format!("oci:{}:s", dir.join(format!("signature{number}")).display());
        let copied = json(&store, &["copy", "--all-platforms", &signature, &to]);
        assert_eq!(copied["digest"], signed[0].1.as_str(), "{name}");
        let (code, error) = fails(lithify_at(&store).args(["-q", "inspect", &signature]));
        assert_eq!(code, 1, "{error}");
        assert!(error.contains("simplesigning"), "{error}");
    }

    // Through the store too.
    let bare = source.trim_start_matches("docker://");
    json(&store, &["pull", "--all-platforms", "--referrers", bare]);
    of_manifest(bare, "store");
    let again = Faulty::start();
    let target = format!("docker://{}/team/app:v1", again.address());
    json(
        &store,
        &["copy", "--all-platforms", "--referrers", bare, &target],
    );
    for (tag, _) in &signed {
        assert!(again.tags("team/app").contains(tag), "{tag}");
    }
    assert_undamaged(&store);
    // They go with the image, and are not images themselves.
    let kept = |digest: &str| {
        let hex = digest.trim_start_matches("sha256:");
        store.join("blobs/sha256").join(hex).exists()
    };
    let listed = json(&store, &["images"]).to_string();
    assert!(!listed.contains(".sig"), "{listed}");
    json(&store, &["gc"]);
    assert!(signed.iter().all(|(_, digest)| kept(digest)));
    // One that was signed again leaves its old signature.
    let renewed = sign_again(&registry, &manifest);
    json(&store, &["pull", "--all-platforms", "--referrers", bare]);
    let shown = json(&store, &["inspect", "--referrers", bare]);
    assert_eq!(shown["referrers"][0]["digest"], renewed, "{shown}");
    json(&store, &["gc"]);
    assert!(kept(&renewed) && !kept(&signed[1].1));
    run::ok(lithify_at(&store).args(["rm", bare]));
    json(&store, &["gc"]);
    assert!(!signed.iter().any(|(_, digest)| kept(digest)) && !kept(&renewed));

    // Who does not ask gets none; who asks and is not told has the image, and is not left to think there are none.
    let plain = Faulty::start();
    let target = format!("docker://{}/team/app:v1", plain.address());
    json(&store, &["copy", "--all-platforms", &source, &target]);
    assert_eq!(plain.tags("team/app"), ["v1"]);
    registry.rule(
        On::kind(Kind::Manifest).path(".sig"),
        Action::Answer(lithify_testkit::registry::Answer::status(403)),
    );
    let place = format!("oci:{}:v1", dir.join("refused").display());
    let mut command = lithify_at(&store);
    let output = run::output(command.args(["copy", "--referrers", "--json", &source, &place]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warn: ") && said.contains(".sig"), "{said}");
    let copied: Value = serde_json::from_slice(&output.stdout).unwrap();
    let unlisted = copied["referrers_unlisted"].as_array().unwrap();
    assert!(unlisted[0].as_str().unwrap().contains(".sig"), "{copied}");
    let shown = json(&store, &["inspect", "--referrers", &source]);
    assert_eq!(shown["referrers_unlisted"].as_array().unwrap().len(), 1);
}

/// All signatures of a manifest are in one other: to put that in the place of another one is to remove what is there.
#[test]
fn signatures_at_the_destination_are_not_lost() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let store = dir.join("store");
    let (from, to) = (Faulty::start(), Faulty::start());
    let source = format!("docker://{}/team/app:v1", from.address());
    let target = format!("docker://{}/team/app:v1", to.address());
    let pushed = json(&store, &["push", &sample(dir), &source]);
    let digest = pushed["digest"].as_str().unwrap();
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let ours = put_signature(&from, digest, "sig", "ours");
    let layout = format!("oci:{}:v1", dir.join("layout").display());
    let kept = "store:kept.example/app:v1";
    let copy = |to: &str| {
        let mut command = lithify_at(&store);
        command.args(["-q", "copy", "--referrers", &source, to]);
        command
    };
    let signature = |name: &str| {
        let shown = json(&store, &["inspect", "--referrers", name]);
        shown["referrers"][0]["digest"].as_str().unwrap().to_owned()
    };
    for place in [&layout, kept] {
        run::ok(&mut copy(place));
        assert_eq!(signature(place), ours);
    }
    // The destination has the image, and a signature of its own.
    json(&store, &["copy", &source, &target]);
    let theirs = put_signature(&to, digest, "sig", "theirs");
    let before = to.requests().len();
    let other = put_signature(&from, digest, "sig", "another");
    for (place, there) in [(&*target, &theirs), (&layout, &ours), (kept, &ours)] {
        let (code, error) = fails(&mut copy(place));
        assert_eq!(code, 1, "{error}");
        for word in [&tag, there, &other, "copy without --referrers"] {
            assert!(error.contains(word), "{word}: {error}");
        }
        assert_eq!(&signature(place), there, "{place}");
    }
    let requests = to.requests();
    let written = requests[before..]
        .iter()
        .filter(|r| r.method != "GET" && r.method != "HEAD");
    assert_eq!(written.count(), 0, "{requests:#?}");

    // One that has those that are there is put, and one that is there is not put again.
    let all = put_signatures(&from, digest, "sig", &["theirs", "ours", "another"]);
    for place in [&*target, &layout, kept] {
        run::ok(&mut copy(place));
        assert_eq!(signature(place), all, "{place}");
    }
    let before = to.requests().len();
    for place in [&*target, &layout, kept] {
        run::ok(&mut copy(place));
        assert_eq!(signature(place), all, "{place}");
    }
    let requests = to.requests();
    let again = requests[before..]
        .iter()
        .filter(|r| r.method == "PUT" && r.path.contains(".sig"));
    assert_eq!(again.count(), 0, "{requests:#?}");
    assert_undamaged(&store);
}
