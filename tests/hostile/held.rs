//! Connections that hold on: what each costs, and that nothing of it stays.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::figures::leaked_kib;
use crate::support::raw::{self, message_type as kind};
use crate::support::wait::until;
use crate::support::{EVENT, Gateway, Setup, within};
use crate::{Scene, closed, count, stranger};

/// Longer than any of these tests.
const PATIENCE_MS: u32 = 600_000;
/// A half-open handshake with its task, buffers of the handshake among it. The build that the tests run is not optimised.
const HALF_OPEN_KIB: u64 = 24;
/// What an allocator may keep of one run more, however large it was.
const KEPT_KIB: u64 = 4 * 1024;
/// Runs of the same size.
const RUNS: usize = 3;

fn patient() -> Setup {
    Setup::new()
        .env("TIDEGATE_HANDSHAKE_TIMEOUT_MS", PATIENCE_MS)
        .env("TIDEGATE_CONNECTIONS_MAX", 18_000)
        .env("TIDEGATE_HANDSHAKES_MAX", 18_000)
}

/// Opens connections that stop in the middle of their handshake: behind nothing, behind one byte, behind half of it, and
/// behind all that can be said without reading the answer.
async fn half_open(gateway: &Gateway, count: usize) -> Vec<TcpStream> {
    let before = connections(gateway).await;
    let mut hello = vec![0_u8; 1 + raw::HANDSHAKE_BYTES];
    hello[0] = 3;
    let mut held = Vec::new();
    for number in 0..count {
        let mut stream =
            within(EVENT, "a connection", TcpStream::connect(gateway.rtmp)).await.expect("connects");
        let part = [0, 1, 700, hello.len()][number % 4];
        stream.write_all(&hello[..part]).await.expect("sent");
        held.push(stream);
    }
    // The last ones are accepted, and what they said is read: all that answer have answered.
    for stream in held.iter().skip(3).step_by(4) {
        within(EVENT, "an answer to a whole hello", stream.readable()).await.expect("readable");
    }
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let wanted = before + count as f64;
    until(EVENT, "all are there", || async { (connections(gateway).await >= wanted).then_some(()) }).await;
    held
}

async fn connections(gateway: &Gateway) -> f64 {
    gateway.metric("tidegate_connections{protocol=\"rtmp\"}").await.unwrap_or_default()
}

#[tokio::test]
async fn half_open_handshakes_cost_little_and_leave_nothing() {
    let connections = count(2000, 10_000);
    let mut scene = Scene::with(patient()).await;
    let before = scene.figures();
    let mut runs = vec![before];
    let mut full = before;
    for _ in 0..RUNS {
        let held = half_open(&scene.gateway, connections).await;
        full = scene.figures();
        scene.assert_unharmed("half-open handshakes").await;
        drop(held);
        runs.push(before.descriptors_are_back().await);
    }
    let each_kib = full.grown_kib(&before) / connections as u64;
    let growth: Vec<u64> = runs.windows(2).map(|pair| pair[1].grown_kib(&pair[0])).collect();
    eprintln!("{connections} half-open handshakes: {each_kib} KiB each; {growth:?} KiB more after each run");
    assert!(full.descriptors >= before.descriptors + connections, "they were open: {full:?}");
    assert!(each_kib <= HALF_OPEN_KIB, "{each_kib} KiB for each");
    assert!(leaked_kib(&runs) <= KEPT_KIB, "{growth:?} KiB more after each run");
    scene.end().await;
}

#[tokio::test]
async fn memory_follows_the_bytes_received_and_not_the_bytes_declared() {
    /// As many as may be unfinished at once.
    const MESSAGES: usize = 16;
    /// A connection of this kind: its task, its chunk streams, twice what it sent.
    const EACH_KIB: u64 = 40;
    let connections = count(1000, 1000);
    let setup = patient().env("TIDEGATE_UNFINISHED_BYTES_MAX", 1_u64 << 40);
    let mut scene = Scene::with(setup).await;
    let before = scene.figures();
    let mut held = Vec::new();
    for number in 0..connections {
        let mut stream = stranger(&scene.gateway).await;
        // Every other one with one chunk for each message, however long.
        let chunk_bytes: u32 = if number % 2 == 0 { 128 } else { 0x7FFF_FFFF };
        let mut bytes = raw::message(2, 0, kind::SET_CHUNK_SIZE, 0, &chunk_bytes.to_be_bytes());
        for csid in (4..).take(MESSAGES - 1) {
            bytes.extend(raw::header(csid, 0, 8 << 20, kind::VIDEO, 1));
            if chunk_bytes == 128 {
                bytes.extend([0; 128]);
            }
        }
        // The last one of them, begun where the chunk may be as long as the message.
        bytes.extend([0; 128]);
        stream.write_all(&bytes).await.expect("sent");
        held.push(stream);
    }
    scene.assert_unharmed("declared lengths").await;
    let full = scene.figures();
    let each_kib = full.grown_kib(&before) / connections as u64;
    let asked_kib = full.asked_kib.saturating_sub(before.asked_kib) / connections as u64;
    eprintln!(
        "{connections} connections that declared up to {} MiB each: {each_kib} KiB each, {asked_kib} KiB asked for",
        8 * (MESSAGES - 1)
    );
    assert!(each_kib <= EACH_KIB, "{each_kib} KiB for each");
    // Arenas and stacks of threads come with it.
    assert!(asked_kib <= 4 * EACH_KIB, "{asked_kib} KiB asked for, for each");
    assert!(full.descriptors >= before.descriptors + connections, "they are open");
    drop(held);
    before.descriptors_are_back().await;
    scene.end().await;
}

