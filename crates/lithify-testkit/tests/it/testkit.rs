//! The helpers against programs that read what they write.

use lithify_testkit::{
    Allow, Compression, Field, Kind, Layout, Snapshot, Tar, TarEntry, require, run, temp_dir,
};

/// Everything a [`Tar`] can say.
fn everything() -> Vec<u8> {
    let mut tar = Tar::new();
    let long = format!("long/{}", "n".repeat(200));
    tar.add(
        TarEntry::directory("d")
            .mode(0o1777)
            .owner(1, 2)
            .mtime(-5, 250_000_000),
    )
    .add(
        TarEntry::file("d/f", "data")
            .mode(0o4755)
            .owner(70_000, 3_000_000)
            .mtime(1_500_000_000, 123_456_789),
    )
    .add(TarEntry::symlink("d/s", "../nowhere"))
    .add(TarEntry::hard_link("d/h", "d/f"))
    .add(TarEntry::char_device("d/c", 1, 3))
    .add(TarEntry::block_device("d/b", 7, 9))
    .add(TarEntry::fifo("d/p"))
    .add(TarEntry::directory("long"))
    .add(TarEntry::file(&long, vec![7; 1000]).xattr("user.a", "value"))
    .add(TarEntry::file(b"odd\xff\nname", ""));
    tar.finish()
}

#[test]
fn gnu_tar_extracts_what_was_written() {
    if !require::root() || !require::tool("tar") {
        return;
    }
    let tmp = temp_dir();
    let (archive, out) = (tmp.path().join("a.tar"), tmp.path().join("out"));
    std::fs::write(&archive, everything()).unwrap();
    std::fs::create_dir(&out).unwrap();
    run::ok(
        run::command("tar")
            .args(["--xattrs", "--xattrs-include=*", "-xpf"])
            .arg(&archive)
            .arg("-C")
            .arg(&out),
    );
    let tree = Snapshot::of(&out);
    let d = tree.at("d");
    assert_eq!(
        (d.mode, d.uid, d.gid, d.mtime),
        (0o1777, 1, 2, (-5, 250_000_000))
    );
    let f = tree.at("d/f");
    assert_eq!(
        (f.mode, f.uid, f.gid, f.mtime),
        (0o4755, 70_000, 3_000_000, (1_500_000_000, 123_456_789))
    );
    assert_eq!((f.links, f.same_as.as_deref()), (2, Some(&b"d/f"[..])));
    assert_eq!(tree.at("d/h").same_as.as_deref(), Some(&b"d/f"[..]));
    let long = tree.at(format!("long/{}", "n".repeat(200)));
    assert_eq!(long.xattrs[&b"user.a"[..]], b"value");
    assert_eq!(tree.at("d/s").kind, Kind::Symlink(b"../nowhere".to_vec()));
    assert_eq!(tree.at("d/c").kind, Kind::CharDevice(1, 3));
    assert_eq!(tree.at("d/b").kind, Kind::BlockDevice(7, 9));
    assert_eq!(tree.at("d/p").kind, Kind::Fifo);
    assert!(tree.has(b"odd\xff\nname"));
    assert!(tree.to_string().contains("/odd\\xff\\x0aname file size=0"));
}

#[test]
fn umoci_unpacks_layers_in_order() {
    if !require::root() || !require::tool("umoci") {
        return;
    }
    let tmp = temp_dir();
    let mut upper = Tar::new();
    upper
        .add(TarEntry::whiteout("d/f"))
        .add(TarEntry::opaque("long"))
        .add(TarEntry::file("long/new", "new"));
    let image = Layout::new()
        .gzip_layer(&everything())
        .layer(&upper.finish(), Compression::None);
    image.write(&tmp.path().join("image"));
    let bundle = tmp.path().join("bundle");
    run::ok(
        run::command("umoci")
            .args(["unpack", "--image"])
            .arg(tmp.path().join("image:latest"))
            .arg(&bundle),
    );
    let tree = Snapshot::of(&bundle.join("rootfs"));
    assert!(!tree.has("d/f"));
    assert_eq!(tree.at("d/h").links, 1);
    let below_long: Vec<_> = tree
        .nodes
        .keys()
        .filter(|path| path.starts_with(b"long/"))
        .collect();
    assert_eq!(below_long, [b"long/new"]);
}

#[test]
fn skopeo_reads_every_form() {
    if !require::tool("skopeo") {
        return;
    }
    let tmp = temp_dir();
    let image = Layout::new()
        .gzip_layer(&everything())
        .layer(&everything(), Compression::Zstd);
    image.write(&tmp.path().join("image"));
    std::fs::write(tmp.path().join("oci.tar"), image.oci_archive()).unwrap();
    let plain = Layout::new().gzip_layer(&everything());
    std::fs::write(
        tmp.path().join("docker.tar"),
        plain.docker_archive("test:1"),
    )
    .unwrap();
    for (transport, name) in [
        ("oci", "image:latest"),
        ("oci-archive", "oci.tar"),
        ("docker-archive", "docker.tar"),
    ] {
        let name = format!("{transport}:{}", tmp.path().join(name).display());
        let said = run::text(run::command("skopeo").args(["inspect", &name]));
        assert!(said.contains("\"Architecture\": \"amd64\""), "{said}");
    }
}

#[test]
fn a_difference_is_reported_with_its_path() {
    let (left, right) = (temp_dir(), temp_dir());
    std::fs::write(left.path().join("f"), "one").unwrap();
    std::fs::write(right.path().join("f"), "two").unwrap();
    let times = Allow::nothing().also("two writes are not at one instant", |d| {
        d.field == Field::Mtime
    });
    let found = Snapshot::of(left.path()).differences(&Snapshot::of(right.path()), &times);
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .to_string()
            .starts_with("/f: content: file size=3 sha256="),
        "{}",
        found[0]
    );
}
