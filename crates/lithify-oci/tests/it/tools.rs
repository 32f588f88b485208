//! What skopeo, umoci and buildah write is read, and what is written here they read.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use crate::support::*;
use lithify_digest::Digest;
use lithify_oci::layout::ImageOptions;
use lithify_oci::manifest::{Compression, media_type};
use lithify_oci::{Error, Image, Limits};

/// Runs a tool; false if it is not installed.
fn run(program: &str, args: &[&str]) -> bool {
    tool(program, args).is_some()
}

fn skopeo_copy(args: &[&str]) -> bool {
    run(
        "skopeo",
        &[&["--insecure-policy", "copy", "--quiet"], args].concat(),
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image of two layers (with gzip, which skopeo copies unchanged) and a config with everything skopeo keeps.
fn sample() -> (Layout, Vec<Vec<u8>>) {
    let layers = vec![layer("lower"), layer(&"upper".repeat(10_000))];
    let layout = Layout::new(|w| {
        let mut config = config(AMD64, &layers);
        config.created = Some("2024-01-02T03:04:05Z".into());
        config.config.env = vec!["PATH=/bin".into()];
        config.config.cmd = Some(vec!["sh".into(), "-c".into()]);
        config.config.labels.insert("a".into(), "b".into());
        config.config.exposed_ports = vec!["80/tcp".into()];
        config.config.volumes = vec!["/data".into()];
        let descriptors = vec![
            w.put(media_type::OCI_LAYER_GZIP, &gzip(&layers[0]))
                .unwrap(),
            w.put(media_type::OCI_LAYER_GZIP, &gzip(&layers[1]))
                .unwrap(),
        ];
        w.put_image(&config, descriptors, ImageOptions::named("v1"))
            .unwrap();
    });
    (layout, layers)
}

/// Every layer is what its diff id says, whatever it is compressed with now.
fn check_layers(image: &Image, expected: &[Digest]) {
    let diff_ids: Vec<_> = image.layers().iter().map(|l| l.diff_id).collect();
    assert_eq!(diff_ids, expected);
    image.check_layers().unwrap();
    for (index, layer) in image.layers().iter().enumerate() {
        let blob = read_layer(image, index);
        assert_eq!(blob.len() as u64, layer.size.unwrap());
        if let Some(digest) = &layer.digest {
            assert_eq!(Digest::of(digest.algorithm(), &blob), *digest);
        }
        let mut tar = Vec::new();
        match blob.as_slice() {
            [0x1f, 0x8b, ..] => drop(
                flate2::read::GzDecoder::new(blob.as_slice())
                    .read_to_end(&mut tar)
                    .unwrap(),
            ),
            [0x28, 0xb5, ..] => tar = zstd::decode_all(blob.as_slice()).unwrap(),
            _ => tar = blob,
        }
        assert_eq!(sha256(&tar), layer.diff_id);
    }
}

/// skopeo shows the same manifest and config bytes for the same name.
fn same_as_skopeo(source: &str, image: &Image) {
    let inspect =
        |args: &[&str]| tool("skopeo", &[&["inspect"], args, &[source]].concat()).map(|o| o.stdout);
    if let Some(raw) = image.raw_manifest() {
        assert_eq!(inspect(&["--raw"]).unwrap(), raw, "{source}");
    }
    assert_eq!(
        inspect(&["--raw", "--config"]).unwrap(),
        image.raw_config(),
        "{source}"
    );
}

#[test]
fn skopeo_converts() {
    let (layout, layers) = sample();
    let dir = layout.dir.path().display().to_string();
    let diff_ids: Vec<_> = layers.iter().map(|l| sha256(l)).collect();
    let source = format!("oci:{dir}/l:v1");
    let original = open(&source, AMD64).unwrap();
    check_layers(&original, &diff_ids);
    if !skopeo_copy(&[&source, &format!("oci-archive:{dir}/oci.tar:v1")]) {
        return;
    }
    same_as_skopeo(&source, &original);
    assert!(skopeo_copy(&[
        &source,
        &format!("docker-archive:{dir}/docker.tar:example.com/app:1")
    ]));
    assert!(skopeo_copy(&[
        "--dest-compress-format",
        "zstd",
        "--dest-compress",
        &format!("docker-archive:{dir}/docker.tar"),
        &format!("oci:{dir}/zstd:z"),
    ]));
    assert!(skopeo_copy(&[&source, &format!("oci:{dir}/untagged")]));
    for (name, manifest_kept) in [
        ("oci-archive:{}/oci.tar", true),
        ("oci-archive:{}/oci.tar:v1", true),
        ("oci:{}/untagged", true),
        ("oci:{}/zstd:z", false),
        ("docker-archive:{}/docker.tar", false),
        ("docker-archive:{}/docker.tar:example.com/app:1", false),
    ] {
        let name = name.replace("{}", &dir);
        let image = open(&name, AMD64).unwrap();
        check_layers(&image, &diff_ids);
        same_as_skopeo(&name, &image);
        assert_eq!(image.config().config.cmd, original.config().config.cmd);
        assert_eq!(image.config().config.env, original.config().config.env);
        assert_eq!(
            image.config().config.labels,
            original.config().config.labels
        );
        assert_eq!(image.platform().to_string(), AMD64);
        if manifest_kept {
            assert_eq!(image.manifest_digest(), original.manifest_digest());
        }
    }
    let zstd = open(&format!("oci:{dir}/zstd"), AMD64).unwrap();
    assert_eq!(zstd.layers()[0].compression, Some(Compression::Zstd));
    let error = open(&format!("oci:{dir}/zstd:other"), AMD64).unwrap_err();
    assert!(
        matches!(&error, Error::NoSuchImage { there, .. } if there == &["z"]),
        "{error:?}"
    );
    // The archives compressed as a whole.
    for (tool_name, suffix) in [("gzip", "gz"), ("zstd", "zst")] {
        for (transport, file) in [("oci-archive", "oci.tar"), ("docker-archive", "docker.tar")] {
            let Some(output) = tool(tool_name, &["-c", &format!("{dir}/{file}")]) else {
                continue;
            };
            let path = format!("{dir}/{file}.{suffix}");
            fs::write(&path, output.stdout).unwrap();
            check_layers(
                &open(&format!("{transport}:{path}"), AMD64).unwrap(),
                &diff_ids,
            );
        }
    }
}

/// Two images in one docker-archive; skopeo and lithify take the same for the same name.
#[test]
fn several_images() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().display().to_string();
    let layout = Layout::new(|w| {
        put(w, Some("a"), AMD64, "a");
        put(w, Some("b"), AMD64, "b");
    });
    let source = format!("oci:{}", layout.path().display());
    for tag in ["a", "b"] {
        let name = format!("{source}:{tag}");
        same_or_skip(&name);
        if !skopeo_copy(&[&name, &format!("oci:{dir}/l:{tag}")]) {
            return;
        }
    }
    for tag in ["a", "b"] {
        assert_eq!(
            text(&open(&format!("oci:{dir}/l:{tag}"), AMD64).unwrap()),
            tag
        );
    }
    assert!(matches!(
        open(&format!("oci:{dir}/l"), AMD64),
        Err(Error::Several { .. })
    ));
}

fn same_or_skip(name: &str) {
    let image = open(name, AMD64).unwrap();
    if tool("skopeo", &["--version"]).is_some() {
        same_as_skopeo(name, &image);
    }
}

fn umoci(args: &[&str]) -> bool {
    run("umoci", args)
}

#[test]
fn umoci_layouts() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("l").display().to_string();
    if !umoci(&["init", "--layout", &layout]) {
        return;
    }
    assert!(matches!(
        open(&format!("oci:{layout}"), AMD64),
        Err(Error::Empty)
    ));
    let tagged = |tag: &str| format!("{layout}:{tag}");
    assert!(umoci(&["new", "--image", &tagged("one")]));
    assert!(umoci(&[
        "config",
        "--image",
        &tagged("one"),
        "--architecture",
        "amd64",
        "--config.cmd",
        "sh",
        "--config.env",
        "A=b",
        "--config.workingdir",
        "/w",
        "--config.stopsignal",
        "SIGINT",
        "--config.volume",
        "/v",
    ]));
    let empty = open(&format!("oci:{layout}:one"), AMD64).unwrap();
    assert!(empty.layers().is_empty());
    let run = &empty.config().config;
    assert_eq!(
        (run.working_dir.as_str(), run.stop_signal.as_deref()),
        ("/w", Some("SIGINT"))
    );
    assert_eq!(
        (&run.volumes[..], &run.env[..]),
        (&["/v".to_owned()][..], &["A=b".to_owned()][..])
    );

    fs::write(dir.path().join("file"), b"content").unwrap();
    let file = dir.path().join("file").display().to_string();
    assert!(umoci(&[
        "insert",
        "--image",
        &tagged("one"),
        "--tag",
        "two",
        &file,
        "/file"
    ]));
    assert!(umoci(&[
        "config",
        "--image",
        &tagged("two"),
        "--tag",
        "arm",
        "--architecture",
        "arm64"
    ]));
    let two = open(&format!("oci:{layout}:two"), AMD64).unwrap();
    assert_eq!(two.layers().len(), 1);
    assert_eq!(two.layers()[0].compression, Some(Compression::Gzip));
    check_layers(&two, &two.config().diff_ids);
    same_or_skip(&format!("oci:{layout}:two"));
    assert!(matches!(
        open(&format!("oci:{layout}"), AMD64),
        Err(Error::Several { .. })
    ));
    assert!(matches!(
        open(&format!("oci:{layout}:arm"), AMD64),
        Err(Error::Platform { .. })
    ));
    assert!(open(&format!("oci:{layout}:arm"), "linux/arm64").is_ok());
    let listed = lithify_oci::list(
        &format!("oci:{layout}").parse().unwrap(),
        &Limits::default(),
    )
    .unwrap();
    let mut names: Vec<_> = listed.iter().flat_map(|l| l.names.clone()).collect();
    names.sort();
    assert_eq!(names, ["arm", "one", "two"]);
}

