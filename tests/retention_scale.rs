//! Ended conferences by the hundred thousand: a start does not notice them, and they go while commands come.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use rusqlite::Connection;
use support::wait::until;
use support::{EVENT, Gateway, Setup, token};

/// Most that a start beside them may need more: what SQLite's page caches hold, and what two starts differ by anyway.
const MORE_KIB_MAX: u64 = 12 * 1024;
/// Ended a moment ago.
const RECENT: i64 = 90_000;
/// Ended so long ago that they are due to be forgotten.
const DUE: i64 = 10_000;

fn resident_kib(gateway: &Gateway) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).expect("the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident set");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// Copies the one conference that ended there: its row and its records, once for each number, with this end.
fn copy_ended(store: &Connection, ids: std::ops::Range<i64>, ended_at_ms: i64) {
    store
        .execute_batch(&format!(
            "BEGIN;
             CREATE TEMP TABLE first AS SELECT * FROM logs WHERE ended = 1 LIMIT 1;
             CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS
                 (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to}) SELECT i FROM n;
             INSERT INTO logs (conference, head, ended, app, ended_at)
                 SELECT printf('TS_copy%06d', i), 1000000 + i, 1, app, {ended_at_ms} FROM first, n;
             INSERT INTO records (position, conference, body)
                 SELECT 1000000 + i, printf('TS_copy%06d', i), body FROM n, records
                 WHERE position = (SELECT head FROM first);
             UPDATE counters SET last_position = 2000000;
             DROP TABLE first; DROP TABLE n;
             COMMIT;",
            from = ids.start,
            to = ids.end,
        ))
        .expect("copied");
}

async fn metric(gateway: &Gateway, name: &str) -> i64 {
    let text = reqwest::get(format!("http://{}/metrics", gateway.ops)).await.expect("answers");
    let text = text.text().await.expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    line.trim().parse().expect("a number")
}

#[tokio::test]
async fn a_hundred_thousand_ended_conferences_weigh_nothing_and_go_while_commands_come() {
    let setup = Setup::new().env("TIDEGATE_RETENTION_PAUSE_MS", 3_600_000);
    let gateway = setup.start().await;
    let app = gateway.app().await;
    app.conference().await.delete().await.expect("deleted");
    let open = app.conference().await;
    let gateway = gateway.stop().await.start().await;
    let before = resident_kib(&gateway);
    let setup = gateway.stop().await;
    let store = Connection::open(setup.data_path().join("tidegate.db")).expect("the store");
    copy_ended(&store, 0..RECENT, token::now() * 1000);
    copy_ended(&store, RECENT..RECENT + DUE, 1000);
    store.close().expect("closed");

    let gateway = setup.start().await;
    assert_eq!(metric(&gateway, "tidegate_conferences ").await, 1);
    let after = resident_kib(&gateway);
    assert!(after < before + MORE_KIB_MAX, "{before} KiB before, {after} KiB after");
    let setup = gateway.stop().await;

    let setup =
        setup.env("TIDEGATE_RETENTION_PAUSE_MS", 100).env("TIDEGATE_RETENTION_STEPS_PER_SECOND", 5_000);
    let gateway = setup.start().await;
    let (app, open) = (app.at(gateway.api.clone()), open.at(gateway.api.clone()));
    until(EVENT * 4, "what is due is forgotten", || async {
        open.member("anna", 3).await;
        app.conference().await.delete().await.expect("deleted");
        (metric(&gateway, "tidegate_logs_forgotten_total ").await >= DUE).then_some(())
    })
    .await;
    assert_eq!(metric(&gateway, "tidegate_logs_forgotten_total ").await, DUE, "and nothing else");
    gateway.stop().await;
}
