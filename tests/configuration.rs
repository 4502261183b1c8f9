//! The program from outside: settings, their errors, the data directory, start and stop.

#![expect(clippy::unwrap_used, reason = "a step that fails ends its test")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// The program with nothing of our own environment that could change what it does.
fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn ran(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that a command failed with one line on stderr that has all `parts`, and nothing on stdout.
fn assert_refused(output: &Output, parts: &[&str]) {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{line}");
    let lines: Vec<&str> = line.lines().filter(|line| line.starts_with("tidegate: ")).collect();
    assert_eq!(lines.len(), 1, "{line}");
    assert!(lines[0].contains(';'), "it says how to mend it: {line}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} is not in: {line}");
    }
    assert_eq!(stdout(output), "");
}

fn write(folder: &Path, text: &str) -> String {
    let file = folder.join("tidegate.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// `serve` on free ports of loopback.
fn serve(data_dir: &Path) -> Command {
    let mut command = tidegate(&["serve"]);
    for listener in ["TIDEGATE_RTMP_LISTEN", "TIDEGATE_HTTP_LISTEN", "TIDEGATE_OPS_LISTEN"] {
        command.env(listener, "127.0.0.1:0");
    }
    command.env("TIDEGATE_DATA_DIR", data_dir);
    command
}

/// A server that is killed when a test fails before it has stopped it.
struct Server {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    listening: String,
}

impl Server {
    /// Starts it and waits for the line that says where it listens.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut listening = String::new();
        stdout.read_line(&mut listening).unwrap();
        Self { child, stdout, listening }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let line: serde_json::Value = serde_json::from_str(&self.listening).unwrap();
        line[listener].as_str().unwrap().parse().unwrap()
    }

    /// Sends a signal, waits for the end, and gives the exit status, the rest of stdout, and stderr.
    fn end_with(mut self, signal: &str) -> (ExitStatus, String, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let (mut rest, mut errors) = (String::new(), String::new());
        self.stdout.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap(), rest, errors)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn no_command_shows_the_help_and_is_a_usage_error() {
    let output = ran(&mut tidegate(&[]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("serve") && stderr(&output).contains("Examples:"),
        "{}",
        stderr(&output)
    );
    assert_eq!(ran(&mut tidegate(&["serve", "--chekc"])).status.code(), Some(2));
    assert_eq!(ran(&mut tidegate(&["key"])).status.code(), Some(2));
}

#[test]
fn the_version_is_told() {
    let output = ran(&mut tidegate(&["--version"]));
    assert!(output.status.success());
    assert_eq!(stdout(&output), format!("tidegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_printed_settings_pass_their_own_check() {
    let printed = ran(&mut tidegate(&["serve", "--print-config"]));
    assert!(printed.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &stdout(&printed));
    let checked = ran(tidegate(&["serve", "--config", &file, "--check"]).current_dir(folder.path()));
    assert_eq!((checked.status.code(), stderr(&checked)), (Some(0), String::new()));
    assert!(!folder.path().join("data").exists(), "a check makes nothing");
}

#[test]
fn an_unknown_key_refuses_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "drian_ms = 5\n");
    for arguments in [&["serve", "--config", &file][..], &["serve", "--check", "--config", &file]] {
        let output = ran(tidegate(arguments).current_dir(folder.path()));
        assert_refused(&output, &["`drian_ms`", &file, "`drain_ms`"]);
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_wrong_value_names_key_value_origin_and_range() {
    let output = ran(tidegate(&["serve", "--check"]).env("TIDEGATE_DRAIN_MS", "10s"));
    assert_refused(&output, &["`drain_ms`", "\"10s\"", "TIDEGATE_DRAIN_MS", "from 0 to 3600000"]);
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "plays_per_url = 0\n");
    let output = ran(&mut tidegate(&["serve", "--check", "--config", &file]));
    assert_refused(&output, &["`plays_per_url`", "is 0", &file, "from 1 to 1000"]);
}

#[test]
fn a_missing_or_broken_file_is_named() {
    let output = ran(&mut tidegate(&["serve", "--check", "--config", "/nowhere/tidegate.toml"]));
    assert_refused(&output, &["/nowhere/tidegate.toml"]);
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "drain_ms = 5\nlog = \n");
    assert_refused(&ran(&mut tidegate(&["serve", "--check", "--config", &file])), &[&file, "line 2"]);
}

#[test]
fn an_unknown_environment_name_only_warns() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tidegate(&["serve", "--check"]);
    let output = ran(command.current_dir(folder.path()).env("TIDEGATE_DRIAN_MS", "5"));
    assert!(output.status.success());
    let warning = stderr(&output);
    assert!(warning.contains("TIDEGATE_DRIAN_MS") && warning.contains("TIDEGATE_DRAIN_MS"), "{warning}");

    let mut command = serve(&folder.path().join("data"));
    command.env("TIDEGATE_DRIAN_MS", "5");
    let (status, _, log) = Server::start(command).end_with("TERM");
    assert!(status.success());
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("TIDEGATE_DRIAN_MS")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("WARN"), "{log}");
}

#[test]
fn a_check_looks_at_the_paths() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("master.key");
    let check = || {
        let mut command = tidegate(&["serve", "--check"]);
        ran(command.current_dir(folder.path()).env("TIDEGATE_MASTER_KEY_FILE", &key))
    };
    assert_refused(&check(), &[key.to_str().unwrap()]);
    fs::write(&key, "short").unwrap();
    assert_refused(&check(), &["32 to 4096 bytes"]);
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    assert!(check().status.success());
    let output = ran(tidegate(&["serve", "--check"]).env("TIDEGATE_DATA_DIR", &key));
    assert_refused(&output, &[key.to_str().unwrap(), "TIDEGATE_DATA_DIR"]);
}

