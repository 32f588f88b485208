//! From blocks to members.
//!
//! The parser is handed whatever input there is and takes what it needs; it never asks for a certain amount at once,
//! and it keeps nothing but extended headers. File data is not its business: it says how much there is, and its
//! caller takes the bytes where they lie.

mod extension; // extended headers
mod sparse; // how sparse files begin

use std::collections::BTreeMap;

use crate::detail::Detail;
use crate::error::{Located, TarError, TarFault};
use crate::header::{self, BLOCK, BadHeader, Block, Header};
use crate::limits::{Limit, LimitExceeded, Limits};
use crate::member::{Globals, Member, NOT_REGULAR, Sources};
use crate::sparse::{MapText, SparseMap};
use crate::typeflag::{self, MemberKind, Typed};

use extension::{Body, Pending};

/// What the parser goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// As many bytes decide its next step; fewer at once will do.
    Bytes(u64),
    /// As many bytes mean nothing to it: the data of a member, padding. Whoever can seek
    /// [skips](Parser::skip) them.
    Skippable(u64),
    /// No more bytes: the end of the archive was read.
    Nothing,
}

/// A step of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The input is used up.
    NeedInput,
    /// A member begins: [`Parser::member`] has it, [`Parser::data_left`] bytes of data follow.
    Member,
    /// The end-of-archive mark was read. What follows it belongs to no archive.
    End,
}

#[derive(Debug)]
enum State {
    Header,
    /// Data of an extended header.
    Body {
        of: Body,
        left: u64,
        padding: u64,
    },
    /// Bytes that fill up a block.
    Padding {
        left: u64,
    },
    /// Continuation blocks of an old GNU sparse map.
    GnuMap {
        map: SparseMap,
        archived: u64,
    },
    /// The map of a PAX 1.0 sparse file; `left` bytes of the member are not read yet.
    TextMap {
        text: MapText,
        left: u64,
        segments: Option<u64>,
    },
    /// What fills up the map's last block; `archived` bytes of data follow.
    MapPadding {
        left: u64,
        archived: u64,
    },
    Data {
        left: u64,
        padding: u64,
    },
    /// One zero block was read.
    SecondZero,
    End,
}

/// The parser: takes blocks, gives members. See the [crate's documentation](crate#reading).
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    detail: Detail,
    state: State,
    /// Bytes taken so far.
    offset: u64,
    /// Start of the header block being looked at.
    header_offset: u64,
    /// Members begun.
    entries: u64,
    /// A block whose bytes came in pieces.
    partial: Block,
    filled: usize,
    /// Data of the extended header being read.
    body: Vec<u8>,
    /// Data of the pending PAX header.
    pax: Vec<u8>,
    pending: Pending,
    globals: Globals,
    member: Member,
    /// Whether `member.path` is the path of what is being read.
    named: bool,
    /// Attributes that were left out, by name.
    dropped: BTreeMap<Vec<u8>, u64>,
}

/// Names of attributes left out that are counted one by one; a layer can have any number of them.
const DROPPED_MAX: usize = 64;
/// What the others are counted as.
const OTHERS: &[u8] = b"(other names)";

impl Parser {
    /// Starts in front of a tar's first block.
    #[must_use]
    pub fn new(limits: Limits, detail: Detail) -> Self {
        Self {
            limits,
            detail,
            state: State::Header,
            offset: 0,
            header_offset: 0,
            entries: 0,
            partial: [0; BLOCK],
            filled: 0,
            body: Vec::new(),
            pax: Vec::new(),
            pending: Pending::default(),
            globals: Globals::default(),
            member: Member::default(),
            named: false,
            dropped: BTreeMap::new(),
        }
    }

    /// Gives out how many attributes were left out, by name ([`Limits::drop_xattrs`]); those of many names are one.
    pub fn take_dropped(&mut self) -> BTreeMap<Vec<u8>, u64> {
        std::mem::take(&mut self.dropped)
    }

