//! Names as they are parsed.

use super::*;

const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn parse(text: &str, existing: &[&str]) -> Result<Source, ParseError> {
    let existing: Vec<PathBuf> = existing.iter().map(PathBuf::from).collect();
    Source::parse_with(OsStr::new(text), &|path| existing.iter().any(|e| e == path))
}

fn oci(path: &str, selector: Option<Selector>) -> Source {
    Source::Oci {
        path: path.into(),
        selector,
    }
}

fn name(name: &str) -> Option<Selector> {
    Some(Selector::Name(name.into()))
}

#[test]
fn path_ends_at_the_first_colon_when_nothing_exists() {
    assert_eq!(parse("oci:/a/b", &[]).unwrap(), oci("/a/b", None));
    assert_eq!(parse("oci:/a/b:c", &[]).unwrap(), oci("/a/b", name("c")));
    assert_eq!(
        parse("oci:/a/b:docker.io/library/x:1", &[]).unwrap(),
        oci("/a/b", name("docker.io/library/x:1"))
    );
}

#[test]
fn longest_existing_path_wins() {
    let there = ["/a", "/a/b:c", "/a/b:c:d"];
    assert_eq!(
        parse("oci:/a/b:c:d", &there).unwrap(),
        oci("/a/b:c:d", None)
    );
    assert_eq!(
        parse("oci:/a/b:c:e", &there).unwrap(),
        oci("/a/b:c", name("e"))
    );
    assert_eq!(
        parse("oci:/a:x/y:1", &there).unwrap(),
        oci("/a", name("x/y:1"))
    );
    let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
    assert_eq!(
        parse(&format!("oci:/a/b:c@sha256:{HEX}"), &there).unwrap(),
        oci("/a/b:c", Some(Selector::Digest(digest)))
    );
}

#[test]
fn digests_and_indexes() {
    let digest = Some(Selector::Digest(format!("sha256:{HEX}").parse().unwrap()));
    assert_eq!(
        parse(&format!("oci:d@sha256:{HEX}"), &["d"]).unwrap(),
        oci("d", digest.clone())
    );
    assert_eq!(
        parse(&format!("oci:d@sha256:{HEX}"), &[]).unwrap(),
        oci("d", digest.clone())
    );
    assert_eq!(
        parse(&format!("oci:d:v1@sha256:{HEX}"), &["d"]).unwrap(),
        oci("d", digest)
    );
    assert_eq!(
        parse("oci:d:@3", &["d"]).unwrap(),
        oci("d", Some(Selector::Index(3)))
    );
    assert!(matches!(
        parse("oci:d@sha256:12", &["d"]),
        Err(ParseError::Digest { .. })
    ));
    // A lone `@` is part of the path.
    assert_eq!(parse("oci:me@home", &[]).unwrap(), oci("me@home", None));
}

#[test]
fn other_transports() {
    let tar = |input| Ok(Source::Tar(input));
    assert_eq!(parse("tar:-", &[]), tar(TarInput::Stdin));
    assert_eq!(parse("tar:a:b", &[]), tar(TarInput::File("a:b".into())));
    assert_eq!(parse("rootfs:/r", &[]), Ok(Source::Rootfs("/r".into())));
    let alpine: Reference = "alpine:3".parse().unwrap();
    assert_eq!(
        parse("docker://alpine:3", &[]),
        Ok(Source::Docker(alpine.clone()))
    );
    assert_eq!(parse("alpine:3", &[]), Ok(Source::Name(alpine.clone())));
    let daemon = |image| Ok(Source::DockerDaemon(image));
    assert_eq!(
        parse("docker-daemon:alpine:3", &[]),
        daemon(DaemonImage::Name(alpine))
    );
    let id = format!("sha256:{HEX}");
    assert_eq!(
        parse(&format!("docker-daemon:{id}"), &[]),
        daemon(DaemonImage::Id(id.parse().unwrap()))
    );
    assert_eq!(
        parse("docker-archive:f.tar:busybox", &["f.tar"]).unwrap(),
        Source::DockerArchive {
            path: "f.tar".into(),
            selector: name("busybox")
        }
    );
}

#[test]
fn every_transport_of_the_table_is_understood() {
    for transport in TRANSPORTS {
        let text = format!("{}x", transport.prefix);
        assert_eq!(parse(&text, &[]).unwrap().transport(), transport, "{text}");
        let bare = transport.prefix.is_empty();
        assert_eq!(Source::has_transport(OsStr::new(&text)), !bare, "{text}");
    }
}

