//! Deltas of random images: whatever is in the layers, the new image comes out again.

use std::fs;

use lithify_testkit::{Compression, Layout, Random, Tar, TarEntry, run, wants_all};

use crate::common::deltas::Images;

/// What a random image is made of.
struct Maker {
    random: Random,
    /// Contents that files have, and that others are like.
    contents: Vec<Vec<u8>>,
    /// Files that lower layers have, for links and whiteouts.
    files: Vec<String>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            contents: Vec::new(),
            files: Vec::new(),
        }
    }

    fn path(&mut self) -> String {
        let directories = ["", "a/", "usr/lib/", "usr/lib/deep/er/"];
        let names = [
            "x",
            "libfoo.so.1",
            "libfoo.so.2",
            "tool",
            "y.txt",
            "z-1.2.3",
        ];
        format!(
            "{}{}",
            self.random.pick(&directories),
            self.random.pick(&names)
        )
    }

    /// Content of its own, or that of another file with a few changes.
    fn content(&mut self) -> Vec<u8> {
        let longest = self.random.pick(&[0, 10, 3000, 70_000]);
        let length = self.random.index(longest + 1);
        let mut content = match self.contents.is_empty() || self.random.chance(30) {
            true => self.random.bytes(length),
            false => {
                let known = self.random.index(self.contents.len());
                self.contents[known].clone()
            }
        };
        for _ in 0..self.random.index(4) {
            let at = self.random.index(content.len() + 1);
            match self.random.below(4) {
                0 => {
                    let more = self.random.index(300);
                    let more = self.random.bytes(more);
                    content.splice(at..at, more);
                }
                1 => content.truncate(at),
                2 => content.splice(at..at, vec![0; 5000]).for_each(drop),
                _ => content.get_mut(at).into_iter().for_each(|byte| *byte ^= 1),
            }
        }
        self.contents.push(content.clone());
        content
    }

    fn entry(&mut self) -> TarEntry {
        let path = self.path();
        let known = match self.files.is_empty() {
            true => None,
            false => Some(self.files[self.random.index(self.files.len())].clone()),
        };
        let entry = match (self.random.below(12), known) {
            (0, Some(known)) => TarEntry::whiteout(known),
            (1, _) => TarEntry::opaque("usr/lib"),
            (2, Some(known)) => TarEntry::hard_link(format!("{path}.link"), known),
            (3, _) => TarEntry::symlink(format!("{path}.symlink"), "usr/lib/tool"),
            (4, _) => TarEntry::directory(format!("{path}.d")),
            (5, _) => TarEntry::char_device(format!("{path}.dev"), 5, 1),
            _ => {
                let content = self.content();
                self.files.push(path.clone());
                let mode = self.random.pick(&[0o644, 0o755, 0o600]);
                TarEntry::file(path, content).mode(mode)
            }
        };
        match self.random.chance(10) {
            true => entry.xattr("user.note", "text"),
            false => entry,
        }
    }

    fn layer(&mut self) -> Vec<u8> {
        let mut tar = Tar::new();
        for _ in 0..self.random.index(12) {
            let entry = self.entry();
            // A link or whiteout may be of what another layer took away: such a layer cannot be applied.
            tar.add(entry);
        }
        tar.finish()
    }
}

/// A layer may link to a file that is not there any more: that is no image.
fn is_image(images: &Images, tag: &str) -> bool {
    let mut command = images.place.lithify();
    let image = images.image(tag);
    run::output(command.args(["-q", "verify", &image]))
        .status
        .success()
}

fn put(images: &Images, maker: &mut Maker, tag: &str, layers: &[Vec<u8>]) {
    let layout = layers.iter().fold(Layout::new(), |layout, tar| {
        let compression = match maker.random.below(3) {
            0 => Compression::None,
            1 => Compression::Gzip,
            _ => Compression::Zstd,
        };
        layout.layer(tar, compression)
    });
    images.put_layout(tag, &layout);
}

#[test]
fn random_images_come_out_again() {
    let seeds = if wants_all() { 200 } else { 16 };
    let mut tried = 0;
    for seed in 1..=seeds {
        let images = Images::empty();
        let mut maker = Maker::new(seed);
        let old: Vec<_> = (0..maker.random.index(4)).map(|_| maker.layer()).collect();
        // It may share lower layers, or none.
        let shared = maker.random.index(old.len() + 1);
        let mut new = old[..shared].to_vec();
        new.extend((0..maker.random.index(3)).map(|_| maker.layer()));
        put(&images, &mut maker, "1", &old);
        put(&images, &mut maker, "2", &new);
        if !is_image(&images, "1") || !is_image(&images, "2") {
            continue;
        }
        tried += 1;
        let level = maker.random.pick(&["fast", "default", "best"]);
        let memory = maker.random.pick(&["512M", "1M"]);
        let delta = images.delta(&["--level", level, "--memory", memory]);
        let mut bases = vec![images.image("1")];
        if shared == 0 {
            let tree = images.place.text("old.erofs");
            images.ok(&["build", &images.image("1"), "-o", &tree]);
            bases.push(tree);
        }
        let expected = images.erofs("2");
        for base in bases {
            let file = images.place.text("out.erofs");
            run::ok(&mut images.applying(&delta, &base, &["-o", &file]));
            let is_same = fs::read(&file).unwrap() == expected;
            assert!(is_same, "seed {seed} on {base}");
            let out = format!("oci:{}:2", images.place.text("out"));
            run::ok(&mut images.applying(&delta, &base, &["-o", &out]));
            images.ok(&["verify", &out]);
        }
    }
    assert!(tried * 2 > seeds, "{tried} of {seeds} were images");
}
