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

/// Names in an order no writer leaves them in: which of a file's is first is the tree's order, not the image's.
#[test]
fn names_in_another_order() {
    let cancel = CancelToken::new();
    let dump = "/ 4096 40755 3 0 0 0 0.0 - - -\n\
        /g 4096 40755 2 0 0 0 0.0 - - -\n\
        /g/f 2 100644 2 0 0 0 0.0 - hi -\n\
        /z 0 @100644 2 0 0 0 0.0 /g/f - -\n\
        /zz 0 100644 1 0 0 0 0.0 - - -\n";
    let (mut bytes, _) = written(&filesystem(dump), &ImageOptions::default());
    // Behind the stubs stand the names of the root directory, one after the other.
    let names = bytes.windows(4).position(|names| names == b"gzzz").unwrap();
    bytes[names] = b'~';
    let read = image::read(bytes, &cancel).unwrap();
    let (once, id) = written(&read, &ImageOptions::default());
    let again = image::read(once, &cancel).unwrap();
    assert_eq!(written(&again, &ImageOptions::default()).1, id);
}
