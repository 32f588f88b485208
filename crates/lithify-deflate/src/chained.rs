//! Levels 2 to 9: matches by hash chains, in a window that moves by half of its size.
//!
//! A position is looked at when 262 bytes from it on are known, so that the longest match and the
//! hash behind it are. When fewer are left, the window moves by 32 KiB and is filled again. The
//! history is then up to 262 bytes shorter than the format allows, for some positions: the moment
//! at which the window moves shows in the output.
//!
//! A block is written with each 16384 tokens.

use crate::block::BlockWriter;
use crate::chains::{Chains, MIN_MATCH, Match, WINDOW, WindowBytes};
use crate::level::{Choice, Effort};
use crate::token::{MAX_DISTANCE, MAX_LENGTH, Token};

/// The bytes that have to be known from a position on before it is looked at.
const LOOKAHEAD: usize = MIN_MATCH + MAX_LENGTH;

/// The tokens of a block.
const BLOCK_TOKENS: usize = 16 * 1024;

/// The length that a match has to exceed if there is none to beat.
const NO_MATCH: usize = MIN_MATCH - 1;

/// The encoder of levels 2 to 9.
pub(crate) struct Chained {
    choice: Choice,
    /// Of a lazy choice.
    pending: Pending,
    bytes: WindowBytes,
    /// The end of the input in the window.
    end: usize,
    /// The position looked at next.
    at: usize,
    chains: Chains,
    block: Block,
    /// The program that is followed ended a call of `Write` here.
    write_ended: bool,
}

/// The tokens of the current block.
struct Block {
    tokens: Vec<Token>,
    /// The position of the block's first byte; none if it has left the window.
    start: Option<usize>,
}

/// The open decision about the position before.
#[derive(Debug, Clone, Copy)]
enum Pending {
    /// Its tokens are written, or there is none.
    Nothing,
    /// It has no match: its literal comes next, unless it is part of one after all.
    Literal,
    /// It has a match.
    Match(Match),
}

impl Block {
    fn push(&mut self, token: Token, end: usize, bytes: &WindowBytes, out: &mut BlockWriter) {
        self.tokens.push(token);
        if self.tokens.len() == BLOCK_TOKENS {
            self.write(end, bytes, out);
        }
    }

    #[cold]
    fn write(&mut self, end: usize, bytes: &WindowBytes, out: &mut BlockWriter) {
        let input = self.start.map(|start| bytes.slice(start, end));
        out.write_smallest(&self.tokens, input);
        self.tokens.clear();
        self.start = Some(end);
    }
}

impl Chained {
    pub(crate) fn new(choice: Choice) -> Self {
        Self {
            choice,
            pending: Pending::Nothing,
            bytes: WindowBytes::new(),
            end: 0,
            at: 0,
            chains: Chains::new(),
            block: Block {
                tokens: Vec::with_capacity(BLOCK_TOKENS),
                start: Some(0),
            },
            write_ended: false,
        }
    }

    /// Takes some bytes of `input`, after making room for them.
    pub(crate) fn absorb(&mut self, input: &[u8], out: &mut BlockWriter) -> usize {
        if input.is_empty() {
            return 0;
        }
        if self.end == WINDOW || self.write_ended {
            self.write_ended = false;
            self.run::<false>(out);
            // A match may have skipped this limit before the window was full.
            if self.at >= WINDOW - LOOKAHEAD {
                self.slide();
            }
        }
        let count = self.bytes.fill(self.end, WINDOW, input);
        self.end += count;
        count
    }

    pub(crate) fn mark_write_end(&mut self) {
        self.write_ended = true;
    }

    /// Writes what is left.
    pub(crate) fn finish(&mut self, out: &mut BlockWriter) {
        self.run::<true>(out);
        if !self.block.tokens.is_empty() {
            self.block.write(self.at, &self.bytes, out);
        }
    }