/// umoci accepts what [`lithify_oci::layout::Writer`] writes.
#[test]
fn umoci_reads_ours() {
    let (layout, _) = sample();
    let image = format!("{}:v1", layout.path().display());
    if !umoci(&["stat", "--image", &image]) {
        return;
    }
    let bundle = layout.dir.path().join("bundle");
    if rustix::process::geteuid().is_root() {
        assert!(umoci(&[
            "unpack",
            "--image",
            &image,
            bundle.to_str().unwrap()
        ]));
        assert!(
            fs::read_to_string(bundle.join("rootfs/file"))
                .unwrap()
                .starts_with("upper")
        );
    } else {
        eprintln!("skipped: needs root");
    }
}

fn buildah(dir: &Path, args: &[&str]) -> Option<String> {
    let (root, run) = (dir.join("root"), dir.join("run"));
    let storage = [
        "--storage-driver",
        "vfs",
        "--root",
        root.to_str()?,
        "--runroot",
        run.to_str()?,
    ];
    let output = tool("buildah", &[&storage[..], args].concat())?;
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn buildah_images() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let b = |args: &[&str]| buildah(dir.path(), args);
    let Some(container) = b(&["from", "scratch"]) else {
        return;
    };
    fs::write(dir.path().join("f"), b"built").unwrap();
    b(&["copy", &container, &format!("{path}/f"), "/f"]);
    b(&[
        "config", "--cmd", "sh", "--label", "a=b", "--env", "X=1", "--arch", "amd64", &container,
    ]);
    b(&[
        "commit",
        "--quiet",
        &container,
        &format!("oci:{path}/oci:t"),
    ]);
    b(&[
        "commit",
        "--quiet",
        &container,
        &format!("oci-archive:{path}/oci.tar:t"),
    ]);
    b(&[
        "commit",
        "--quiet",
        "--format",
        "docker",
        &container,
        &format!("docker-archive:{path}/docker.tar:app:1"),
    ]);
    b(&["manifest", "create", "list"]);
    b(&[
        "manifest",
        "add",
        "--arch",
        "amd64",
        "list",
        &format!("oci:{path}/oci:t"),
    ]);
    b(&[
        "manifest",
        "push",
        "--quiet",
        "--all",
        "list",
        &format!("oci:{path}/list:multi"),
    ]);
    for name in [
        "oci:{}/oci",
        "oci:{}/oci:t",
        "oci-archive:{}/oci.tar",
        "docker-archive:{}/docker.tar:app:1",
        "oci:{}/list:multi",
    ] {
        let name = name.replace("{}", &path);
        let image = open(&name, AMD64).unwrap();
        assert_eq!(
            image.config().config.cmd.as_deref(),
            Some(&["sh".to_owned()][..]),
            "{name}"
        );
        assert_eq!(image.config().config.labels["a"], "b");
        check_layers(&image, &image.config().diff_ids);
    }
}
