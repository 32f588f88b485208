//! One connection, over TCP, TLS or a unix socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::registry::lock::lock;

/// A connection that several threads can hold: one serves it, another may shut it down.
#[derive(Debug)]
pub(in crate::registry) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// The connection itself as well, for what may happen while another thread reads.
    Tls(Box<Mutex<Tls>>, TcpStream),
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

impl Socket {
    /// The server's side of a TLS connection; its handshake happens with the first read.
    pub(in crate::registry) fn tls(
        stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> io::Result<Self> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let raw = stream.try_clone()?;
        let tls = StreamOwned::new(connection, stream);
        Ok(Self::Tls(Box::new(Mutex::new(tls)), raw))
    }

    /// Ends what is sent, in good order.
    pub(in crate::registry) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.shutdown(Shutdown::Write),
            Self::Unix(s) => s.shutdown(Shutdown::Write),
            Self::Tls(tls, raw) => {
                let mut tls = lock(tls);
                tls.conn.send_close_notify();
                tls.flush()?;
                raw.shutdown(Shutdown::Write)
            }
        }
    }

    /// Ends both directions, which also wakes whoever reads or writes.
    pub(in crate::registry) fn shut_down(&self) {
        // A connection that has ended by itself cannot be shut down, and need not be.
        drop(match self {
            Self::Tcp(s) | Self::Tls(_, s) => s.shutdown(Shutdown::Both),
            Self::Unix(s) => s.shutdown(Shutdown::Both),
        });
    }

    /// Makes closing the connection a reset, once the client's kernel has all that was written.
    ///
    /// Closing with a linger time of zero throws away what was not yet sent; without the wait, how much a client sees
    /// before the reset would depend on how fast it reads.
    pub(in crate::registry) fn reset_on_close(&self, stop: &AtomicBool) -> io::Result<()> {
        let (Self::Tcp(stream) | Self::Tls(_, stream)) = self else {
            return Ok(());
        };
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        while unacknowledged(ends) && !stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
        Ok(())
    }

    /// Waits until the client closes the connection or [`shut_down`](Self::shut_down) is called.
    pub(in crate::registry) fn hold(&self) {
        let mut sink = [0; 4096];
        while (&mut &*self).read(&mut sink).is_ok_and(|n| n > 0) {}
    }
}

impl Read for &Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => (&*s).read(buf),
            Socket::Unix(s) => (&*s).read(buf),
            Socket::Tls(tls, raw) => {
                match lock(tls).conn.reader().read(buf) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
                // What is waited for is not locked: another thread may write meanwhile.
                let mut waiting = [PollFd::new(raw, PollFlags::IN)];
                rustix::io::retry_on_intr(|| poll(&mut waiting, None))?;
                lock(tls).read(buf)
            }
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => (&*s).write(buf),
            Socket::Unix(s) => (&*s).write(buf),
            Socket::Tls(tls, _) => lock(tls).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Tls(tls, _) => lock(tls).flush(),
            _ => Ok(()),
        }
    }
}

/// Whether the kernel has bytes of this connection the other end has not acknowledged, by `/proc/net/tcp`
/// (proc_pid_net(5): local and remote address, state, `tx_queue:rx_queue`, in hexadecimal).
fn unacknowledged((local, remote): (SocketAddr, SocketAddr)) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        matches!(fields[..], [_, l, r, _, queues, ..]
            if l.ends_with(&port(local)) && r.ends_with(&port(remote)) && !queues.starts_with("00000000:"))
    })
}
