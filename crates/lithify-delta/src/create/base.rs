//! Which old file a new one is like.

use std::collections::BTreeMap;

use lithify_tree::TreePath;

use super::names::masked;
use super::old::OldImage;
use super::print::Print;

/// What it counts that an old file has a feature, the path, or the name of the new one.
const FEATURE: u64 = 4;
const PATH: u64 = 3;
const NAME: u64 = 2;

/// Files of one name that are looked at.
const SAME_NAME: usize = 16;

/// How much larger one file may be than the other to be its base by name alone.
const RATIO: u64 = 16;

/// Sizes below which all are alike.
const SHORT: u64 = 64 << 10;

/// Returns the old file that a new one has most in common with: by content, by its path, by its name.
pub(super) fn choose(old: &OldImage, path: &TreePath, print: &Print) -> Option<usize> {
    let mut candidates: BTreeMap<usize, u64> = BTreeMap::new();
    for feature in &print.sketch {
        for file in old.with_feature(*feature) {
            *candidates.entry(*file).or_default() += FEATURE;
        }
    }
    if let Some(file) = old.at(path) {
        *candidates.entry(file).or_default() += PATH;
    }
    for file in named(old, path) {
        *candidates.entry(file).or_default() += NAME;
    }
    let rated = candidates.into_iter().filter_map(|(file, score)| {
        let size = old.file(file).size;
        let is_by_content = score > PATH + NAME;
        (is_by_content || is_similar(size, print.size))
            .then(|| (score, std::cmp::Reverse(size.abs_diff(print.size)), file))
    });
    rated.max().map(|(_, _, file)| file)
}

/// Returns the old file that a new one, of which nothing is known but its path and size, may be like.
pub(super) fn by_name(old: &OldImage, path: &TreePath, size: u64) -> Option<usize> {
    let by_size = named(old, path).min_by_key(|file| old.file(*file).size.abs_diff(size));
    old.at(path).or(by_size)
}

fn named(old: &OldImage, path: &TreePath) -> impl Iterator<Item = usize> {
    let found = old.named(&masked(path.as_bytes()));
    found.iter().copied().take(SAME_NAME)
}

fn is_similar(a: u64, b: u64) -> bool {
    let (less, more) = (a.min(b), a.max(b));
    more < SHORT || more / RATIO <= less
}
