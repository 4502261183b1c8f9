//! What is on the disk when a command is answered.

use serde_json::json;

use crate::machine::Machine;
use crate::support::{Gateway, Setup};

/// Commands, one after the other.
const COMMANDS: usize = 40;

#[tokio::test]
async fn no_command_is_answered_before_a_sync_that_began_after_it_has_ended() {
    let (machine, setup) = Machine::under(Setup::new());
    let gateway = setup.start().await;
    let conference = gateway.app().await.conference().await;
    let commits =
        async |gateway: &Gateway| gateway.metric("tidegate_store_commits_total").await.expect("a count");
    // So long that an answer that does not wait for it is ahead of it.
    machine.slow_syncs_ms(20);
    let (commits_before, syncs_before) = (commits(&gateway).await, machine.syncs().1);
    for n in 0..COMMANDS {
        let (begun, _) = machine.syncs();
        conference
            .app
            .api
            .patch(&conference.path(""), &conference.app.key, json!({ "metadata": { "n": n } }))
            .await
            .expect("done");
        let (_, ended) = machine.syncs();
        assert!(
            ended > begun,
            "command {n} was answered with {ended} syncs done, {begun} had begun before it"
        );
    }
    let (commits, syncs) = (commits(&gateway).await - commits_before, machine.syncs().1 - syncs_before);
    println!("{COMMANDS} commands one after the other: {commits} commits, {syncs} syncs");
    machine.slow_syncs_ms(0);
    gateway.stop().await;
}

/// The same as the kernel saw it, in the order of its calls.
#[tokio::test]
#[ignore = "needs strace: `make chaos`"]
async fn strace_sees_a_sync_end_between_any_two_answers() {
    let setup = Setup::new();
    let trace = setup.home().join("trace");
    let path = trace.display().to_string();
    let calls = "trace=fdatasync,fsync,write,writev,sendto,sendmsg";
    let setup = setup.through(&["strace", "-D", "-f", "-A", "-s", "16", "-o", &path, "-e", calls]);
    let gateway = setup.start().await;
    let conference = gateway.app().await.conference().await;
    for n in 0..COMMANDS {
        let patch = json!({ "metadata": { "n": n } });
        conference.app.api.patch(&conference.path(""), &conference.app.key, patch).await.expect("done");
    }
    // Its directory is there for as long as the setup is.
    let _setup = gateway.stop().await;
    let trace = std::fs::read_to_string(trace).expect("the trace");
    let (mut answers, mut syncs, mut since) = (0, 0, 0);
    for line in trace.lines() {
        if line.contains("\"HTTP/1.1 200 OK") {
            assert!(since > 0, "no sync ended between two answers: {line}");
            (answers, since) = (answers + 1, 0);
        } else if line.contains("sync") && line.ends_with("= 0") && answers < COMMANDS {
            (syncs, since) = (syncs + 1, since + 1);
        }
    }
    println!("strace: {answers} answers, {syncs} syncs up to the last of them");
    assert_eq!(answers, COMMANDS);
}
