//! Where live data goes when the space of dead data is closed.
//!
//! Sliding everything behind the first gap down leaves nothing between, but copies most of the image for one dead file
//! near its start. So extents from the end are put into gaps, largest first, each into the first gap with room; about
//! as much is copied then as was dead. Blocks have any length, so gaps are hardly ever filled to the last byte: what
//! remains becomes zeros if it is less than a thousandth of the data, else everything slides.

use lithify_fskit::Gaps;

/// Something live that lies in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) what: What,
}

/// What an extent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The blocks of the content of that number.
    Content(u32),
    /// The fragment block of that number.
    Fragment(u32),
}

impl Extent {
    const fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Copies: from, to, length. Each goes down, to where nothing live is when its turn comes.
    pub(crate) moves: Vec<(u64, u64, u64)>,
    /// What becomes zeros: start, length.
    pub(crate) zeros: Vec<(u64, u64)>,
    /// Where the data ends.
    pub(crate) end: u64,
}

/// The data that remainders of gaps may be a part of.
const REMAINDER: u64 = 1024;

/// Plans for extents in order of place, and moves them on paper. The data is to start at `first`.
pub(crate) fn close(extents: &mut [Extent], first: u64) -> Plan {
    let total: u64 = extents.iter().map(|e| e.length).sum();
    let boundary = first + total;
    let inside = extents.partition_point(|e| e.start < boundary);
    let mut gaps = Gaps::between(extents[..inside].iter().map(|e| e.start..e.end()), first);
    let mut movers: Vec<usize> = (inside..extents.len()).collect();
    movers.sort_by_key(|&i| (std::cmp::Reverse(extents[i].length), extents[i].start));
    let mut places: Vec<(usize, u64)> = Vec::new();
    let mut filled = 0;
    for i in movers {
        if let Some(to) = gaps.take_first(extents[i].length) {
            places.push((i, to));
            filled += extents[i].length;
        }
    }
    if gaps.total() - filled > total / REMAINDER {
        return slide(extents, first);
    }
    let mut plan = Plan::default();
    let mut is_placed = vec![false; extents.len()];
    for (i, to) in places {
        is_placed[i] = true;
        let e = &mut extents[i];
        plan.moves.push((e.start, to, e.length));
        e.start = to;
    }
    plan.zeros = gaps.rest();
    let end = extents[..inside].last().map_or(first, Extent::end);
    let mut left: Vec<&mut Extent> = extents
        .iter_mut()
        .enumerate()
        .filter(|(i, _)| *i >= inside && !is_placed[*i])
        .map(|(_, e)| e)
        .collect();
    slide_to(&mut left, end, &mut plan);
    plan
}

fn slide(extents: &mut [Extent], first: u64) -> Plan {
    let mut plan = Plan::default();
    let mut all: Vec<&mut Extent> = extents.iter_mut().collect();
    slide_to(&mut all, first, &mut plan);
    plan
}

/// Closes up extents in order of place from `end` on, neighbours together.
fn slide_to(extents: &mut [&mut Extent], mut end: u64, plan: &mut Plan) {
    for e in extents {
        if e.start != end {
            match plan.moves.last_mut() {
                Some((from, to, length)) if *from + *length == e.start && *to + *length == end => {
                    *length += e.length;
                }
                _ => plan.moves.push((e.start, end, e.length)),
            }
            e.start = end;
        }
        end = e.end();
    }
    plan.end = end;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Carries a plan out on an image whose live bytes tell their extent and place in it; dead bytes are `D`.
    fn check(first: u64, spec: &[(u64, bool)]) -> Plan {
        let mut image = vec![b'h'; first as usize];
        let mut extents = Vec::new();
        let byte = |number: u32, at: u64| (u64::from(number) * 31 + at * 7) as u8 & 0x3f;
        for (number, &(length, live)) in spec.iter().enumerate() {
            let (start, number) = (image.len() as u64, number as u32);
            for at in 0..length {
                image.push(if live { byte(number, at) } else { b'D' });
            }
            if live && length > 0 {
                let what = What::Content(number);
                extents.push(Extent {
                    start,
                    length,
                    what,
                });
            }
        }
        let total: u64 = extents.iter().map(|e| e.length).sum();
        let plan = close(&mut extents, first);
        for &(from, to, length) in &plan.moves {
            assert!(to < from);
            image.copy_within(from as usize..(from + length) as usize, to as usize);
        }
        for &(start, length) in &plan.zeros {
            image[start as usize..(start + length) as usize].fill(0);
        }
        image.truncate(plan.end as usize);
        assert!(!image.contains(&b'D'), "dead bytes remain");
        for e in &extents {
            let What::Content(number) = e.what else {
                continue;
            };
            let bytes = &image[e.start as usize..e.end() as usize];
            assert!((0..).zip(bytes).all(|(at, &b)| b == byte(number, at)));
        }
        let zeros: u64 = plan.zeros.iter().map(|z| z.1).sum();
        assert_eq!(plan.end, first + total + zeros);
        assert!(zeros <= total / REMAINDER);
        plan
    }

    #[test]
    fn moves_little() {
        assert_eq!(check(10, &[(5, true), (7, true)]).moves, []);
        assert_eq!(check(10, &[(5, true), (7, false)]).moves, []);
        // The last fills the gap.
        let plan = check(10, &[(5, false), (70, true), (5, true)]);
        assert_eq!(plan.moves, [(85, 10, 5)]);
        // It leaves more than a thousandth: all slide.
        let plan = check(10, &[(6, false), (70, true), (5, true)]);
        assert_eq!(plan.moves, [(16, 10, 75)]);
        // It leaves less.
        let plan = check(10, &[(6, false), (7000, true), (5, true)]);
        assert_eq!(
            (plan.moves, plan.zeros),
            (vec![(7016, 10, 5)], vec![(15, 1)])
        );
    }

    proptest! {
        #[test]
        fn live_data_survives(first in 0..9_u64, spec in prop::collection::vec(
            (prop_oneof![0..20_u64, 0..6000_u64], prop::bool::weighted(0.8)), 0..60,
        )) {
            check(first, &spec);
        }
    }
}
