//! No more descriptors.

use std::path::Path;

use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::process::run;
use crate::support::{Api, EVENT, Peer, Scene, flv, wait};

/// Descriptors that are left when the limit falls.
const SPARE: usize = 3;
/// Connections beyond that, which wait in the listener's queue.
const TOO_MANY: usize = 40;
/// Processor time, in a hundredth of the time in which pictures came, that turning nobody away may cost: a loop that spins costs a hundred.
const SHARE_MAX: u64 = 50;

fn descriptors(process: u32) -> usize {
    Path::new(&format!("/proc/{process}/fd")).read_dir().expect("its descriptors").count()
}

async fn limit_descriptors(process: u32, count: usize) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &process.to_string(), &format!("--nofile={count}")]);
    let ended = run("prlimit", command, EVENT).await;
    assert!(ended.status.success(), "{ended:?}");
}

fn cpu_ms(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process is there");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in brackets");
    rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks") * 10).sum()
}

#[tokio::test]
async fn without_descriptors_those_inside_stay_nothing_spins_and_the_next_are_taken_when_there_are_some_again()
 {
    let scene = Scene::new().await;
    let _feed = scene.publisher().await.feed(flv::clip());
    let viewer = scene.watch("rtc").await;
    viewer.more_pictures(3).await;
    let url = scene.urls("rtc").await.url;
    let process = scene.gateway.process.id();
    limit_descriptors(process, descriptors(process) + SPARE).await;

    // The kernel takes them; the gateway cannot.
    let mut waiting = Vec::new();
    for _ in 0..TOO_MANY {
        waiting.push(TcpStream::connect(scene.gateway.rtmp).await.expect("the kernel connects"));
        waiting.push(TcpStream::connect(scene.gateway.http).await.expect("the kernel connects"));
    }
    wait::until(EVENT, "descriptors are out for both listeners", async || {
        let told = scene.gateway.process.stderr.text();
        let lacks =
            |what: &str| told.lines().any(|line| line.contains(what) && line.contains("Too many open files"));
        (lacks("accept failed") && lacks("an HTTP connection could not be accepted")).then_some(())
    })
    .await;
    let (began, cpu_before) = (std::time::Instant::now(), cpu_ms(process));
    viewer.more_pictures(45).await;
    scene.anna.heartbeat().await.expect("a connection from before is served");
    let (took, cpu) = (began.elapsed(), cpu_ms(process) - cpu_before);
    let lines = scene.gateway.process.stderr.text().matches("Too many open files").count();
    println!("{took:?} without descriptors cost {cpu} ms of processor time and {lines} log lines");
    assert!(
        u128::from(cpu) * 100 < took.as_millis() * u128::from(SHARE_MAX),
        "{cpu} ms of {took:?}: it spins"
    );

    drop(waiting);
    // The limit stands: room comes from those that left.
    Peer::play(&url).await.expect("a newcomer is taken").watch().more_pictures(3).await;
    let stranger = Api::new(scene.gateway.http, scene.anna.api.secrets.clone());
    let path = scene.conference.path("");
    stranger.get(&path, &scene.conference.app.key).await.expect("a new HTTP connection is taken");
    viewer.more_pictures(3).await;
    scene.gateway.stop().await;
}
