//! What an authority needs for its signatures to count, beside that it is one.
//!
//! The check of chains looks at the time and the purpose of the authorities a server shows, at nothing of those that are
//! trusted, and at nobody's key usage. OpenSSL 3.0.22 and Go 1.19.8 look at all of these for all of them.

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

use super::certificate::Certificate;
use super::refusal::{Moment, Signer};
use super::trust::ForServers;

/// Why the signature of an authority does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its time is over.
    Expired { until: Moment, now: Moment },
    /// Its time has not come.
    NotYet { from: Moment, now: Moment },
    /// Its key is for other things than signing certificates.
    KeyUsage,
    /// It may sign certificates, but none of servers.
    Purpose,
}

/// Whether an authority's signature counts, by one of its certificates.
pub(super) fn check(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), Fault> {
    time(der, now)?;
    match Certificate::parse(der) {
        Some(certificate) if !certificate.is_for_signing() => Err(Fault::KeyUsage),
        Some(certificate) if !certificate.is_for_servers() => Err(Fault::Purpose),
        _ => Ok(()),
    }
}

/// Whether it is the time of a certificate; any time is that of one that is not of version 3.
pub(super) fn time(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), Fault> {
    let Ok(certificate) = EndEntityCert::try_from(der) else {
        return Ok(());
    };
    let moment = |time: UnixTime| Moment(time.as_secs());
    // The first thing that is looked at. There is nobody who could have signed it.
    match certificate.verify_for_usage(&[], &[], &[], now, ForServers, None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Err(Fault::Expired {
            until: moment(not_after),
            now: moment(now),
        }),
        Err(webpki::Error::CertNotValidYet { not_before, .. }) => Err(Fault::NotYet {
            from: moment(not_before),
            now: moment(now),
        }),
        _ => Ok(()),
    }
}

/// An authority by its certificate, for words about it.
pub(super) fn signer(der: &CertificateDer<'_>, is_trusted: bool) -> Signer {
    let name = Certificate::parse(der).map(|certificate| certificate.called());
    Signer {
        name: name.unwrap_or_default(),
        is_trusted,
    }
}
