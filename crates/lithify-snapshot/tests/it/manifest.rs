//! Manifests: what is taken, what is refused, and identities.

use std::collections::BTreeMap;

use lithify_snapshot::Manifest;
use lithify_snapshot::manifest::{Disk, DiskFormat, Image, Info, JsonError, ManifestError};
use proptest::prelude::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn example() -> Manifest {
    Manifest {
        image: Image {
            manifest: format!("sha256:{HEX}").parse().unwrap(),
            platform: "linux/amd64".parse().unwrap(),
        },
        parent: None,
        disk: Disk {
            format: DiskFormat::Raw,
            filesystem: "ext4".to_owned(),
            size: 4 << 30,
            content: format!("fsverity-sha256-16:{HEX}").parse().unwrap(),
        },
        labels: BTreeMap::new(),
        info: Info::default(),
    }
}

fn parse(json: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(json.as_bytes())
}

/// The example's JSON with words replaced.
fn with(from: &str, to: &str) -> Result<Manifest, ManifestError> {
    let json = example().to_json().unwrap();
    assert!(json.contains(from), "{json}");
    parse(&json.replace(from, to))
}

#[test]
fn identities_stay_what_they_are() {
    let mut snapshot = example();
    let json = snapshot.to_json().unwrap();
    let expected = format!(
        r#"{{"disk":{{"content":"fsverity-sha256-16:{HEX}","filesystem":"ext4","format":"raw","size":4294967296}},"image":{{"manifest":"sha256:{HEX}","platform":"linux/amd64"}},"schema":"lithify.snapshot/1"}}"#
    );
    assert_eq!(json, expected);
    // By sha256sum.
    let id = snapshot.id().to_string();
    assert_eq!(
        id,
        "sha256:16f8c2ac7f8b4d5a13fa8af80622de7e49ca35fdae932ae13ccabd0c2850739f"
    );
    snapshot.parent = Some(id.parse().unwrap());
    snapshot.labels.insert("é".to_owned(), "a\n\"b".to_owned());
    assert_eq!(parse(&snapshot.to_json().unwrap()).unwrap(), snapshot);
    assert_ne!(snapshot.id(), example().id());
}

#[test]
fn what_is_said_of_a_snapshot_and_how_does_not_change_its_identity() {
    let mut snapshot = example();
    snapshot.info = Info {
        reference: Some("docker.io/library/debian:12".to_owned()),
        created: Some("2026-12-01T08:00:00.25Z".to_owned()),
        name: Some("before".to_owned()),
        source: Some("box".to_owned()),
    };
    assert_eq!(snapshot.id(), example().id());
    let json = snapshot.to_json().unwrap();
    assert_eq!(parse(&json).unwrap(), snapshot);
    let spaced = json
        .replace(',', " ,\n ")
        .replace("\"raw\"", "\"\\u0072aw\"");
    assert_eq!(parse(&spaced).unwrap().id(), snapshot.id());
    // Newer versions may say more.
    let more = json.replace("\"info\":{", "\"info\":{\"mood\":[1,{}],");
    assert_eq!(parse(&more).unwrap(), snapshot);
    // Members that say nothing are those that are not there.
    let empty = json.replacen('{', "{\"labels\":{},\"requires\":[],", 1);
    assert_eq!(parse(&empty).unwrap().id(), snapshot.id());
}

