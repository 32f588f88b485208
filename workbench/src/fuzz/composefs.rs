//! Seeds of what composefs is made of. One that cannot be made is left out, which tests would have shown.

use lithify_cancel::CancelToken;
use lithify_composefs::dumpfile;
use lithify_composefs::image::{Image, ImageOptions, Version};
use lithify_composefs::splitstream::{ContentType, StreamWriter};
use lithify_verity::file::{FileAlgorithm, FileDigest, FileHasher, FileOptions};

/// Dumpfiles with everything.
pub(super) fn dumpfiles() -> Vec<Vec<u8>> {
    let digest = "b0a1".repeat(16);
    let short = "\
        / 4096 40755 3 0 0 0 1.5 - - - security.selinux=x\\x00\n\
        /a\\x20b 3 100644 2 1000 70000 0 1.5 - hi\\n - user.a\\x3d=b user.c=\n\
        /c 3 @100644 2 0 0 0 0.0 /a\\x20b - -\n\
        /d 4096 41777 2 0 0 0 -7.999999999 - - - trusted.overlay.opaque=y\n\
        /d/l 7 120777 1 0 0 0 1.5 ../else - -\n\
        /d/w 0 20000 1 0 0 0 1.5 - - -\n\
        /n 0 20666 1 0 0 259 1.5 - - -\n\
        /p 0 10644 1 0 0 0 1.5 - - -\n\
        /s 0 140644 1 0 0 0 1.5 - - -\n";
    let objects = format!(
        "/ 4096 40755 2 0 0 0 0.0 - - -\n\
         /a 100 100644 1 0 0 0 0.0 b0/{rest} - {digest} user.shared=1\n\
         /b 100 100644 1 0 0 0 0.0 b0/{rest} - {digest} user.shared=1\n\
         /c 17592186044416 100644 1 0 0 0 0.0 elsewhere - -\n",
        rest = &digest[2..],
    );
    let many: String = (0..200)
        .map(|n| format!("/{n:050} 0 100644 1 0 0 0 0.0 - - -\n"))
        .collect();
    let many = format!("/ 4096 40755 2 0 0 0 0.0 - - -\n{many}");
    [short.to_owned(), objects, many]
        .map(String::into_bytes)
        .into()
}

/// Their images, in both versions.
pub(super) fn images() -> Vec<Vec<u8>> {
    let image = |dump: &Vec<u8>, version| {
        let cancel = CancelToken::new();
        let filesystem = dumpfile::read(&dump[..], &cancel).ok()?;
        let options = ImageOptions {
            version,
            with_whiteouts: version,
        };
        let image = Image::new(&filesystem, &options, &cancel).ok()?;
        let mut bytes = Vec::new();
        let hasher = FileHasher::new(&FileOptions::default()).ok()?;
        image.write(&mut bytes, hasher, &cancel).ok()?;
        Some(bytes)
    };
    let dumps = dumpfiles();
    let versions = [Version::V0, Version::V1];
    let both = dumps
        .iter()
        .flat_map(|dump| versions.map(|version| image(dump, version)));
    both.flatten().collect()
}

/// A layer, a document and an empty one.
pub(super) fn streams() -> Vec<Vec<u8>> {
    let digest = |byte: u8| FileDigest::from_bytes(FileAlgorithm::Sha256, &[byte; 32]).ok();
    let stream = |objects: u8, names: &[&str]| {
        let mut writer =
            StreamWriter::new(FileAlgorithm::Sha256, ContentType::LAYER, Vec::new()).ok()?;
        for n in 0..objects {
            writer.inline(&[n; 512]).ok()?;
            // In the target objects have the bytes of their digest.
            writer.object(digest(n % 3)?, 32).ok()?;
        }
        for name in names {
            writer.name(*name, digest(9)?).ok()?;
        }
        let (head, body) = writer.finish().ok()?;
        Some([head.into_bytes(), body].concat())
    };
    [
        stream(5, &[]),
        stream(1, &["config:sha256:00", "composefs.image.v1"]),
        stream(0, &[]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What repositories say of themselves.
pub(super) fn metas() -> Vec<Vec<u8>> {
    [
        r#"{"version":1,"algorithm":"fsverity-sha256-12","features":{"compatible":[],"read-only-compatible":["v1_erofs"],"incompatible":[]},"erofs_formats":{"default":1}}"#,
        r#"{"version":1,"algorithm":"fsverity-sha512-12","features":{"read-only-compatible":["x"]},"erofs_formats":{"default":2,"extra":[1]}}"#,
        r#"{"version":1,"algorithm":"fsverity-sha512-12"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