    /// The member last announced.
    pub fn member(&mut self) -> &mut Member {
        &mut self.member
    }

    /// An error about a byte behind the end of the archive, `beyond` bytes behind what was taken.
    #[must_use]
    pub fn data_after_end(&self, beyond: u64) -> TarError {
        let at = self.offset + beyond;
        TarError {
            entry: self.entries,
            offset: at - at % BLOCK as u64,
            path: None,
            fault: TarFault::DataAfterEnd { at },
        }
    }

    /// Members so far, ignored ones included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes taken so far: right behind a member's headers, the position of its data.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What comes next.
    #[must_use]
    pub fn demand(&self) -> Demand {
        match &self.state {
            State::Header | State::GnuMap { .. } | State::SecondZero => {
                Demand::Bytes((BLOCK - self.filled) as u64)
            }
            State::Body { left, .. } | State::TextMap { left, .. } if *left > 0 => {
                Demand::Bytes(*left)
            }
            // A body without bytes, or a map that is cut: the next step is due without any.
            State::Body { .. } | State::TextMap { .. } => Demand::Bytes(0),
            State::MapPadding { left, .. } => Demand::Bytes(*left),
            State::Padding { left } => Demand::Skippable(*left),
            State::Data { left, padding } => Demand::Skippable(left + padding),
            State::End => Demand::Nothing,
        }
    }

    /// Notes that the caller passed over `count` bytes unread, at most as many as [`Demand::Skippable`] says.
    pub fn skip(&mut self, mut count: u64) {
        while count > 0 {
            let now = match &mut self.state {
                State::Data { left, .. } => {
                    let now = count.min(*left);
                    self.take_data(now);
                    now
                }
                State::Padding { left } => {
                    let now = count.min(*left);
                    *left -= now;
                    self.offset += now;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    now
                }
                _ => {
                    debug_assert!(false, "bytes that mean something were skipped");
                    return;
                }
            };
            count -= now;
        }
    }

    /// Data bytes of the present member not yet taken.
    #[must_use]
    pub fn data_left(&self) -> u64 {
        match self.state {
            State::Data { left, .. } => left,
            _ => 0,
        }
    }

    /// Notes that the caller took `count` data bytes, at most [`Self::data_left`].
    pub fn take_data(&mut self, count: u64) {
        if let State::Data { left, padding } = &mut self.state {
            debug_assert!(count <= *left);
            *left = left.saturating_sub(count);
            let (left, padding) = (*left, *padding);
            self.offset += count;
            if left == 0 {
                self.enter_padding(padding);
            }
        }
    }

