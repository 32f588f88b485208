//! Digests of composefs beside an image, checked.

use std::collections::BTreeSet;
use std::fs;

use lithify_testkit::{digest, run, temp_dir};
use serde_json::{Value, json};

use crate::common::artifacts::json as json_of;
use crate::common::sealed::{Sealed, annotation, sample};
use crate::common::{lithify, lithify_output};

#[test]
fn digests_are_computed_and_compared() {
    let tmp = temp_dir();
    let place = Sealed::new(tmp.path(), &sample());
    let error = place.refused(1);
    assert!(error.contains("nobody says"), "{error}");
    let artifacts = place.seal("sha256,sha512");
    let said = place.verify();
    let checks = said["sealed"]["checks"].as_array().unwrap();
    let roles: Vec<&str> = checks.iter().map(|c| c["role"].as_str().unwrap()).collect();
    let of_one = ["manifest", "config", "merged", "image"];
    assert_eq!(roles, [of_one, of_one].concat());
    for check in checks {
        assert_eq!(check["state"], "same", "{check:#}");
        assert_eq!(check["found"], check["expected"]);
    }
    let places = checks.iter().map(|c| c["place"].as_str().unwrap());
    let places: BTreeSet<&str> = places.collect();
    assert_eq!(places, artifacts.iter().map(String::as_str).collect());
    let plain = json_of(tmp.path(), &["verify", &place.name()]);
    assert_eq!(plain.get("sealed"), None);
    for field in ["entries", "bytes", "name"] {
        assert_eq!(said[field], plain[field]);
    }
    // Each of them, and the image, changed.
    let original = place.json(&artifacts[0]);
    let mut current = artifacts[0].clone();
    let other = "0".repeat(64);
    for (number, role) in of_one.iter().enumerate() {
        let mut forged = original.clone();
        let layer = &mut forged["layers"][number];
        if *role == "image" {
            layer["digest"] = format!("sha256:{other}").into();
        } else {
            let key = annotation(&original["layers"][number]).0;
            layer["annotations"][key] = other.as_str().into();
        }
        let forged = place.put(Some(&current), &forged);
        current.clone_from(&forged);
        let error = place.refused(3);
        for part in [*role, &forged, &other] {
            assert!(error.contains(part), "{error}");
        }
        let output = lithify_output(["-q", "verify", "--sealed", "--json", &place.name()]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = said["sealed"]["checks"].as_array().unwrap();
        let different: Vec<&Value> = checks
            .iter()
            .filter(|c| c["state"] == "different")
            .collect();
        assert_eq!(different.len(), 1, "{said:#}");
        assert_eq!(different[0]["role"], *role);
        let found = different[0]["found"].as_str().unwrap();
        assert!(error.contains(found), "{error}");
    }
    // Of another image, it says nothing of this one.
    let mut forged = original.clone();
    forged["subject"]["digest"] = digest(b"other").into();
    place.put(Some(&current), &forged);
    let said = place.verify();
    assert_eq!(said["sealed"]["checks"].as_array().unwrap().len(), 4);
}

#[test]
fn digests_nobody_here_knows_are_told_and_never_right() {
    let tmp = temp_dir();
    let place = Sealed::new(tmp.path(), &sample());
    let artifacts = place.seal("sha256");
    let mut manifest = place.json(&artifacts[0]);
    let unknown = [
        "composefs.merged.erofs.v1.fsverity-sha256-16",
        "composefs.merged.bootable.erofs.v1.fsverity-sha256-12",
        "composefs.merged.erofs.v2.fsverity-sha256-12",
        "composefs.merged.erofs.v1.fsverity-sha256-12.sig",
        "composefs.layer.erofs.v1.fsverity-sha256-12",
    ];
    let layer = manifest["layers"][0].clone();
    for key in unknown {
        let mut layer = layer.clone();
        layer["annotations"] = json!({ key: "x".repeat(1000) });
        manifest["layers"].as_array_mut().unwrap().push(layer);
    }
    let current = place.put(Some(&artifacts[0]), &manifest);
    let said = place.verify();
    let checks = said["sealed"]["checks"].as_array().unwrap();
    for key in unknown {
        let check = checks.iter().find(|c| c["annotation"] == key).unwrap();
        assert_eq!(check["state"], "not-checked");
        assert_eq!(check["role"], Value::Null);
        assert!(check["expected"].as_str().unwrap().len() < 200);
        assert!(check["reason"].as_str().unwrap().contains("not known"));
    }
    let text = run::text(lithify().args(["verify", "--sealed", &place.name()]));
    assert_eq!(text.matches(": as computed\n").count(), 4, "{text}");
    assert_eq!(
        text.matches(": not checked: ").count(),
        unknown.len(),
        "{text}"
    );
    // They alone are not enough.
    for layer in 0..4 {
        manifest["layers"][layer]["annotations"] = json!({});
    }
    manifest["layers"].as_array_mut().unwrap().remove(3);
    place.put(Some(&current), &manifest);
    let error = place.refused(1);
    assert!(error.contains("none that can be checked"), "{error}");
}

#[test]
fn annotations_that_are_no_digests_are_errors() {
    let tmp = temp_dir();
    let place = Sealed::new(tmp.path(), &sample());
    let artifacts = place.seal("sha256");
    let original = place.json(&artifacts[0]);
    let key = annotation(&original["layers"][2]).0;
    let digest = annotation(&original["layers"][2]).1;
    let mut current = artifacts[0].clone();
    let (upper, half) = (digest.to_uppercase(), &digest[..32]);
    let twice = digest.repeat(2);
    let huge = "a".repeat(1 << 20);
    for value in [
        &upper,
        half,
        "",
        &twice,
        "sha256:",
        "\u{1b}[2J",
        "not hexadecimal",
        &huge,
    ] {
        let mut forged = original.clone();
        forged["layers"][2]["annotations"][key] = value.into();
        current = place.put(Some(&current), &forged);
        let error = place.refused(3);
        assert!(
            error.contains("expected 64 lower-case hexadecimal digits"),
            "{error}"
        );
        assert!(error.contains(key), "{error}");
        assert!(error.len() < 1000, "{}", error.len());
        assert!(!error.contains('\u{1b}'));
    }
    let mut many = original.clone();
    let keys = (0..1025).map(|number| (format!("composefs.{number}"), Value::from("x")));
    many["annotations"] = Value::Object(keys.collect());
    current = place.put(Some(&current), &many);
    let error = place.refused(1);
    assert!(
        error.contains("more than 1024 composefs digests"),
        "{error}"
    );
    // So many artifacts, each another one.
    place.put(Some(&current), &original);
    for number in 0..64 {
        let mut other = original.clone();
        other["annotations"] = json!({ "number": number.to_string() });
        place.put(None, &other);
    }
    let error = place.refused(1);
    assert!(error.contains("more than 64 artifacts"), "{error}");
}

/// Digests that stand in the image's own manifest.
#[test]
fn annotations_of_the_image_are_checked() {
    let tmp = temp_dir();
    let place = Sealed::new(tmp.path(), &sample());
    let sealed = place.seal("sha256");
    let sealed = place.json(&sealed[0]);
    let digests: Vec<(&str, &str)> = [1, 2].map(|n| annotation(&sealed["layers"][n])).into();
    let [(config, config_digest), (merged, merged_digest)] = digests[..] else {
        panic!("two digests")
    };
    let mut manifest = place.json(&place.image());
    manifest["config"]["annotations"] = json!({ config: config_digest });
    manifest["annotations"] = json!({ merged: merged_digest });
    manifest["layers"][0]["annotations"] =
        json!({ "composefs.layer.erofs.v1.fsverity-sha256-12": merged_digest });
    place.put(Some(&place.image()), &manifest);
    let said = place.verify();
    let checks = said["sealed"]["checks"].as_array().unwrap();
    let found: Vec<_> = checks
        .iter()
        .map(|c| [&c["place"], &c["role"], &c["state"]])
        .collect();
    let (own, same) = (&json!("manifest"), &json!("same"));
    assert_eq!(
        found,
        [
            [own, &json!("merged"), same],
            [own, &json!("config"), same],
            [own, &Value::Null, &json!("not-checked")],
        ]
    );
    manifest["annotations"][merged] = config_digest.into();
    place.put(Some(&place.image()), &manifest);
    let error = place.refused(3);
    assert!(error.contains(merged_digest), "{error}");
}

#[test]
fn the_id_in_a_repository_is_compared_too() {
    let tmp = temp_dir();
    let place = Sealed::new(tmp.path(), &sample());
    place.seal("sha256");
    let repository = tmp.path().join("repository");
    let name = format!("composefs:{}:app", repository.display());
    let build = |profile: &str, image: &str| {
        let args = [
            "-q",
            "build",
            image,
            "-f",
            "composefs",
            "--profile",
            profile,
        ];
        run::ok(lithify().args(args).args(["--no-fsync", "-o", &name]));
    };
    let verify = || {
        let args = ["-q", "verify", "--json", "--seals", &place.name(), &name];
        let said: Value = serde_json::from_slice(&run::ok(lithify().args(args))).unwrap();
        let checks = said["sealed"]["checks"].as_array().unwrap();
        assert!(said["composefs"]["has_objects"].as_bool().unwrap());
        checks.last().unwrap().clone()
    };
    build("cfsctl", &place.name());
    let check = verify();
    assert_eq!(check["place"], "repository");
    assert_eq!(check["state"], "same");
    fs::remove_dir_all(&repository).unwrap();
    build("faithful", &place.name());
    let check = verify();
    assert_eq!(check["state"], "not-checked");
    assert!(check["reason"].as_str().unwrap().contains("other rules"));
}
