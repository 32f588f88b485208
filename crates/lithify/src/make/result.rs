//! What a target's builder returns, and the parts of its description all have.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use lithify_cancel::Checked;
use lithify_digest::{Algorithm, digest_of};

use crate::description::{Artifact, Description, LeftOut, Stack, WRITER_VERSION};
use crate::error::OutputError;
use crate::image::LayerSummary;
use crate::make::format::Format;
use crate::make::options::Output;
use crate::{CancelToken, Error};

/// What each target's builder returns.
#[derive(Debug, Default)]
pub(crate) struct BuildResult {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) summaries: Vec<LayerSummary>,
    pub(crate) stack: Option<Stack>,
    /// How many artifacts were made, and how many found in the store.
    pub(crate) counts: Option<(u64, u64)>,
    /// Layers that were not put where the others are.
    pub(crate) left_out: Vec<LeftOut>,
}

impl From<(Artifact, Vec<LayerSummary>)> for BuildResult {
    fn from((artifact, summaries): (Artifact, Vec<LayerSummary>)) -> Self {
        Self {
            artifacts: vec![artifact],
            summaries,
            ..Self::default()
        }
    }
}

pub(super) type Built = Result<BuildResult, Error>;

/// The artifact's description without what only the target knows.
pub(super) fn artifact(format: Format, path: &str) -> Artifact {
    Artifact {
        path: path.to_owned(),
        format: format.name().to_owned(),
        options: BTreeMap::new(),
        writer_version: WRITER_VERSION.to_owned(),
        ..Artifact::default()
    }
}

/// The path of an output that has one.
pub(super) fn output_path(output: &Output, format: Format) -> Result<&Path, Error> {
    match output {
        Output::Path(path) => Ok(path),
        Output::Stdout => Err(Error::from(OutputError::Destination {
            format: format.name(),
            destination: "standard output; name a file with -o",
        })),
    }
}

/// SHA-256 of a file from where it stands, as hexadecimal digits, as long as the work goes on.
pub(crate) fn file_sha256(path: &Path, file: &File, cancel: &CancelToken) -> Result<String, Error> {
    match digest_of(&mut Checked::new(file, cancel), Algorithm::Sha256) {
        Ok((digest, _)) => Ok(digest.hex()),
        Err(e) => Err(Error::input(path, e)),
    }
}

/// Adds what decoding the layers found out.
pub(super) fn describe_layers(description: &mut Description, summaries: &[LayerSummary]) {
    for (layer, summary) in description.layers.iter_mut().zip(summaries) {
        layer
            .diff_id
            .get_or_insert_with(|| summary.diff_id.to_string());
        layer.tar_size = Some(summary.tar_bytes);
        layer.entries = Some(summary.entries);
        layer.recorded = summary.recorded.as_ref().map(Into::into);
    }
}
