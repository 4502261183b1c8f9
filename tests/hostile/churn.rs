//! Peers that come and go without end: what is gone leaves nothing.

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::figures::leaked_kib;
use crate::support::{Gateway, raw};
use crate::{EVENT, Scene, count, within};

/// Peers at a time.
const AT_ONCE: usize = 8;
/// What an allocator may keep of one run more, however long it was.
const KEPT_KIB: u64 = 2 * 1024;
/// Runs of the same size.
const RUNS: usize = 3;

/// Asks over RTMP to play something and is gone, with or without waiting for the answer.
async fn play_and_leave(gateway: &Gateway, name: &str, waits: bool) {
    let mut stream = within(EVENT, "a connection", TcpStream::connect(gateway.rtmp)).await.expect("connects");
    raw::handshake(&mut stream).await.expect("the handshake");
    let asked =
        [raw::connect("live", "rtmp://127.0.0.1/live"), raw::create_stream(2.0), raw::play(1, name)].concat();
    stream.write_all(&asked).await.expect("sent");
    if waits {
        let _ = within(EVENT, "an answer", stream.read(&mut [0; 4096])).await;
    }
}

/// The same over HTTP.
async fn watch_and_leave(gateway: &Gateway, name: &str, waits: bool) {
    let mut stream = within(EVENT, "a connection", TcpStream::connect(gateway.http)).await.expect("connects");
    let (stream_id, query) = name.split_once('?').unwrap_or((name, ""));
    let request = format!("GET /live/{stream_id}.flv?{query} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    if waits {
        let _ = stream.shutdown().await;
    }
}

async fn churn(scene: &Scene, silent: &str, times: usize) {
    let one_after_another = |first: usize| async move {
        for number in (first..times).step_by(AT_ONCE) {
            // No token, one that is good for a stream that nobody publishes, and a fresh name each.
            let fresh = format!("RTC{number}__Of_MS_nobody?t=AQID");
            let name = [silent, "RTC1__Of_MS_nobody", &fresh][number % 3];
            let waits = number % 2 == 0;
            if number % 5 == 0 {
                watch_and_leave(&scene.gateway, name, waits).await;
            } else {
                play_and_leave(&scene.gateway, name, waits).await;
            }
        }
    };
    join_all((0..AT_ONCE).map(one_after_another)).await;
}

#[tokio::test]
async fn who_plays_what_is_not_there_and_leaves_at_once_leaves_nothing() {
    let times = count(1000, 34_000);
    let mut scene = Scene::set().await;
    // Declared, so that its token is good, and never published.
    let silent = scene.conference.member("clara", 3).await.publish("RTC2").await.expect("pubStream");
    let boris = scene.conference.member("boris", 1).await;
    let url = boris.subscribe(&silent.stream_id).await.expect("subStream").url.in_name();
    let mut runs = vec![scene.figures()];
    for _ in 0..RUNS {
        churn(&scene, &url.name, times).await;
        runs.push(runs[0].descriptors_are_back().await);
    }
    let growth: Vec<u64> = runs.windows(2).map(|pair| pair[1].grown_kib(&pair[0])).collect();
    eprintln!("{times} plays of what is not there: {growth:?} KiB more after each run");
    assert!(leaked_kib(&runs) <= KEPT_KIB, "{growth:?} KiB more after each run");
    scene.assert_unharmed("plays of what is not there").await;
    scene.end().await;
}
