//! Requests as bytes on the wire, and the answers to them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// All a server answers to these bytes until it closes the connection.
pub(crate) fn exchange(address: &str, request: &str) -> String {
    let (answer, result) = raw(address, request);
    result.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// What arrives, and how it ends.
pub(crate) fn raw(address: &str, request: &str) -> (Vec<u8>, std::io::Result<()>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let result = stream.read_to_end(&mut answer).map(drop);
    (answer, result)
}
