//! Connections: a thread accepts them, a thread serves each.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::delivery::{Fate, Plan};
use super::http::{self, Answer, Request, Socket};
use super::rules::{Action, Hits, Kind, On, Rule};

/// What a server is asked.
pub(super) trait Service: Send + Sync + 'static {
    /// What a request asks for.
    fn kind(&self, request: &Request) -> Kind;

    /// Carries a request out.
    fn answer(&self, request: &Request, body: Vec<u8>) -> Answer;
}

/// Rules and records of a server, known to its threads.
#[derive(Debug, Default)]
pub(super) struct Shared {
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Request>>,
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
    Unix(UnixListener),
}

impl Server {
    /// Serves on a port of the loopback interface.
    pub(super) fn tcp(service: Arc<dyn Service>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        Self::start(Listener::Tcp(listener), Endpoint::Tcp(address), service)
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
        lock(&self.shared.requests).clone()
    }

    /// Forgets the requests so far; what comes of those under way is still recorded nowhere.
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

/// What a poisoned lock protects is still good enough for a test to report.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &Listener, shared: &Arc<Shared>, service: &Arc<dyn Service>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for number in 1.. {
        let socket = match listener {
            Listener::Tcp(l) => l.accept().map(|(s, _)| Socket::Tcp(s)),
            Listener::Unix(l) => l.accept().map(|(s, _)| Socket::Unix(s)),
        };
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        let Ok(socket) = socket else { continue };
        if let Socket::Tcp(stream) = &socket {
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
            let place = {
                let mut requests = lock(&self.shared.requests);
                requests.push(request.clone());
                requests.len() - 1
            };
            let fate = self.exchange(socket, &mut input, &mut request, actions);
            if let Some(recorded) = lock(&self.shared.requests).get_mut(place) {
                *recorded = request;
            }
            match fate? {
                Fate::Keep => {}
                Fate::Close => return Ok(()),
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
        actions: Vec<Action>,
    ) -> io::Result<Fate> {
        let mut plan = Plan::default();
        for action in actions {
            match action {
                Action::Reset => return Ok(Fate::Reset),
                Action::Stall => return Ok(Fate::Stall),
                Action::Early(answer) => {
                    plan.close = true;
                    return plan.deliver(socket, request, answer, &self.shared.stop);
                }
                Action::ResetUpload(limit) => {
                    expected(socket, request)?;
                    request.received = http::limited_body(request, input, limit)?.len() as u64;
                    return Ok(Fate::Reset);
                }
                Action::Delay(time) => self.pause(time),
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
        request.received = body.len() as u64;
        let answer = match plan.instead.take() {
            Some(answer) => answer,
            None if plan.refuse => return Ok(Fate::Close),
            None => self.service.answer(request, body),
        };
        if plan.mute {
            return Ok(Fate::Close);
        }
        plan.deliver(socket, request, answer, &self.shared.stop)
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
