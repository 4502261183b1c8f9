//! The command line: what can be asked, and the help that teaches it.

mod operator;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::listen::{Listening, reachable};
pub use operator::{
    ApiArguments, AppAddArguments, AppCommand, AppLimitsArguments, AppListArguments, AppRemoveArguments,
    AppRotateArguments, BackupArguments, Ceiling, ConferenceCommand, ConferenceShowArguments,
    ConferencesArguments, DataDirArguments, DrainArguments, EndArguments, EventsArguments, GatewayArguments,
    KickArguments, OperatorCommand, RestoreArguments, SessionsArguments, TokenArguments,
};

const EXAMPLES: &str = "\
Examples:
  tidegate serve                              serve with the defaults, data in ./data
  TIDEGATE_DATA_DIR=/srv/tidegate tidegate serve
  tidegate serve --print-config > tidegate.toml
  tidegate serve --config tidegate.toml --check
  tidegate key show                           the app key that your backend needs
  tidegate conferences                        what goes on in the running gateway
  tidegate backup /backup/tidegate.db         while it runs

Every setting is a key of the file and an environment variable (TIDEGATE_ and the upper-case
key); the environment is stronger.";

const SERVE_EXAMPLES: &str = "\
Examples:
  tidegate serve
  tidegate serve --config /etc/tidegate.toml
  TIDEGATE_RTMP_LISTEN=127.0.0.1:0 tidegate serve     any free port, told on stdout

Once it listens, one line of JSON on stdout names the addresses; the log goes to stderr.
SIGTERM or SIGINT ends it in order, a second one at once. SIGHUP reads the settings again.";

const KEY_EXAMPLES: &str = "\
Example:
  curl -H \"Authorization: Bearer $(tidegate key show)\" http://127.0.0.1:8080/v1/conferences

The key is made when the gateway first starts. Whoever has it may do everything in its app:
it belongs into your backend, never into a mini program.";

const HEALTHCHECK_EXAMPLES: &str = "\
Example, in a Dockerfile:
  HEALTHCHECK CMD [\"tidegate\", \"healthcheck\"]";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  sudo -u tidegate tidegate doctor --config /etc/tidegate.toml
  tidegate doctor --json | jq '.checks[] | select(.verdict != \"ok\")'

It works beside the running gateway and before its first start. Run it as the gateway's user and
with its environment: it sees what they see.";

/// A conference gateway for mini programs: rooms, tickets and roles directly on RTMP and FLV.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    after_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM or SIGINT.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArguments),
    /// The app key that backends authenticate with.
    #[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
    Key {
        /// What to do with it.
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Ask the running gateway whether it is ready: exit code 0 if so, else 1.
    #[command(after_help = HEALTHCHECK_EXAMPLES)]
    Healthcheck(HealthcheckArguments),
    /// Look at the settings and the machine, and say what would trouble the gateway: exit code 1 if something fails.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArguments),
    /// What operators ask for.
    #[command(flatten)]
    Operator(OperatorCommand),
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// The TOML file with the settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Only check the settings and the paths in them; exit code 0 if they are good.
    #[arg(long, conflicts_with = "print_config")]
    pub check: bool,
    /// Only print every setting with its explanation, range and default, as a TOML file.
    #[arg(long)]
    pub print_config: bool,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print the app key, `<appId>.<secret>`. Works beside a running gateway.
    #[command(after_help = KEY_EXAMPLES)]
    Show(KeyShowArguments),
}

/// What `key show` takes.
#[derive(Debug, Args)]
pub struct KeyShowArguments {
    /// Which gateway.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
}

/// What `healthcheck` takes.
#[derive(Debug, Args)]
pub struct HealthcheckArguments {
    /// The TOML file that the gateway uses, where its ops_listen is set there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The ops listener, instead of the one in the settings.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<SocketAddr>,
}

/// What `doctor` takes.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// The TOML file that the gateway uses.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
}

/// A few lines for a person who has just started the gateway, with commands to paste into another terminal.
/// `program` is how the gateway was called. No secret stands in them: the commands fetch it.
pub fn next_steps(program: &str, data_dir: &Path, listening: &Listening) -> String {
    let program = shell_word(program);
    let show_key = if data_dir == Path::new("data") {
        format!("{program} key show")
    } else {
        format!("TIDEGATE_DATA_DIR={} {program} key show", shell_word(&data_dir.to_string_lossy()))
    };
    let http = reachable(listening.http);
    format!(
        "\nTidegate is running. In another terminal, from this folder:\n\n\
         the key of your app:\n  {show_key}\n\
         a first conference, with a ticket for alice:\n  \
         curl -s http://{http}/v1/conferences -H \"Authorization: Bearer $({show_key})\" \
         -H 'Content-Type: application/json' -d '{{\"user\":\"alice\"}}'\n\
         what it counts:\n  curl -s http://{}/metrics\n\
         Ctrl-C stops it.\n\n",
        reachable(listening.ops)
    )
}

/// `text` as one word of a shell.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(program: &str, data_dir: &str) -> String {
        let address = |text: &str| text.parse().unwrap();
        let listening = Listening {
            rtmp: Some(address("0.0.0.0:1935")),
            rtmps: None,
            http: address("0.0.0.0:8080"),
            https: None,
            ops: address("[::1]:9090"),
        };
        next_steps(program, Path::new(data_dir), &listening)
    }

    #[test]
    fn the_grammar_is_sound() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn the_next_steps_can_be_pasted() {
        let text = steps("tidegate", "data");
        assert!(text.contains("\n  tidegate key show\n"), "{text}");
        assert!(text.contains("http://127.0.0.1:8080/v1/conferences"), "{text}");
        assert!(text.contains("http://[::1]:9090/metrics"), "{text}");
        let text = steps("./target/my build/tidegate", "/srv/it's");
        let command = r"TIDEGATE_DATA_DIR='/srv/it'\''s' './target/my build/tidegate' key show";
        assert!(text.contains(command), "{text}");
    }
}
