//! `lithify cat`.

use lithify::{OutputPipe, Subject};

use super::{decoding_session, with_path, with_progress};
use crate::args::CatArgs;
use crate::failure::Failure;

pub(crate) fn run(args: CatArgs, quiet: bool) -> Result<(), Failure> {
    let (mut session, renderer) = decoding_session(&args.read, quiet)?;
    // Of layers that are EROFS images only what is asked for has to be read.
    session.layers = lithify::LayerKind::Erofs;
    let mut out = OutputPipe::stdout(&session.cancel)?;
    with_progress(&renderer, || {
        let subject = Subject::open(&args.image, &session)?;
        with_path(&args.path, |path| subject.cat(path, &mut out, &session))
    })?;
    Ok(())
}
