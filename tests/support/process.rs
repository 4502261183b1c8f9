//! A child process whose output is collected while it runs, and that dies with its handle.

use super::secrets::Secrets;
use super::wait::within;
use parking_lot::Mutex;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Everything one pipe of a child has said so far.
#[derive(Clone)]
pub struct Transcript {
    bytes: Arc<Mutex<Vec<u8>>>,
    changed: watch::Receiver<State>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open(usize),
    Ended,
}

impl Transcript {
    pub fn follow(mut pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (tell, changed) = watch::channel(State::Open(0));
        let written = Arc::clone(&bytes);
        tokio::spawn(async move {
            let mut chunk = [0_u8; 16 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
                let mut all = written.lock();
                all.extend_from_slice(&chunk[..read]);
                tell.send_replace(State::Open(all.len()));
            }
            tell.send_replace(State::Ended);
        });
        Self { bytes, changed }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock()).into_owned()
    }

    /// Waits until `find` sees what it looks for in all that was said, or says how it ended instead.
    pub async fn wait<T>(
        &self,
        deadline: Duration,
        what: &str,
        mut find: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, String> {
        let mut changed = self.changed.clone();
        let search = async {
            loop {
                let state = *changed.borrow_and_update();
                if let Some(found) = find(&self.bytes.lock()) {
                    return Ok(found);
                }
                if state == State::Ended || changed.changed().await.is_err() {
                    return Err(format!("output ended without: {what}"));
                }
            }
        };
        match tokio::time::timeout(deadline, search).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("not within {deadline:?}: {what}")),
        }
    }

    /// The first line for which `find` gives something.
    pub async fn wait_line<T>(
        &self,
        deadline: Duration,
        what: &str,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T, String> {
        self.wait(deadline, what, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let whole_lines = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
            whole_lines.lines().find_map(&find)
        })
        .await
    }

    /// Waits for the end of the pipe and gives all of it.
    pub async fn finish(&self, deadline: Duration, what: &str) -> Vec<u8> {
        let mut changed = self.changed.clone();
        within(deadline, what, async {
            let _ = changed.wait_for(|state| *state == State::Ended).await;
        })
        .await;
        self.bytes()
    }
}

/// A running child with both pipes followed.
pub struct Running {
    child: Child,
    pub name: String,
    pub stdout: Transcript,
    pub stderr: Transcript,
    /// What must stand in neither of them when the child is let go.
    untold: Option<Secrets>,
}

/// How a child ended and all it said.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Running {
    pub fn start(name: &str, mut command: Command) -> Self {
        // Clients honour proxy variables even for loopback addresses.
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {name} ({error}); `make test` installs what tests need")
            });
        let stdout = Transcript::follow(child.stdout.take().expect("piped"));
        let stderr = Transcript::follow(child.stderr.take().expect("piped"));
        Self { child, name: name.to_owned(), stdout, stderr, untold: None }
    }

    /// From now on it is a failure of the test if the child tells one of these, however it ends.
    pub fn must_not_tell(mut self, secrets: Secrets) -> Self {
        self.untold = Some(secrets);
        self
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("still running")
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM: asks politely.
    pub async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Sends the signal of this name.
    pub async fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "cannot signal {} ({pid})", self.name);
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("kill");
    }

    /// Waits for the end by itself.
    pub async fn ended(mut self, deadline: Duration) -> Ended {
        let name = self.name.clone();
        let status = within(deadline, &format!("{name} ends"), self.child.wait()).await.expect("wait");
        let stdout = self.stdout.finish(deadline, &format!("{name} closes stdout")).await;
        let stderr = self.stderr.finish(deadline, &format!("{name} closes stderr")).await;
        Ended {
            status,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.stderr.text();
            if !said.is_empty() {
                eprintln!("--- stderr of {}\n{said}", self.name);
            }
        } else if let Some(untold) = &self.untold {
            untold.assert_absent(&format!("stdout of {}", self.name), &self.stdout.text());
            untold.assert_absent(&format!("stderr of {}", self.name), &self.stderr.text());
        }
    }
}

/// Runs a command to its end.
pub async fn run(name: &str, command: Command, deadline: Duration) -> Ended {
    Running::start(name, command).ended(deadline).await
}
