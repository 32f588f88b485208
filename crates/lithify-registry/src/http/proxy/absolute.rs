//! Requests for whole URLs, which a proxy answers itself (RFC 9112, section 3.2.2). The HTTP library knows proxies as tunnels only
//! (`CONNECT`), and those lead to port 443 alone where a proxy is set up as Squid is.

use ureq::Error;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use crate::Secret;
use crate::http::early::Notes;

/// A connection to a proxy, on which requests are for one host.
#[derive(Debug)]
pub(super) struct Absolute<T> {
    inner: T,
    /// `http://HOST[:PORT]`.
    origin: String,
    authorization: Option<Secret>,
}

impl<T: Transport> Absolute<T> {
    pub(super) fn new(inner: T, authority: &str, authorization: Option<&Secret>) -> Self {
        Self {
            inner,
            origin: format!("http://{authority}"),
            authorization: authorization.cloned(),
        }
    }

    /// The start of a request, for a proxy.
    fn rewritten(&self, head: &[u8]) -> Vec<u8> {
        let target = head.iter().position(|byte| *byte == b' ').map(|at| at + 1);
        let line = head.windows(2).position(|bytes| bytes == b"\r\n");
        let (Some(target), Some(line)) = (target, line.map(|at| at + 2)) else {
            return head.to_vec();
        };
        let mut whole = Vec::with_capacity(head.len() + 512);
        whole.extend_from_slice(&head[..target]);
        whole.extend_from_slice(self.origin.as_bytes());
        whole.extend_from_slice(&head[target..line]);
        if let Some(secret) = &self.authorization {
            whole.extend_from_slice(b"proxy-authorization: ");
            whole.extend_from_slice(secret.expose().as_bytes());
            whole.extend_from_slice(b"\r\n");
        }
        whole.extend_from_slice(&head[line..]);
        whole
    }
}

impl<T: Transport> Transport for Absolute<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !Notes::take_head() {
            return self.inner.transmit_output(amount, timeout);
        }
        let head = self.inner.buffers().output()[..amount].to_vec();
        let head = self.rewritten(&head);
        let mut rest = head.as_slice();
        while !rest.is_empty() {
            let output = self.inner.buffers().output();
            let some = rest.len().min(output.len());
            output[..some].copy_from_slice(&rest[..some]);
            self.inner.transmit_output(some, timeout)?;
            rest = &rest[some..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    /// Not to whom the requests are for.
    fn is_tls(&self) -> bool {
        false
    }
}
