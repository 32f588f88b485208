//! Requests and answers of HTTP/1.1 (RFC 9112), as much of it as registries need.

mod answer; // answers before they are bent
mod date; // dates of headers and tokens
mod request; // request heads and bodies
mod socket; // connections

pub(super) use answer::reason;
pub use answer::{Answer, Framing};
pub use date::http_date;
pub(super) use date::rfc3339;
pub use request::Request;
pub(super) use request::{body, form, head, limited_body, without_proxy};
pub(super) use socket::Socket;
