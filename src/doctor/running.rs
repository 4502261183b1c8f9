//! The gateway that runs on the same data directory, as it tells of itself over its control socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::local_socket::SocketPath;

/// How long each step of the question may take: it is answered from memory.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// Its answer is a few lines; more is not read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
const QUESTION: &[u8] = b"GET /v1/gateway HTTP/1.1\r\nHost: tidegate.local\r\nConnection: close\r\n\r\n";

/// What it tells.
pub(super) struct Running(Value);

impl Running {
    /// `None` where nobody answers.
    pub(super) fn find(data_dir: &Path) -> Option<Self> {
        let answer = ask(data_dir).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let is_good = head.starts_with("HTTP/1.1 200");
        is_good.then(|| serde_json::from_str(body).ok().map(Self)).flatten()
    }

    pub(super) fn version(&self) -> &str {
        self.0.get("version").and_then(Value::as_str).unwrap_or("(unknown)")
    }

    /// Whether it listens on `port`, for `listener` as the `listening` line names it.
    pub(super) fn listens_on(&self, listener: &str, port: u16) -> bool {
        let address = self.0.get(listener).and_then(Value::as_str);
        address.and_then(|address| address.rsplit_once(':')).is_some_and(|(_, held)| held == port.to_string())
    }
}

fn ask(data_dir: &Path) -> io::Result<String> {
    let path = SocketPath::of(data_dir)?;
    let mut stream = UnixStream::connect(path.as_path())?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    stream.write_all(QUESTION)?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
