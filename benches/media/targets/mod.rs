//! The servers that can be measured.

pub mod floor;
mod nginx;
mod tidegate;

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use floor::Merging;

use super::link::Target;
use super::wire::Url;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);

/// A server as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `tidegate` and `tidegate-live`: the word of the profile.
    Tidegate(&'static str),
    /// `floor`, and with merging `floor-10`, `floor-lead-10`, `floor-sound-10`.
    Floor(Merging),
    /// `nginx` with one worker, `nginx-auto` with one for each processor.
    Nginx { is_auto: bool },
    /// The URLs of the command line.
    Other,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "tidegate" => Self::Tidegate("rtc"),
            "tidegate-live" => Self::Tidegate("live"),
            "nginx" => Self::Nginx { is_auto: false },
            "nginx-auto" => Self::Nginx { is_auto: true },
            "url" => Self::Other,
            _ if name.starts_with("floor") => Self::Floor(name.parse()?),
            _ => return Err(format!("{name:?} is no target")),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Tidegate("rtc") => "tidegate",
            Self::Tidegate(_) => "tidegate-live",
            Self::Nginx { is_auto: false } => "nginx",
            Self::Nginx { is_auto: true } => "nginx-auto",
            Self::Floor(merging) => return f.pad(&merging.to_string()),
            Self::Other => "url",
        };
        f.pad(name)
    }
}

/// URLs of a server that somebody else runs. `{n}` in them is the stream's number.
#[derive(Debug, Clone, Default)]
pub struct Other {
    pub publish_url: String,
    pub play_url: String,
    /// Its process, if it is on this machine.
    pub process: Option<u32>,
}

/// Where one stream goes in and comes out.
#[derive(Debug, Clone)]
pub struct Stream {
    pub publish: Target,
    /// Viewers are spread over these.
    pub play: Vec<Target>,
}

/// A server that runs until it is dropped.
pub struct Server {
    child: Option<Child>,
    pub process: Option<u32>,
    pub streams: Vec<Stream>,
    /// What has to outlive the server.
    _home: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let tree = super::process::tree(child.id());
        // The parent first: it would start a worker anew that ended before it.
        let _ = child.kill();
        let _ = child.wait();
        for process in tree.into_iter().filter(|process| *process != child.id()) {
            if let Some(process) = rustix::process::Pid::from_raw(process.cast_signed()) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Starts a server with so many streams, each for so many viewers.
pub fn start(kind: &Kind, streams: usize, viewers: usize, other: &Other) -> Server {
    match kind {
        Kind::Tidegate(profile) => tidegate::start(profile, streams, viewers),
        Kind::Floor(merging) => floor::start(*merging, streams),
        Kind::Nginx { is_auto } => nginx::start(*is_auto, streams),
        Kind::Other => {
            let at = |template: &str, number: usize| -> Target {
                let url = template.replace("{n}", &number.to_string());
                Target::Rtmp(Url::from_str(&url).unwrap_or_else(|error| panic!("{error}")))
            };
            if streams > 1 {
                assert!(other.publish_url.contains("{n}"), "several streams need {{n}} in the URLs");
            }
            let streams = (0..streams).map(|number| Stream {
                publish: at(&other.publish_url, number),
                play: vec![at(&other.play_url, number)],
            });
            Server { child: None, process: other.process, streams: streams.collect(), _home: None }
        }
    }
}

/// Starts a process that says on its first line where it listens.
fn spawn(mut command: Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("the server says where it listens");
    (child, line)
}

/// Waits until somebody listens.
fn wait_for(address: std::net::SocketAddr) {
    let until = Instant::now() + START;
    while std::net::TcpStream::connect(address).is_err() {
        assert!(Instant::now() < until, "nobody listens on {address}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
