//! How long after the answer of a kick the last byte still comes. A measurement, not a check: it asserts no time.
//! `docs/benchmarks.md` says how to run it, and what was seen.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "test code")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{Conference, Gateway, MediaUrl, Member, Peer, flv, raw};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const KICKS: usize = 100;
const VIEWERS: usize = 3;
/// Viewers of the full house.
const HOUSE: usize = 500;
/// Of whom so many are kicked one by one, before the conference ends for the others.
const ONE_BY_ONE: usize = 200;

#[tokio::main]
async fn main() {
    publishers().await;
    full_house().await;
}

/// A viewer that reads and forgets.
struct Seat {
    name: String,
    reader: JoinHandle<Instant>,
}

impl Seat {
    async fn take(conference: &Conference, stream: &str, number: usize, seen: watch::Sender<usize>) -> Self {
        let name = format!("seat-{number}");
        let member: Member = conference.member(&name, 1).await;
        let url = member.subscribe(stream).await.expect("subStream").url;
        let mut socket = play(&url).await.expect("play");
        // The moment of the last byte, and the end.
        let reader = tokio::spawn(async move {
            let mut chunk = vec![0; 64 * 1024];
            let (mut last, mut bytes) = (Instant::now(), 0);
            while let Ok(read @ 1..) = socket.read(&mut chunk).await {
                last = Instant::now();
                // Beyond the answers of the handshake comes media.
                if bytes < 4096 && bytes + read >= 4096 {
                    seen.send_modify(|count| *count += 1);
                }
                bytes += read;
            }
            last
        });
        Self { name, reader }
    }
}

async fn play(url: &MediaUrl) -> std::io::Result<TcpStream> {
    let to = url.in_name();
    let mut socket = TcpStream::connect(to.address).await?;
    socket.set_nodelay(true)?;
    raw::handshake(&mut socket).await?;
    let request =
        [raw::connect(&to.app, &to.tc_url), raw::create_stream(2.0), raw::play(1, &to.name)].concat();
    socket.write_all(&request).await?;
    Ok(socket)
}

/// A stream with five hundred viewers: two hundred of them are kicked one after the other, the rest leave with the end of
/// the conference.
async fn full_house() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let limits = json!({ "limits": { "maxAudienceCount": HOUSE } });
    let conference = app.create(limits).await.expect("created");
    let star = conference.member("star", 3).await;
    let published = star.publish("RTC1").await.expect("pubStream");
    let _feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let (seen, mut seeing) = watch::channel(0);
    let mut seats = Vec::new();
    for number in 0..HOUSE {
        seats.push(Seat::take(&conference, &published.stream_id, number, seen.clone()).await);
    }
    seeing.wait_for(|count| *count == HOUSE).await.expect("everybody sees");

    let (mut answers, mut from_call, mut from_answer) = (Vec::new(), Vec::new(), Vec::new());
    let rest = seats.split_off(ONE_BY_ONE);
    for seat in seats {
        let asked = Instant::now();
        conference.kick(&[&seat.name]).await.expect("kick");
        let answered = Instant::now();
        let last = seat.reader.await.expect("the end");
        answers.push(milliseconds(asked, answered));
        from_call.push(milliseconds(asked, last));
        from_answer.push(milliseconds(answered, last));
    }
    println!("{ONE_BY_ONE} kicks, one after the other, of {HOUSE} viewers of one stream, milliseconds:");
    print_row("call to its answer", answers);
    print_row("call to the viewer's last byte", from_call);
    print_row("answer to the viewer's last byte", from_answer);

    let asked = Instant::now();
    conference.delete().await.expect("ended");
    let answered = Instant::now();
    let (mut from_call, mut from_answer) = (Vec::new(), Vec::new());
    for seat in rest {
        let last = seat.reader.await.expect("the end");
        from_call.push(milliseconds(asked, last));
        from_answer.push(milliseconds(answered, last));
    }
    let left = HOUSE - ONE_BY_ONE;
    println!("the end of the conference with {left} viewers, milliseconds:");
    print_row("call to its answer", vec![milliseconds(asked, answered)]);
    print_row("call to a viewer's last byte", from_call);
    print_row("answer to a viewer's last byte", from_answer);
    gateway.stop().await;
}

async fn publishers() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let (mut answers, mut viewers, mut publishers) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..KICKS {
        let name = format!("publisher-{round}");
        let member = conference.member(&name, 3).await;
        let published = member.publish("RTC1").await.expect("pubStream");
        let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
        let mut watches = Vec::new();
        for seat in 0..VIEWERS {
            let viewer = conference.member(&format!("viewer-{seat}"), 1).await;
            let url = viewer.subscribe(&published.stream_id).await.expect("subStream").url;
            watches.push(Peer::play(&url).await.expect("play").watch());
        }
        for watch in &watches {
            watch.more_pictures(3).await;
        }

        let asked = Instant::now();
        conference.kick(&[&name]).await.expect("kick");
        let answered = Instant::now();
        answers.push(milliseconds(asked, answered));
        for watch in &watches {
            let last = watch.closed().await.last_byte.expect("something was received");
            viewers.push(milliseconds(answered, last));
        }
        publishers.push(milliseconds(answered, feed.closed().await.closed));
    }
    println!("{KICKS} kicks of a publisher with {VIEWERS} viewers, milliseconds:");
    print_row("call to its answer", answers);
    print_row("answer to a viewer's last byte", viewers);
    print_row("answer to the end of the publisher's socket", publishers);
    gateway.stop().await;
}

/// From one moment to another; negative when the other came first.
fn milliseconds(from: Instant, to: Instant) -> f64 {
    let length = |duration: Duration| duration.as_secs_f64() * 1000.0;
    length(to.saturating_duration_since(from)) - length(from.saturating_duration_since(to))
}

fn print_row(what: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let at = |percent: usize| figures[(figures.len() - 1) * percent / 100];
    println!("{what:<44} p50 {:8.3}   p99 {:8.3}   max {:8.3}", at(50), at(99), at(100));
}
