//! From blocks to members.
//!
//! The parser is handed whatever input there is and takes what it needs; it never asks for a certain amount at once,
//! and it keeps nothing but extended headers. File data is not its business: it says how much there is, and its
//! caller takes the bytes where they lie.

use super::error::{SparseFault, TarError, TarFault};
use super::header::{self, BLOCK, BadHeader, Block, Header};
use super::kind::{self, Extension, MemberKind, Typed};
use super::member::{Globals, Member, NOT_REGULAR, Sources, out_of_range};
use super::pax::Records;
use super::sparse::{MapText, SparseMap};
use crate::limits::{Limit, LimitExceeded, Limits};
use std::collections::BTreeMap;

/// What a step of the parser came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
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
    /// Bytes that mean nothing: padding, ignored members.
    Skip {
        what: &'static str,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Extension(Extension),
    Global,
}

/// Headers read before the member they describe.
#[derive(Debug, Default)]
struct Pending {
    /// Their data, in bytes.
    bytes: u64,
    records: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    /// The last of them, if any.
    last: Option<Extension>,
}

/// The parser.
#[derive(Debug)]
pub(crate) struct Parser {
    limits: Limits,
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
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
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

    /// Attributes that were left out, by name.
    pub(crate) fn take_dropped(&mut self) -> BTreeMap<Vec<u8>, u64> {
        std::mem::take(&mut self.dropped)
    }

    /// The member last announced.
    pub(crate) fn member(&mut self) -> &mut Member {
        &mut self.member
    }

    /// An error about a byte behind the end of the archive, `beyond` bytes behind what was taken.
    pub(crate) fn data_after_end(&self, beyond: u64) -> TarError {
        let at = self.offset + beyond;
        TarError {
            entry: self.entries,
            offset: at - at % BLOCK as u64,
            path: None,
            fault: TarFault::DataAfterEnd { at },
        }
    }

    /// Members so far, ignored ones included.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Data bytes of the present member not yet taken.
    pub(crate) fn data_left(&self) -> u64 {
        match self.state {
            State::Data { left, .. } => left,
            _ => 0,
        }
    }

