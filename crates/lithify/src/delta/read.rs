//! A new layer, decoded for who creates its delta.

use std::io::Read;

use lithify_delta::create::Report;
use lithify_layer::{BlobError, Decoded, DecodedSummary, Expected};

use crate::error::LayerError;
use crate::image::Counting;
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::{Error, Event};

/// A layer that is read.
pub(super) struct Layer<'a> {
    pub(super) name: &'a str,
    pub(super) index: usize,
}

impl Layer<'_> {
    /// Decodes the layer and hands its tar on, piece by piece. `size` is that of the blob, where it is known.
    pub(super) fn read(
        &self,
        blob: Box<dyn Read + Send>,
        expected: Expected,
        size: Option<u64>,
        session: &Session,
        mut push: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<DecodedSummary, Error> {
        session.progress.event(Event::Layer {
            index: self.index,
            name: self.name,
            blob_size: size,
        });
        let failed = |e: BlobError| match e {
            BlobError::Cancelled => Error::cancelled(),
            e => LayerError::Layer {
                index: self.index,
                name: self.name.to_owned(),
                source: Box::new(e.into()),
            }
            .into(),
        };
        let options = Budgets::new(session).layer_options(session);
        let blob = Counting::new(blob, self.index, session);
        let mut decoded = Decoded::new(blob, expected, options).map_err(failed)?;
        while let Some(bytes) = decoded.next().map_err(failed)? {
            push(bytes)?;
        }
        decoded.summary().ok_or_else(Error::cancelled)
    }

    /// Says that the layer's delta is there.
    pub(super) fn done(&self, report: &Report, session: &Session) {
        session.progress.event(Event::LayerDone {
            index: self.index,
            tar_bytes: report.tar_bytes,
            entries: report.same + report.changed + report.new,
        });
    }
}
