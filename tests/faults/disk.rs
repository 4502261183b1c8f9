//! A disk that is full, and one that is slow: commands wait or are refused, and media goes on.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::pictures::{Arrivals, gaps};
use crate::support::api::Answer;
use crate::support::{Conference, EVENT, Gateway, MediaUrl, Peer, Scene, Setup, flv, wait, within};

/// How long each sync takes on the slow disk: as long as a disk that is about to die, or a volume whose credits are used up.
const SLOW_SYNC_MS: i64 = 1000;
/// Longer than all that a test waits for: it lets go of the sync itself.
const HANGING_SYNC_MS: i64 = 600_000;
/// Commands that a file system without room may still take, in what its files have already.
const COMMANDS_MAX: usize = 2000;

async fn ready(gateway: &Gateway) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let answer = client.get(format!("http://{}/readyz", gateway.ops)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// A command that leaves `n` behind.
async fn note(scene: &Scene, n: usize) -> Answer {
    let app = &scene.conference.app;
    app.api.patch(&scene.conference.path(""), &app.key, json!({ "metadata": { "n": n } })).await
}

/// What the commands left in the log, in its order.
async fn notes(conference: &Conference) -> Vec<Value> {
    let (api, key) = (&conference.app.api, &conference.app.key);
    let newest = conference.get().await.expect("the conference")["seq"].clone();
    let (mut notes, mut after) = (Vec::new(), Value::from(0));
    while after != newest {
        let path = conference.path(&format!("/events?after={after}&limit=1000"));
        let page = api.get(&path, key).await.expect("a page");
        let events = page["events"].as_array().expect("events");
        let changed = events.iter().filter(|event| event["type"] == "conferenceChanged");
        notes.extend(changed.map(|event| event["conference"]["metadata"]["n"].clone()));
        after = page["nextAfter"].clone();
    }
    notes
}

/// With a publisher and a viewer inside, fills the disk, looks, and frees it again.
async fn no_room_and_room_again(setup: Setup, mut fill: impl FnMut(&Scene, bool)) {
    let scene = Scene::with(setup).await;
    let _feed = scene.publisher().await.feed(flv::clip());
    let viewer = scene.watch("rtc").await;
    viewer.more_pictures(3).await;
    let url_from_before = scene.urls("rtc").await.url;
    assert_eq!(ready(&scene.gateway).await.0, 200);

    fill(&scene, true);
    let mut kept = 0;
    let refusal = loop {
        assert!(kept < COMMANDS_MAX, "{kept} commands were kept on a full disk");
        match note(&scene, kept + 1).await {
            Ok(_) => kept += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((refusal.status, refusal.reason.as_str()), (503, "store_unavailable"));
    assert!(refusal.detail.contains("cannot write; nothing was changed"), "{}", refusal.detail);
    let (status, why) = ready(&scene.gateway).await;
    assert!(status == 503 && why.contains("make room on this disk"), "{status} {why}");
    // What needs no new record is as ever: those inside see and are seen, and a right from before lets in.
    assert_eq!(
        scene.conference.get().await.expect("can be read")["members"].as_array().map(Vec::len),
        Some(2)
    );
    viewer.more_pictures(10).await;
    Peer::play(&url_from_before).await.expect("play").watch().more_pictures(5).await;
    for _ in 0..3 {
        let refusal = scene.conference.app.create(json!({})).await.err().expect("nothing can be created");
        assert_eq!(
            (refusal.status, refusal.reason.as_str()),
            (503, "store_unavailable"),
            "{}",
            refusal.detail
        );
    }

    fill(&scene, false);
    let after =
        wait::until(EVENT, "commands are done again", async || note(&scene, kept + 2).await.ok()).await;
    assert_eq!(after["metadata"]["n"], kept + 2);
    assert_eq!(ready(&scene.gateway).await.0, 200);
    viewer.more_pictures(3).await;
    println!("{kept} commands were kept after the disk was full");

    // Nothing half done came to the disk.
    let Scene { gateway, conference, .. } = scene;
    let gateway = gateway.kill().await.start().await;
    let conference = conference.at(gateway.api.clone());
    assert_eq!(conference.get().await.expect("the conference")["metadata"]["n"], kept + 2);
    let expected: Vec<Value> = (1..=kept).chain([kept + 2]).map(Value::from).collect();
    assert_eq!(notes(&conference).await, expected, "each that was answered, and nothing of what was refused");
    gateway.stop().await;
}

#[tokio::test]
async fn on_a_full_disk_commands_are_refused_and_media_goes_on_and_room_helps_without_a_restart() {
    let (machine, setup) = Machine::under(Setup::new());
    no_room_and_room_again(setup, |_, full| machine.fill_disk(full)).await;
}

/// A small file system, there until the test ends in any way.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str) -> Self {
        let mount = tempfile::tempdir().expect("a temporary directory");
        let mut command = std::process::Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tidegate-test"]).arg(mount.path());
        assert!(command.status().is_ok_and(|status| status.success()), "mount (as root?)");
        Self(mount)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A gateway of a test that failed may still have it in use.
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// The same on a file system that is really full.
#[tokio::test]
#[ignore = "mounts a file system: `make chaos`, as root"]
async fn on_a_full_file_system_commands_are_refused_and_media_goes_on() {
    let mounted = Mounted::new("size=3m");
    let setup = Setup::new().data_dir(mounted.0.path().join("data"));
    let ballast = mounted.0.path().join("ballast");
    no_room_and_room_again(setup, |_, full| {
        if full { fill_up(&ballast) } else { std::fs::remove_file(&ballast).expect("removed") }
    })
    .await;
}

fn fill_up(ballast: &Path) {
    let mut file = OpenOptions::new().create_new(true).append(true).open(ballast).expect("a file");
    // Down to the last byte: smaller and smaller pieces.
    for size in [1 << 16, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// A command waits for a sync that does not end, and nothing of media waits with it.
async fn newcomers_watch_while_the_disk_hangs(scene: &Scene, machine: &Machine, url: &MediaUrl) {
    machine.slow_syncs_ms(HANGING_SYNC_MS);
    let (syncs, _) = machine.syncs();
    let mut command = Box::pin(note(scene, 7));
    let meanwhile = async {
        wait::until(EVENT, "a sync hangs", async || (machine.syncs().0 > syncs).then_some(())).await;
        Peer::play(url).await.expect("play").watch().more_pictures(5).await;
        assert_eq!(ready(&scene.gateway).await.0, 200, "a disk that is slow refuses nothing");
    };
    tokio::select! {
        answer = &mut command => panic!("answered though its sync hangs: {answer:?}"),
        () = meanwhile => {}
    }
    machine.slow_syncs_ms(0);
    within(EVENT, "the command is answered", command).await.expect("done");
}

#[tokio::test]
async fn pictures_flow_while_a_slow_disk_keeps_commands_waiting() {
    let (machine, setup) = Machine::under(Setup::new());
    let scene = Scene::with(setup).await;
    let _feed = scene.publisher().await.feed(flv::clip());
    let url = scene.urls("rtc").await.url;
    let mut viewer = Arrivals::of(Peer::play(&url).await.expect("play"));
    // What the ring held comes at once.
    viewer.take(20).await;
    let before = viewer.take(60).await;

    machine.slow_syncs_ms(SLOW_SYNC_MS);
    let asked = Instant::now();
    let (syncs, _) = machine.syncs();
    let mut command = Box::pin(note(&scene, 1));
    let mut during = Vec::new();
    // Its sync has begun, and has not ended.
    while machine.syncs().0 == syncs {
        tokio::select! {
            answer = &mut command => panic!("answered before any sync began: {answer:?}"),
            came = viewer.take(1) => during.extend(came),
        }
    }
    let answer: Value = loop {
        tokio::select! {
            biased;
            answer = &mut command => break answer.expect("done"),
            came = viewer.take(1) => during.extend(came),
        }
    };
    let waited = asked.elapsed();
    drop(command);
    assert_eq!(answer["metadata"]["n"], 1);
    // Fifteen a second, and two thirds of a second of a busy machine's delay.
    assert!(during.len() >= 5, "{} pictures came while the command waited {waited:?}", during.len());
    newcomers_watch_while_the_disk_hangs(&scene, &machine, &url).await;
    machine.slow_syncs_ms(SLOW_SYNC_MS);
    // More of them, while one command after another waits.
    let more = async {
        for n in 2..5 {
            note(&scene, n).await.expect("done");
        }
    };
    let (more, ()) = tokio::join!(viewer.take(45), more);
    during.extend(more);
    let (was, is) = (gaps(&before), gaps(&during));
    println!(
        "a command waited {waited:?}; between two pictures p99 {:?} (greatest {:?}), on the slow disk {:?} ({:?})",
        was.0, was.1, is.0, is.1
    );
    machine.slow_syncs_ms(0);
    within(EVENT, "fast again", note(&scene, 6)).await.expect("done");
    scene.gateway.stop().await;
}
