//! The program: arguments, settings, start, signals, exit code. 0 is success, 1 a failure that one line on stderr
//! explains, 2 a command line that cannot be understood.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tidegate::app::{self, App, Source};
use tidegate::cli::{self, CliError};
use tidegate::command_line::{
    self, Command, CommandLine, DataDirArguments, DoctorArguments, HealthcheckArguments, KeyCommand,
    OperatorCommand, ServeArguments,
};
use tidegate::config::{self, Config, Loaded};
use tidegate::doctor::{self, Verdict};
use tidegate::listen::Listening;
use tidegate::{data_dir, healthcheck, listen, open_files, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the last steps of a stop may take beyond the drain time before the process ends without them: closing the
/// store is one fsync.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Why the process ends with exit code 1: what happened, and after a semicolon how to mend it.
struct Failure(String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string().replace(['\n', '\r'], " "))
    }
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Serve(arguments) => serve(&arguments),
        Command::Key { command: KeyCommand::Show(arguments) } => show_key(&arguments.data_dir),
        Command::Healthcheck(arguments) => check_health(&arguments),
        Command::Doctor(arguments) => see_doctor(&arguments),
        Command::Operator(command) => run_operator(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(line)) => {
            // Nothing is left to do where even stderr is gone.
            let _ = writeln!(io::stderr(), "tidegate: {line}");
            ExitCode::FAILURE
        }
    }
}

fn load(file: Option<&Path>) -> Result<Loaded, Failure> {
    Ok(Config::load(file, env::vars_os())?)
}

/// Writes to stdout. A reader that has gone away has seen what it wanted.
fn say(text: &str) -> Result<(), Failure> {
    quietly(cli::say(text))
}

fn run_operator(command: OperatorCommand) -> Result<(), Failure> {
    quietly(cli::run(command))
}

fn quietly(outcome: Result<(), CliError>) -> Result<(), Failure> {
    match outcome {
        Ok(()) | Err(CliError::ReaderGone) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn show_key(arguments: &DataDirArguments) -> Result<(), Failure> {
    let key = data_dir::read_app_key(&cli::data_dir(arguments)?)?;
    say(&format!("{}\n", key.bearer().expose()))
}

fn check_health(arguments: &HealthcheckArguments) -> Result<(), Failure> {
    let address = match arguments.address {
        Some(address) => address,
        None => {
            let list = load(arguments.config.as_deref())?.config.ops_listen;
            list.first().resolve().map_err(|error| {
                format!(
                    "cannot find the address of ops_listen ({list}): {error}; correct TIDEGATE_OPS_LISTEN"
                )
            })?
        }
    };
    if address.port() == 0 {
        return Err(
            "ops_listen has port 0, so its real port is not known here; give it with --address".into()
        );
    }
    Ok(healthcheck::ask(listen::reachable(address))?)
}

fn see_doctor(arguments: &DoctorArguments) -> Result<(), Failure> {
    let report = doctor::examine(arguments.config.as_deref(), env::vars_os());
    say(&if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        report.text()
    })?;
    match report.count(Verdict::Fail) {
        0 => Ok(()),
        1 => Err("one check failed".into()),
        failed => Err(format!("{failed} checks failed").into()),
    }
}

fn serve(arguments: &ServeArguments) -> Result<(), Failure> {
    if arguments.print_config {
        return say(&config::annotated_defaults());
    }
    let Loaded { config, warnings } = load(arguments.config.as_deref())?;
    if arguments.check {
        return check(&config, &warnings);
    }
    let log = telemetry::start_logging(config.log.as_str(), config.log_format)?;
    let file = arguments.config.clone();
    let source = Source { read: Box::new(move || Config::load(file.as_deref(), env::vars_os())), log };
    let mut warnings = warnings;
    warnings.extend(open_files::raise_limit(config.connections_max, config.relays_max));
    warnings.extend(data_dir::wide_rights(&config.data_dir));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        format!("cannot start the runtime: {error}; check the limits of processes and files")
    })?;
    let outcome = runtime.block_on(run(config, source, &warnings));
    // After an orderly stop no task is left; after one cut short the rest must not hold the process.
    runtime.shutdown_background();
    outcome
}

fn check(config: &Config, warnings: &[String]) -> Result<(), Failure> {
    data_dir::check(&config.data_dir)?;
    if let Some(path) = &config.master_key_file {
        data_dir::read_master_key(path)?;
    }
    let tls_warnings = app::check_tls(config)?;
    for warning in warnings.iter().chain(&data_dir::wide_rights(&config.data_dir)).chain(&tls_warnings) {
        let _ = writeln!(io::stderr(), "tidegate: warning: {warning}");
    }
    say("the settings are good\n")
}

async fn run(config: Config, source: Source, warnings: &[String]) -> Result<(), Failure> {
    // Before anything else: a signal that arrives during the start must not kill the process half-way.
    let mut signals = Signals::new()
        .map_err(|error| format!("cannot handle signals: {error}; check the limit of open files"))?;
    let stop_within = Duration::from_millis(config.drain_ms) + STOP_MARGIN;
    let data_dir = config.data_dir.clone();
    let app = tokio::select! {
        started = App::start(config, source) => started?,
        signal = signals.stop() => {
            tracing::info!(signal, "stopped before the start was complete");
            return Ok(());
        }
    };
    // Only now, so that a start that fails says one thing: why.
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    announce(&data_dir, &app.listening())?;

    let signal = loop {
        match signals.next().await {
            Asked::Stop(signal) => break signal,
            // It tells the log how it went.
            Asked::Reload => drop(app.reload()),
        }
    };
    tracing::info!(signal, "stopping; another signal cuts it short");
    tokio::select! {
        stopped = tokio::time::timeout(stop_within, app.stop()) => {
            stopped.map_err(|_| {
                format!("the stop was not done after {stop_within:?} and was cut short; raise drain_ms, or report it")
            })?;
            tracing::info!("stopped");
        }
        signal = signals.stop() => tracing::warn!(signal, "the stop is cut short"),
    }
    Ok(())
}

/// Tells a program where the gateway listens, and a person at a terminal what to do next.
fn announce(data_dir: &Path, listening: &Listening) -> Result<(), Failure> {
    say(&format!("{}\n", serde_json::to_string(listening)?))?;
    if io::stderr().is_terminal() {
        let program = env::args().next().unwrap_or_else(|| "tidegate".to_owned());
        let _ = io::stderr().write_all(command_line::next_steps(&program, data_dir, listening).as_bytes());
    } else {
        tracing::info!(command = "tidegate key show", "this shows the app key");
    }
    Ok(())
}

/// What a signal asks for.
enum Asked {
    /// The end, by the signal of this name.
    Stop(&'static str),
    /// The settings anew.
    Reload,
}

/// The signals that ask for something.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Whether a terminal was there at the start, whose end is told by SIGHUP as well.
    had_terminal: bool,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            had_terminal: io::stdin().is_terminal(),
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            // A window that was closed ends what ran in it.
            _ = self.hang_up.recv() => match self.had_terminal && !io::stdin().is_terminal() {
                true => Asked::Stop("SIGHUP"),
                false => Asked::Reload,
            },
        }
    }

    /// The name of the next signal that asks for the end.
    async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}
