//! Connections: a thread accepts them, a thread serves each.

use std::io::{self, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::Certificate;
use super::delivery::{Fate, Plan, Record};
use super::http::{self, Answer, Request, Socket};
use super::kind::Kind;
use super::lock::lock;
use super::rules::{Action, Hits, On, Rule};

/// What a server is asked.
pub(super) trait Service: Send + Sync + 'static {
    /// What a request asks for.
    fn kind(&self, request: &Request) -> Kind;

    /// Where to send a request on to, `host:port`, if that is what is to be done with it.
    fn forward(&self, _request: &Request) -> Option<String> {
        None
    }

    /// Carries a request out.
    fn answer(&self, request: &Request, body: Vec<u8>) -> Answer;
}

/// Rules and records of a server, known to its threads.
#[derive(Debug, Default)]
pub(super) struct Shared {
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Arc<Mutex<Request>>>>,
    live: Mutex<Vec<Weak<Socket>>>,
    pub(super) stop: AtomicBool,
}

/// A server, stopped when dropped.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<ServerConfig>),
    Unix(UnixListener),
}

impl Server {
    /// Serves on a port of the loopback interface.
    pub(super) fn tcp(service: Arc<dyn Service>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        Self::start(Listener::Tcp(listener), Endpoint::Tcp(address), service)
    }

    /// Serves on a port of the loopback interface, by TLS.
    pub(super) fn tls(certificate: &Certificate, service: Arc<dyn Service>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let listener = Listener::Tls(listener, certificate.server_config());
        Self::start(listener, Endpoint::Tcp(address), service)
    }

    /// Serves on a unix socket.
    pub(super) fn unix(path: &Path, service: Arc<dyn Service>) -> Self {
        let listener = UnixListener::bind(path).expect("a unix socket can be made");
        Self::start(
            Listener::Unix(listener),
            Endpoint::Unix(path.into()),
            service,
        )
    }

    fn start(listener: Listener, endpoint: Endpoint, service: Arc<dyn Service>) -> Self {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &of_thread, &service));
        Self {
            shared,
            endpoint,
            accepting: Some(accepting),
        }
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn address(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp(address) => address.to_string(),
            Endpoint::Unix(path) => path.display().to_string(),
        }
    }

    pub(super) fn rule(&self, on: On, action: Action) -> Hits {
        let rule = Rule::new(on, action);
        let hits = rule.hits();
        lock(&self.shared.rules).push(rule);
        hits
    }

    pub(super) fn clear_rules(&self) {
        lock(&self.shared.rules).clear();
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        let requests = lock(&self.shared.requests);
        requests.iter().map(|r| lock(r).clone()).collect()
    }

    pub(super) fn clear_requests(&self) {
        lock(&self.shared.requests).clear();
    }

    /// Ends all connections of the moment.
    pub(super) fn disconnect(&self) {
        let live = lock(&self.shared.live);
        live.iter()
            .filter_map(Weak::upgrade)
            .for_each(|s| s.shut_down());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which shuts down what it has accepted.
        drop(match &self.endpoint {
            Endpoint::Tcp(address) => TcpStream::connect(address).map(drop),
            Endpoint::Unix(path) => UnixStream::connect(path).map(drop),
        });
        if let Some(thread) = self.accepting.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("a thread of a test server panicked");
        }
    }
}

fn accept(listener: &Listener, shared: &Arc<Shared>, service: &Arc<dyn Service>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for number in 1.. {
        let socket = match listener {
            Listener::Tcp(l) => l.accept().map(|(s, _)| Socket::Tcp(s)),
            Listener::Tls(l, config) => l
                .accept()
                .and_then(|(s, _)| Socket::tls(s, Arc::clone(config))),
            Listener::Unix(l) => l.accept().map(|(s, _)| Socket::Unix(s)),
        };
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        let Ok(socket) = socket else { continue };
        if let Socket::Tcp(stream) | Socket::Tls(_, stream) = &socket {
            // Small answers must not wait for acknowledgements of their heads.
            drop(stream.set_nodelay(true));
        }
        let socket = Arc::new(socket);
        let mut live = lock(&shared.live);
        live.retain(|s| s.strong_count() > 0);
        live.push(Arc::downgrade(&socket));
        drop(live);
        threads.retain(|t| !t.is_finished());
        let (shared, service) = (Arc::clone(shared), Arc::clone(service));
        threads.push(std::thread::spawn(move || {
            // What ends a connection early is the client's affair, or was asked for by a rule.
            drop(
                Connection {
                    shared,
                    service,
                    number,
                }
                .serve(&socket),
            );
        }));
    }
    for socket in lock(&shared.live).iter().filter_map(Weak::upgrade) {
        socket.shut_down();
    }
    for thread in threads {
        thread
            .join()
            .expect("a connection is served without a panic");
    }
}

