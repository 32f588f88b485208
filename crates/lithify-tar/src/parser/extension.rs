//! Extended headers: what stands in front of the member it describes, or of all that follow.

use super::{Parser, State, padding};
use crate::error::TarFault;
use crate::limits::{Limit, LimitExceeded};
use crate::pax::Records;
use crate::typeflag::Extension;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Extension(Extension),
    Global,
}

/// Headers read before the member they describe.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Their data, in bytes.
    pub(super) bytes: u64,
    pub(super) records: Option<Records>,
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    /// The last of them, if any.
    pub(super) last: Option<Extension>,
}

impl Parser {
    pub(super) fn begin_extension(
        &mut self,
        size: u64,
        extension: Extension,
    ) -> Result<(), TarFault> {
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

    pub(super) fn begin_global(&mut self, size: u64) -> Result<(), TarFault> {
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

    pub(super) fn end_of_body(&mut self, of: Body) -> Result<(), TarFault> {
        match of {
            Body::Extension(Extension::Pax) => {
                self.pending.records = Some(Records::parse(&self.body, &self.limits, self.detail)?);
                std::mem::swap(&mut self.body, &mut self.pax);
            }
            Body::Extension(Extension::LongName) => {
                self.pending.long_name = Some(long_name(&self.body, Extension::LongName)?);
            }
            Body::Extension(Extension::LongLink) => {
                self.pending.long_link = Some(long_name(&self.body, Extension::LongLink)?);
            }
            Body::Global => {
                let records = Records::parse(&self.body, &self.limits, self.detail)?;
                if let Some(fault) = records.global_fault(&self.body) {
                    return Err(fault);
                }
                self.globals.set(&records);
            }
        }
        Ok(())
    }
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
