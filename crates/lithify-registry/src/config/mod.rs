//! What is configured: hosts, mirrors, certificates.
#[derive(Debug, thiserror::Error)]
#[error("config")]
pub struct Error;
