//! What bytes cost in processor time when they come as awkwardly as the protocol allows.

use crate::support::raw::{self, message_type as kind};
use crate::support::wait::until;
use crate::support::{EVENT, Peer};
use crate::{Scene, count};

/// The chunk size of a peer that is connected.
const PEER_CHUNK_BYTES: usize = 4096;

/// A message in chunks of so many bytes.
fn in_chunks(payload: usize, chunk_bytes: usize) -> Vec<u8> {
    let mut bytes = raw::header(6, 0, payload, kind::VIDEO, 1);
    let mut left = payload;
    while left > 0 {
        if left < payload {
            bytes.push(0xC6);
        }
        let taken = left.min(chunk_bytes);
        // An inter picture of H.264, as far as anybody looks at it.
        bytes.extend(std::iter::repeat_n(0x27, taken));
        left -= taken;
    }
    bytes
}

/// Publishes these bytes behind an announcement of the chunk size, until the gateway has read all of them. Gives the processor time
/// of its own for each byte, in nanoseconds.
async fn nanos_per_byte(scene: &Scene, chunk_bytes: u32, message: usize, total: usize) -> f64 {
    let member = scene.conference.member(&format!("m{chunk_bytes}x{message}"), 3).await;
    let published = member.publish("RTC1").await.expect("pubStream");
    let mut peer = Peer::publish(&published.url).await.expect("publish");
    let size = raw::message(2, 0, kind::SET_CHUNK_SIZE, 0, &chunk_bytes.to_be_bytes());
    peer.send_raw(&size).await.expect("sent");
    let bytes = in_chunks(message, chunk_bytes as usize);
    let rounds = total.div_ceil(message);
    let before = scene.figures();
    for _ in 0..rounds {
        peer.send_raw(&bytes).await.expect("sent");
    }
    until(EVENT, "all is read", || async {
        (bytes_of(scene, &published.stream_id).await >= (rounds * message) as u64).then_some(())
    })
    .await;
    let spent = before.spent();
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let each = spent.as_nanos() as f64 / (rounds * bytes.len()) as f64;
    each
}

/// What the publisher of a stream has sent, as the list of sessions tells it.
async fn bytes_of(scene: &Scene, stream: &str) -> u64 {
    let app = &scene.conference.app;
    let page = app.api.get("/v1/sessions", &app.key).await.expect("a page");
    let sessions = page["sessions"].as_array().expect("sessions").clone();
    let publisher = sessions
        .iter()
        .find(|session| session["streamId"] == stream && session["direction"] == "publish")
        .expect("its publisher");
    publisher["bytes"].as_u64().expect("a number")
}

#[tokio::test]
async fn one_byte_chunks_cost_alike_however_long_the_message_is() {
    /// A cost that grows with the length of the message would be 64 times as high.
    const FACTOR_MAX: f64 = 4.0;
    let (short, long, total) = (16 * 1024, 1 << 20, count(2 << 20, 8 << 20));
    let mut scene = Scene::set().await;
    let of_short = nanos_per_byte(&scene, 1, short, total).await;
    let of_long = nanos_per_byte(&scene, 1, long, total).await;
    let normal = nanos_per_byte(&scene, 60_000, long, total).await;
    eprintln!(
        "ns a byte on the wire: {normal:.1} in large chunks, {of_short:.1} and {of_long:.1} in chunks of 1 byte"
    );
    assert!(
        of_long < of_short * FACTOR_MAX,
        "{of_long:.1} ns a byte of a long message, {of_short:.1} of a short one"
    );
    scene.assert_unharmed("one-byte chunks").await;
    scene.end().await;
}

#[tokio::test]
async fn an_aggregate_of_thousands_of_tags_ends_its_publisher_alone() {
    let mut scene = Scene::set().await;
    let clara = scene.conference.member("clara", 3).await.publish("RTC2").await.expect("pubStream");
    let mut peer = Peer::publish(&clara.url).await.expect("publish");
    // Audio of one byte: a tag's header, the byte, and the length of both behind it.
    let tag = [8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xAF, 0, 0, 0, 12];
    let aggregate = |tags: usize| {
        let mut bytes = raw::header(6, 0, tag.len() * tags, kind::AGGREGATE, 1);
        for (number, part) in tag.repeat(tags).chunks(PEER_CHUNK_BYTES).enumerate() {
            if number > 0 {
                bytes.push(0xC6);
            }
            bytes.extend(part);
        }
        bytes
    };
    peer.send_raw(&aggregate(500)).await.expect("one that is taken");
    assert!(scene.reached("aggregated_messages_max").await < 0.5);
    let _ = peer.send_raw(&aggregate(5000)).await;
    peer.watch().closed().await;
    assert!(scene.reached("aggregated_messages_max").await > 0.5);
    scene.assert_unharmed("an aggregate of thousands").await;
    scene.end().await;
}