    /// Goes on to the next member, past what is left of the present one. What was used of `input` is cut from it.
    ///
    /// # Errors
    /// [`TarError`]; the parser is of no use after it.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Event, TarError> {
        loop {
            match &mut self.state {
                State::Header | State::GnuMap { .. } | State::SecondZero => {
                    let event = if self.filled == 0
                        && let Some((block, rest)) = input.split_first_chunk()
                    {
                        *input = rest;
                        self.block(block)
                    } else {
                        let piece = take(input, (BLOCK - self.filled) as u64);
                        self.partial[self.filled..self.filled + piece.len()].copy_from_slice(piece);
                        self.filled += piece.len();
                        if self.filled < BLOCK {
                            return Ok(Event::NeedInput);
                        }
                        self.filled = 0;
                        let block = self.partial;
                        self.block(&block)
                    };
                    if let Some(event) = event.map_err(|fault| self.error(fault))? {
                        return Ok(event);
                    }
                }
                State::Body { left, padding, of } => {
                    let piece = take(input, *left);
                    self.body.extend_from_slice(piece);
                    *left -= piece.len() as u64;
                    self.offset += piece.len() as u64;
                    if *left > 0 {
                        return Ok(Event::NeedInput);
                    }
                    let (of, padding) = (*of, *padding);
                    self.end_of_body(of).map_err(|fault| self.error(fault))?;
                    self.enter_padding(padding);
                }
                State::TextMap { .. } => {
                    if !self.text_map(input).map_err(|fault| self.error(fault))? {
                        return Ok(Event::NeedInput);
                    }
                }
                State::MapPadding { left, archived } => {
                    let piece = take(input, *left);
                    *left -= piece.len() as u64;
                    self.offset += piece.len() as u64;
                    if *left > 0 {
                        return Ok(Event::NeedInput);
                    }
                    let archived = *archived;
                    return Ok(self.begin_data(archived));
                }
                State::Padding { left } => {
                    let piece = take(input, *left);
                    *left -= piece.len() as u64;
                    self.offset += piece.len() as u64;
                    if *left > 0 {
                        return Ok(Event::NeedInput);
                    }
                    self.state = State::Header;
                }
                State::Data { left, .. } => {
                    let piece = take(input, *left);
                    if piece.is_empty() {
                        return Ok(Event::NeedInput);
                    }
                    self.take_data(piece.len() as u64);
                }
                State::End => return Ok(Event::End),
            }
        }
    }

    /// Says that there is no more input: the tar is complete, or this is an error.
    ///
    /// An archive that ends between two members without its zero blocks is complete, as to Go and (with a warning)
    /// to GNU tar; one that ends anywhere else was cut. Behind one zero block, a part of a second is as good as none.
    ///
    /// # Errors
    /// [`TarFault::Truncated`], [`TarFault::DanglingExtension`].
    pub fn finish(&mut self) -> Result<(), TarError> {
        let cut = |what, missing| TarFault::Truncated { what, missing };
        if matches!(self.state, State::Header) && self.filled > 0 {
            // The block at fault is not the header that was last looked at.
            (self.header_offset, self.named) = (self.offset, false);
        }
        let fault = match &self.state {
            State::Header if self.filled > 0 => cut("a header", (BLOCK - self.filled) as u64),
            State::SecondZero if self.partial[..self.filled].iter().any(|&b| b != 0) => {
                TarFault::StrayZeroBlock
            }
            State::Header => match self.pending.last {
                Some(last) => TarFault::DanglingExtension { what: last.name() },
                None => {
                    self.state = State::End;
                    return Ok(());
                }
            },
            State::SecondZero | State::End => return Ok(()),
            State::Body { left, padding, .. } => cut("an extended header", left + padding),
            State::Padding { left } => cut("padding", *left),
            State::GnuMap { .. } => cut("a sparse map", (BLOCK - self.filled) as u64),
            State::TextMap { left, .. } => cut("a sparse map", *left),
            State::MapPadding { left, archived } => cut("a sparse map", left + archived),
            State::Data { left, padding } => cut("file data", left + padding),
        };
        Err(self.error(fault))
    }

    /// A fault in what is being read, with its place.
    #[must_use]
    pub fn error<F>(&self, fault: F) -> Located<F> {
        let path = self.named.then(|| self.member.path.clone());
        let entry = self.entries - u64::from(self.named);
        Located {
            entry,
            offset: self.header_offset,
            path,
            fault,
        }
    }

    fn enter_padding(&mut self, padding: u64) {
        self.state = if padding == 0 {
            State::Header
        } else {
            State::Padding { left: padding }
        };
    }

    fn block(&mut self, block: &Block) -> Result<Option<Event>, TarFault> {
        let start = self.offset;
        self.offset += BLOCK as u64;
        match &mut self.state {
            State::GnuMap { map, archived } => {
                let (entries, more) = header::gnu_continuation(block);
                for entry in entries {
                    map.push_fields(entry, self.member.size, &self.limits)?;
                }
                if more {
                    return Ok(None);
                }
                let (map, archived) = (std::mem::take(map), *archived);
                return self.begin_sparse(map, archived, None).map(Some);
            }
            State::SecondZero => {
                self.header_offset = start;
                if !header::is_zero(block) {
                    return Err(TarFault::StrayZeroBlock);
                }
                self.state = State::End;
                return Ok(Some(Event::End));
            }
            _ => {}
        }
        self.header_offset = start;
        self.named = false;
        if header::is_zero(block) {
            if let Some(last) = self.pending.last {
                return Err(TarFault::DanglingExtension { what: last.name() });
            }
            self.state = State::SecondZero;
            return Ok(None);
        }
        let header = Header::parse(block).map_err(|bad| match bad {
            BadHeader::Checksum { computed } => TarFault::Checksum { computed },
            BadHeader::Magic(magic) => TarFault::Magic { magic },
            BadHeader::StarPrefix => TarFault::StarPrefix,
        })?;
        match typeflag::classify(&header)? {
            Typed::Extension(extension) => self
                .begin_extension(header.numbers()?.size()?, extension)
                .map(|()| None),
            Typed::Global => self.begin_global(header.numbers()?.size()?).map(|()| None),
            Typed::Ignored => self.ignore(header.numbers()?.size()?).map(|()| None),
            Typed::Member(kind) => self.begin_member(&header, kind, false),
            Typed::GnuSparse => self.begin_member(&header, MemberKind::File, true),
        }
    }

    fn ignore(&mut self, size: u64) -> Result<(), TarFault> {
        if let Some(last) = self.pending.last {
            return Err(TarFault::DanglingExtension { what: last.name() });
        }
        self.count()?;
        self.entries += 1;
        // To Go's readers this is a member of that name, with that data.
        match size {
            0 => Ok(()),
            size => Err(TarFault::SizeWithoutData {
                kind: "volume label",
                size,
            }),
        }
    }

    fn count(&self) -> Result<(), LimitExceeded> {
        LimitExceeded::check(Limit::Entries, self.limits.entries, self.entries + 1)
    }

    fn begin_member(
        &mut self,
        header: &Header<'_>,
        kind: MemberKind,
        gnu_sparse: bool,
    ) -> Result<Option<Event>, TarFault> {
        self.count()?;
        let pending = std::mem::take(&mut self.pending);
        let records = pending.records.unwrap_or_default();
        let sources = Sources {
            header,
            records: &records,
            pax: &self.pax,
            long_name: pending.long_name.as_deref(),
            long_link: pending.long_link.as_deref(),
            globals: &self.globals,
            limits: &self.limits,
            detail: self.detail,
            sparse: gnu_sparse || records.sparse.present,
        };
        self.member.offset = self.header_offset;
        let path = self.member.read_path(&sources);
        self.named = true;
        self.entries += 1;
        path?;
        if sources.sparse && self.detail == Detail::Placement {
            return Err(TarFault::SparsePlacement);
        }
        let size = self.member.read(&sources, kind)?;
        for name in std::mem::take(&mut self.member.dropped) {
            let known = self.dropped.len() < DROPPED_MAX || self.dropped.contains_key(&name);
            let name = if known { name } else { OTHERS.to_vec() };
            *self.dropped.entry(name).or_default() += 1;
        }
        if gnu_sparse {
            if records.sparse.present {
                return Err(NOT_REGULAR.into());
            }
            self.begin_gnu_sparse(header, size)
        } else if records.sparse.present {
            self.begin_pax_sparse(records, size)
        } else {
            self.set_size(size)?;
            Ok(Some(self.begin_data(size)))
        }
    }

    fn set_size(&mut self, size: u64) -> Result<(), LimitExceeded> {
        self.member.size = size;
        LimitExceeded::check(Limit::FileBytes, self.limits.file_bytes, size)
    }

    fn begin_data(&mut self, archived: u64) -> Event {
        self.state = match archived {
            0 => State::Header,
            left => State::Data {
                left,
                padding: padding(left),
            },
        };
        Event::Member
    }
}

fn take<'a>(input: &mut &'a [u8], most: u64) -> &'a [u8] {
    let (piece, rest) = input.split_at(to_usize(most).min(input.len()));
    *input = rest;
    piece
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}
