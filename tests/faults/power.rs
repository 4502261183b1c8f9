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
