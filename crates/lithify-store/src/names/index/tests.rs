//! What stays of an index, and what is refused.

use lithify_digest::Algorithm;
use proptest::prelude::*;

use super::*;

fn descriptor(n: u8, platform: Option<&str>) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, &[n]);
    let mut descriptor = Descriptor::new("application/vnd.oci.image.manifest.v1+json", digest, 7);
    descriptor.platform = platform.map(|p| p.parse().unwrap());
    descriptor
}

/// Any JSON, as other tools may have written it.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|n: f64| Value::from(n)),
        ".{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_not_changed_stays(
        top in prop::collection::btree_map("[a-zA-Z-]{1,10}", json(), 0..4),
        foreign in prop::collection::vec(json(), 0..4),
        steps in prop::collection::vec((0..3_u8, 0..3_usize, 0..3_usize, any::<bool>()), 0..12),
    ) {
        let mut all: serde_json::Map<String, Value> = top.into_iter().collect();
        all.insert("schemaVersion".into(), 2.into());
        all.insert("manifests".into(), Value::from(foreign));
        // A number no type holds.
        let all = Value::Object(all).to_string().replacen('{', "{\"~\": 1.0e999, ", 1);
        let mut entries = Entries::parse(all.as_bytes()).unwrap();
        let before = entries.clone();
        let names = ["a:1", "docker.io/library/b:2", "c"];
        let platforms = [None, Some("linux/amd64"), Some("linux/arm64/v8")];
        for (n, name, platform, remove) in steps {
            let given = descriptor(n, platforms[platform]);
            if remove {
                entries.remove(names[name], given.platform.as_ref());
                prop_assert!(!entries.tagged().iter().any(|t| t.name == names[name]
                    && (given.platform.is_none() || t.descriptor.platform == given.platform)));
            } else {
                entries.enter(names[name], &given, None);
                prop_assert!(entries.tagged().iter().any(|t| t.name == names[name]
                    && t.descriptor.digest == given.digest && t.descriptor.platform == given.platform));
            }
            // No two entries of one name and platform, none of one name for other tools.
            let tagged = entries.tagged();
            for (i, a) in tagged.iter().enumerate() {
                for b in &tagged[..i] {
                    prop_assert!(a.ref_name() != b.ref_name(), "{a:?} {b:?}");
                    prop_assert!(a.name != b.name || a.descriptor.platform != b.descriptor.platform);
                    prop_assert!(a.name != b.name || a.descriptor.platform.is_some());
                }
            }
            // One of each name has it.
            for name in names.iter().filter(|n| tagged.iter().any(|t| t.name == **n)) {
                prop_assert!(tagged.iter().any(|t| t.ref_name() == Some(name)));
            }
            // What is written is read, the same each time.
            let bytes = entries.to_bytes();
            let again = Entries::parse(&bytes).unwrap();
            prop_assert_eq!(&again.to_bytes(), &bytes);
            prop_assert_eq!(again.tagged(), tagged);
        }
        let texts = |e: &Entries| {
            let entries = e.manifests[..before.manifests.len()].iter().map(|m| m.get().to_owned());
            entries.chain(e.object.iter().map(|(k, v)| format!("{k}:{v}"))).collect::<Vec<_>>()
        };
        prop_assert_eq!(texts(&entries), texts(&before));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), json in json()) {
        Entries::parse(&bytes).ok();
        let json = json.to_string();
        let salvaged = Entries::salvage(json.as_bytes());
        prop_assert!(Index::parse(&salvaged).is_ok());
        prop_assert!(Index::parse(&Entries::salvage(&bytes)).is_ok());
    }
}

#[test]
fn names_of_entries() {
    let name = |key: &str, platform, whole: &str, short: &str| {
        let mut descriptor = descriptor(1, platform);
        for (key, value) in [(key, whole), (REF_NAME, short)] {
            descriptor.annotations.insert(key.into(), value.into());
        }
        name_of(&descriptor).map(str::to_owned)
    };
    let linux = Some("linux/arm64/v8");
    let ours = |platform, whole, short| name(NAME_ANNOTATION, platform, whole, short);
    assert_eq!(ours(linux, "a:1", "a:1@linux/arm64/v8").unwrap(), "a:1");
    assert_eq!(ours(linux, "a:1", "a:1").unwrap(), "a:1");
    // A tag another tool made of an entry.
    assert_eq!(ours(linux, "a:1", "b").unwrap(), "b");
    assert_eq!(ours(None, "a:1", "a:1@x").unwrap(), "a:1@x");
    assert_eq!(ours(linux, "", "b").unwrap(), "b");
    // One another tool took.
    assert_eq!(ours(linux, "a", ""), None);
    let theirs = |whole, short| name(CONTAINERD_NAME, linux, whole, short);
    assert_eq!(
        theirs("docker.io/library/a:1", "1").unwrap(),
        "docker.io/library/a:1"
    );
    assert_eq!(theirs("docker.io/library/a:1", "2").unwrap(), "2");
}

#[test]
fn platforms_in_names() {
    for (platform, expected) in [
        ("linux/amd64", "x@linux/amd64"),
        ("linux/arm/v7", "x@linux/arm/v7"),
        (
            "windows(10.0.20348.1+win32k)/amd64",
            "x@windows-10-0-20348-1-win32k/amd64",
        ),
    ] {
        assert_eq!(platform_name("x", &platform.parse().unwrap()), expected);
    }
    // An image's own words.
    let odd = Platform::new("../é\n", "a b", Some("@:"));
    assert_eq!(platform_name("x", &odd), "x@n/a-b");
}
