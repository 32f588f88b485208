//! An image without layers: its filesystem is an empty root directory, in every format and everywhere.

use std::fs;
use std::path::Path;

use crate::common::{lithify, lithify_output, paths, stderr};
use lithify_testkit::{Layout, require, run, temp_dir};
use serde_json::{Value, json};

#[test]
fn an_image_without_layers_works_everywhere() {
    let tmp = temp_dir();
    let layout = tmp.path().join("image");
    Layout::new().write(&layout);
    let image = format!("oci:{}:latest", layout.display());
    let out = |name: &str| tmp.path().join(name).display().to_string();
    let mut subjects = vec![image.clone()];
    for format in ["erofs", "squashfs", "erofs-layers", "squashfs-layers"] {
        crate::common::build(&image, format, Path::new(&out(format)));
        subjects.push(out(format));
    }
    for format in ["dir", "tar", "containerd-cache"] {
        crate::common::build(&image, format, Path::new(&out(format)));
    }
    assert_eq!(fs::read_dir(out("dir")).unwrap().count(), 0);
    subjects.push(format!("rootfs:{}", out("dir")));
    subjects.push(format!("tar:{}", out("tar")));
    for subject in &subjects {
        assert!(
            paths(subject).iter().all(|p| p == "/"),
            "{subject}: {:?}",
            paths(subject)
        );
        run::ok(lithify().args(["-q", "verify", subject]));
        let cat = lithify_output(["cat", subject, "/x"]);
        assert_eq!(cat.status.code(), Some(1));
        assert!(
            stderr(&cat).contains("does not exist in the image"),
            "{}",
            stderr(&cat)
        );
    }
    if require::root() && require::kernel_erofs() {
        let point = tmp.path().join("mnt");
        fs::create_dir(&point).unwrap();
        for (number, subject) in subjects.iter().enumerate() {
            if subject.contains("squashfs") && !require::kernel_filesystem("squashfs") {
                continue;
            }
            let changes = out(&format!("changes-{number}"));
            for extra in [&[][..], &["--rw", &changes]] {
                let mut mount = lithify();
                mount.args(["-q", "mount", subject]).arg(&point).args(extra);
                run::ok(&mut mount);
                assert_eq!(fs::read_dir(&point).unwrap().count(), 0, "{subject}");
                if !extra.is_empty() {
                    fs::write(point.join("new"), "x").unwrap();
                }
                run::ok(lithify().arg("umount").arg(&point));
            }
            let committed = format!("oci:{}:new", out(&format!("committed-{number}")));
            run::ok(lithify().args(["-q", "commit", "--base", &image, "-o", &committed, &changes]));
            assert_eq!(paths(&committed).last().map(String::as_str), Some("/new"));
        }
    }
}

#[test]
fn an_image_without_layers_is_published_as_the_root_directory() {
    let tmp = temp_dir();
    let layout = tmp.path().join("image");
    Layout::new().write(&layout);
    let image = format!("oci:{}:latest", layout.display());
    for (number, extra) in [
        &["--as", "erofs"][..],
        &["--as", "erofs", "--only", "--erofs-spec", "draft"],
        &["--as", "erofs", "--only", "--verity", "--erofs-zstd"],
    ]
    .into_iter()
    .enumerate()
    {
        let at = tmp.path().join(number.to_string());
        let pushed = format!("oci:{}:v1", at.display());
        let mut command = lithify();
        command.env("LITHIFY_STORE", tmp.path().join("store"));
        command.args(["-q", "push", "--json"]);
        let report = run::ok(command.args(extra).args([&image, &pushed]));
        let report: Value = serde_json::from_slice(&report).unwrap();
        let forms: Vec<_> = report["manifests"].as_array().unwrap().iter().collect();
        // What it was is there too, unless only the new one was asked for.
        let with_tar = !extra.contains(&"--only");
        assert_eq!(forms[0]["form"] == "tar", with_tar, "{report}");
        let erofs = &forms[usize::from(with_tar)];
        assert_eq!(
            (&erofs["form"], erofs["layers"].as_array().unwrap().len()),
            (&json!("erofs"), 1)
        );
        let names = |platform: &str| {
            run::text(lithify().args(["-q", "ls", "-aR", "--platform", platform, &pushed]))
        };
        assert_eq!(names("linux/amd64+erofs"), names("linux/amd64"));
        for platform in ["linux/amd64", "linux/amd64+erofs"] {
            run::ok(lithify().args(["-q", "verify", "--platform", platform, &pushed]));
        }
        if require::tool("skopeo") {
            let mut skopeo = run::command("skopeo");
            let copy = format!("oci:{}:v1", tmp.path().join("copy").display());
            run::ok(skopeo.args(["copy", "-q", "--all", &pushed, &copy]));
            run::ok(lithify().args(["-q", "verify", &copy]));
        }
    }
}
