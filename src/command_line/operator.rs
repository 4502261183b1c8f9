//! The commands of operators: what they take, and the examples that teach them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

const APP_EXAMPLES: &str = "\
Examples:
  tidegate app add shop                       prints the key of the new app, once
  tidegate app add shop --conferences 50 --rooms-per-day 1000
  tidegate app list
  tidegate app rotate shop                    prints a second key; both are good
  tidegate app rotate shop --finish           from now on only the second is
  tidegate app remove shop --force            ends its conferences too

Each app sees its own conferences, members, streams and sessions, and nothing of the others.
The commands reach the running gateway through control.sock in its data directory.";

const ROTATE_EXAMPLES: &str = "\
Step by step:
  1. tidegate app rotate shop            gives shop a second key; the first one stays good
  2. put the new key into every backend of shop, and sign user tokens with the new secret
  3. tidegate app rotate shop --finish   the first key is worth nothing from now on

User tokens signed with the first secret end with it; tickets, members and media URLs do not.
Where the new key was lost: tidegate app rotate shop --cancel, and begin again.";

const API_EXAMPLES: &str = "\
Examples:
  tidegate conferences
  tidegate conference show TS_abcdefghijklmnop
  tidegate kick TS_abcdefghijklmnop alice bob
  tidegate conferences --json | jq -r '.conferences[].confrId'
  tidegate conferences --url https://live.example.com --app-key-file shop.key

On the gateway's own machine the address and the key are found in its data directory. Elsewhere,
and for other apps, name them: --url or TIDEGATE_URL, --app-key-file or TIDEGATE_APP_KEY.";

const EVENTS_EXAMPLES: &str = "\
Examples:
  tidegate events TS_abcdefghijklmnop                      what has happened
  tidegate events TS_abcdefghijklmnop --follow             what happens, until the conference ends
  tidegate events TS_abcdefghijklmnop --follow --after 17 --json | jq -r .type

After a cut it connects again and goes on where it was.";

const TOKEN_EXAMPLES: &str = "\
Example, a user that may open rooms of its own for ten minutes:
  tidegate token alice --can-create --ttl 600";

const DRAIN_EXAMPLES: &str = "\
Examples:
  tidegate drain --deadline-ms 600000    nobody new; those inside are told ten minutes
  tidegate undrain                       everybody again
  tidegate drain && sleep 600 && systemctl stop tidegate

New conferences, joins, publishes and plays are refused with the reason `draining`; who is inside
goes on, as long as its connections last. Nothing ends by itself at the deadline.";

const RELOAD_EXAMPLES: &str = "\
Examples:
  tidegate reload                        what SIGHUP does, and tells how it went
  tidegate serve --print-config | grep -A1 'Reload'

The file and the environment are read as at the start. All changes are taken or none: a value that
is wrong, or a setting that takes a restart, leaves everything as it is.";

const BACKUP_EXAMPLES: &str = "\
Examples:
  tidegate backup /backup/tidegate-$(date +%F).db
  tidegate backup - | ssh vault 'cat > tidegate.db'

It holds what was acknowledged before it began: conferences, apps with their keys, and the master
key unless that is in a file of its own (master_key_file), which is to be kept beside it. Whoever
reads a backup can do everything that the apps can.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  TIDEGATE_DATA_DIR=/srv/tidegate tidegate restore /backup/tidegate-2026-01-31.db
  ssh vault 'cat tidegate.db' | tidegate restore --data-dir /srv/tidegate -

The gateway of this data directory must be stopped.";

/// What operators can ask for.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// The apps that may use this gateway, and their keys.
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        disable_help_subcommand = true,
        after_help = APP_EXAMPLES
    )]
    App {
        /// What to do with them.
        #[command(subcommand)]
        command: AppCommand,
    },
    /// The open conferences of an app.
    #[command(after_help = API_EXAMPLES)]
    Conferences(ConferencesArguments),
    /// One conference.
    #[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
    Conference {
        /// What to do with it.
        #[command(subcommand)]
        command: ConferenceCommand,
    },
    /// Remove users from a conference: their media ends at once, and their tickets are void.
    #[command(after_help = API_EXAMPLES)]
    Kick(KickArguments),
    /// End a conference for everybody.
    #[command(after_help = API_EXAMPLES)]
    End(EndArguments),
    /// What happens in a conference.
    #[command(after_help = EVENTS_EXAMPLES)]
    Events(EventsArguments),
    /// Who publishes and plays now.
    #[command(after_help = API_EXAMPLES)]
    Sessions(SessionsArguments),
    /// Make a user token, with which a user acts without the app key.
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(TokenArguments),
    /// Let nobody new in, tell those inside, and let them go on: before a restart, or to empty this gateway.
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(DrainArguments),
    /// Take a drain back.
    #[command(after_help = DRAIN_EXAMPLES)]
    Undrain(GatewayArguments),
    /// Read the settings again; those that can change while the gateway runs are changed.
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload(GatewayArguments),
    /// Copy everything that the gateway keeps into one file, while it runs or not.
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupArguments),
    /// Put a backup into an empty data directory.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArguments),
}

/// Which data directory is meant.
#[derive(Debug, Clone, Args)]
pub struct DataDirArguments {
    /// The gateway's data directory, instead of the one in the settings.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The TOML file that the gateway uses, where its data directory is set there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which gateway and which app are meant.
#[derive(Debug, Clone, Args)]
pub struct ApiArguments {
    /// The gateway's HTTP address (else TIDEGATE_URL, else that of the gateway on the data directory).
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A file with the key of the app (else TIDEGATE_APP_KEY, else the key in the data directory).
    #[arg(long, value_name = "FILE")]
    pub app_key_file: Option<PathBuf>,
    /// Where to look for both.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
}

/// What can be done with apps.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Make an app and print its key, <appId>.<secret>, this once.
    Add(AppAddArguments),
    /// Show all apps.
    List(AppListArguments),
    /// Give an app a second key, or end a rotation.
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate(AppRotateArguments),
    /// Change what an app may use.
    Limits(AppLimitsArguments),
    /// Remove an app for good. Its name is not given again.
    Remove(AppRemoveArguments),
}

