//! Same image, same bytes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::common::{layer, lithify};
use lithify_testkit::{Layout, TarEntry, require, run, temp_dir};

/// Digest of `examples/hello` as EROFS. It changes only with a change of the writer's output, which users must be told of.
const HELLO_EROFS: &str = "acafc0d832934b65ff93bcd108f2e8fc3174b187812867a7c4c9a74426a679bc";

/// The same in other forms: what is made of it, and its digest.
const HELLO_FORMS: &[(&[&str], &str, &str)] = &[
    (
        &["-f", "squashfs"],
        "",
        "14cb297c2e7e219c04617d9f97fd7742eb15331ae6703baaf8739e246a861503",
    ),
    (
        &["-f", "ext4"],
        "",
        "4be35b7cfc0c8bfa77327cd3a88ee6772c270418b65e97632dac2d634c94bd54",
    ),
    (
        &[
            "-f",
            "ext4",
            "--size",
            "60M",
            "--journal",
            "none",
            "--label",
            "root",
            "--block-size",
            "1K",
        ],
        "",
        "3887d3e7e4e0012fffa67538672ee87c5ae8f591da98cea17425a184d0cbe759",
    ),
    (
        &["-f", "cpio", "--drop-xattrs"],
        "",
        "f0b7afa8ffdc2d34a38379e9f14ec5601c16fc97e93a387cd4738d5d48389925",
    ),
    (
        &["--compress", "lz4"],
        "",
        "04e0069f80fb0e4fdf6add88f077e50092e933ba6b7fd21e9f0f3a5e77f676a9",
    ),
    (
        &["--compress", "zstd"],
        "",
        "770a6cfd09e0707ea0919ae7e7d2864b465f6fd5a4aae294dc6330c4f0a509e2",
    ),
    (
        &["-f", "erofs-layers", "--no-store"],
        "fsmeta.erofs",
        "f4e59c4c164e2ad225dbe8d055b3f1c6b3683c808e36c16b820f779ef7c1bf74",
    ),
    (
        &["-f", "erofs-layers", "--no-store"],
        "disk.vmdk",
        "9bc19522229d19bdc4d23ff6cb7df6aa63e0d4478f54a099ff7f49c0c8e21674",
    ),
    (
        &["-f", "erofs-layers", "--no-store"],
        "image.json",
        "b4b57708201282d35282411a2793a36c30ffc7815c97388c35e6162204609e6a",
    ),
];

/// The bytes of each version of each writer, newest last: the digest of `examples/hello` as a flat image, and for the hash
/// tree as one with `--verity`. A change of the bytes is a new line here and a higher `WRITER_VERSION`, never a changed line:
/// stores have what older versions made under the older number.
type History = &'static [(u32, &'static str)];
const EROFS: History = &[(1, HELLO_EROFS)];
const SQUASHFS: History = &[(
    1,
    "14cb297c2e7e219c04617d9f97fd7742eb15331ae6703baaf8739e246a861503",
)];
const EXT4: History = &[(
    1,
    "4be35b7cfc0c8bfa77327cd3a88ee6772c270418b65e97632dac2d634c94bd54",
)];
const VERITY: History = &[(
    1,
    "77376207693c260f7f261f78843dfaa7cf097414e4495ce2b266682d7d19942a",
)];

#[test]
fn writers_have_a_version_for_their_bytes() {
    let tmp = temp_dir();
    let cases: [(&str, u32, History, &[&str]); 4] = [
        (
            "erofs",
            lithify_erofs::WRITER_VERSION,
            EROFS,
            &["-f", "erofs"],
        ),
        (
            "squashfs",
            lithify_squashfs::WRITER_VERSION,
            SQUASHFS,
            &["-f", "squashfs"],
        ),
        ("ext4", lithify_ext4::WRITER_VERSION, EXT4, &["-f", "ext4"]),
        (
            "verity",
            lithify_verity::WRITER_VERSION,
            VERITY,
            &["-f", "erofs", "--verity"],
        ),
    ];
    for (name, version, history, args) in cases {
        let rises = history.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let differ = history.windows(2).all(|pair| pair[0].1 != pair[1].1);
        assert!(rises && differ, "{name}");
        let out = tmp.path().join(name);
        let mut command = lithify();
        command.args(["--quiet", "build", "--no-fsync", &examples("hello")]);
        run::ok(command.args(args).arg("-o").arg(&out));
        let (last, digest) = history[history.len() - 1];
        assert_eq!((version, sha256(&out).as_str()), (last, digest), "{name}");
    }
}

