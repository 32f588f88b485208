//! Bytes that are no image any more.

use lithify_cancel::CancelToken;
use lithify_composefs::image::{self, ImageOptions, ReadError};

use crate::random::{self, Random};
use crate::reference::{filesystem, written};

/// Whatever is changed: an error or a tree, which makes an image again.
#[test]
fn changed_bytes_never_panic() {
    let cancel = CancelToken::new();
    for seed in [3, 5, 8, 13] {
        let (bytes, _) = written(&filesystem(&random::dump(seed)), &ImageOptions::default());
        let mut random = Random::new(seed);
        for _ in 0..300 {
            let mut changed = bytes.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(changed.len() as u64) as usize;
                changed[at] = random.next() as u8;
            }
            if random.below(10) == 0 {
                changed.truncate(random.below(bytes.len() as u64) as usize);
            }
            if let Ok(read) = image::read(changed, &cancel) {
                let made = image::Image::new(&read, &ImageOptions::default(), &cancel);
                if let Ok(made) = made {
                    let hasher = crate::reference::hasher();
                    made.write(&mut std::io::sink(), hasher, &cancel).unwrap();
                }
            }
        }
    }
}

#[test]
fn what_is_no_image() {
    let cancel = CancelToken::new();
    let (bytes, _) = written(&filesystem(&random::dump(3)), &ImageOptions::default());
    for (at, is_expected) in [
        (
            0,
            (|e| matches!(e, ReadError::NotComposefs { .. })) as fn(&ReadError) -> bool,
        ),
        (4, |e| matches!(e, ReadError::Version { .. })),
        (1024, |e| matches!(e, ReadError::Erofs(_))),
    ] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let error = image::read(changed, &cancel).unwrap_err();
        assert!(is_expected(&error), "{error}");
    }
    let error = image::read(&b"short"[..], &cancel).unwrap_err();
    assert!(matches!(error, ReadError::NotComposefs { .. }), "{error}");
    cancel.cancel();
    let error = image::read(bytes, &cancel).unwrap_err();
    assert!(matches!(error, ReadError::Cancelled(_)), "{error}");
}
