//! Asks a running gateway whether it is ready, as Docker's HEALTHCHECK does.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long each step of the question may take. Docker's own default for the whole is 30 s.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// An answer of /readyz is a few lines; more is not read.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Why the gateway does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nobody answers.
    #[error(
        "no answer from {address}: {error}; is the gateway running, and is ops_listen the same for both?"
    )]
    NoAnswer {
        /// The ops listener.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// It answers that it is not.
    #[error("the gateway at {address} is not ready: {answer}; its log says more")]
    Refused {
        /// The ops listener.
        address: SocketAddr,
        /// The status line and the first line of the body.
        answer: String,
    },
}

/// Asks the ops listener at `address` for `/readyz`. Blocks for some seconds at most.
pub fn ask(address: SocketAddr) -> Result<(), NotReady> {
    let answer = exchange(address).map_err(|error| NotReady::NoAnswer { address, error })?;
    let status_line = answer.lines().next().unwrap_or_default();
    let mut words = status_line.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    if is_http && words.next() == Some("200") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").and_then(|(_, body)| body.lines().next()).unwrap_or_default();
    let answer: String = format!("{status_line} {body}").trim().chars().filter(|c| !c.is_control()).collect();
    Err(NotReady::Refused { address, answer })
}

fn exchange(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, STEP_TIMEOUT)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answered(answer: &'static str) -> Result<(), NotReady> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let result = ask(address);
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"));
        result
    }

    #[test]
    fn only_200_is_ready() {
        answered("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").unwrap();
        for (answer, told) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nthe store is closed\nmore", "503"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nthe store is closed\nmore", "the store is closed;"),
            ("HTTP/1.1 2000\r\n\r\n", "2000"),
            ("SSH-2.0-x 200\r\n", "SSH-2.0-x"),
            ("", "not ready"),
        ] {
            let line = answered(answer).unwrap_err().to_string();
            assert!(line.contains(told) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn silence_names_the_address() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let line = ask(free).unwrap_err().to_string();
        assert!(line.contains(&free.to_string()) && line.contains("ops_listen"), "{line}");
    }
}
