//! docs/api.md is true: its shell blocks run, in order, against a fresh gateway, and print what the guide says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::path::Path;
use std::time::Duration;

use support::Setup;
use support::process::run;
use tokio::process::Command;

/// The guide takes some seconds.
const GUIDE_MAX: Duration = Duration::from_secs(120);

/// A block of the guide and what it is said to print.
struct Block {
    shell: String,
    prints: String,
}

/// The `sh` blocks, each with the `text` block that follows it.
fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence: Option<(&str, String)> = None;
    for line in guide.lines() {
        match (&mut fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some((language, String::new())),
            (Some((language, text)), Some("")) => {
                match *language {
                    "sh" => blocks.push(Block { shell: text.clone(), prints: String::new() }),
                    "text" => blocks.last_mut().expect("a sh block first").prints.clone_from(text),
                    other => panic!("the guide has a block of {other:?}"),
                }
                fence = None;
            }
            (Some((_, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[tokio::test]
async fn the_guide_does_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/api.md")).unwrap();
    let blocks = blocks(&guide);
    assert!(blocks.len() > 10, "the guide has blocks");
    let patient = 3_600_000;
    let setup =
        Setup::new().env("TIDEGATE_FIRST_CONTACT_MS", patient).env("TIDEGATE_MEMBER_TIMEOUT_MS", patient);
    let gateway = setup.start().await;
    let home = gateway.setup.home();
    // One shell for all, since a block uses what those before it found out; what each prints goes to a file of its own.
    let mut script = "set -euo pipefail\n".to_owned();
    for (number, block) in blocks.iter().enumerate() {
        script += &format!("echo 'block {number}' >&2\n{{\n{}}} > out.{number}\n", block.shell);
    }
    let file = home.join("guide.sh");
    std::fs::write(&file, script).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command
        .arg(&file)
        .current_dir(home)
        .env("PATH", format!("{}:{path}", binary.display()))
        .env("TIDEGATE_DATA_DIR", gateway.setup.data_path())
        .env("API", gateway.api.url(""))
        .env("SAMPLE", root.join("fixtures/phone-360x640.flv"));
    let ended = run("the guide", command, GUIDE_MAX).await;
    assert!(ended.status.success(), "a block of docs/api.md failed: {}", ended.stderr);
    for (number, block) in blocks.iter().enumerate() {
        let printed = std::fs::read_to_string(home.join(format!("out.{number}"))).unwrap();
        assert_eq!(printed, block.prints, "docs/api.md, block {number}:\n{}", block.shell);
    }
    gateway.stop().await;
}