struct Connection {
    shared: Arc<Shared>,
    service: Arc<dyn Service>,
    number: usize,
}

impl Connection {
    fn serve(&self, socket: &Socket) -> io::Result<()> {
        let mut input = BufReader::new(socket);
        while let Some(mut request) = http::head(&mut input)? {
            request.connection = self.number;
            request.kind = self.service.kind(&request);
            let mut rules = lock(&self.shared.rules);
            let actions: Vec<_> = rules.iter_mut().filter_map(|r| r.apply(&request)).collect();
            drop(rules);
            let record = Record(Arc::new(Mutex::new(request.clone())));
            lock(&self.shared.requests).push(Arc::clone(&record.0));
            let fate = self.exchange(socket, &mut input, &mut request, &record, actions);
            match fate? {
                Fate::Keep => {}
                Fate::Close => return socket.finish(),
                Fate::Linger => {
                    socket.finish()?;
                    socket.hold();
                    return Ok(());
                }
                Fate::Stall => {
                    socket.hold();
                    return Ok(());
                }
                Fate::Reset => return socket.reset_on_close(&self.shared.stop),
            }
        }
        Ok(())
    }

    /// Serves one request.
    fn exchange(
        &self,
        mut socket: &Socket,
        input: &mut BufReader<&Socket>,
        request: &mut Request,
        record: &Record,
        actions: Vec<Action>,
    ) -> io::Result<Fate> {
        let mut plan = Plan::default();
        for action in actions {
            match action {
                Action::Reset => return Ok(Fate::Reset),
                Action::Stall => return Ok(Fate::Stall),
                Action::Early(answer) => {
                    plan.close = true;
                    plan.deliver(socket, request, record, answer, &self.shared.stop)?;
                    // Closing with bytes unread would reset the connection and take the answer along.
                    return Ok(Fate::Linger);
                }
                Action::ResetUpload(limit) => {
                    expected(socket, request)?;
                    record.received(http::limited_body(request, input, limit)?.len());
                    return Ok(Fate::Reset);
                }
                Action::Delay(time) => self.pause(time),
                Action::Sip(bytes, pause) => {
                    expected(socket, request)?;
                    let mut piece = vec![0; bytes.max(1)];
                    while !self.shared.stop.load(Ordering::SeqCst) && input.read(&mut piece)? > 0 {
                        self.pause(pause);
                    }
                    return Ok(Fate::Close);
                }
                Action::Raw(bytes) => {
                    socket.write_all(&bytes)?;
                    return Ok(Fate::Close);
                }
                Action::EndlessHeaders => {
                    socket.write_all(b"HTTP/1.1 200 OK\r\n")?;
                    for n in 0_u64.. {
                        write!(socket, "X-Header-{n}: {}\r\n", "v".repeat(1000))?;
                    }
                }
                other => plan.add(other, request),
            }
        }
        expected(socket, request)?;
        let body = http::body(request, input)?;
        record.received(body.len());
        let answer = match plan.instead.take() {
            Some(answer) => answer,
            None if plan.refuse => return Ok(Fate::Close),
            None => match self.service.forward(request) {
                Some(to) => match TcpStream::connect(to) {
                    Ok(upstream) => {
                        record.status(200);
                        return self.tunnel(socket, input, request, &body, upstream);
                    }
                    Err(error) => Answer::status(502).body(format!("{error}\n")),
                },
                None => self.service.answer(request, body),
            },
        };
        if plan.mute {
            return Ok(Fate::Close);
        }
        plan.deliver(socket, request, record, answer, &self.shared.stop)
    }

    /// Connects a client with another server until both are done.
    fn tunnel(
        &self,
        mut socket: &Socket,
        input: &mut BufReader<&Socket>,
        request: &Request,
        body: &[u8],
        upstream: TcpStream,
    ) -> io::Result<Fate> {
        let upstream = Arc::new(Socket::Tcp(upstream));
        lock(&self.shared.live).push(Arc::downgrade(&upstream));
        let mut upstream = &*upstream;
        if request.method == "CONNECT" {
            socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        } else {
            upstream.write_all(&http::without_proxy(request, body))?;
        }
        std::thread::scope(|scope| {
            if request.method == "CONNECT" {
                scope.spawn(move || {
                    // Whichever side breaks off, in whatever way, the other is told by the end of what it reads.
                    let up = io::copy(input, &mut &*upstream);
                    drop(upstream.finish().and(up));
                });
            }
            let down = io::copy(&mut upstream, &mut socket);
            socket.finish().and(down.map(drop))
        })?;
        Ok(Fate::Close)
    }

    fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.shared.stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5).min(time));
        }
    }
}

/// Tells a client that waits for leave to send its body to send it (RFC 9110, 10.1.1).
fn expected(mut socket: &Socket, request: &Request) -> io::Result<()> {
    if request.header("expect").is_some() {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    Ok(())
}
