//! A tar taken apart into the data of its members and everything else.

use crate::detail::Detail;
use crate::error::TarError;
use crate::limits::Limits;
use crate::member::Member;
use crate::parser::{Event, Parser};

/// A piece of a tar. All pieces, one behind the other, are the tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Headers, padding, or what follows the end.
    Raw(&'a [u8]),
    /// No bytes: the headers of a member were given out, [`Splitter::data_left`] bytes of data follow.
    Member,
    /// Data of the member.
    Data(&'a [u8]),
    /// No bytes: all of a member's data was given out. Members without data have none.
    DataEnd,
    /// No bytes: the end of the archive was read. What follows is [raw](Self::Raw).
    End,
}

/// Takes a tar apart, as it passes. Data of sparse files is given out as it is in the tar.
///
/// ```
/// use lithify_tar::{Limits, Part, Splitter};
///
/// let tar = [0; 1024];
/// let mut splitter = Splitter::new(Limits::default());
/// let mut input = &tar[..];
/// let mut raw = 0;
/// while let Some(part) = splitter.next(&mut input)? {
///     if let Part::Raw(bytes) = part {
///         raw += bytes.len();
///     }
/// }
/// splitter.finish()?;
/// assert_eq!(raw, 1024);
/// # Ok::<(), lithify_tar::TarError>(())
/// ```
#[derive(Debug)]
pub struct Splitter {
    parser: Parser,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Headers,
    /// A member's headers were given out, and nothing else of it.
    Member,
    Data,
    /// The mark was given out, and the event not yet.
    End,
    Trailer,
}

impl Splitter {
    /// Starts in front of a tar's first block.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            parser: Parser::new(limits, Detail::Everything),
            state: State::Headers,
        }
    }

    /// Takes bytes from the front of the input and gives them out; `None` if the input is used up.
    ///
    /// # Errors
    /// [`TarError`]; the splitter is of no use after it.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, TarError> {
        match self.state {
            State::Member => {
                self.state = match self.parser.data_left() {
                    0 => State::Headers,
                    _ => State::Data,
                };
                return Ok(Some(Part::Member));
            }
            State::End => {
                self.state = State::Trailer;
                return Ok(Some(Part::End));
            }
            State::Data if self.parser.data_left() == 0 => {
                self.state = State::Headers;
                return Ok(Some(Part::DataEnd));
            }
            State::Headers | State::Data | State::Trailer => {}
        }
        if input.is_empty() {
            return Ok(None);
        }
        let before = *input;
        match self.state {
            State::Data => {
                let left = usize::try_from(self.parser.data_left()).unwrap_or(usize::MAX);
                let (data, rest) = before.split_at(left.min(before.len()));
                self.parser.take_data(data.len() as u64);
                *input = rest;
                return Ok(Some(Part::Data(data)));
            }
            State::Trailer => {
                *input = &[];
                return Ok(Some(Part::Raw(before)));
            }
            State::Headers | State::Member | State::End => {}
        }
        match self.parser.next(input)? {
            Event::NeedInput => {}
            Event::Member => self.state = State::Member,
            Event::End => self.state = State::End,
        }
        match &before[..before.len() - input.len()] {
            [] => self.next(input),
            used => Ok(Some(Part::Raw(used))),
        }
    }

    /// Returns the member that began last.
    #[must_use]
    pub fn member(&mut self) -> &mut Member {
        self.parser.member()
    }

    /// Returns the bytes of its data that were not given out.
    #[must_use]
    pub fn data_left(&self) -> u64 {
        self.parser.data_left()
    }

    /// Returns the number of members so far.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.parser.entries()
    }

    /// Ends the tar; nothing is to be taken from it after that.
    ///
    /// # Errors
    /// [`TarError`] if it is cut.
    pub fn finish(&mut self) -> Result<(), TarError> {
        self.parser.finish()
    }
}