#[test]
fn errors_say_what_to_write() {
    for (text, words) in [
        ("dir:/x", "skopeo copy dir:X oci:Y"),
        ("oci-layout:/x", "write oci:DIR"),
        ("docker:alpine", "write docker://NAME"),
        ("https://x/y", "`https:` is no source"),
        ("oci:", "needs a path"),
        ("tar:", "needs a path"),
        ("oci:x:", "nothing after the last colon"),
        ("oci:x:a b", "selects no image"),
        ("oci:x:../y", "selects no image"),
        ("", "empty image reference"),
        ("docker://UPPER", "lower case"),
    ] {
        let error = parse(text, &["x"]).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_path_is_never_taken_for_a_name() {
    let path = |text: &str, existing: &[&str]| match parse(text, existing) {
        Err(ParseError::Path { kind, is_name, .. }) => Some((kind, is_name)),
        _ => None,
    };
    let missing = PathKind::Missing;
    assert_eq!(path("alpine", &["alpine"]), Some((missing, true)));
    assert_eq!(path("a b", &["a b"]), Some((missing, false)));
    assert_eq!(path("./x.erofs", &[]), Some((missing, false)));
    assert_eq!(path("h.tar", &[]), Some((missing, true)));
    assert_eq!(path("h.tar:v1", &[]), Some((missing, true)));
    // Of what is beside a name nothing follows.
    assert_eq!(path("alpine:3", &["alpine"]), None);
    // A name that says so is one.
    for text in ["docker://h.tar", "store:h.tar", "docker-daemon:h.tar"] {
        assert_eq!(path(text, &["h.tar"]), None, "{text}");
        assert_eq!(parse(text, &[]).unwrap().to_string(), text);
    }
}

#[test]
fn a_path_is_looked_at_for_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    let tar = |name: &str| {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(b"00000000000\0");
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        [&header[..], &[0; 1024]].concat()
    };
    let gzip = |bytes: &[u8]| {
        use std::io::Write as _;
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let mut erofs = vec![0; 4096];
    erofs[1024..1028].copy_from_slice(&[0xe2, 0xe1, 0xf5, 0xe0]);
    put("layout/oci-layout", b"{}");
    put("layers/image.json", b"{}");
    put("dir/etc/motd", b"");
    put("oci.tar", &tar("oci-layout"));
    put("oci.tgz", &gzip(&tar("./index.json")));
    put("docker.tar", &tar("manifest.json"));
    put("root.tar", &tar("etc"));
    put("x.erofs", &erofs);
    put("x.sqfs", b"hsqs");
    put("motd", b"hello\n");
    for (name, words) in [
        ("layout", "write oci:"),
        ("layout:latest", "write oci:"),
        ("layers", "the directory of a layered build"),
        ("dir", "write rootfs:"),
        ("oci.tar", "write oci-archive:"),
        ("oci.tgz", "write oci-archive:"),
        ("oci.tar:v1", "write oci-archive:"),
        ("docker.tar", "write docker-archive:"),
        ("root.tar", "write tar:"),
        ("x.erofs", "an EROFS image"),
        ("x.sqfs", "a squashfs image"),
        ("motd", "no image lithify knows"),
        ("nothing", "nothing is there"),
    ] {
        let text = dir.path().join(name).display().to_string();
        let error = text.parse::<Source>().unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
        if words.ends_with(':') {
            assert!(error.contains(&format!("{words}{text}")), "{name}: {error}");
        }
    }
}

#[test]
#[cfg(unix)]
fn paths_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let text = OsStr::from_bytes(b"oci:\xff/x:tag");
    let Source::Oci { path, selector } = Source::parse_with(text, &|_| false).unwrap() else {
        panic!("not oci");
    };
    assert_eq!(path.as_os_str().as_bytes(), b"\xff/x");
    assert_eq!(selector, name("tag"));
    assert!(matches!(
        Source::parse_with(OsStr::from_bytes(b"\xff"), &|_| false),
        Err(ParseError::NotUtf8 { .. })
    ));
}

#[test]
fn display_parses_back() {
    for text in [
        "oci:d:3.20",
        "oci:d:@2",
        "oci-archive:x.tar",
        "docker-archive:x.tar:a/b:1",
        "tar:-",
        "tar:x",
        "rootfs:x",
        "docker://a/b:1",
        "docker-daemon:x",
        "store:a/b:1",
        "alpine",
    ] {
        assert_eq!(parse(text, &["d", "x.tar"]).unwrap().to_string(), text);
    }
}