    /// Notes that the caller took `count` data bytes, at most [`Self::data_left`].
    pub(crate) fn take_data(&mut self, count: u64) {
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

    /// Goes on to the next member, past what is left of the present one.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Event, TarError> {
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
                State::Skip { left, .. } => {
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
    /// to GNU tar; one that ends anywhere else was cut.
    pub(crate) fn finish(&mut self) -> Result<(), TarError> {
        let cut = |what, missing| TarFault::Truncated { what, missing };
        let fault = match &self.state {
            State::Header | State::SecondZero if self.filled > 0 => {
                cut("a header", (BLOCK - self.filled) as u64)
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
            State::Skip { what, left } => cut(what, *left),
            State::GnuMap { .. } => cut("a sparse map", (BLOCK - self.filled) as u64),
            State::TextMap { left, .. } => cut("a sparse map", *left),
            State::MapPadding { left, archived } => cut("a sparse map", left + archived),
            State::Data { left, padding } => cut("file data", left + padding),
        };
        Err(self.error(fault))
    }

    /// An error about what is being read.
    pub(crate) fn error(&self, fault: TarFault) -> TarError {
        let path = self.named.then(|| self.member.path.clone());
        let entry = self.entries - u64::from(self.named);
        TarError {
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
            State::Skip {
                what: "padding",
                left: padding,
            }
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
        match kind::classify(&header)? {
            Typed::Extension(extension) => self
                .begin_extension(header.numbers()?.size()?, extension)
                .map(|()| None),
            Typed::Global => self.begin_global(header.numbers()?.size()?).map(|()| None),
            Typed::Ignored => self.ignore(header.numbers()?.size()?).map(|()| None),
            Typed::Member(kind) => self.begin_member(&header, kind, false),
            Typed::GnuSparse => self.begin_member(&header, MemberKind::File, true),
        }
    }

    fn begin_extension(&mut self, size: u64, extension: Extension) -> Result<(), TarFault> {
        let twice = match extension {
            Extension::Pax => self.pending.records.is_some(),
            Extension::LongName => self.pending.long_name.is_some(),
            Extension::LongLink => self.pending.long_link.is_some(),
        };
        if twice {
            return Err(TarFault::DuplicateExtension {
                what: extension.name(),
            });
        }
        // Only the member itself takes a PAX size: these headers have their own (GHSA-3pv8-6f4r-ffg2).
        self.pending.bytes = self.pending.bytes.saturating_add(size);
        LimitExceeded::check(
            Limit::MetadataBytes,
            self.limits.metadata_bytes,
            self.pending.bytes,
        )?;
        self.pending.last = Some(extension);
        self.begin_body(Body::Extension(extension), size);
        Ok(())
    }

    fn begin_global(&mut self, size: u64) -> Result<(), TarFault> {
        if let Some(last) = self.pending.last {
            return Err(TarFault::DanglingExtension { what: last.name() });
        }
        LimitExceeded::check(Limit::MetadataBytes, self.limits.metadata_bytes, size)?;
        self.begin_body(Body::Global, size);
        Ok(())
    }

    fn begin_body(&mut self, of: Body, size: u64) {
        self.body.clear();
        self.state = State::Body {
            of,
            left: size,
            padding: padding(size),
        };
    }

    fn ignore(&mut self, size: u64) -> Result<(), TarFault> {
        if let Some(last) = self.pending.last {
            return Err(TarFault::DanglingExtension { what: last.name() });
        }
        self.count()?;
        self.entries += 1;
        let left = size
            .checked_add(padding(size))
            .ok_or_else(|| out_of_range("size", size))?;
        self.state = State::Skip {
            what: "a volume label",
            left,
        };
        Ok(())
    }

    fn count(&self) -> Result<(), LimitExceeded> {
        LimitExceeded::check(Limit::Entries, self.limits.entries, self.entries + 1)
    }

    fn end_of_body(&mut self, of: Body) -> Result<(), TarFault> {
        match of {
            Body::Extension(Extension::Pax) => {
                self.pending.records = Some(Records::parse(&self.body, &self.limits)?);
                std::mem::swap(&mut self.body, &mut self.pax);
            }
            Body::Extension(Extension::LongName) => {
                self.pending.long_name = Some(long_name(&self.body, Extension::LongName)?);
            }
            Body::Extension(Extension::LongLink) => {
                self.pending.long_link = Some(long_name(&self.body, Extension::LongLink)?);
            }
            Body::Global => {
                let records = Records::parse(&self.body, &self.limits)?;
                if let Some(fault) = records.global_fault(&self.body) {
                    return Err(fault);
                }
                self.globals.set(&records);
            }
        }
        Ok(())
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
            sparse: gnu_sparse || records.sparse.present,
        };
        self.member.offset = self.header_offset;
        let path = self.member.read_path(&sources);
        self.named = true;
        self.entries += 1;
        path?;
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

    fn begin_gnu_sparse(
        &mut self,
        header: &Header<'_>,
        archived: u64,
    ) -> Result<Option<Event>, TarFault> {
        let size = header.gnu_real_size().unsigned()?;
        self.set_size(size)?;
        let (entries, more) = header.gnu_sparse_map();
        let mut map = SparseMap::default();
        for entry in entries {
            map.push_fields(entry, size, &self.limits)?;
        }
        if more {
            self.state = State::GnuMap { map, archived };
            return Ok(None);
        }
        self.begin_sparse(map, archived, None).map(Some)
    }

    fn begin_pax_sparse(
        &mut self,
        records: Records,
        archived: u64,
    ) -> Result<Option<Event>, TarFault> {
        let sparse = records.sparse;
        let missing = |missing| SparseFault::Incomplete { missing };
        let size = sparse
            .size
            .ok_or(missing("GNU.sparse.size or GNU.sparse.realsize"))?;
        if i64::try_from(size).is_err() {
            return Err(out_of_range("GNU.sparse.size", size));
        }
        self.set_size(size)?;
        match (sparse.major, sparse.minor) {
            (Some(1), Some(0)) => {
                if sparse.map.is_some() {
                    return Err(SparseFault::Map.into());
                }
                self.state = State::TextMap {
                    text: MapText::default(),
                    left: archived,
                    segments: sparse.segments,
                };
                Ok(None)
            }
            (None, None) | (Some(0), Some(0 | 1)) => {
                let numbers = match sparse.map {
                    Some(numbers) => numbers,
                    None if sparse.segments == Some(0) => Vec::new(),
                    None => return Err(missing("GNU.sparse.map").into()),
                };
                let mut map = SparseMap::default();
                let (entries, unpaired) = numbers.as_chunks::<2>();
                if !unpaired.is_empty() {
                    return Err(SparseFault::Map.into());
                }
                for &[offset, length] in entries {
                    map.push(offset, length, size, &self.limits)?;
                }
                self.begin_sparse(map, archived, sparse.segments).map(Some)
            }
            (Some(major), Some(minor)) => Err(SparseFault::Version { major, minor }.into()),
            (None, Some(_)) => Err(missing("GNU.sparse.major").into()),
            (Some(_), None) => Err(missing("GNU.sparse.minor").into()),
        }
    }

    fn begin_sparse(
        &mut self,
        map: SparseMap,
        archived: u64,
        count: Option<u64>,
    ) -> Result<Event, TarFault> {
        self.member.segments = map.finish(self.member.size, archived, count)?;
        Ok(self.begin_data(archived))
    }

    /// Whether the map is complete; if not, more input is needed.
    fn text_map(&mut self, input: &mut &[u8]) -> Result<bool, TarFault> {
        let State::TextMap {
            text,
            left,
            segments,
        } = &mut self.state
        else {
            return Ok(true);
        };
        let all = *input;
        let within = &all[..to_usize(*left).min(all.len())];
        let (read, complete) = text.read(within, self.member.size, &self.limits)?;
        *input = &all[read..];
        *left -= read as u64;
        self.offset += read as u64;
        if !complete {
            return if *left == 0 {
                Err(SparseFault::Map.into())
            } else {
                Ok(false)
            };
        }
        let padding = text.padding();
        let archived = left.checked_sub(padding).ok_or(SparseFault::Map)?;
        let (text, segments) = (std::mem::take(text), *segments);
        self.member.segments = text
            .into_map()
            .finish(self.member.size, archived, segments)?;
        self.state = State::MapPadding {
            left: padding,
            archived,
        };
        Ok(true)
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

/// A GNU long name up to its NUL, after which only more NULs may stand.
fn long_name(body: &[u8], extension: Extension) -> Result<Vec<u8>, TarFault> {
    let end = body.iter().position(|&b| b == 0).unwrap_or(body.len());
    if body[end..].iter().any(|&b| b != 0) {
        return Err(TarFault::LongNameNul {
            what: extension.name(),
        });
    }
    Ok(body[..end].to_vec())
}
