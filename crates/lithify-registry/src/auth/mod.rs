//! Who we are, and proving it to a registry.
use crate::Secret;
use crate::session::{Access, Session};
#[derive(Debug, thiserror::Error)]
#[error("credentials are needed")]
pub struct Error;
pub(crate) enum Answered {
    Registry(crate::Error),
    Auth(Error),
}
pub(crate) struct Scope<'a> {
    pub repository: &'a str,
    pub access: Access,
    pub from: Option<&'a str>,
}
#[derive(Debug, Default)]
pub(crate) struct Authenticator;
impl Authenticator {
    pub(crate) fn authorization(&self, _: &str, _: &Scope<'_>) -> Option<Secret> {
        None
    }
    pub(crate) fn answer(
        &self,
        _: &Session<'_>,
        _: &[String],
        _: &Scope<'_>,
    ) -> Result<Secret, Answered> {
        Err(Answered::Auth(Error))
    }
}
