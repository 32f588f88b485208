//! Hosts that are asked without a proxy: `NO_PROXY`, by the rules of Go's `httpproxy`
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>).

use std::net::IpAddr;

use super::punycode;

/// Entries of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bypass {
    all: bool,
    networks: Vec<(IpAddr, u8)>,
    addresses: Vec<(IpAddr, Option<u16>)>,
    domains: Vec<Domain>,
}

#[derive(Debug, PartialEq, Eq)]
struct Domain {
    /// With a dot before it.
    suffix: String,
    /// Whether it is meant itself, and not only what is below it.
    itself: bool,
    port: Option<u16>,
}

impl Bypass {
    /// Reads `*`, addresses, networks, `domain`, `.domain` and `*.domain`, with ports; what is none of these is for no host.
    pub(super) fn of<'a>(entries: impl Iterator<Item = &'a str>) -> Self {
        let mut found = Self::default();
        for entry in entries {
            found.add(&entry.trim().to_lowercase());
        }
        found
    }

    fn add(&mut self, entry: &str) {
        if entry == "*" {
            self.all = true;
            return;
        }
        if let Some(network) = network(entry) {
            self.networks.push(network);
            return;
        }
        let Some((host, port)) = with_port(entry) else {
            return;
        };
        if let Ok(address) = bare(host).parse::<IpAddr>() {
            self.addresses.push((address.to_canonical(), port));
            return;
        }
        // `*.x` is `.x`: what is below it.
        let host = host
            .strip_prefix('*')
            .filter(|h| h.starts_with('.'))
            .unwrap_or(host);
        let domain = host.strip_prefix('.').unwrap_or(host);
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        if domain.is_empty() {
            return;
        }
        self.domains.push(Domain {
            suffix: format!(".{}", punycode::ascii(domain)),
            itself: !host.starts_with('.'),
            port,
        });
    }

    /// Whether a host is asked directly.
    pub(super) fn has(&self, host: &str, port: u16) -> bool {
        if self.all {
            return true;
        }
        let at = |wanted: Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        if let Ok(address) = bare(host).parse::<IpAddr>() {
            let address = address.to_canonical();
            return self
                .networks
                .iter()
                .any(|network| contains(*network, address))
                || self.addresses.iter().any(|(a, p)| *a == address && at(*p));
        }
        let host = punycode::ascii(&host.strip_suffix('.').unwrap_or(host).to_lowercase());
        self.domains.iter().any(|domain| {
            let suffix = domain.suffix.as_str();
            let fits = host.ends_with(suffix) || (domain.itself && host == suffix[1..]);
            fits && at(domain.port)
        })
    }
}

/// An address without brackets.
fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// An entry's host and port, if it has one; nothing if the port is none.
fn with_port(entry: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match entry.rsplit_once(':') {
        // More than one colon without brackets is an address.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => return (!entry.is_empty()).then_some((entry, None)),
    };
    let port = port.parse().ok()?;
    (!host.is_empty()).then_some((host, Some(port)))
}

fn network(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (length <= longest).then_some((address, length))
}

fn contains((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    let (a, b, width) = match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let below = u32::from(width - length);
    // All bits are the network's, or none.
    a.checked_shr(below).unwrap_or(0) == b.checked_shr(below).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn direct(list: &str, host: &str, port: u16) -> bool {
        Bypass::of(list.split(',')).has(host, port)
    }

    #[test]
    fn the_rules_of_go() {
        let list = "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                    2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64";
        for (host, expected) in [
            ("192.168.1.1", true),
            ("192.168.1.2", false),
            ("192.168.1.3", true),
            ("192.168.1.4", false),
            ("10.0.0.2", true),
            ("10.0.0.4", false),
            ("[2001:db8::52:0:1]", true),
            ("[2001:db8::52:0:2]", false),
            ("[2001:db8::52:0:3]", true),
            ("[2002:db8:a::123]", true),
            ("[2002:db8:b::123]", false),
            ("[fe80::424b:c8be:1643:a1b6]", false),
            ("barbaz.net", false),
            ("www.barbaz.net", true),
            ("foobar.com", true),
            ("FooBar.com", true),
            ("www.foobar.com", true),
            ("foofoobar.com", false),
            ("baz.com", false),
            ("localhost.net", false),
            ("local.localhost", false),
            ("barbarbaz.net", false),
            ("wildcard.io", false),
            ("nested.wildcard.io", true),
            ("a.nested.wildcard.io", true),
            ("awildcard.io", false),
        ] {
            assert_eq!(direct(list, host, 80), expected, "{host}");
            assert!(direct("*", host, 80) && direct("x, *", host, 80));
            assert!(!direct("", host, 80) && !direct(":1,:,., ,[],a:b", host, 80));
        }
    }

    #[test]
    fn ports_networks_and_names_of_others() {
        assert!(direct("corp.example:5000", "registry.corp.example", 5000));
        assert!(!direct("corp.example:5000", "registry.corp.example", 443));
        assert!(direct("10.0.0.0/8,.svc,.cluster.local", "a.b.svc", 443));
        assert!(direct("10.0.0.0/8", "10.200.3.4", 443));
        assert!(!direct("10.0.0.0/8", "11.0.0.0", 443));
        assert!(direct("0.0.0.0/0", "8.8.8.8", 443));
        assert!(!direct("0.0.0.0/0", "[2001:db8::1]", 443));
        assert!(direct("::/0", "[2001:db8::1]", 443));
        assert!(!direct("10.0.0.0/33", "10.0.0.0", 443));
        // No address is looked up, and none is a name.
        assert!(!direct("10.0.0.0/8", "ten.example", 443));
        assert!(!direct("0.0.1", "10.0.0.1", 443));
        assert!(direct("::ffff:10.0.0.1", "10.0.0.1", 443));
        assert!(direct("示例.com", "www.xn--fsq092h.com", 443));
        assert!(direct("xn--fsq092h.com", "示例.com", 443));
        assert!(direct("corp.example.", "corp.example", 443));
    }

    proptest! {
        #[test]
        fn any_entry_is_no_panic(entry in "\\PC{0,24}", host in "[a-z0-9.:\\[\\]]{0,24}") {
            direct(&entry, &host, 80);
        }
    }
}
