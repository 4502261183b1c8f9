//! `tidegate drain`, `undrain` and `reload`: over the control socket.

use reqwest::Method;
use serde_json::{Value, json};

use super::CliError;
use super::gateway::Admin;
use super::output::{cell, items, say, say_json};
use crate::command_line::{DrainArguments, GatewayArguments};

const DRAIN: &str = "/v1/drain";
const RELOAD: &str = "/v1/reload";

pub(super) async fn drain(arguments: &DrainArguments) -> Result<(), CliError> {
    let body = json!({ "deadlineMs": arguments.deadline_ms });
    let answer = Admin::of(&arguments.gateway.data_dir)?.call(Method::PUT, DRAIN, Some(body)).await?;
    let line = format!(
        "nobody new is let in; those inside were told {} ms and go on: {}",
        cell(&answer, "/deadlineMs"),
        inside(&answer)
    );
    done(&arguments.gateway, &answer, &line)
}

pub(super) async fn undrain(arguments: &GatewayArguments) -> Result<(), CliError> {
    let answer = Admin::of(&arguments.data_dir)?.call(Method::DELETE, DRAIN, None).await?;
    let line = match answer.get("changed") {
        Some(Value::Bool(true)) => "everybody is let in again",
        _ => "the gateway was not drained; everybody is let in",
    };
    done(arguments, &answer, &format!("{line}; inside are {}", inside(&answer)))
}

pub(super) async fn reload(arguments: &GatewayArguments) -> Result<(), CliError> {
    let answer = Admin::of(&arguments.data_dir)?.call(Method::POST, RELOAD, None).await?;
    let changed: Vec<&str> = items(&answer, "/changed").iter().filter_map(Value::as_str).collect();
    let line = match &changed[..] {
        [] => "no setting has changed".to_owned(),
        changed => format!("changed: {}", changed.join(", ")),
    };
    done(arguments, &answer, &line)
}

fn inside(answer: &Value) -> String {
    format!(
        "{} publishers, {} viewers, {} event sockets",
        cell(answer, "/publishers"),
        cell(answer, "/viewers"),
        cell(answer, "/eventSockets")
    )
}

fn done(arguments: &GatewayArguments, answer: &Value, line: &str) -> Result<(), CliError> {
    if arguments.json { say_json(answer) } else { say(&format!("{line}\n")) }
}
