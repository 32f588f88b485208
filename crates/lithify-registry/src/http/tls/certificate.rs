//! What a certificate says that the check of chains does not tell: its extensions, and what its signature is of.
//!
//! Everything read here has been parsed by that check before; what is not as it should be is nothing here.

use std::net::{Ipv4Addr, Ipv6Addr};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
/// `[0]` and `[3]` around the version and the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[2]` and `[7]` among the alternative names.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// `2.5.29.15`, `2.5.29.19`, `2.5.29.37` and `2.5.29.17`.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// The purposes of certificates that servers may show: serverAuth (`1.3.6.1.5.5.7.3.1`) and any (`2.5.29.37.0`).
pub(super) const FOR_SERVERS: [&[u8]; 2] = [
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01],
    &[0x55, 0x1d, 0x25, 0x00],
];

/// The common name, organizational unit and organization of a name: `2.5.4.3`, `2.5.4.11` and `2.5.4.10`.
const CALLED: [&[u8]; 3] = [&[0x55, 4, 3], &[0x55, 4, 11], &[0x55, 4, 10]];
/// RSA keys: `1.2.840.113549.1.1.1`.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// Bits of the RSA keys that are accepted.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Most characters of an authority's name.
const MAX_NAME: usize = 100;
/// Most names that are listed.
const MAX_NAMES: usize = 8;

/// A certificate's parts (RFC 5280, section 4.1).
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    /// What is signed.
    pub(super) signed: &'a [u8],
    /// The algorithm of the signature, without its outer tag.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    /// The issuer's name, without its outer tag.
    pub(super) issuer: &'a [u8],
    /// Its own name, without its outer tag.
    subject: &'a [u8],
    /// Algorithm and key, without their outer tag.
    key: &'a [u8],
    has_version: bool,
    /// Whether it may sign others, if it says.
    authority: Option<bool>,
    /// Whether its key may sign certificates, if it says what its key is for.
    for_signing: Option<bool>,
    /// Whether it may be shown by a server, if it says what it is for.
    for_servers: Option<bool>,
    names: Option<&'a [u8]>,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outer = Der(Der(der).expect(SEQUENCE)?.content);
        let tbs = outer.expect(SEQUENCE)?;
        let algorithm = outer.expect(SEQUENCE)?.content;
        let signature = bits(outer.expect(BIT_STRING)?.content)?;
        let mut inner = Der(tbs.content);
        let has_version = inner.optional(VERSION).is_some();
        inner.expect(INTEGER)?;
        inner.expect(SEQUENCE)?;
        let issuer = inner.expect(SEQUENCE)?.content;
        // From when until when.
        inner.expect(SEQUENCE)?;
        let subject = inner.expect(SEQUENCE)?.content;
        let key = inner.expect(SEQUENCE)?.content;
        let mut found = Self {
            signed: tbs.whole,
            algorithm,
            signature,
            issuer,
            subject,
            key,
            has_version,
            authority: None,
            for_signing: None,
            for_servers: None,
            names: None,
        };
        while let Some(part) = inner.next() {
            if part.tag == EXTENSIONS {
                found.extensions(Der(part.content).expect(SEQUENCE)?.content)?;
            }
        }
        Some(found)
    }

    fn extensions(&mut self, list: &'a [u8]) -> Option<()> {
        let mut list = Der(list);
        while let Some(extension) = list.next() {
            let mut parts = Der(extension.content);
            let name = parts.expect(OID)?.content;
            // Whether it is critical.
            parts.optional(BOOLEAN);
            let value = parts.expect(OCTET_STRING)?.content;
            match name {
                BASIC_CONSTRAINTS => {
                    let mut constraints = Der(Der(value).expect(SEQUENCE)?.content);
                    let authority = constraints.optional(BOOLEAN);
                    self.authority = Some(authority.is_some_and(|yes| yes.content != [0]));
                }
                KEY_USAGE => {
                    // `keyCertSign` is bit 5 from the left, behind the number of bits that are none.
                    let bits = Der(value).expect(BIT_STRING)?.content;
                    self.for_signing = Some(bits.get(1).is_some_and(|bits| bits & 0x04 != 0));
                }
                EXTENDED_KEY_USAGE => {
                    let mut purposes = Der(Der(value).expect(SEQUENCE)?.content);
                    let mut found = false;
                    while let Some(purpose) = purposes.next() {
                        found |= FOR_SERVERS.contains(&purpose.content);
                    }
                    self.for_servers = Some(found);
                }
                ALTERNATIVE_NAME => self.names = Some(Der(value).expect(SEQUENCE)?.content),
                _ => {}
            }
        }
        Some(())
    }

    /// Whether it says that it may sign others.
    pub(super) fn is_authority(&self) -> bool {
        self.authority == Some(true)
    }

    /// Whether it may sign others. The first version of certificates had no way to say so.
    pub(super) fn may_sign(&self) -> bool {
        self.is_authority() || !self.has_version
    }

    /// Whether its key may sign certificates: it says so, or does not say what it is for (RFC 5280, section 4.2.1.3).
    pub(super) fn is_for_signing(&self) -> bool {
        self.for_signing.unwrap_or(true)
    }

    /// The bits of its key, if it is an RSA key of a size that is not accepted.
    pub(super) fn odd_rsa(&self) -> Option<usize> {
        odd_rsa(self.key)
    }

    /// What people call whom it is of.
    pub(super) fn called(&self) -> String {
        let found = CALLED.into_iter().find_map(|kind| {
            let mut sets = Der(self.subject);
            let mut last = None;
            while let Some(set) = sets.optional(SET) {
                let mut parts = Der(Der(set.content).expect(SEQUENCE)?.content);
                if parts.expect(OID)?.content == kind {
                    last = parts.next().map(|text| text.content);
                }
            }
            last
        });
        let name = String::from_utf8_lossy(found.unwrap_or_default());
        name.chars().take(MAX_NAME).collect()
    }

    /// Whether it has a host as a name, though not of the kind that counts for addresses.
    pub(super) fn has_dns_name(&self, host: &str) -> bool {
        let mut list = Der(self.names.unwrap_or_default());
        while let Some(name) = list.next() {
            if name.tag == DNS_NAME && name.content == host.as_bytes() {
                return true;
            }
        }
        false
    }

    /// Whether a server may show it: it says so, or does not say what it is for (RFC 5280, section 4.2.1.12).
    pub(super) fn is_for_servers(&self) -> bool {
        self.for_servers.unwrap_or(true)
    }

    /// The hosts it is for, not too many.
    pub(super) fn names(&self) -> Vec<String> {
        let mut list = Der(self.names.unwrap_or_default());
        let mut names = Vec::new();
        while let Some(name) = list.next() {
            let text = match name.tag {
                DNS_NAME => String::from_utf8_lossy(name.content).into_owned(),
                IP_ADDRESS => match address(name.content) {
                    Some(address) => address,
                    None => continue,
                },
                _ => continue,
            };
            if names.len() == MAX_NAMES {
                names.push("…".to_owned());
                break;
            }
            names.push(text);
        }
        names
    }
}

