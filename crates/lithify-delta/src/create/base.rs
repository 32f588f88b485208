//! Which old file a new one is like.

use std::collections::BTreeMap;

use super::names::masked;
use super::old::OldImage;
use super::print::Print;

/// Files of one name that are looked at.
const SAME_NAME: usize = 16;

/// How much larger one file may be than the other to be its base by name alone.
const RATIO: u64 = 16;

/// Sizes below which all are alike.
const SHORT: u64 = 64 << 10;

/// Returns the old file that a new one has most in common with: by content, else by its path, else by its name.
pub(super) fn choose(old: &OldImage<'_>, path: &[u8], print: &Print) -> Option<usize> {
    let mut candidates: BTreeMap<usize, u64> = BTreeMap::new();
    for feature in &print.sketch {
        for file in old.with_feature(*feature) {
            *candidates.entry(*file).or_default() += 4;
        }
    }
    if let Some(file) = old.at(path) {
        *candidates.entry(file).or_default() += 3;
    }
    for file in old.named(&masked(path)).iter().take(SAME_NAME) {
        *candidates.entry(*file).or_default() += 2;
    }
    let rated = candidates.into_iter().filter_map(|(file, score)| {
        let size = old.print(file).size;
        let is_known_by_content = score > 3 + 2;
        if !is_known_by_content && !is_similar(size, print.size) {
            return None;
        }
        Some((score, std::cmp::Reverse(size.abs_diff(print.size)), file))
    });
    rated.max().map(|(_, _, file)| file)
}

/// Returns the old file that a new one, of which nothing is known but its path and size, may be like.
pub(super) fn by_name(old: &OldImage<'_>, path: &[u8], size: u64) -> Option<usize> {
    let name = masked(path);
    let named = old.named(&name).iter().copied().take(SAME_NAME);
    let by_size = named.min_by_key(|file| old.files[*file].size.abs_diff(size));
    old.at(path).or(by_size)
}

fn is_similar(a: u64, b: u64) -> bool {
    let (less, more) = (a.min(b), a.max(b));
    more < SHORT || more / RATIO <= less
}
