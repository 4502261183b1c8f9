//! A disk that is full, and one that is slow: commands wait or are refused, and media goes on.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::pictures::{Arrivals, gaps};
use crate::support::api::Answer;
use crate::support::{EVENT, Gateway, Peer, Scene, Setup, flv, wait, within};

/// How long each sync takes on the slow disk: as long as a disk that is about to die, or a volume whose credits are used up.
const SLOW_SYNC_MS: i64 = 1000;
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
    let seen = conference.at(gateway.api.clone()).get().await.expect("the conference");
    assert_eq!(seen["metadata"]["n"], kept + 2);
    gateway.stop().await;
}

#[tokio::test]
async fn on_a_full_disk_commands_are_refused_and_media_goes_on_and_room_helps_without_a_restart() {
    let (machine, setup) = Machine::under(Setup::new());
    no_room_and_room_again(setup, |_, full| machine.fill_disk(full)).await;
}

/// The same on a file system that is really full.
#[tokio::test]
#[ignore = "mounts a file system: `make chaos`, as root"]
async fn on_a_full_file_system_commands_are_refused_and_media_goes_on() {
    let mount = tempfile::tempdir().expect("a temporary directory");
    let run = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).arg(mount.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
    };
    run("mount", &["-t", "tmpfs", "-o", "size=3m", "tidegate-test"]);
    let setup = Setup::new().data_dir(mount.path().join("data"));
    let ballast = mount.path().join("ballast");
    no_room_and_room_again(setup, |_, full| {
        if full { fill_up(&ballast) } else { std::fs::remove_file(&ballast).expect("removed") }
    })
    .await;
    run("umount", &[]);
}

fn fill_up(ballast: &Path) {
    let mut file = OpenOptions::new().create_new(true).append(true).open(ballast).expect("a file");
    // Down to the last byte: smaller and smaller pieces.
    for size in [1 << 16, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
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
