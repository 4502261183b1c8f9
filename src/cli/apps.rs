//! `tidegate app …`: over the control socket.

use reqwest::Method;
use serde_json::{Value, json};

use super::CliError;
use super::gateway::{Admin, limits as limits_json};
use super::output::{cell, items, note, say, say_json, table};
use crate::command_line::{
    AppAddArguments, AppLimitsArguments, AppListArguments, AppRemoveArguments, AppRotateArguments,
};
use crate::domain::AppId;

const APPS: &str = "/v1/apps";

pub(super) async fn add(arguments: &AppAddArguments) -> Result<(), CliError> {
    let limits = limits_json(arguments.rooms_per_day, arguments.conferences);
    let body = json!({ "appId": app(&arguments.name)?, "limits": limits });
    let added = Admin::of(&arguments.data_dir)?.call(Method::POST, APPS, Some(body)).await?;
    say_key(&added, arguments.json)
}

pub(super) async fn list(arguments: &AppListArguments) -> Result<(), CliError> {
    let answer = Admin::of(&arguments.data_dir)?.call(Method::GET, APPS, None).await?;
    if arguments.json {
        return say_json(&answer);
    }
    let row = |app: &Value| {
        let is_first = app.get("first") == Some(&Value::Bool(true));
        let keys = if cell(app, "/secrets") == "2" { "2, rotating" } else { "1" };
        vec![
            cell(app, "/appId"),
            keys.to_owned(),
            cell(app, "/conferences"),
            cell(app, "/limits/conferencesMax"),
            cell(app, "/limits/roomsPerDayMax"),
            if is_first { "the key in the data directory" } else { "" }.to_owned(),
        ]
    };
    let rows: Vec<_> = items(&answer, "/apps").iter().map(row).collect();
    say(&table(&["APP", "KEYS", "OPEN", "OPEN MAX", "ROOMS/DAY MAX", ""], &rows, "no apps"))
}

pub(super) async fn rotate(arguments: &AppRotateArguments) -> Result<(), CliError> {
    let path = format!("{APPS}/{}/rotation", app(&arguments.name)?);
    let admin = Admin::of(&arguments.data_dir)?;
    if !arguments.finish && !arguments.cancel {
        let rotated = admin.call(Method::POST, &path, None).await?;
        say_key(&rotated, arguments.json)?;
        note(&format!(
            "both keys are good now; once every backend has the new one: tidegate app rotate {} --finish",
            arguments.name
        ));
        return Ok(());
    }
    let method = if arguments.finish { Method::PUT } else { Method::DELETE };
    let answer = admin.call(method, &path, None).await?;
    let ended = if arguments.finish { "older" } else { "newer" };
    done(arguments.json, &answer, &format!("the {ended} key of {} is worth nothing any more", arguments.name))
}

pub(super) async fn limits(arguments: &AppLimitsArguments) -> Result<(), CliError> {
    let id = app(&arguments.name)?;
    let admin = Admin::of(&arguments.data_dir)?;
    let apps = admin.call(Method::GET, APPS, None).await?;
    let known = items(&apps, "/apps").iter().find(|app| cell(app, "/appId") == id.as_str());
    let before = |pointer: &str| {
        let number = known.and_then(|app| app.pointer(pointer)).and_then(Value::as_u64);
        number.and_then(|number| u32::try_from(number).ok())
    };
    let limits = limits_json(
        arguments.rooms_per_day.map_or_else(|| before("/limits/roomsPerDayMax"), |limit| limit.0),
        arguments.conferences.map_or_else(|| before("/limits/conferencesMax"), |limit| limit.0),
    );
    let answer = admin.call(Method::PUT, &format!("{APPS}/{id}/limits"), Some(limits)).await?;
    let told = |pointer: &str| match cell(&answer, pointer).as_str() {
        "-" => "no limit".to_owned(),
        number => number.to_owned(),
    };
    let line = format!(
        "{id}: open conferences {}, rooms a day {}",
        told("/limits/conferencesMax"),
        told("/limits/roomsPerDayMax")
    );
    done(arguments.json, &answer, &line)
}

pub(super) async fn remove(arguments: &AppRemoveArguments) -> Result<(), CliError> {
    let id = app(&arguments.name)?;
    let path = format!("{APPS}/{id}?force={}", arguments.force);
    let answer = Admin::of(&arguments.data_dir)?.call(Method::DELETE, &path, None).await?;
    let line = format!("{id} is removed; {} conferences were ended", cell(&answer, "/conferencesEnded"));
    done(arguments.json, &answer, &line)
}

fn app(name: &str) -> Result<AppId, CliError> {
    AppId::parse(name).map_err(|error| CliError::Told(format!("{name:?}: {error}")))
}

/// Prints a key that is shown this once.
fn say_key(answer: &Value, as_json: bool) -> Result<(), CliError> {
    if as_json { say_json(answer) } else { say(&format!("{}\n", cell(answer, "/appKey"))) }
}

fn done(as_json: bool, answer: &Value, line: &str) -> Result<(), CliError> {
    if as_json { say_json(answer) } else { say(&format!("{line}\n")) }
}