#[test]
fn a_server_says_where_it_listens_and_ends_in_order() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(serve(folder.path()));
        assert!(server.listening.starts_with("{\"event\":\"listening\",\"rtmp\":\""), "{}", server.listening);
        for listener in ["rtmp", "http", "ops"] {
            TcpStream::connect(server.address(listener)).unwrap();
        }
        let (status, rest, log) = server.end_with(signal);
        assert_eq!((status.code(), rest.as_str()), (Some(0), ""), "{log}");
        assert!(log.contains(signal), "{log}");
        assert!(!log.contains('\u{1b}'), "no colour codes in a file: {log}");
    }
}

#[test]
fn the_key_is_made_once_and_shown_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let show = || ran(tidegate(&["key", "show"]).env("TIDEGATE_DATA_DIR", &data));
    assert_refused(&show(), &["start the gateway once", data.to_str().unwrap()]);

    let mut command = serve(&data);
    command.env("TIDEGATE_LOG", "trace");
    let server = Server::start(command);
    let key = stdout(&show());
    let (app, secret) = key.trim_end().split_once('.').unwrap();
    assert!(!app.is_empty() && secret.len() >= 22, "{} characters", secret.len());
    let announced = server.listening.clone();
    let (_, rest, log) = server.end_with("TERM");
    assert!(![announced, rest, log].iter().any(|text| text.contains(secret)));

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("app.key"))), (0o700, 0o600));
    assert!(Server::start(serve(&data)).end_with("TERM").0.success());
    assert_eq!(stdout(&show()), key);
}

#[test]
fn a_second_server_on_one_data_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::start(serve(folder.path()));
    let output = ran(&mut serve(folder.path()));
    assert_refused(&output, &["another tidegate is running on", folder.path().to_str().unwrap()]);
    assert!(first.end_with("KILL").0.code().is_none());
    assert!(
        Server::start(serve(folder.path())).end_with("TERM").0.success(),
        "a killed server leaves no lock"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = ran(serve(folder.path()).env("TIDEGATE_HTTP_LISTEN", &address));
    assert_refused(&output, &["in use", &address, "http_listen", "TIDEGATE_HTTP_LISTEN"]);
}

#[test]
fn an_unwritable_data_directory_is_named() {
    // Nobody, not even root, makes files there.
    let output = ran(&mut serve(Path::new("/proc/tidegate")));
    assert_refused(&output, &["/proc/tidegate", "TIDEGATE_DATA_DIR"]);
}

#[test]
fn a_file_in_place_of_the_data_directory_gets_fitting_advice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, "mine").unwrap();
    for data_dir in [file.clone(), file.join("below")] {
        for command in [&mut serve(&data_dir), serve(&data_dir).arg("--check")] {
            assert_refused(
                &ran(command),
                &["is a file and no folder", "move it away", file.to_str().unwrap(), "TIDEGATE_DATA_DIR"],
            );
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_data_directory_that_others_may_write_to_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    for (mode, warned) in [(0o777, true), (0o755, false)] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let checked = stderr(&ran(serve(folder.path()).arg("--check")));
        let (_, _, log) = Server::start(serve(folder.path())).end_with("TERM");
        for text in [checked, log] {
            assert_eq!(text.contains("others may write to the data directory"), warned, "{mode:o}: {text}");
            assert_eq!(text.contains("chmod 700"), warned, "{mode:o}: {text}");
        }
    }
}

#[test]
fn a_log_for_collectors_is_json_on_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = serve(folder.path());
    command.env("TIDEGATE_LOG_FORMAT", "json");
    let (_, _, log) = Server::start(command).end_with("TERM");
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[test]
fn a_gateway_that_does_not_answer_is_not_healthy() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = ran(tidegate(&["healthcheck"]).env("TIDEGATE_OPS_LISTEN", &free));
    assert_refused(&output, &[&free]);
    let output = ran(tidegate(&["healthcheck"]).env("TIDEGATE_OPS_LISTEN", "127.0.0.1:0"));
    assert_refused(&output, &["--address"]);
}
