//! The real binary on free ports and a data directory of its own.

use super::api::{Api, App, Secrets};
use super::process::{Ended, Running, run};
use super::wait::EVENT;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::process::Command;

/// Stands for a listener that is switched off.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Names another binary, such as the release build, for runs that measure.
const BINARY_VARIABLE: &str = "TIDEGATE_BINARY";

/// How a gateway is to be started: the directory, the environment, more arguments.
#[derive(Clone)]
pub struct Setup {
    home: Arc<TempDir>,
    data_dir: PathBuf,
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    /// The program and arguments before the binary, such as `ip netns exec NAME`, which must become it.
    through: Vec<String>,
    reached_at: Option<IpAddr>,
    secrets: Secrets,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    pub fn new() -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let data_dir = home.path().join("data");
        let setup = Self {
            home,
            data_dir,
            environment: BTreeMap::new(),
            arguments: Vec::new(),
            through: Vec::new(),
            reached_at: None,
            secrets: Secrets::default(),
        };
        // A stop with somebody inside is not to cost every test a second.
        setup.listen_on(IpAddr::V4(Ipv4Addr::LOCALHOST), [0, 0, 0]).env("TIDEGATE_DRAIN_NOTICE_MS", 0)
    }

    /// One environment variable of the gateway.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.insert(name.to_owned(), value.to_string());
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// One more argument behind `serve`.
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_string_lossy().into_owned());
        self
    }

    /// Started by another program, whose process becomes the gateway's.
    pub fn through(mut self, command: &[&str]) -> Self {
        self.through = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Where tests reach a gateway that listens on all addresses of another network.
    pub fn reached_at(mut self, ip: IpAddr) -> Self {
        self.reached_at = Some(ip);
        self
    }

    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = path.into();
        self
    }

    /// The ports of RTMP, HTTP and ops on one address; 0 takes a free one.
    pub fn listen_on(self, ip: IpAddr, ports: [u16; 3]) -> Self {
        self.env("TIDEGATE_RTMP_LISTEN", SocketAddr::new(ip, ports[0]))
            .env("TIDEGATE_HTTP_LISTEN", SocketAddr::new(ip, ports[1]))
            .env("TIDEGATE_OPS_LISTEN", SocketAddr::new(ip, ports[2]))
    }

    /// RTMPS and HTTPS on the same address as the others, with this certificate.
    pub fn with_tls(self, certificate: &Path, key: &Path) -> Self {
        let at = self.environment["TIDEGATE_HTTP_LISTEN"].clone();
        self.env("TIDEGATE_RTMPS_LISTEN", &at)
            .env("TIDEGATE_HTTPS_LISTEN", &at)
            .env("TIDEGATE_TLS_CERT", certificate.display())
            .env("TIDEGATE_TLS_KEY", key.display())
            .env("TIDEGATE_TLS_RELOAD_MS", 20)
    }

    pub fn data_path(&self) -> &Path {
        &self.data_dir
    }

    /// A directory of this setup beside the data, for files that a test writes.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `tidegate` with these arguments and this setup's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let binary =
            std::env::var_os(BINARY_VARIABLE).unwrap_or_else(|| env!("CARGO_BIN_EXE_tidegate").into());
        let mut command = match self.through.split_first() {
            None => Command::new(binary),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEGATE_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("TIDEGATE_DATA_DIR", &self.data_dir)
            .envs(&self.environment);
        command
    }

    /// Runs one of the other commands of the binary to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        run(&format!("tidegate {}", arguments.join(" ")), self.command(arguments), EVENT).await
    }

    /// Starts `serve` without waiting for anything.
    pub fn spawn(&self) -> Running {
        let mut arguments = vec!["serve"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        Running::start("tidegate serve", self.command(&arguments)).must_not_tell(self.secrets.clone())
    }

    /// Starts `serve`, which must say that it listens.
    pub async fn start(self) -> Gateway {
        let process = self.spawn();
        let listening = process
            .stdout
            .wait_line(EVENT, "the `listening` line on stdout", |line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                (line["event"] == "listening").then_some(line)
            })
            .await;
        let listening =
            listening.unwrap_or_else(|error| panic!("{error}; stderr: {}", process.stderr.text()));
        let address = |listener: &str| -> SocketAddr {
            listening[listener]
                .as_str()
                .and_then(|text| text.parse().ok())
                .map(|address: SocketAddr| {
                    SocketAddr::new(self.reached_at.unwrap_or_else(|| address.ip()), address.port())
                })
                .unwrap_or_else(|| panic!("no address of {listener} in {listening}"))
        };
        let (http, ops) = (address("http"), address("ops"));
        let tls = |listener: &str| listening.get(listener).map(|_| address(listener));
        let (rtmp, rtmps, https) = (tls("rtmp").unwrap_or(NOWHERE), tls("rtmps"), tls("https"));
        let api = Api::new(http, self.secrets.clone());
        Gateway { process, rtmp, rtmps, http, https, ops, api, setup: self }
    }

    /// Starts `serve`, which must refuse: gives its exit and its words.
    pub async fn refused(&self) -> Ended {
        let ended = self.spawn().ended(EVENT).await;
        assert!(!ended.status.success(), "the start ought to be refused: {ended:?}");
        ended
    }
}

/// A gateway that listens.
pub struct Gateway {
    pub process: Running,
    /// Port 0 where it is switched off.
    pub rtmp: SocketAddr,
    pub rtmps: Option<SocketAddr>,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub ops: SocketAddr,
    pub api: Api,
    pub setup: Setup,
}

impl Gateway {
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// The app of this gateway, by the key that `tidegate key show` prints.
    pub async fn app(&self) -> App {
        let shown = self.setup.run(&["key", "show"]).await;
        assert!(shown.status.success(), "key show: {shown:?}");
        App::new(self.api.clone(), shown.stdout.trim())
    }

    /// kill -9; gives the setup back, so that the same data can be served again.
    pub async fn kill(mut self) -> Setup {
        self.process.kill().await;
        self.setup.clone()
    }

    /// The listener for RTMP over TLS.
    pub fn rtmps(&self) -> SocketAddr {
        self.rtmps.expect("RTMPS listens")
    }

    /// The listener for HTTP over TLS.
    pub fn https(&self) -> SocketAddr {
        self.https.expect("HTTPS listens")
    }

    /// The value of a metric, by its name with its labels; none while it is not there.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = reqwest::get(format!("http://{}/metrics", self.ops)).await.expect("metrics");
        let text = text.text().await.expect("metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.parse().expect("a number"))
    }

    /// SIGTERM; the gateway must exit 0. That it told no secret is checked when its process is let go.
    pub async fn stop(self) -> Setup {
        self.process.terminate().await;
        let setup = self.setup.clone();
        let ended = self.process.ended(EVENT).await;
        assert!(ended.status.success(), "SIGTERM ends with 0: {ended:?}");
        assert!(!ended.stderr.contains("panicked at"), "a panic in the gateway:\n{}", ended.stderr);
        setup
    }

    pub fn secrets(&self) -> &Secrets {
        &self.setup.secrets
    }
}