#[tokio::test]
async fn a_length_beyond_what_a_message_may_have_ends_the_connection() {
    let mut scene = Scene::set().await;
    let mut stream = stranger(&scene.gateway).await;
    stream.write_all(&raw::header(4, 0, 0x00FF_FFFF, kind::VIDEO, 1)).await.expect("sent");
    closed(&mut stream, "a connection that declares 16 MiB is closed").await;
    assert!(scene.reached("message_bytes_max").await > 0.5);
    scene.assert_unharmed("16 MiB").await;
    scene.end().await;
}

#[tokio::test]
async fn many_chunk_streams_with_a_message_begun_on_each_end_the_connection() {
    let mut scene = Scene::set().await;
    let mut stream = stranger(&scene.gateway).await;
    let mut begun = Vec::new();
    for csid in 4..=60 {
        begun.extend(raw::header(csid, 0, 1000, kind::VIDEO, 1));
        begun.extend([0; 128]);
    }
    let _ = stream.write_all(&begun).await;
    closed(&mut stream, "a connection with too many messages begun is closed").await;
    assert!(scene.reached("partial_messages_max").await > 0.5);
    scene.assert_unharmed("many messages begun").await;
    scene.end().await;
}

#[tokio::test]
async fn unfinished_messages_of_all_strangers_share_one_budget() {
    /// Of each connection, below what one may have alone.
    const UNFINISHED: usize = 100 * 1024;
    let setup = patient().env("TIDEGATE_UNFINISHED_BYTES_MAX", 1 << 20);
    let mut scene = Scene::with(setup).await;
    let mut message = raw::header(4, 0, 2 * UNFINISHED, kind::VIDEO, 1);
    for chunk in 0..UNFINISHED / raw::DEFAULT_CHUNK_BYTES {
        if chunk > 0 {
            message.push(0xC4);
        }
        message.extend([0; raw::DEFAULT_CHUNK_BYTES]);
    }
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = stranger(&scene.gateway).await;
        let _ = stream.write_all(&message).await;
        held.push(stream);
    }
    until(EVENT, "the budget is used up", || async {
        (scene.reached("unfinished_bytes_max").await > 0.5).then_some(())
    })
    .await;
    // Who goes by the book needs none of it.
    scene.assert_unharmed("unfinished messages").await;
    let clara = scene.conference.member("clara", 3).await.publish("RTC2").await.expect("pubStream");
    crate::Peer::publish(&clara.url).await.expect("a publisher beside them");
    drop(held);
    until(EVENT, "what was held is free again", || async {
        let mut stream = stranger(&scene.gateway).await;
        let before = scene.reached("unfinished_bytes_max").await;
        let _ = stream.write_all(&message).await;
        // An answer behind it shows that it was read.
        let _ = stream.write_all(&raw::create_stream(9.0)).await;
        scene.viewer.more_pictures(1).await;
        (scene.reached("unfinished_bytes_max").await - before < 0.5).then_some(())
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn a_stranger_sends_so_much_and_no_more() {
    let mut scene = Scene::with(patient()).await;
    let mut stream = stranger(&scene.gateway).await;
    // Whole messages of media that nobody asked for.
    let media = raw::message(4, 0, kind::VIDEO, 1, &[0; 60_000]);
    let mut sent = 0;
    while sent < 64 << 20 && stream.write_all(&media).await.is_ok() {
        sent += media.len();
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken of a stranger");
    assert!(scene.reached("bytes_before_admission_max").await > 0.5);
    scene.assert_unharmed("much media").await;
    scene.end().await;
}