#[test]
fn every_form_of_the_example_is_the_same_everywhere() {
    let tmp = temp_dir();
    for (number, (args, file, expected)) in HELLO_FORMS.iter().enumerate() {
        let out = tmp.path().join(number.to_string());
        let mut command = lithify();
        command.args(["--quiet", "build", "--no-fsync", &examples("hello")]);
        run::ok(command.args(*args).arg("-o").arg(&out));
        let file = if file.is_empty() { out } else { out.join(file) };
        assert_eq!(&sha256(&file), expected, "{args:?} {}", file.display());
    }
}

fn sha256(path: &Path) -> String {
    let text = run::text(run::command("sha256sum").arg(path));
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn examples(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    format!("oci:{}:latest", path.display())
}

fn sample() -> Layout {
    let text = |n: usize| format!("line {n}\n").repeat(n % 3000);
    let base = layer(
        std::iter::once(TarEntry::directory("d")).chain((0..800).map(|n| {
            TarEntry::file(format!("d/f{n}"), text(n)).mtime(1_500_000_000 + n as i64 % 7, 0)
        })),
    );
    let upper = layer([
        TarEntry::whiteout("d/f5"),
        TarEntry::file("d/f6", text(2999)),
        TarEntry::hard_link("d/g", "d/f7"),
    ]);
    let top = layer((0..200).map(|n| TarEntry::file(format!("d/f{}", n * 4), text(n + 1))));
    Layout::new()
        .gzip_layer(&base)
        .gzip_layer(&upper)
        .gzip_layer(&top)
}

#[test]
fn the_example_image_has_its_pinned_digest() {
    let tmp = temp_dir();
    let out = tmp.path().join("hello.erofs");
    crate::common::build(&examples("hello"), "erofs", &out);
    assert_eq!(sha256(&out), HELLO_EROFS);
}

#[test]
fn neither_threads_nor_places_nor_containers_change_a_byte() {
    let tmp = temp_dir();
    let (a, b) = (tmp.path().join("a"), tmp.path().join("b"));
    sample().write(&a);
    sample().write(&b);
    let archive = tmp.path().join("image.tar");
    std::fs::write(&archive, sample().oci_archive()).expect("archive");
    let docker = tmp.path().join("docker.tar");
    std::fs::write(&docker, sample().docker_archive("sample:latest")).expect("archive");
    let sources = [
        format!("oci:{}", a.display()),
        format!("oci:{}", b.display()),
        format!("oci-archive:{}", archive.display()),
        format!("docker-archive:{}", docker.display()),
    ];
    for format in ["erofs", "ext4", "tar", "cpio"] {
        let mut digests = Vec::new();
        for source in &sources {
            for jobs in ["1", "2", "8"] {
                let out = tmp.path().join("out");
                run::ok(
                    lithify()
                        .args(["-q", "build", source, "--jobs", jobs, "-f", format, "-o"])
                        .arg(&out),
                );
                digests.push(sha256(&out));
            }
        }
        digests.dedup();
        assert_eq!(digests.len(), 1, "{format}");
    }
}

#[test]
fn an_ordinary_user_gets_the_same_bytes_as_root() {
    if !require::root() || !require::tool("setpriv") {
        return;
    }
    let tmp = temp_dir();
    std::fs::set_permissions(tmp.path(), std::fs::Permissions::from_mode(0o777)).expect("mode");
    let odd = layer([
        TarEntry::file("suid", "x").mode(0o4755).owner(1000, 1000),
        TarEntry::char_device("null", 1, 3),
        TarEntry::file("cap", "x").xattr(
            "security.capability",
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
        TarEntry::directory("closed").mode(0),
        TarEntry::file("closed/in", "y"),
    ]);
    sample().gzip_layer(&odd).write(&tmp.path().join("image"));
    let source = format!("oci:{}", tmp.path().join("image").display());
    for format in ["erofs", "ext4", "tar", "cpio"] {
        let args = ["-q", "build", "--drop-xattrs", &source, "-f", format, "-o"];
        let by_root = tmp.path().join(format!("root.{format}"));
        run::ok(lithify().args(args).arg(&by_root));
        let by_user = tmp.path().join(format!("user.{format}"));
        let mut command = run::command("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(lithify().get_program());
        run::ok(command.args(args).arg(&by_user));
        assert_eq!(sha256(&by_root), sha256(&by_user), "{format}");
    }
}