    fn slide(&mut self) {
        self.bytes.move_to_front(MAX_DISTANCE, WINDOW);
        self.at -= MAX_DISTANCE;
        self.end -= MAX_DISTANCE;
        self.chains.slide(self.at);
        let start = self.block.start;
        self.block.start = start.and_then(|start| start.checked_sub(MAX_DISTANCE));
    }

    /// Looks at all positions with enough bytes behind them, or at all of them if it is the `LAST`
    /// time.
    fn run<const LAST: bool>(&mut self, out: &mut BlockWriter) {
        match self.choice {
            Choice::Greedy {
                effort,
                index_up_to,
            } => self.run_greedy::<LAST>(effort, index_up_to, out),
            Choice::Lazy { effort, settle } => {
                self.pending = self.run_lazy::<LAST>(effort, settle, self.pending, out);
            }
        }
    }

    /// Returns whether the position is looked at in this run.
    #[inline(always)]
    fn is_ready<const LAST: bool>(&self, at: usize) -> bool {
        if LAST {
            at < self.end
        } else {
            self.end - at >= LOOKAHEAD
        }
    }

    /// Puts a position into its chain, if there are enough bytes for its hash.
    #[inline(always)]
    fn insert<const LAST: bool>(&mut self, at: usize) -> usize {
        if LAST && self.end - at < MIN_MATCH {
            return 0;
        }
        self.chains.insert(&self.bytes, at)
    }

    fn run_greedy<const LAST: bool>(
        &mut self,
        effort: Effort,
        index_up_to: usize,
        out: &mut BlockWriter,
    ) {
        let mut at = self.at;
        while self.is_ready::<LAST>(at) {
            let distance = self.insert::<LAST>(at);
            let found = if distance == 0 {
                None
            } else {
                self.longest(at, distance, NO_MATCH, effort)
            };
            let token;
            if let Some(Match { length, distance }) = found {
                token = Token::copy(length, distance);
                if length <= index_up_to {
                    for inside in at + 1..at + length {
                        self.insert::<LAST>(inside);
                    }
                }
                at += length;
            } else {
                token = Token::literal(self.bytes.byte(at));
                at += 1;
            }
            self.block.push(token, at, &self.bytes, out);
        }
        self.at = at;
    }

    fn run_lazy<const LAST: bool>(
        &mut self,
        effort: Effort,
        settle: usize,
        mut pending: Pending,
        out: &mut BlockWriter,
    ) -> Pending {
        let mut at = self.at;
        while self.is_ready::<LAST>(at) {
            let distance = self.insert::<LAST>(at);
            let beaten = match pending {
                Pending::Match(found) => found.length,
                _ => NO_MATCH,
            };
            // A match that is not longer than the one before changes nothing, so it is not
            // searched for. Go does, and drops it.
            let found = if distance == 0 || beaten >= settle || self.end - at <= beaten {
                None
            } else {
                self.longest(at, distance, beaten, effort)
            };
            if let (Pending::Match(before), None) = (pending, found) {
                let token = Token::copy(before.length, before.distance);
                // The match begins at the position before.
                let end = at - 1 + before.length;
                for inside in at + 1..end {
                    self.insert::<LAST>(inside);
                }
                at = end;
                self.block.push(token, at, &self.bytes, out);
                pending = Pending::Nothing;
                continue;
            }
            if !matches!(pending, Pending::Nothing) {
                let token = Token::literal(self.bytes.byte(at - 1));
                self.block.push(token, at, &self.bytes, out);
            }
            pending = found.map_or(Pending::Literal, Pending::Match);
            at += 1;
        }
        self.at = at;
        if LAST {
            // A match would have been taken at its second byte, unless that is past the end.
            if !matches!(pending, Pending::Nothing) {
                let token = Token::literal(self.bytes.byte(at - 1));
                self.block.push(token, at, &self.bytes, out);
            }
            pending = Pending::Nothing;
        }
        pending
    }

    #[inline(always)]
    fn longest(&self, at: usize, distance: usize, beaten: usize, effort: Effort) -> Option<Match> {
        let available = self.end - at;
        self.chains
            .longest(&self.bytes, at, distance, available, beaten, effort)
    }
}
