//! Repositories that `cfsctl` 0.9.4 wrote, and what it says of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lithify_cancel::CancelToken;
use lithify_composefs::image::ImageOptions;
use lithify_composefs::oci::{
    Image, LayerSplitter, NewImage, image_name, open_layer, promised_digest, store_image, tags,
    untag,
};
use lithify_composefs::repository::{
    Category, Depth, ErofsFormat, FsckOptions, GcOptions, ImageObjects, OpenOptions, Publication,
    Repository,
};
use lithify_composefs::splitstream::{Chunk, StreamReader};
use lithify_composefs::{Images, dumpfile, image};
use lithify_digest::Digest;
use lithify_tar::Limits;
use lithify_testkit::{Compression, Layout, Tar, TarEntry, require, run, temp_dir};
use lithify_verity::file::{FileAlgorithm, FileDigest, FileHasher, FileOptions};
use serde_json::Value;

use crate::common::{bytes, repository, sha256};

const TAG: &str = "example.org/some/image:1.0%x";

/// `cfsctl` at work on a repository.
struct Cfsctl {
    program: PathBuf,
    repository: PathBuf,
}

impl Cfsctl {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = run::command(self.program.to_str().unwrap());
        command.arg("--repo").arg(&self.repository).args(arguments);
        command
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> Vec<u8> {
        run::ok(&mut self.command(arguments))
    }

    fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.ok(arguments)).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.ok(arguments)).unwrap()
    }

    fn init(&self, algorithm: FileAlgorithm, format: ErofsFormat) {
        let algorithm = format!("fsverity-{algorithm}-12");
        let format = format.to_string();
        let with = [
            "--insecure",
            "--erofs-version",
            &format,
            "--algorithm",
            &algorithm,
        ];
        self.ok(&[&["init"][..], &with].concat());
    }

    fn pull(&self, layout: &Path) {
        let source = format!("oci:{}:latest", layout.display());
        self.ok(&["oci", "pull", &source, TAG]);
    }
}

/// The objects that `cfsctl` says images need. It is asked before a collection, which keeps it out
/// of the repository.
struct Needs(BTreeMap<FileDigest, Vec<FileDigest>>);

impl Needs {
    fn ask(cfsctl: &Cfsctl, repository: &Repository) -> Self {
        let parse = |line: &str| {
            let hex = line.rsplit_once(':').map_or(line, |(_, hex)| hex);
            FileDigest::from_hex(repository.algorithm(), hex).unwrap()
        };
        let entries = repository.entries(Category::Images).unwrap().into_iter();
        let needs = entries.map(|image| {
            let said = cfsctl.text(&["image-objects", &image.name]);
            (image.id, said.lines().map(parse).collect())
        });
        Self(needs.collect())
    }
}

impl ImageObjects for Needs {
    fn objects(
        &self,
        image: &File,
        each: &mut dyn FnMut(FileDigest),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let path = fs::read_link(format!("/proc/self/fd/{}", image.as_raw_fd()))?;
        let of = |id: &FileDigest| path.ends_with(object_path(id));
        let (_, objects) = self.0.iter().find(|(id, _)| of(id)).ok_or("no image")?;
        objects.iter().copied().for_each(each);
        Ok(())
    }
}

fn object_path(id: &FileDigest) -> String {
    let hex = id.hex();
    format!("{}/{}", &hex[..2], &hex[2..])
}

fn tars() -> Vec<Vec<u8>> {
    let mut base = Tar::new();
    base.add(TarEntry::directory("usr"))
        .add(TarEntry::directory("usr/bin"));
    for size in [0, 1, 64, 65, 512, 4096, 70_000, 300_000] {
        base.add(TarEntry::file(
            format!("usr/bin/{size}"),
            bytes(size as u64, size),
        ));
    }
    base.add(TarEntry::file(
        format!("usr/{}", "n".repeat(150)),
        bytes(1, 100),
    ));
    base.add(TarEntry::hard_link("usr/hard", "usr/bin/4096"));
    base.add(TarEntry::symlink("bin", "usr/bin"));
    let mut upper = Tar::new();
    upper.add(TarEntry::directory("usr"));
    upper.add(TarEntry::file("usr/new", bytes(2, 5000)).mtime(1_700_000_000, 5));
    // There already, in the layer below.
    upper.add(TarEntry::file("usr/again", bytes(4096, 4096)));
    upper.add(TarEntry::file("usr/twice", bytes(4096, 4096)));
    upper.add(TarEntry::whiteout("usr/bin/1"));
    vec![base.finish(), upper.finish()]
}

fn layout(path: &Path) {
    let image = tars().iter().fold(Layout::new(), |image, tar| {
        image.layer(tar, Compression::Gzip)
    });
    image.write(path);
}

