//! What is compared with what.

use std::path::{Path, PathBuf};

use lithify_testkit::{Tar, TarEntry, require};

use super::inputs::Inputs;

/// Commands that do the same job. The first is ours, and what the others are divided by.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    /// Bytes of tar the job goes through: the numerator of every rate.
    pub(super) tar_bytes: u64,
    /// Entries, where they are what costs.
    pub(super) entries: Option<u64>,
    pub(super) cases: Vec<Case>,
}

/// One command.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// For bash, in a fresh directory, whose files are emptied afterwards. What it calls `out` or `out.*` is its output.
    pub(super) script: String,
    /// Run before in the same directory, not measured.
    pub(super) setup: Option<String>,
    /// How often the script runs after each setup; its output is removed in between.
    pub(super) times: usize,
}

/// The programs being compared.
#[derive(Debug)]
pub(super) struct Programs {
    /// `lithify`, as built for release.
    pub(super) lithify: PathBuf,
    /// This program, as built for release.
    pub(super) workbench: PathBuf,
}

impl Programs {
    /// All groups for which there is something to run.
    pub(super) fn groups(&self, inputs: &Inputs, big: bool) -> Vec<Group> {
        let mut groups = vec![self.steps(inputs)];
        groups.extend(self.filesystems(inputs));
        groups.extend([self.writable(inputs), self.empty_disk()]);
        groups.extend([self.directory(inputs), self.tar(inputs)]);
        groups.extend(self.layered(inputs));
        groups.extend(self.composefs(inputs));
        groups.extend(self.deltas(inputs));
        groups.extend(self.registries(inputs));
        groups.push(self.many_entries("a million small files", "out.erofs", 1_000_000));
        groups.push(self.many_entries("a million small files in ext4", "out.ext4", 1_000_000));
        if big {
            groups.push(self.big_file(8 << 30));
        }
        groups
    }

    pub(super) fn build(&self, arguments: &str) -> String {
        format!("{} --quiet build {arguments}", quote(&self.lithify))
    }

    /// Ours with and without waiting for the disk.
    fn ours(&self, what: &str) -> Vec<Case> {
        vec![
            case("lithify", self.build(&format!("{what} --no-fsync"))),
            case("lithify, on disk", self.build(what)),
        ]
    }

    fn steps(&self, inputs: &Inputs) -> Group {
        let (blob, tar) = (quote(&inputs.blob), quote(&inputs.tar));
        let speed =
            |step: &str, file: &str| format!("{} speed {step} {file}", quote(&self.workbench));
        Group {
            name: "steps",
            tar_bytes: inputs.tar_bytes,
            entries: None,
            cases: vec![
                case("inflate (ours)", speed("inflate", &blob)),
                case("inflate (zlib-rs)", speed("inflate-zlib-rs", &blob)),
                case("sha256 of the tar", speed("sha256", &tar)),
                case("read the tar", speed("read", &tar)),
                case("gzip -dc", format!("gzip -dc < {blob} > /dev/null")),
                case("pigz -dc", format!("pigz -dc < {blob} > /dev/null")),
                case("zcat | sha256sum", format!("zcat < {blob} | sha256sum")),
            ],
        }
    }

    fn filesystems(&self, inputs: &Inputs) -> Vec<Group> {
        let (blob, tar) = (quote(&inputs.blob), quote(&inputs.tar));
        let (layer, image) = (layout(&inputs.layer), layout(&inputs.image));
        let mkfs = "mkfs.erofs out.erofs";
        let untar = "tar --xattrs --xattrs-include='*' -xp -C root";
        let reads_tar = mkfs_reads_tar();
        let group = |name, tar_bytes, source: &str, peers: Vec<Case>| {
            let mut cases = self.ours(&format!("{source} -o out.erofs"));
            for peer in peers {
                let durable = format!("{} && sync -f out.erofs", peer.script);
                cases.push(case(&format!("{}, on disk", peer.name), durable));
                cases.insert(cases.len() - 1, peer);
            }
            Group {
                name,
                tar_bytes,
                entries: None,
                cases,
            }
        };
        let mut of_layer = vec![
            case(
                "gzip | tar -x; mkfs.erofs",
                format!("mkdir root && gzip -dc {blob} | {untar} -f - && {mkfs} root"),
            ),
            case(
                "pigz | tar -x; mkfs.erofs",
                format!("mkdir root && pigz -dc {blob} | {untar} -f - && {mkfs} root"),
            ),
        ];
        let mut of_tar = vec![case(
            "tar -x; mkfs.erofs",
            format!("mkdir root && {untar} -f {tar} && {mkfs} root"),
        )];
        if reads_tar {
            let script = format!("gzip -dc {blob} | mkfs.erofs --tar=f out.erofs");
            of_layer.push(case("gzip | mkfs.erofs --tar=f", script));
            of_tar.push(case(
                "mkfs.erofs --tar=f",
                format!("mkfs.erofs --tar=f out.erofs {tar}"),
            ));
        }
        let unpack = format!(
            "umoci unpack --image {}:latest bundle && {mkfs} bundle/rootfs",
            quote(&inputs.image)
        );
        vec![
            group("layer to EROFS", inputs.tar_bytes, &layer, of_layer),
            group(
                "tar to EROFS",
                inputs.tar_bytes,
                &format!("tar:{tar}"),
                of_tar,
            ),
            group(
                "image to EROFS",
                inputs.image_bytes,
                &image,
                vec![case("umoci unpack; mkfs.erofs", unpack)],
            ),
        ]
    }