/// What `app add` takes.
#[derive(Debug, Args)]
pub struct AppAddArguments {
    /// Its id: 1 to 64 letters, digits, '-' or '_'.
    pub name: String,
    /// Rooms that it may begin in one day of UTC; without this as many as it likes.
    #[arg(long, value_name = "N")]
    pub rooms_per_day: Option<u32>,
    /// Conferences that it may have open at the same time; without this as many as it likes.
    #[arg(long, value_name = "N")]
    pub conferences: Option<u32>,
    /// Which gateway.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
}

/// What `app list` takes.
#[derive(Debug, Args)]
pub struct AppListArguments {
    /// Which gateway.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
}

/// What `app rotate` takes.
#[derive(Debug, Args)]
pub struct AppRotateArguments {
    /// The app.
    pub name: String,
    /// End the rotation: the older key is worth nothing from now on.
    #[arg(long, conflicts_with = "cancel")]
    pub finish: bool,
    /// Take the rotation back: the newer key is worth nothing from now on.
    #[arg(long)]
    pub cancel: bool,
    /// Which gateway.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
}

/// A limit on the command line: a number, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling(pub Option<u32>);

impl FromStr for Ceiling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|number| Self(Some(number))).map_err(|_| "a whole number, or `none`".to_owned())
    }
}

/// What `app limits` takes.
#[derive(Debug, Args)]
pub struct AppLimitsArguments {
    /// The app.
    pub name: String,
    /// Rooms that it may begin in one day of UTC, or `none`.
    #[arg(long, value_name = "N", required_unless_present = "conferences")]
    pub rooms_per_day: Option<Ceiling>,
    /// Conferences that it may have open at the same time, or `none`.
    #[arg(long, value_name = "N")]
    pub conferences: Option<Ceiling>,
    /// Which gateway.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
}

/// What `app remove` takes.
#[derive(Debug, Args)]
pub struct AppRemoveArguments {
    /// The app.
    pub name: String,
    /// End its open conferences; without this they keep it.
    #[arg(long)]
    pub force: bool,
    /// Which gateway.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
}

/// What `conferences` takes.
#[derive(Debug, Args)]
pub struct ConferencesArguments {
    /// Which gateway and app.
    #[command(flatten)]
    pub api: ApiArguments,
}

/// What can be done with a conference.
#[derive(Debug, Subcommand)]
pub enum ConferenceCommand {
    /// Show it with its members and streams.
    #[command(after_help = API_EXAMPLES)]
    Show(ConferenceShowArguments),
}

/// What `conference show` takes.
#[derive(Debug, Args)]
pub struct ConferenceShowArguments {
    /// Its confrId.
    pub conference: String,
    /// Which gateway and app.
    #[command(flatten)]
    pub api: ApiArguments,
}

/// What `kick` takes.
#[derive(Debug, Args)]
pub struct KickArguments {
    /// Its confrId.
    pub conference: String,
    /// The users.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Which gateway and app.
    #[command(flatten)]
    pub api: ApiArguments,
}

/// What `end` takes.
#[derive(Debug, Args)]
pub struct EndArguments {
    /// Its confrId.
    pub conference: String,
    /// Which gateway and app.
    #[command(flatten)]
    pub api: ApiArguments,
}

/// What `events` takes.
#[derive(Debug, Args)]
pub struct EventsArguments {
    /// Its confrId.
    pub conference: String,
    /// Go on with what happens, until the conference ends.
    #[arg(long)]
    pub follow: bool,
    /// Only what came after this number.
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// Which gateway and app.
    #[command(flatten)]
    pub api: ApiArguments,
}

/// What `sessions` takes.
#[derive(Debug, Args)]
pub struct SessionsArguments {
    /// Only those of this conference.
    #[arg(long, value_name = "CONFR")]
    pub conference: Option<String>,
    /// Which gateway and app.
    #[command(flatten)]
    pub api: ApiArguments,
}

/// What `token` takes.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// The user's name in the app.
    pub user: String,
    /// Let the user create conferences.
    #[arg(long)]
    pub can_create: bool,
    /// How long the token lives; without this as the gateway is set.
    #[arg(long, value_name = "SECONDS")]
    pub ttl: Option<u64>,
    /// Which gateway and app.
    #[command(flatten)]
    pub api: ApiArguments,
}

/// What commands take that change the running gateway.
#[derive(Debug, Clone, Args)]
pub struct GatewayArguments {
    /// Which gateway.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
}

/// What `drain` takes.
#[derive(Debug, Args)]
pub struct DrainArguments {
    /// How long those inside are told that they have; without this drain_ms of the settings.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=86_400_000))]
    pub deadline_ms: Option<u64>,
    /// Which gateway.
    #[command(flatten)]
    pub gateway: GatewayArguments,
}

/// What `backup` takes.
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// The file to make, or `-` for stdout.
    pub file: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
    /// Which data directory.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
}

/// What `restore` takes.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The backup, or `-` for stdin.
    pub file: PathBuf,
    /// Where there is data already, move it into a folder beside the new data.
    #[arg(long)]
    pub force: bool,
    /// Which data directory.
    #[command(flatten)]
    pub data_dir: DataDirArguments,
}