/// Stores the image of a layout with one manifest, as `cfsctl oci pull` does, and with the images
/// given.
fn import(repository: &Repository, layout: &Path, images: &[(ErofsFormat, FileDigest)]) -> Digest {
    import_with(repository, layout, images, |manifest| manifest)
}

fn import_with(
    repository: &Repository,
    layout: &Path,
    images: &[(ErofsFormat, FileDigest)],
    change: impl Fn(String) -> String,
) -> Digest {
    let blob = |digest: &Digest| {
        let path = layout
            .join("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex());
        fs::read(path).unwrap()
    };
    let parse = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    let digest_at = |v: &Value| -> Digest { v.as_str().unwrap().parse().unwrap() };
    let index = parse(&fs::read(layout.join("index.json")).unwrap());
    let digest = digest_at(&index["manifests"][0]["digest"]);
    let manifest = change(String::from_utf8(blob(&digest)).unwrap()).into_bytes();
    let digest = sha256(&manifest);
    let config = blob(&digest_at(&parse(&manifest)["config"]["digest"]));
    let mut layers = BTreeMap::new();
    for tar in tars() {
        let diff_id = sha256(&tar);
        let mut splitter = LayerSplitter::new(repository, diff_id, Limits::default()).unwrap();
        splitter.push(&tar).unwrap();
        layers.insert(diff_id, splitter.finish().unwrap().id);
    }
    let new = NewImage {
        digest,
        manifest: &manifest,
        config: &config,
        layers: &layers,
        images: &images
            .iter()
            .map(|(format, id)| (image_name(*format).to_owned(), *id))
            .collect(),
        kept: &[],
    };
    let stored = store_image(repository, &new).unwrap();
    let mut publication = Publication::new();
    stored.publish(&mut publication).unwrap();
    stored.tag(&mut publication, TAG).unwrap();
    repository.publish(&publication).unwrap();
    digest
}

const FULL: FsckOptions = FsckOptions {
    depth: Depth::Contents,
    threads: None,
    promised: Some(promised_digest),
};

fn read_layer(repository: &Repository, digest: &Digest) -> Vec<u8> {
    let mut tar = Vec::new();
    open_layer(repository, digest)
        .unwrap()
        .read_to_end(&mut tar)
        .unwrap();
    tar
}

#[test]
fn a_repository_of_cfsctl_is_read_checked_and_collected() {
    let Some(program) = require::cfsctl() else {
        return;
    };
    let both = [ErofsFormat::V1, ErofsFormat::V2];
    for (algorithm, format) in FileAlgorithm::ALL.into_iter().zip(both) {
        let tmp = temp_dir();
        let path = tmp.path().join("repository");
        layout(&tmp.path().join("layout"));
        let cfsctl = Cfsctl {
            program: program.clone(),
            repository: path.clone(),
        };
        cfsctl.init(algorithm, format);
        cfsctl.pull(&tmp.path().join("layout"));

        let mut opened = Repository::open(&path, &OpenOptions::new()).unwrap();
        assert_eq!(opened.algorithm(), algorithm);
        let found = tags(&opened).unwrap();
        assert_eq!((found.len(), found[0].name.as_str()), (1, TAG));
        let image = Image::open_tag(&opened, TAG).unwrap();
        assert!(image.is_intact(&opened).unwrap());
        assert!(image.image(format).is_some());
        assert_eq!(opened.metadata().format, format);
        assert_eq!(image.layers.len(), 2);
        for (layer, tar) in image.layers.iter().zip(tars()) {
            assert!(read_layer(&opened, &layer.digest) == tar);
        }
        let needs = Needs::ask(&cfsctl, &opened);
        assert_eq!(needs.0.len(), 1);
        let report = opened.fsck(&needs, &FULL).unwrap();
        assert!(report.is_good(), "{report:#?}");
        let reader = Images::default();
        assert!(opened.fsck(&reader, &FULL).unwrap().is_good());
        for (id, objects) in &needs.0 {
            let mut found = BTreeSet::new();
            let file = opened.open_image(id).unwrap();
            reader
                .objects(&file, &mut |id| {
                    found.insert(id);
                })
                .unwrap();
            assert_eq!(found, objects.iter().copied().collect());
        }
        // The configuration and the manifest were written twice by `cfsctl`, and nobody needs what
        // was written first.
        let collected = opened.gc(&needs, &GcOptions::default()).unwrap();
        assert_eq!(
            (collected.objects, collected.entries.len()),
            (2, 0),
            "{collected:?}"
        );
        assert!(image.is_intact(&opened).unwrap());
        cfsctl.ok(&["fsck"]);
        cfsctl.ok(&["oci", "fsck"]);
        drop(opened);
        let removed = cfsctl.text(&["gc"]);
        assert!(removed.contains("Objects: 0"), "{removed}");
        let mut opened = Repository::open(&path, &OpenOptions::new()).unwrap();

        untag(&opened, TAG).unwrap();
        let collected = opened.gc(&needs, &GcOptions::default()).unwrap();
        assert_eq!(collected.kept, 0);
        assert!(opened.entries(Category::Streams).unwrap().is_empty());
        cfsctl.ok(&["fsck"]);
    }
}

#[test]
fn cfsctl_takes_a_repository_of_ours() {
    let Some(program) = require::cfsctl() else {
        return;
    };
    for algorithm in FileAlgorithm::ALL {
        let tmp = temp_dir();
        let path = tmp.path().join("repository");
        let source = tmp.path().join("layout");
        layout(&source);
        let cfsctl = Cfsctl {
            program: program.clone(),
            repository: path.clone(),
        };
        let ours = repository(&path, algorithm);
        let digest = import(&ours, &source, &[]);
        // It looks at the same properties.
        let name = format!("fsverity-{algorithm}-12");
        cfsctl.ok(&["init", "--insecure", "--algorithm", &name]);
        cfsctl.ok(&["fsck"]);
        cfsctl.ok(&["oci", "fsck"]);
        let listed = cfsctl.text(&["oci", "images"]);
        assert!(listed.contains(TAG), "{listed}");
        let shown = cfsctl.json(&["oci", "inspect", TAG]);
        let config = shown["config"].as_str().unwrap();
        assert!(config.contains(&sha256(&tars()[0]).to_string()), "{config}");
        for tar in tars() {
            let name = format!("oci-layer-{}", sha256(&tar));
            assert!(cfsctl.ok(&["cat", &name]) == tar);
        }
        let dump = cfsctl.text(&["oci", "dump", TAG]);
        assert!(
            dump.lines().any(|l| l.starts_with("/usr/new 5000 ")),
            "{dump}"
        );
        let id = cfsctl.text(&["oci", "compute-id", TAG]);

        // With an image of ours, which has the id that it computes.
        let token = CancelToken::new();
        let filesystem = dumpfile::read(dump.as_bytes(), &token).unwrap();
        let image = image::Image::new(&filesystem, &ImageOptions::default(), &token).unwrap();
        let mut object = ours.write_object().unwrap();
        let hasher = FileHasher::new(&FileOptions::new(algorithm)).unwrap();
        let written = image.write(&mut object, hasher, &token).unwrap();
        assert_eq!(object.finish().unwrap().id, written);
        assert_eq!(id.trim(), written.hex());
        assert_eq!(
            import(&ours, &source, &[(ErofsFormat::V1, written)]),
            digest
        );
        cfsctl.ok(&["fsck"]);
        cfsctl.ok(&["oci", "fsck"]);
        if require::kernel_erofs() {
            let mounted = tmp.path().join("mounted");
            fs::create_dir(&mounted).unwrap();
            cfsctl.ok(&["oci", "mount", TAG, mounted.to_str().unwrap()]);
            let found = ["usr/new", "usr/bin/70000"].map(|name| fs::read(mounted.join(name)));
            run::ok(run::command("umount").arg(&mounted));
            let expected = [bytes(2, 5000), bytes(70_000, 70_000)];
            assert!(found.map(Result::unwrap) == expected);
        }

        // What it would keep, it keeps; and what is missing it makes.
        drop(ours);
        cfsctl.ok(&["gc"]);
        let mut ours = repository(&path, algorithm);
        let report = ours.fsck(&Images::default(), &FULL).unwrap();
        assert!(report.is_good(), "{report:#?}");
        assert_eq!(tags(&ours).unwrap()[0].digest, digest);
        // Pulled again by the other one, nothing is other.
        let before = entries(&ours);
        cfsctl.pull(&source);
        let image = Image::open_tag(&ours, TAG).unwrap();
        assert!(image.is_intact(&ours).unwrap());
        assert_eq!(image.image(ErofsFormat::V1), Some(written));
        assert_eq!(structure(&ours, &before), structure(&ours, &entries(&ours)));
        let needs = Needs::ask(&cfsctl, &ours);
        let collected = ours.gc(&needs, &GcOptions::default()).unwrap();
        assert!(collected.kept > 0);
        cfsctl.ok(&["fsck"]);
        cfsctl.ok(&["oci", "fsck"]);
        cfsctl.ok(&["oci", "untag", TAG]);
        drop(ours);
        cfsctl.ok(&["gc"]);
        assert!(entries(&repository(&path, algorithm)).is_empty());
    }
}

fn entries(repository: &Repository) -> BTreeMap<String, FileDigest> {
    let all = Category::ALL.map(|c| repository.entries(c).unwrap());
    all.into_iter().flatten().map(|e| (e.name, e.id)).collect()
}

/// All that splitstreams say, but for the bytes that Zstandard made of it.
fn structure(repository: &Repository, entries: &BTreeMap<String, FileDigest>) -> Vec<String> {
    let mut said = Vec::new();
    for (name, id) in entries.iter().filter(|(name, _)| name.starts_with("oci-")) {
        let mut stream = StreamReader::open(repository.open_object(id).unwrap()).unwrap();
        let kind = stream.content_type();
        said.push(format!("{name}: {kind}, {} bytes", stream.size()));
        let needs: Vec<String> = stream.names().iter().map(|n| n.name.clone()).collect();
        said.push(format!("needs {needs:?}"));
        for index in 0..stream.object_count() {
            said.push(format!("object {}", stream.object(index).unwrap()));
        }
        while let Some(chunk) = stream.next_chunk().unwrap() {
            let mut data = Vec::new();
            let mut buffer = [0; 4096];
            if let Chunk::Inline(_) = chunk {
                loop {
                    match stream.read_inline(&mut buffer).unwrap() {
                        0 => break,
                        read => data.extend_from_slice(&buffer[..read]),
                    }
                }
            }
            said.push(format!("{chunk:?} {}", sha256(&data)));
        }
    }
    said
}

/// Chunks, references and names are the same; where the library of Zstandard is of the same
/// version, so is every byte.
#[test]
fn streams_are_those_of_cfsctl() {
    let Some(program) = require::cfsctl() else {
        return;
    };
    for algorithm in FileAlgorithm::ALL {
        let tmp = temp_dir();
        let source = tmp.path().join("layout");
        layout(&source);
        let cfsctl = Cfsctl {
            program: program.clone(),
            repository: tmp.path().join("theirs"),
        };
        cfsctl.init(algorithm, ErofsFormat::V1);
        cfsctl.pull(&source);
        let theirs = Repository::open(&cfsctl.repository, &OpenOptions::new()).unwrap();
        let made = Image::open_tag(&theirs, TAG)
            .unwrap()
            .image(ErofsFormat::V1)
            .unwrap();
        let ours = repository(&tmp.path().join("ours"), algorithm);
        // Only its name is needed.
        import(&ours, &source, &[]);
        let ours_said = structure(&ours, &entries(&ours));
        let theirs_said = structure(&theirs, &entries(&theirs));
        let needs = |lines: Vec<String>| -> Vec<String> {
            lines
                .into_iter()
                .map(|l| l.replace("\"composefs.image.v1\", ", ""))
                .collect()
        };
        assert_eq!(needs(ours_said), needs(theirs_said));
        assert!(entries(&theirs).contains_key(&made.hex()));
        let file = |path: &Path| fs::read_to_string(path.join("meta.json")).unwrap();
        assert_eq!(file(ours.path()), file(theirs.path()));
        let layer = format!("oci-layer-{}", sha256(&tars()[0]));
        let [a, b] = [&ours, &theirs].map(|r| entries(r)[&layer]);
        println!("the same bytes: {}", a == b);
    }
}

#[test]
fn cfsctl_takes_images_with_types_of_docker() {
    let Some(program) = require::cfsctl() else {
        return;
    };
    let tmp = temp_dir();
    let source = tmp.path().join("layout");
    layout(&source);
    let cfsctl = Cfsctl {
        program,
        repository: tmp.path().join("repository"),
    };
    let ours = repository(&cfsctl.repository, FileAlgorithm::Sha256);
    let digest = import_with(&ours, &source, &[], |manifest| {
        let types = [
            (
                "oci.image.manifest.v1+json",
                "docker.distribution.manifest.v2+json",
            ),
            ("oci.image.config.v1+json", "docker.container.image.v1+json"),
            (
                "oci.image.layer.v1.tar+gzip",
                "docker.image.rootfs.diff.tar.gzip",
            ),
        ];
        types
            .iter()
            .fold(manifest, |text, (from, to)| text.replace(from, to))
    });
    let image = Image::open_tag(&ours, TAG).unwrap();
    assert_eq!((image.digest, image.layers.len()), (digest, 2));
    assert!(image.is_intact(&ours).unwrap());
    drop(ours);
    cfsctl.ok(&["fsck"]);
    cfsctl.ok(&["oci", "fsck"]);
    cfsctl.ok(&["gc"]);
    let ours = repository(&cfsctl.repository, FileAlgorithm::Sha256);
    assert!(image.is_intact(&ours).unwrap());
    for (layer, tar) in image.layers.iter().zip(tars()) {
        assert!(read_layer(&ours, &layer.digest) == tar);
    }
}
