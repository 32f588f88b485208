//! No input makes a parser panic, and what one prints it reads back.

use std::ffi::OsStr;

use crate::support::*;
use lithify_oci::archive::Archive;
use lithify_oci::manifest::{Document, ImageConfig, Index, LayerMediaType, media_type};
use lithify_oci::{Image, Limits, OpenOptions, Platform, Reference, Selector, Source};
use proptest::prelude::*;

/// Either is fine, as long as an error has words for it, without control characters.
fn outcome<T, E: std::error::Error>(result: Result<T, E>) {
    if let Err(error) = result {
        let words = error.to_string();
        assert!(
            !words.is_empty() && !words.contains(char::is_control),
            "{words:?}"
        );
    }
}

/// A JSON value of any shape that looks like a manifest often enough.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let digest = sha256(b"").to_string();
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|f| serde_json::json!(f)),
        ".{0,8}".prop_map(Into::into),
        Just(digest.into()),
        prop::sample::select(vec![
            media_type::OCI_MANIFEST,
            media_type::OCI_INDEX,
            media_type::OCI_CONFIG,
            media_type::OCI_LAYER,
            media_type::DOCKER_LIST,
            "layers",
        ])
        .prop_map(Into::into),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "schemaVersion",
            "mediaType",
            "artifactType",
            "config",
            "layers",
            "manifests",
            "fsLayers",
            "history",
            "digest",
            "size",
            "platform",
            "os",
            "architecture",
            "annotations",
            "urls",
            "rootfs",
            "type",
            "diff_ids",
            "Env",
            "Cmd",
            "Entrypoint",
            "Healthcheck",
            "Labels",
            "Volumes",
            "Layers",
            "Digest",
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((key.clone(), inner), 0..8)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// One or more tar blocks, most of them nearly right.
fn blocks() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof!["[a-c./]{0,12}", ".{0,30}"];
    let kind = prop::sample::select(b"0012356xxgLKSV7\0".to_vec());
    let size = prop_oneof![0u64..1500, any::<u64>()];
    let member = (
        kind,
        name.clone(),
        name,
        size,
        prop::collection::vec(any::<u8>(), 0..1600),
        any::<bool>(),
    )
        .prop_map(|(kind, name, link, size, content, honest)| {
            let cut = |text: &str| text.chars().take(20).collect::<String>();
            let size = if honest {
                content.len() as u64
            } else {
                size & 0o77_777_777_777
            };
            let mut bytes = header(kind, &cut(&name), &cut(&link), size).to_vec();
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes
        });
    let pax = prop::collection::vec(
        (
            prop::sample::select(vec!["path", "size", "linkpath", "x"]),
            "[a-z0-9./]{0,9}",
        ),
        0..3,
    )
    .prop_map(|records| {
        let records: Vec<_> = records.iter().map(|(k, v)| (*k, v.as_str())).collect();
        Tar::new().member(b'x', "pax", "", &pax(&records)).bytes
    });
    let raw = prop_oneof![
        Just(vec![0; 512]),
        prop::collection::vec(any::<u8>(), 0..600)
    ];
    prop::collection::vec(prop_oneof![4 => member, 2 => pax, 1 => raw], 0..6)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn references(text in "(([a-zA-Z0-9.-]{1,8}|\\[[0-9a-f:]{0,6}\\])(:[0-9]{0,6})?/)?[a-zA-Z0-9._/-]{0,20}(:[a-z0-9._-]{0,9})?(@[a-z0-9:]{0,20})?") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string(), text);
            let full = reference.normalised();
            prop_assert_eq!(full.to_string().parse::<Reference>().unwrap(), full.clone());
            prop_assert_eq!(full.normalised(), full.clone());
            prop_assert!(reference.names_same_image(&full));
        }
    }

    #[test]
    fn any_text(text in ".{0,60}") {
        outcome::<Reference, _>(text.parse());
        outcome::<Platform, _>(text.parse());
        prop_assert!(text.starts_with("application") || LayerMediaType::of(&text) != LayerMediaType::of(media_type::OCI_LAYER));
        for transport in ["", "oci:", "docker-archive:", "docker://", "docker-daemon:", "tar:"] {
            let text = format!("{transport}{text}");
            outcome::<Source, _>(Source::parse_with(OsStr::new(&text), &|_| false));
            outcome::<Source, _>(Source::parse_with(OsStr::new(&text), &|_| true));
        }
    }

    /// The parts of a source name are all of it, and the path is never longer than what exists.
    #[test]
    fn sources(text in "oci:[a-c:@./]{1,12}", exists in "[a-c:@./]{1,6}") {
        let parsed = Source::parse_with(OsStr::new(&text), &|path| path.as_os_str() == exists.as_str());
        if let Ok(Source::Oci { path, selector }) = &parsed {
            let rest = text.strip_prefix("oci:").unwrap();
            prop_assert!(rest.starts_with(path.to_str().unwrap()));
            if let Some(Selector::Name(_)) = selector {
                prop_assert_eq!(parsed.unwrap().to_string(), text);
            }
        }
    }

    #[test]
    fn platforms(os in "[a-z]{1,6}", arch in "(amd64|arm64|arm|386|[a-z]{1,5})", variant in "(v[0-9]{1,8}(\\.[0-9]{1,8})?|[a-z0-9]{0,9})") {
        let platform = Platform::new(&os, &arch, Some(&variant));
        prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform.clone());
        prop_assert_eq!(platform.rank(&platform), platform.rank(&platform.clone()));
        prop_assert!(platform.rank(&platform).is_some());
    }

    /// The order of variants is one: what suits exactly suits best.
    #[test]
    fn ranks(wanted in 1u32..12, image in 1u32..12, arch in prop::sample::select(vec!["amd64", "arm", "arm64"])) {
        let platform = |n: u32| Platform::new("linux", arch, Some(&format!("v{n}")));
        let (exact, other) = (platform(wanted).rank(&platform(wanted)), platform(wanted).rank(&platform(image)));
        if let Some(other) = other {
            prop_assert!(exact.unwrap() <= other);
        }
    }

    #[test]
    fn documents(value in document(), descriptor in prop::option::of(".{0,8}")) {
        let json = json(&value);
        outcome::<Document, _>(Document::parse(&json, descriptor.as_deref()));
        outcome::<Document, _>(Document::parse(&json, None));
        outcome::<Index, _>(Index::parse(&json));
        if let Ok(config) = ImageConfig::parse(&json) {
            prop_assert_eq!(ImageConfig::parse(&crate::support::json(&config)).unwrap(), config);
        }
    }

    #[test]
    fn bytes(json in prop::collection::vec(any::<u8>(), 0..200)) {
        outcome::<Document, _>(Document::parse(&json, None));
        outcome::<ImageConfig, _>(ImageConfig::parse(&json));
    }

    /// Whatever the headers say, every file found lies within the archive.
    #[test]
    fn archives(bytes in blocks()) {
        for end in [0, 1024] {
            let mut bytes = bytes.clone();
            bytes.resize(bytes.len() + end, 0);
            let len = bytes.len() as u64;
            if let Ok(archive) = Archive::from_bytes(bytes, &Limits::default()) {
                for (name, offset, size) in archive.files() {
                    prop_assert!(offset + size <= len);
                    prop_assert!(!name.starts_with(b"/") && !name.is_empty());
                }
            }
        }
    }

    /// A whole archive of documents of any shape.
    #[test]
    fn images(index in document(), config in document()) {
        let (index, config) = (json(&index), json(&config));
        let blob = format!("blobs/sha256/{}", sha256(&config).hex());
        let entries = serde_json::json!([{"Config": blob, "RepoTags": null, "Layers": []}]);
        let tar = Tar::new()
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", &index)
            .file(&blob, &config)
            .file("manifest.json", &json(&entries))
            .end();
        let archive = Archive::from_bytes(tar, &Limits::default()).unwrap();
        let options = OpenOptions::default();
        outcome::<Image, _>(Image::from_oci_archive(archive.clone(), None, &options));
        outcome::<Image, _>(Image::from_docker_archive(&archive, None, &options));
    }
}
