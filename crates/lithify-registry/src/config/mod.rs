//! What is configured: hosts, mirrors, certificates.
