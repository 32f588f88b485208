//! Which places gave the bytes of blobs, so that wrong ones are asked for elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lithify_digest::Digest;

/// The endpoints that gave each blob of a repository when it was read last, by their positions.
#[derive(Debug, Default)]
pub(crate) struct Givers(Mutex<HashMap<Digest, Given>>);

#[derive(Debug, Default)]
struct Given {
    /// In the order in which they gave something, each once for every answer.
    answers: Vec<usize>,
    /// Whether its beginning came before.
    is_rest: bool,
    /// Whether it was asked for as a whole because its parts did not fit.
    was_distrusted: bool,
    /// The first endpoint to ask.
    first: usize,
}

/// Answers that are remembered of one blob. More of them only say the same: it came in parts.
const REMEMBERED: usize = 64;

impl Givers {
    /// Notes that a blob is read anew, or what of it is missing, and returns the first endpoint to ask.
    pub(crate) fn begin(&self, digest: &Digest, is_rest: bool) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = all.entry(*digest).or_default();
        given.answers.clear();
        given.is_rest = is_rest;
        given.first
    }

    /// Notes that an endpoint's answer has bytes of a blob.
    pub(crate) fn gave(&self, digest: &Digest, endpoint: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = all.entry(*digest).or_default();
        if given.answers.len() < REMEMBERED || given.answers.last() != Some(&endpoint) {
            given.answers.push(endpoint);
        }
    }

    /// Notes that a blob was not what its digest says, and returns the endpoint to ask next of the `count` there are.
    pub(crate) fn wrong(&self, digest: &Digest, count: usize) -> Option<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = all.get_mut(digest)?;
        let last = *given.answers.last()?;
        let in_parts = given.is_rest || given.answers.len() > 1;
        let next = match in_parts && !given.was_distrusted {
            true => last,
            false => last + 1,
        };
        given.was_distrusted = true;
        given.first = given.first.max(next);
        (next < count).then_some(next)
    }

    /// The endpoints that gave a blob, each once.
    pub(crate) fn endpoints(&self, digest: &Digest) -> Vec<usize> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut endpoints = all.get(digest).map_or(Vec::new(), |g| g.answers.clone());
        endpoints.sort_unstable();
        endpoints.dedup();
        endpoints
    }
}

#[cfg(test)]
mod tests {
    use lithify_digest::Algorithm;

    use super::*;

    #[test]
    fn what_came_in_parts_is_asked_for_as_a_whole_once() {
        let (givers, blob) = (Givers::default(), Digest::of(Algorithm::Sha256, b"blob"));
        // Nobody gave anything.
        assert_eq!(givers.wrong(&blob, 3), None);
        assert_eq!(givers.begin(&blob, false), 0);
        givers.gave(&blob, 0);
        givers.gave(&blob, 1);
        assert_eq!(givers.endpoints(&blob), [0, 1]);
        // The place that gave the end, and then those after it.
        assert_eq!(givers.wrong(&blob, 3), Some(1));
        assert_eq!(givers.begin(&blob, false), 1);
        givers.gave(&blob, 1);
        givers.gave(&blob, 1);
        assert_eq!(givers.wrong(&blob, 3), Some(2));
        assert_eq!(givers.begin(&blob, false), 2);
        givers.gave(&blob, 2);
        assert_eq!(givers.wrong(&blob, 3), None);
        // Another blob starts at the beginning.
        let other = Digest::of(Algorithm::Sha256, b"other");
        assert_eq!(givers.begin(&other, true), 0);
        givers.gave(&other, 2);
        assert_eq!(givers.wrong(&other, 3), Some(2));
    }
}
