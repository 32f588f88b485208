//! `lithify cat`.

use std::io::Write as _;

use lithify::Subject;

use super::{Failure, read_options, with_progress};
use crate::args::CatArgs;

pub(crate) fn run(args: CatArgs, quiet: bool) -> Result<(), Failure> {
    let (mut read, renderer) = read_options(&args.read, quiet)?;
    // Of layers that are EROFS images only what is asked for has to be read.
    read.layers = lithify::LayerKind::Erofs;
    let mut out = std::io::stdout().lock();
    let result = with_progress(&renderer, || {
        Subject::open(&args.image, &read)?.cat(args.path.as_bytes(), &mut out, &read)
    });
    match result {
        Ok(_) => Ok(out.flush()?),
        Err(Failure::Library(error)) => match *error {
            lithify::Error::Sink(e) => Err(e.into()),
            error => Err(error.into()),
        },
        Err(e) => Err(e),
    }
}
