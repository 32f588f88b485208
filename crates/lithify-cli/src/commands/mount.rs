//! `lithify mount` and `lithify umount`.

use lithify::{MountOptions, Subject};

use super::{Failure, read_options, with_progress};
use crate::args::{MountArgs, UmountArgs};

pub(crate) fn mount(args: MountArgs, quiet: bool) -> Result<(), Failure> {
    let (read, renderer) = read_options(&args.read, quiet)?;
    let mut options = MountOptions::default();
    options.writable = args.rw;
    options.setuid = args.suid;
    options.devices = args.dev;
    with_progress(&renderer, || {
        Subject::open(&args.image, &read)?.mount(&args.directory, &options, &read)
    })
}

pub(crate) fn umount(args: &UmountArgs) -> Result<(), Failure> {
    Ok(lithify::umount(&args.directory)?)
}
