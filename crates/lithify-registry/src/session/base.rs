//! Where a registry is.

use ureq::http::Method;

use super::Session;
use crate::config::PlainHttp;
use crate::error::{Error, Operation};
use crate::http::tls::TlsError;
use crate::http::url::Url;
use crate::http::{Body, Failure, Request};

impl Session<'_> {
    /// Where the registry is: an encrypted one unless it need not be and is not.
    pub(crate) fn base(&self) -> Result<&Url, Error> {
        let endpoint = self.endpoint;
        if let Some(base) = endpoint.base.get() {
            return Ok(base);
        }
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{}/", endpoint.host))
                .map_err(|e| self.location(&Operation::Ping, e.into()))
        };
        let https = url("https")?;
        let mut found = https.clone();
        if endpoint.plain() == PlainHttp::Forced {
            found = url("http")?;
        } else if endpoint.plain() == PlainHttp::Allowed
            && let Some(why) = self.speaks_no_tls(&https)?
        {
            log::debug!("{}: {why}", endpoint.host);
            let http = url("http")?;
            match self.ping(&http)? {
                Ok(()) => {
                    log::info!("{}: speaking plain http", endpoint.host);
                    found = http;
                }
                Err(source) => return Err(self.transport(&Operation::Ping, source, 1)),
            }
        }
        Ok(endpoint.base.get_or_init(|| found))
    }

    /// Why TLS is not to be had, if it is not. Anything else that goes wrong is an error.
    fn speaks_no_tls(&self, https: &Url) -> Result<Option<String>, Error> {
        match self.ping(https) {
            Ok(Ok(())) => Ok(None),
            Ok(Err(failure)) if failure.is_no_tls() => Ok(Some(failure.to_string())),
            Ok(Err(failure)) => Err(self.transport(&Operation::Ping, failure, 1)),
            // Who has no certificates can still speak to this machine.
            Err(Error::Tls { source, .. }) if matches!(*source, TlsError::NoRoots) => {
                Ok(Some(source.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether anything answers there.
    fn ping(&self, base: &Url) -> Result<Result<(), Failure>, Error> {
        let url = base
            .join("/v2/")
            .map_err(|e| self.location(&Operation::Ping, e.into()))?;
        let request = Request {
            method: Method::GET,
            url: &url,
            authorization: None,
            headers: &[],
            body: Body::Empty,
        };
        match self.shared.http.send(&self.endpoint.profile, request) {
            Ok(Ok(response)) => {
                response.discard();
                Ok(Ok(()))
            }
            Ok(Err(failure)) => {
                self.shared.check_cancelled()?;
                Ok(Err(failure))
            }
            Err(source) => Err(Error::Tls {
                host: self.endpoint.host.clone(),
                source: Box::new(source),
            }),
        }
    }
}