#[test]
fn each_part_of_a_state_changes_its_identity() {
    let changes: [fn(&mut Manifest); 8] = [
        |s| s.image.manifest = format!("sha256:{}", HEX.replace('e', "f")).parse().unwrap(),
        |s| s.image.platform = "linux/arm64".parse().unwrap(),
        |s| s.parent = Some(format!("sha256:{HEX}").parse().unwrap()),
        |s| s.disk.format = DiskFormat::Qcow2,
        |s| s.disk.filesystem = "xfs".to_owned(),
        |s| s.disk.size += 1,
        |s| {
            s.disk.content = format!("fsverity-sha256-16:{}", HEX.replace('e', "f"))
                .parse()
                .unwrap()
        },
        |s| s.labels = BTreeMap::from([("a".to_owned(), String::new())]),
    ];
    let mut ids: Vec<String> = vec![example().id().to_string()];
    for change in changes {
        let mut snapshot = example();
        change(&mut snapshot);
        assert_eq!(parse(&snapshot.to_json().unwrap()).unwrap(), snapshot);
        ids.push(snapshot.id().to_string());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 9);
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_its_name() {
    let schema = with("lithify.snapshot/1", "lithify.snapshot/2").unwrap_err();
    assert!(matches!(schema, ManifestError::Schema { found } if found == "lithify.snapshot/2"));
    let feature = with("\"schema\"", "\"requires\":[\"chunks\"],\"schema\"").unwrap_err();
    assert!(matches!(feature, ManifestError::Feature { feature } if feature == "chunks"));
    // In the future's words nothing else is looked at.
    let all = parse(r#"{"schema":"lithify.snapshot/1","requires":["x"],"disk":7}"#).unwrap_err();
    assert!(matches!(all, ManifestError::Feature { .. }));
}

#[test]
fn what_is_not_a_manifest_is_refused_by_its_member() {
    let content = format!("fsverity-sha256-16:{HEX}");
    let cases = [
        ("\"raw\"", "\"vmdk\"", "disk.format"),
        ("\"ext4\"", "\"\"", "disk.filesystem"),
        ("\"ext4\"", "\"../ext4\"", "disk.filesystem"),
        (&content, &content[9..], "disk.content"),
        ("4294967296", "\"4294967296\"", "disk.size"),
        ("linux/amd64", "linux", "image.platform"),
        (",\"size\":4294967296", "", "disk.size"),
        ("\"size\":", "\"Size\":1,\"size\":", "disk.Size"),
        (
            "\"schema\"",
            "\"parent\":\"sha256:00\",\"schema\"",
            "parent",
        ),
        ("\"schema\"", "\"parent\":null,\"schema\"", "parent"),
        ("\"schema\"", "\"labels\":{\"a\":1},\"schema\"", "labels.a"),
        ("\"schema\"", "\"labels\":[],\"schema\"", "labels"),
        ("\"schema\"", "\"requires\":\"x\",\"schema\"", "requires"),
        (
            "\"schema\"",
            "\"info\":{\"name\":1},\"schema\"",
            "info.name",
        ),
        (
            "\"schema\"",
            "\"info\":{\"created\":\"today\"},\"schema\"",
            "info.created",
        ),
        ("\"schema\"", "\"host\":\"/home\",\"schema\"", "`host`"),
    ];
    for (from, to, member) in cases {
        let error = with(from, to).unwrap_err();
        assert!(error.to_string().contains(member), "{to}: {error}");
        assert!(!matches!(error, ManifestError::Json(_)), "{to}: {error}");
    }
    for json in ["[]", "7", "\"a\""] {
        assert!(
            matches!(parse(json), Err(ManifestError::Type { .. })),
            "{json}"
        );
    }
}

#[test]
fn json_that_readers_disagree_about_is_refused() {
    let twice = with("\"size\":", "\"size\":1,\"size\":").unwrap_err();
    assert!(matches!(
        twice,
        ManifestError::Json(JsonError::DuplicateKey { key }) if key == "size"
    ));
    for number in ["1e3", "-1", "0.5", "9007199254740992"] {
        let error = with("4294967296", number).unwrap_err();
        assert!(
            matches!(error, ManifestError::Json(JsonError::Number { .. })),
            "{number}: {error}"
        );
    }
    let long = format!("{}{}", " ".repeat(1 << 20), example().to_json().unwrap());
    assert!(matches!(
        parse(&long),
        Err(ManifestError::Json(JsonError::TooLong { .. }))
    ));
}

#[test]
fn what_would_not_be_read_is_not_written() {
    let changes: [fn(&mut Manifest); 3] = [
        |s| s.disk.size = 1 << 53,
        |s| s.disk.filesystem = "EXT4".to_owned(),
        |s| s.info.created = Some("2026-12-01".to_owned()),
    ];
    for change in changes {
        let mut snapshot = example();
        change(&mut snapshot);
        assert!(matches!(
            snapshot.to_json(),
            Err(ManifestError::Value { .. })
        ));
    }
}

proptest! {
    #[test]
    fn words_come_back(
        labels in prop::collection::btree_map(any::<String>(), any::<String>(), 0..5),
        name in prop::option::of(any::<String>()),
        size in 0_u64..1 << 53,
    ) {
        let mut snapshot = example();
        snapshot.labels = labels;
        snapshot.info.name = name;
        snapshot.disk.size = size;
        let json = snapshot.to_json().unwrap();
        let back = parse(&json).unwrap();
        prop_assert_eq!(&back, &snapshot);
        prop_assert_eq!(back.to_json().unwrap(), json);
    }

    #[test]
    fn no_bytes_panic(
        at in 0_usize..400,
        bytes in prop::collection::vec(any::<u8>(), 0..6),
        removed in 0_usize..6,
    ) {
        let mut json = example().to_json().unwrap().into_bytes();
        let at = at.min(json.len());
        let end = (at + removed).min(json.len());
        json.splice(at..end, bytes);
        if let Ok(snapshot) = Manifest::parse(&json) {
            let again = snapshot.to_json().unwrap();
            prop_assert_eq!(parse(&again).unwrap(), snapshot);
        }
    }
}
