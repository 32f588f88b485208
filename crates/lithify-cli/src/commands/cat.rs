//! `lithify cat`.

use lithify::{OutputPipe, Subject};

use super::{Failure, read_options, with_progress};
use crate::args::CatArgs;

pub(crate) fn run(args: CatArgs, quiet: bool) -> Result<(), Failure> {
    let (mut read, renderer) = read_options(&args.read, quiet)?;
    // Of layers that are EROFS images only what is asked for has to be read.
    read.layers = lithify::LayerKind::Erofs;
    let mut out = OutputPipe::stdout(&read.cancel)?;
    with_progress(&renderer, || {
        Subject::open(&args.image, &read)?.cat(args.path.as_bytes(), &mut out, &read)
    })?;
    Ok(())
}