    fn directory(&self, inputs: &Inputs) -> Group {
        let umoci = format!(
            "umoci unpack --image {}:latest bundle",
            quote(&inputs.image)
        );
        let tars: Vec<_> = inputs
            .blobs
            .iter()
            .map(|blob| {
                format!(
                    "gzip -dc {} | tar --xattrs --xattrs-include='*' -xp -C out",
                    quote(blob)
                )
            })
            .collect();
        let tars = format!("mkdir out && {}", tars.join(" && "));
        let mut cases = self.ours(&format!("{} -f dir -o out", layout(&inputs.image)));
        cases.extend([
            case("umoci unpack", umoci.clone()),
            case(
                "umoci unpack, on disk",
                format!("{umoci} && sync -f bundle"),
            ),
            case("gzip | tar -x (whiteouts not applied)", tars),
        ]);
        Group {
            name: "image to directory",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases,
        }
    }

    /// A writable disk, beside a filesystem that is read only and beside what is done by hand.
    fn writable(&self, inputs: &Inputs) -> Group {
        let image = layout(&inputs.image);
        let mut cases = self.ours(&format!("{image} -o out.ext4"));
        cases.push(case(
            "lithify, to flat EROFS",
            self.build(&format!("{image} -o out.erofs --no-fsync")),
        ));
        let unpack = format!(
            "umoci unpack --image {}:latest bundle",
            quote(&inputs.image)
        );
        // What is in it, a tenth more, and room for the journal.
        let size = "$(($(du -sm bundle/rootfs | cut -f 1) * 11 / 10 + 64))M";
        let mkfs = "mke2fs -q -t ext4 -b 4096 -i 16384 -d";
        let directory = format!("{unpack} && {mkfs} bundle/rootfs out.ext4 {size}");
        cases.push(case("umoci unpack; mke2fs -d DIR", directory.clone()));
        cases.push(case(
            "umoci unpack; mke2fs -d DIR, on disk",
            format!("{directory} && sync -f out.ext4"),
        ));
        if mke2fs_reads_tar() {
            let tar = "tar --xattrs --xattrs-include='*' -cf - -C bundle/rootfs .";
            cases.push(case(
                "umoci unpack; tar | mke2fs -d TAR",
                format!("{unpack} && {tar} | {mkfs} - out.ext4 {size}"),
            ));
        }
        Group {
            name: "image to ext4",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases,
        }
    }

    fn empty_disk(&self) -> Group {
        let ours = format!("{} --quiet disk create", quote(&self.lithify));
        let mke2fs = "truncate -s 20G out.ext4 && mke2fs -q -t ext4";
        Group {
            name: "an empty disk of 20 GiB",
            tar_bytes: 0,
            entries: None,
            cases: vec![
                case("lithify", format!("{ours} out.ext4 --size 20G --no-fsync")),
                case("lithify, on disk", format!("{ours} out.ext4 --size 20G")),
                case("mke2fs", format!("{mke2fs} out.ext4")),
                case(
                    "mke2fs, its journal not cleared",
                    format!("{mke2fs} -E lazy_journal_init=1 out.ext4"),
                ),
            ],
        }
    }

    fn tar(&self, inputs: &Inputs) -> Group {
        let umoci = format!(
            "umoci unpack --image {}:latest bundle && tar --xattrs --xattrs-include='*' -cf out.tar -C bundle/rootfs .",
            quote(&inputs.image)
        );
        let mut cases = self.ours(&format!("{} -f tar -o out.tar", layout(&inputs.image)));
        cases.push(case("umoci unpack; tar -c", umoci));
        Group {
            name: "image to tar",
            tar_bytes: inputs.image_bytes,
            entries: None,
            cases,
        }
    }

    fn many_entries(&self, name: &'static str, out: &str, count: u64) -> Group {
        let generate = format!("{} generate entries {count}", quote(&self.workbench));
        let build = self.build(&format!("tar:- -o {out} --no-fsync"));
        Group {
            name,
            // A header and a block of data each.
            tar_bytes: count * 1024,
            entries: Some(count),
            cases: vec![
                case("lithify", format!("{generate} | {build}")),
                case("the generator alone", format!("{generate} > /dev/null")),
            ],
        }
    }

    fn big_file(&self, size: u64) -> Group {
        let generate = format!("{} generate file {size}", quote(&self.workbench));
        let build = self.build("tar:- -o out.erofs --no-fsync");
        Group {
            name: "one file of 8 GiB",
            tar_bytes: size,
            entries: None,
            cases: vec![
                case("lithify", format!("{generate} | {build}")),
                case("cat", format!("{generate} | cat > out.tar")),
                case("the generator alone", format!("{generate} > /dev/null")),
            ],
        }
    }
}

pub(super) fn case(name: &str, script: String) -> Case {
    Case {
        name: name.into(),
        script,
        setup: None,
        times: 1,
    }
}

pub(super) fn layout(dir: &Path) -> String {
    format!("oci:{}:latest", quote(dir))
}

/// A path as one word for bash.
pub(super) fn quote(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// e2fsprogs reads tars since 1.47.1, where it was built to.
fn mke2fs_reads_tar() -> bool {
    let Ok(dir) = tempfile::tempdir() else {
        return false;
    };
    let (tar, image) = (dir.path().join("a.tar"), dir.path().join("a.ext4"));
    if std::fs::write(&tar, Tar::new().add(TarEntry::directory("d")).finish()).is_err() {
        return false;
    }
    let made = std::process::Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .args([&tar, &image])
        .arg("1M")
        .output();
    made.is_ok_and(|out| out.status.success())
}

/// erofs-utils reads tars since 1.7.
fn mkfs_reads_tar() -> bool {
    let Some(mkfs) = require::find_tool("mkfs.erofs") else {
        return false;
    };
    let help = std::process::Command::new(mkfs).arg("--help").output();
    help.is_ok_and(|out| {
        [out.stdout, out.stderr]
            .concat()
            .windows(5)
            .any(|w| w == b"--tar")
    })
}
