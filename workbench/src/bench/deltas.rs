//! Comparisons: deltas of images.

use std::path::Path;

use lithify_testkit::require;

use super::cases::{Case, Group, Programs, case, layout, quote};
use super::inputs::{Inputs, Update};

impl Programs {
    pub(super) fn deltas(&self, inputs: &Inputs) -> Vec<Group> {
        let Some(update) = &inputs.update else {
            return Vec::new();
        };
        vec![self.delta(update), self.patch(update)]
    }

    /// What is different between an image and its update.
    fn delta(&self, update: &Update) -> Group {
        let levels = ["default", "fast", "best"].map(|level| {
            let script = self.create(update, "out.delta", &format!("--level {level}"));
            case(&format!("lithify, {level}"), script)
        });
        let mut cases = Vec::from(levels);
        cases.push(case(
            "lithify, default, one thread",
            self.create(update, "out.delta", "-j 1"),
        ));
        // Of the tars, which somebody has to take out of the layers.
        let each = |what: &str| {
            let layers = (0..update.old.len()).map(|n| what.replace('N', &n.to_string()));
            layers.collect::<Vec<_>>().join(" && ")
        };
        let mut peer = |program: &str, name: &str, script: &str| {
            if require::find_tool(program).is_some() {
                let mut case = case(name, each(script));
                case.setup = Some(tars(update));
                cases.push(case);
            }
        };
        for level in [3, 19] {
            peer(
                "zstd",
                &format!("zstd -{level} --patch-from"),
                &format!("zstd -q -{level} --long=29 --patch-from=old.N.tar new.N.tar -o out.N"),
            );
        }
        peer(
            "xdelta3",
            "xdelta3 -9 -S lzma",
            "xdelta3 -e -9 -S lzma -B 536870912 -s old.N.tar new.N.tar out.N",
        );
        Group {
            name: "a delta of an update",
            tar_bytes: update.tar_bytes,
            entries: None,
            cases,
        }
    }

    /// The update out of its delta.
    fn patch(&self, update: &Update) -> Group {
        let (lithify, old) = (quote(&self.lithify), layout(&update.old_image));
        let apply = format!("{lithify} --quiet delta apply oci-archive:delta");
        let setup = format!(
            "{} && {lithify} --quiet build {old} -f dir -o root --no-fsync && {lithify} --quiet build {old} -o old.erofs --no-fsync",
            self.create(update, "delta", ""),
        );
        let ours = |name: &str, script: String| {
            let mut case = case(name, script);
            case.setup = Some(setup.clone());
            case
        };
        let with = |base: &str, out: &str| format!("{apply} --base {base} --no-fsync {out}");
        let mut cases = vec![
            ours("lithify, on a directory, checked alone", {
                with("rootfs:root", "-f tar -o - > /dev/null")
            }),
            ours(
                "lithify, on a directory, to EROFS",
                with("rootfs:root", "-o out.erofs"),
            ),
            ours(
                "lithify, on EROFS, to EROFS",
                with("old.erofs", "-o out.erofs"),
            ),
            ours(
                "lithify, on the image, to EROFS",
                with(&old, "-o out.erofs"),
            ),
            ours(
                "lithify, on the image, to a layout",
                with(&old, "-o oci:out:new"),
            ),
            case(
                "lithify, the update itself, to EROFS",
                self.build(&format!(
                    "{} -o out.erofs --no-fsync",
                    layout(&update.new_image)
                )),
            ),
        ];
        if require::find_tool("zstd").is_some() {
            cases.push(self.zstd(update));
        }
        Group {
            name: "an update out of its delta",
            tar_bytes: update.tar_bytes,
            entries: None,
            cases,
        }
    }

    fn zstd(&self, update: &Update) -> Case {
        let layers = 0..update.old.len();
        let encode =
            |n| format!("zstd -q -3 --long=29 --patch-from=old.{n}.tar new.{n}.tar -o delta.{n}");
        let decode =
            |n| format!("zstd -q -d --long=29 --patch-from=old.{n}.tar delta.{n} -o out.{n}");
        let all = |each: &dyn Fn(usize) -> String| {
            layers.clone().map(each).collect::<Vec<_>>().join(" && ")
        };
        let mut case = case("zstd -d --patch-from, to tars", all(&decode));
        case.setup = Some(format!("{} && {}", tars(update), all(&encode)));
        case
    }

    fn create(&self, update: &Update, out: &str, options: &str) -> String {
        format!(
            "{} --quiet delta create {} {} -o oci-archive:{out} --no-fsync {options}",
            quote(&self.lithify),
            layout(&update.old_image),
            layout(&update.new_image),
        )
    }
}

/// Takes the tars out of the layers.
fn tars(update: &Update) -> String {
    let sides = [("old", &update.old), ("new", &update.new)];
    let each = sides.into_iter().flat_map(|(side, blobs)| {
        let blobs = blobs.iter().enumerate();
        blobs.map(move |(n, blob)| take(blob, &format!("{side}.{n}.tar")))
    });
    each.collect::<Vec<_>>().join(" && ")
}

fn take(blob: &Path, tar: &str) -> String {
    format!("gzip -dc < {} > {tar}", quote(blob))
}
