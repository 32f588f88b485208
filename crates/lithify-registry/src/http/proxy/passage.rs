//! What comes through a proxy, and breaks off there.
//!
//! A connection that ends too early may have been ended by whoever leads it on, also where it is encrypted. So both are
//! named: the host that was asked, and the proxy on the way to it.

use std::io::{self, Read};
use std::sync::Arc;

use ureq::BodyReader;

use crate::http::failure::{Failure, ProxyError};
use crate::http::proxy_address::Proxy;

/// The way to a host.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    proxy: Arc<Proxy>,
    /// The host that is asked.
    to: String,
    /// Whether the proxy sees what passes, and may answer itself.
    is_open: bool,
}

impl Passage {
    /// That of a request to `to`, encrypted or not.
    pub(crate) fn new(proxy: &Arc<Proxy>, to: &str, is_https: bool) -> Self {
        Self {
            proxy: Arc::clone(proxy),
            to: to.to_owned(),
            is_open: !is_https && proxy.is_http(),
        }
    }

    /// A failure, with the proxy where it may be to blame.
    pub(crate) fn blamed(&self, failure: Failure) -> Failure {
        let (proxy, source) = (Arc::clone(&self.proxy), Box::new(failure));
        let error = if self.is_open && source.is_answer() {
            ProxyError::Broken {
                proxy,
                to: self.to.clone(),
                source,
            }
        } else if source.is_cut() {
            ProxyError::Cut { proxy, source }
        } else {
            return *source;
        };
        Failure::from(ureq::Error::from(error))
    }

    /// The same for an error of a reader.
    fn blamed_io(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.blamed(Failure::of_body(error)).into_io(),
        }
    }
}

/// A body as it comes from a host.
pub(crate) struct Incoming {
    body: BodyReader<'static>,
    passage: Option<Passage>,
}

impl Incoming {
    pub(crate) fn new(body: BodyReader<'static>) -> Self {
        Self {
            body,
            passage: None,
        }
    }

    pub(crate) fn through(self, passage: Passage) -> Self {
        Self {
            passage: Some(passage),
            ..self
        }
    }

    /// The way it comes.
    pub(crate) fn passage(&self) -> Option<&Passage> {
        self.passage.as_ref()
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer).map_err(|error| match &self.passage {
            Some(passage) => passage.blamed_io(error),
            None => error,
        })
    }
}
