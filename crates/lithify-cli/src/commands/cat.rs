//! `lithify cat`.

use lithify::{OutputPipe, Subject};

use super::{Failure, read_options, with_path, with_progress};
use crate::args::CatArgs;

pub(crate) fn run(args: CatArgs, quiet: bool) -> Result<(), Failure> {
    let (mut read, renderer) = read_options(&args.read, quiet)?;
    // Of layers that are EROFS images only what is asked for has to be read.
    read.layers = lithify::LayerKind::Erofs;
    let mut out = OutputPipe::stdout(&read.cancel)?;
    with_progress(&renderer, || {
        let subject = Subject::open(&args.image, &read)?;
        with_path(&args.path, |path| subject.cat(path, &mut out, &read))
    })?;
    Ok(())
}
