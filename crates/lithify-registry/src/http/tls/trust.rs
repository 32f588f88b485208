//! Whom to believe.

use std::cell::RefCell;
use std::collections::HashSet;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath,
};

use super::authority;
use super::certificate::{self, Certificate};
use super::refusal::Refusal;

/// Certificates that are believed: what they sign, and they themselves.
///
/// One that is trusted and shown by the server itself needs no chain: whoever has its key was trusted by name when its file
/// was put there. That grants nothing more: an authority's key could sign any certificate it likes, and by
/// identity it stands for the names in it alone. Name, validity and purpose count as for any other.
#[derive(Debug, Default)]
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    /// The certificate of each of these.
    authorities: Vec<CertificateDer<'static>>,
    themselves: HashSet<Vec<u8>>,
}

impl Trust {
    /// Believes a certificate; one that may not sign others (RFC 5280, section 4.2.1.9) for itself only.
    pub(super) fn add(&mut self, der: &CertificateDer<'_>) -> Result<(), webpki::Error> {
        let anchor = webpki::anchor_from_trusted_cert(der)?.to_owned();
        if Certificate::parse(der).is_none_or(|certificate| certificate.may_sign()) {
            self.anchors.push(anchor);
            self.authorities.push(der.clone().into_owned());
        }
        self.themselves.insert(der.to_vec());
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.themselves.is_empty()
    }

    /// Whether the signature of an authority counts, by one of the certificates it has here.
    fn check(&self, authority: &TrustAnchor<'_>, now: UnixTime) -> Result<(), Refusal> {
        let mut found = Ok(());
        for (anchor, der) in self.anchors.iter().zip(&self.authorities) {
            let is_it = anchor.subject == authority.subject
                && anchor.subject_public_key_info == authority.subject_public_key_info;
            if is_it {
                found = authority::check(der, now).map_err(|fault| Refusal::Authority {
                    signer: authority::signer(der, true),
                    fault,
                });
                if found.is_ok() {
                    break;
                }
            }
        }
        found
    }

    /// The trusted certificates of authorities that have a name.
    fn of_name(&self, name: &[u8]) -> impl Iterator<Item = &CertificateDer<'static>> {
        let all = self.anchors.iter().zip(&self.authorities);
        all.filter(move |(anchor, _)| anchor.subject.as_ref() == name)
            .map(|(_, der)| der)
    }
}

/// What there is against a certificate.
enum Doubt {
    /// What the check of chains says.
    Chain(webpki::Error),
    /// What is known better.
    Refused(Refusal),
}

impl From<webpki::Error> for Doubt {
    fn from(error: webpki::Error) -> Self {
        Self::Chain(error)
    }
}

/// The check of what a server shows.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trust: Trust,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// `serverAuth`, or any purpose.
pub(super) struct ForServers;

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut none = true;
        for purpose in purposes {
            let purpose = purpose?;
            let is = |accepted| purpose == KeyPurposeId::new(accepted);
            if certificate::FOR_SERVERS.into_iter().any(is) {
                return Ok(());
            }
            none = false;
        }
        match none {
            true => Ok(()),
            false => Err(webpki::Error::EmptyEkuExtension),
        }
    }
}

impl Verifier {
    fn check(
        &self,
        certificate: &Certificate<'_>,
        shown: &EndEntityCert<'_>,
        der: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Doubt> {
        let trust = &self.trust;
        let faulty = RefCell::new(None);
        let fit = |path: &VerifiedPath<'_>| {
            let shown = path.intermediate_certificates();
            let unfit = shown.map(webpki::Cert::der).find_map(|der| {
                let fault = authority::check(&der, now).err()?;
                let signer = authority::signer(&der, false);
                Some(Refusal::Authority { signer, fault })
            });
            let found = unfit.map_or_else(|| trust.check(path.anchor(), now), Err);
            found.map_err(|refusal| {
                faulty.replace(Some(refusal));
                webpki::Error::UnknownIssuer
            })
        };
        let chain = |anchors: &[TrustAnchor<'_>], others: &[CertificateDer<'_>]| {
            let (all, last): (_, &dyn Fn(&VerifiedPath<'_>) -> _) = (self.algorithms.all, &fit);
            shown
                .verify_for_usage(all, anchors, others, now, ForServers, None, Some(last))
                .map(drop)
        };
        let itself = trust.themselves.contains(der.as_ref());
        if !itself && !certificate.is_authority() {
            return chain(&trust.anchors, others).map_err(|error| {
                let met = faulty.take();
                let refusal = self.of_signers(&error, met, certificate, der, others, now);
                refusal.map_or(Doubt::Chain(error), Doubt::Refused)
            });
        }
        // All but who signed it: a chain without anybody to end at.
        match chain(&[], &[]) {
            Ok(()) | Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) => {}
            Err(error) => return Err(error.into()),
        }
        if !certificate.is_for_servers() {
            return Err(webpki::Error::EmptyEkuExtension.into());
        }
        if itself {
            return Ok(());
        }
        match self.issuer(certificate) {
            Some(issuer) => trust.check(issuer, now).map_err(Doubt::Refused),
            None => {
                let error = webpki::Error::UnknownIssuer;
                let refusal = self.of_signers(&error, None, certificate, der, &[], now);
                Err(refusal.map_or(Doubt::Chain(error), Doubt::Refused))
            }
        }
    }

    /// What an error of the check of chains is about, if that is an authority, which it does not say: the one that was `met`
    /// at the end of a chain, or one that is shown.
    fn of_signers(
        &self,
        error: &webpki::Error,
        met: Option<Refusal>,
        certificate: &Certificate<'_>,
        der: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Refusal> {
        use webpki::Error;

        let is_own = match error {
            Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
                authority::time(der, now).is_err()
            }
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
                !certificate.is_for_servers()
            }
            Error::InvalidSignatureForPublicKey | Error::UnknownIssuer => {
                return met.or_else(|| self.of_odd_key(certificate, others));
            }
            _ => true,
        };
        if is_own {
            return None;
        }
        let mut shown = others.iter();
        met.or_else(|| {
            shown.find_map(|der| {
                let fault = authority::check(der, now).err()?;
                let signer = authority::signer(der, false);
                Some(Refusal::Authority { signer, fault })
            })
        })
    }

