//! The commands of operators: clients of the running gateway, and of its files.
//!
//! Whatever goes on in conferences is asked of the public API with an app key; apps are asked for over the control
//! socket. A command prints a table for people or, with `--json`, one JSON document for programs.

mod apps;
mod conferences;
mod events;
mod failure;
mod files;
mod gateway;
mod output;
mod running;

use crate::command_line::{AppCommand, ConferenceCommand, OperatorCommand};

pub use failure::CliError;
pub use gateway::data_dir;
pub use output::say;

/// Carries out a command. Blocks until it is done.
pub fn run(command: OperatorCommand) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::Told(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(carry_out(command))
}

async fn carry_out(command: OperatorCommand) -> Result<(), CliError> {
    match command {
        OperatorCommand::App { command } => match command {
            AppCommand::Add(arguments) => apps::add(&arguments).await,
            AppCommand::List(arguments) => apps::list(&arguments).await,
            AppCommand::Rotate(arguments) => apps::rotate(&arguments).await,
            AppCommand::Limits(arguments) => apps::limits(&arguments).await,
            AppCommand::Remove(arguments) => apps::remove(&arguments).await,
        },
        OperatorCommand::Conferences(arguments) => conferences::list(&arguments).await,
        OperatorCommand::Conference { command: ConferenceCommand::Show(arguments) } => {
            conferences::show(&arguments).await
        }
        OperatorCommand::Kick(arguments) => conferences::kick(&arguments).await,
        OperatorCommand::End(arguments) => conferences::end(&arguments).await,
        OperatorCommand::Events(arguments) => events::events(&arguments).await,
        OperatorCommand::Sessions(arguments) => conferences::sessions(&arguments).await,
        OperatorCommand::Token(arguments) => conferences::token(&arguments).await,
        OperatorCommand::Drain(arguments) => running::drain(&arguments).await,
        OperatorCommand::Undrain(arguments) => running::undrain(&arguments).await,
        OperatorCommand::Reload(arguments) => running::reload(&arguments).await,
        OperatorCommand::Backup(arguments) => files::backup(&arguments),
        OperatorCommand::Restore(arguments) => files::restore(&arguments).await,
    }
}
