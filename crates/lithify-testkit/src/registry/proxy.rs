//! An HTTP proxy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::Certificate;
use super::http::{Answer, Request};
use super::kind::Kind;
use super::lock::lock;
use super::rules::{Action, Hits, On};
use super::server::{Server, Service};

/// An HTTP proxy on loopback: tunnels by `CONNECT`, and plain requests for whole URLs.
///
/// It leads to addresses on loopback, and to those that names are [mapped](Self::map) to; it never leaves the machine.
/// With a name mapped, a test can be about a host that only exists for it:
///
/// ```no_run
/// use lithify_testkit::registry::{Authority, Faulty, Proxy};
/// let authority = Authority::new();
/// let hub = Faulty::start_with(&authority.server_for("DNS:registry-1.docker.io"));
/// let proxy = Proxy::start();
/// proxy.map("registry-1.docker.io:443", &hub.address());
/// // HTTPS_PROXY={proxy.url()}, the CA {authority.certificate()}: pull `alpine`.
/// ```
#[derive(Debug)]
pub struct Proxy {
    server: Server,
    state: Arc<Forwarding>,
}

#[derive(Debug, Default)]
struct Forwarding {
    names: Mutex<BTreeMap<String, String>>,
    user: Mutex<Option<(String, String)>>,
}

impl Proxy {
    /// Starts a proxy for everybody.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::<Forwarding>::default();
        let server = Server::tcp(Arc::clone(&state) as Arc<_>);
        Self { server, state }
    }

    /// Starts a proxy for everybody, which is spoken to by TLS with this certificate.
    #[must_use]
    pub fn start_with(certificate: &Certificate) -> Self {
        let state = Arc::<Forwarding>::default();
        let server = Server::tls(certificate, Arc::clone(&state) as Arc<_>);
        Self { server, state }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// The URL, as `HTTPS_PROXY` has it: `http://127.0.0.1:40000`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Demands `Proxy-Authorization` of this user, by 407.
    pub fn demand(&self, user: &str, password: &str) {
        *lock(&self.state.user) = Some((user.into(), password.into()));
    }

    /// Leads who asks for one `host:port` to another: `("registry.example:443", "127.0.0.1:40000")`.
    pub fn map(&self, from: &str, to: &str) {
        lock(&self.state.names).insert(from.into(), to.into());
    }

    /// Adds a rule, as for [`Faulty`](super::Faulty::rule); it bends what the proxy itself answers.
    pub fn rule(&self, on: On, action: Action) -> Hits {
        self.server.rule(on, action)
    }

    /// All requests so far. [`target`](Request::target) is what was asked for; what came back is not counted.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

impl Forwarding {
    fn lets_in(&self, request: &Request) -> bool {
        let user = lock(&self.user);
        user.as_ref().is_none_or(|wanted| {
            let given = request.header("proxy-authorization");
            given.and_then(Request::decode_basic).as_ref() == Some(wanted)
        })
    }
}

impl Service for Forwarding {
    fn kind(&self, _request: &Request) -> Kind {
        Kind::Other
    }

    fn forward(&self, request: &Request) -> Option<String> {
        if !self.lets_in(request) {
            return None;
        }
        let asked = match request.method.as_str() {
            "CONNECT" => request.target.clone(),
            _ => {
                let (host, _) = request.target.strip_prefix("http://")?.split_once('/')?;
                let port = if host.contains(':') { "" } else { ":80" };
                format!("{host}{port}")
            }
        };
        let mapped = lock(&self.names).get(&asked).cloned();
        let local = asked.starts_with("127.0.0.1:") || asked.starts_with("localhost:");
        mapped.or_else(|| local.then_some(asked))
    }

    fn answer(&self, request: &Request, _body: Vec<u8>) -> Answer {
        if self.lets_in(request) {
            Answer::status(502).body("this proxy does not know the host\n")
        } else {
            Answer::status(407).header("Proxy-Authenticate", "Basic realm=\"proxy\"")
        }
    }
}