/// Algorithm and key of a `SubjectPublicKeyInfo` without its outer tag.
pub(super) fn key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Der(info);
    let algorithm = parts.expect(SEQUENCE)?.content;
    Some((algorithm, bits(parts.expect(BIT_STRING)?.content)?))
}

/// The bits of a key (without its outer tag), if it is an RSA key of a size that is not accepted.
pub(super) fn odd_rsa(info: &[u8]) -> Option<usize> {
    let (kind, key) = key(info)?;
    if Der(kind).expect(OID)?.content != RSA {
        return None;
    }
    let modulus = Der(Der(key).expect(SEQUENCE)?.content).expect(INTEGER)?;
    let first = modulus.content.iter().position(|byte| *byte != 0)?;
    let digits = &modulus.content[first..];
    let bits = digits.len() * 8 - digits[0].leading_zeros() as usize;
    (!RSA_BITS.contains(&bits)).then_some(bits)
}

/// An algorithm's number, as `1.2.840.113549.1.1.5`, and its name where it is one that is no longer accepted.
pub(super) fn algorithm(identifier: &[u8]) -> String {
    let number = Der(identifier).expect(OID).map(|oid| dotted(oid.content));
    let number = number.unwrap_or_default();
    let name = match number.as_str() {
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS with unusual parameters",
        "1.2.840.113549.1.1.14" => "RSA with SHA-224",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224",
        "1.3.101.113" => "Ed448",
        "" => "an unknown algorithm",
        _ => return format!("the algorithm {number}"),
    };
    name.to_owned()
}

fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0u64;
    for &byte in oid.iter().take(32) {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - 40 * first]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
    numbers.join(".")
}

/// The bytes of a bit string of whole bytes.
fn bits(content: &[u8]) -> Option<&[u8]> {
    content.strip_prefix(&[0])
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).to_string());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).to_string())
}

/// Values in DER, one after the other.
struct Der<'a>(&'a [u8]);

struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    /// With tag and length.
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<Value<'a>> {
        let all = self.0;
        let (&tag, rest) = all.split_first()?;
        // Tags of more than one byte occur nowhere in certificates.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Value {
            tag,
            content,
            whole: &all[..all.len() - rest.len()],
        })
    }

    fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        self.next().filter(|value| value.tag == tag)
    }

    /// The next value, if it has this tag.
    fn optional(&mut self, tag: u8) -> Option<Value<'a>> {
        match self.0.first() == Some(&tag) {
            true => self.next(),
            false => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_algorithms() {
        let sha1 = [
            OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00,
        ];
        assert_eq!(algorithm(&sha1), "RSA with SHA-1");
        assert_eq!(
            algorithm(&[OID, 3, 0x2b, 0x65, 0x70]),
            "the algorithm 1.3.101.112"
        );
        assert_eq!(algorithm(&[]), "an unknown algorithm");
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>) {
            if let Some(certificate) = Certificate::parse(&bytes) {
                certificate.names();
                certificate.called();
                certificate.odd_rsa();
                certificate.has_dns_name("x");
            }
            key(&bytes);
            odd_rsa(&bytes);
            algorithm(&bytes);
        }
    }
}