    /// An authority whose signatures cannot be checked for the size of its key.
    fn of_odd_key(
        &self,
        certificate: &Certificate<'_>,
        others: &[CertificateDer<'_>],
    ) -> Option<Refusal> {
        let odd = |der: &CertificateDer<'_>, is_trusted| {
            let bits = Certificate::parse(der)?.odd_rsa()?;
            let signer = Some(authority::signer(der, is_trusted));
            Some(Refusal::Key { signer, bits })
        };
        let shown = others.iter().find_map(|der| odd(der, false));
        shown.or_else(|| {
            let above = others.iter().filter_map(|der| Certificate::parse(der));
            let mut names = std::iter::once(certificate.issuer).chain(above.map(|c| c.issuer));
            names.find_map(|name| self.trust.of_name(name).find_map(|der| odd(der, true)))
        })
    }

    /// Who of those that are trusted has signed a certificate himself. The check of chains lets no authority's
    /// certificate be a server's, though no standard forbids it (RFC 5280, section 6.1, knows no such rule) and OpenSSL and Go
    /// allow it.
    fn issuer(&self, certificate: &Certificate<'_>) -> Option<&TrustAnchor<'static>> {
        // What constrained authorities may sign is for the check of chains to say.
        let mut issuers = self.trust.anchors.iter().filter(|anchor| {
            anchor.subject.as_ref() == certificate.issuer && anchor.name_constraints.is_none()
        });
        issuers.find(|issuer| {
            let info = issuer.subject_public_key_info.as_ref();
            certificate::key(info).is_some_and(|(kind, key)| {
                self.algorithms.all.iter().any(|algorithm| {
                    algorithm.signature_alg_id().as_ref() == certificate.algorithm
                        && algorithm.public_key_alg_id().as_ref() == kind
                        && algorithm
                            .verify_signature(key, certificate.signed, certificate.signature)
                            .is_ok()
                })
            })
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        der: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = |error: webpki::Error, certificate: Option<&Certificate<'_>>| {
            rustls::Error::from(Refusal::of(&error, certificate, name, now))
        };
        let shown = EndEntityCert::try_from(der).map_err(|e| refused(e, None))?;
        let certificate =
            Certificate::parse(der).ok_or_else(|| refused(webpki::Error::BadDer, None))?;
        self.check(&certificate, &shown, der, others, now)
            .and_then(|()| Ok(shown.verify_is_valid_for_subject_name(name)?))
            .map_err(|doubt| match doubt {
                Doubt::Chain(error) => refused(error, Some(&certificate)),
                Doubt::Refused(refusal) => refusal.into(),
            })?;
        // What is signed with its key later could not be checked.
        if let Some(bits) = certificate.odd_rsa() {
            return Err(Refusal::Key { signer: None, bits }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Believes whatever is shown.
#[derive(Debug)]
pub(super) struct Unchecked;

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as S;

        vec![
            S::ED25519,
            S::ED448,
            S::ECDSA_NISTP256_SHA256,
            S::ECDSA_NISTP384_SHA384,
            S::ECDSA_NISTP521_SHA512,
            S::RSA_PSS_SHA256,
            S::RSA_PSS_SHA384,
            S::RSA_PSS_SHA512,
            S::RSA_PKCS1_SHA256,
            S::RSA_PKCS1_SHA384,
            S::RSA_PKCS1_SHA512,
            S::ECDSA_SHA1_Legacy,
            S::RSA_PKCS1_SHA1,
        ]
    }
}
