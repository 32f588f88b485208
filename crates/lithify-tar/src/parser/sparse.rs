//! How a sparse file begins: its map, from wherever its format keeps it.

use super::{Event, Parser, State, to_usize};
use crate::error::{SparseFault, TarFault};
use crate::header::Header;
use crate::member::out_of_range;
use crate::pax::Records;
use crate::sparse::{MapText, SparseMap};

impl Parser {
    pub(super) fn begin_gnu_sparse(
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

    pub(super) fn begin_pax_sparse(
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

    pub(super) fn begin_sparse(
        &mut self,
        map: SparseMap,
        archived: u64,
        count: Option<u64>,
    ) -> Result<Event, TarFault> {
        self.member.segments = map.finish(self.member.size, archived, count)?;
        Ok(self.begin_data(archived))
    }

    /// Whether the map is complete; if not, more input is needed.
    pub(super) fn text_map(&mut self, input: &mut &[u8]) -> Result<bool, TarFault> {
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
