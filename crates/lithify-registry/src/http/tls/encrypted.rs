//! Connections by TLS.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use super::{Tls, TlsFailure};

/// Encrypts what goes to hosts that are spoken to by https.
#[derive(Debug)]
pub(crate) struct Encrypt(pub(crate) Option<Tls>);

impl<In: Transport> Connector<In> for Encrypt {
    type Out = Either<In, Encrypted>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        let Some(tls) = self.0.as_ref().filter(|_| details.needs_tls()) else {
            return Ok(Some(Either::A(transport)));
        };
        let authority = details.uri.authority().map_or("", |a| a.as_str());
        let host = details.uri.host().unwrap_or("");
        tls.encrypt(transport, host, authority, details)
            .map(|encrypted| Some(Either::B(encrypted)))
    }
}

impl Tls {
    /// Agrees with a host on how to encrypt, over a connection that leads there.
    pub(crate) fn encrypt(
        &self,
        transport: impl Transport,
        host: &str,
        authority: &str,
        details: &ConnectionDetails<'_>,
    ) -> Result<Encrypted, Error> {
        let whom = Whom {
            authority: authority.to_owned(),
            client: self.client.clone(),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| Error::Tls("a host name that no certificate can have"))?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name);
        let mut connection = connection.map_err(|e| whom.failed(io::Error::other(e)))?;
        let boxed: Box<dyn Transport> = Box::new(transport);
        let mut stream = TransportAdapter::new(boxed, Arc::clone(&details.current_time));
        stream.set_timeout(details.timeout);
        connection
            .complete_io(&mut stream)
            .map_err(|e| whom.failed(e))?;
        Ok(Encrypted {
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
            stream: StreamOwned::new(connection, stream),
            whom,
        })
    }
}

/// Whom a connection is to, for those who are told what went wrong.
#[derive(Debug)]
struct Whom {
    authority: String,
    client: Option<PathBuf>,
}

impl Whom {
    fn failed(&self, error: io::Error) -> Error {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            None => error.into(),
            Some(inner) => {
                let failure = TlsFailure {
                    error: inner.clone(),
                    host: self.authority.clone(),
                    client: self.client.clone(),
                };
                io::Error::new(error.kind(), failure).into()
            }
        }
    }
}

/// A connection by TLS.
pub(crate) struct Encrypted {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    whom: Whom,
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted")
            .field("whom", &self.whom)
            .finish_non_exhaustive()
    }
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream
            .write_all(output)
            .map_err(|e| self.whom.failed(e))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input).map_err(|e| self.whom.failed(e))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
