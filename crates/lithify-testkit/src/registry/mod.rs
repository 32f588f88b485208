//! Registries on loopback, for tests of whatever talks to one.
//!
//! - [`Real`]: Debian's `docker-registry`, plain, with passwords, with tokens, with TLS. What works against it works.
//! - [`Faulty`]: a registry of our own, which speaks the distribution specification until a rule bends an answer.
//! - [`TokenServer`]: signs tokens both of them accept.
//! - [`Authority`]: a private certificate authority.
//! - [`Proxy`]: an HTTP proxy, which can also lead to hosts that only exist in a test.
//! - [`FakeDaemon`]: the part of the Docker Engine API that images go through, on a unix socket.
//!
//! `Faulty`, `TokenServer`, `Proxy` and `FakeDaemon` share one HTTP server: each records every [`Request`] and takes rules, an
//! [`On`] (which requests) with an [`Action`] (what goes wrong).
//!
//! ```
//! use lithify_testkit::registry::{Action, Answer, At, Faulty, Kind, On};
//!
//! let registry = Faulty::start();
//! let digest = registry.add_blob("library/x", b"some bytes");
//! // The first answer to a GET of a blob breaks off in the middle, the second comes when it is asked for.
//! registry.rule(On::kind(Kind::Blob).method("GET").nth(1), Action::ResetAt(At::Percent(50)));
//! registry.rule(
//!     On::kind(Kind::Blob).method("GET").nth(2),
//!     Action::Answer(Answer::status(429).header("Retry-After", "1")),
//! );
//! // ... pull `registry.address()` with the code under test ...
//! assert!(registry.requests().is_empty());
//! # drop(digest);
//! ```

mod daemon; // the Docker Engine API
mod delivery; // answers on their way
mod faulty; // a registry with rules
mod http; // requests and answers of HTTP/1.1
mod kind; // what requests ask for
mod lock; // locks whose holders may have panicked
mod proxy; // an HTTP proxy
mod real; // Debian's registry
mod rules; // what goes wrong, and when
mod server; // connections
mod tls; // certificates
mod token; // a token server

pub use daemon::FakeDaemon;
pub use faulty::{Demand, Faulty};
pub use http::{Answer, Framing, Request, http_date};
pub use kind::Kind;
pub use proxy::Proxy;
pub use real::{Real, Setup};
pub use rules::{Action, At, Hits, On};
pub use tls::{Authority, Certificate, Recipe};
pub use token::{Asked, TokenServer};
