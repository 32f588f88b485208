//! `lithify composefs`.

mod care; // repositories looked after
mod df; // their bytes
mod images; // images made and read
mod ls; // lists

use std::num::NonZeroUsize;

use lithify::Session;

use crate::args::ComposefsCommand;
use crate::failure::Failure;

pub(crate) fn run(command: &ComposefsCommand, quiet: bool) -> Result<(), Failure> {
    match command {
        ComposefsCommand::Create(args) => images::create(args),
        ComposefsCommand::Id(args) => images::id(args, quiet),
        ComposefsCommand::Dump(args) => images::dump(args),
        ComposefsCommand::Ls(args) => ls::run(args),
        ComposefsCommand::Init(args) => care::init(args, quiet),
        ComposefsCommand::Tag(args) => care::tag(args),
        ComposefsCommand::Rm(args) => care::rm(args, quiet),
        ComposefsCommand::Gc(args) => care::gc(args, quiet),
        ComposefsCommand::Fsck(args) => care::fsck(args, quiet),
        ComposefsCommand::Df(args) => df::run(args),
    }
}

fn session(jobs: Option<u16>) -> Session {
    Session {
        jobs: jobs.and_then(|n| NonZeroUsize::new(usize::from(n))),
        cancel: crate::signals::token(),
        ..Session::default()
    }
}
