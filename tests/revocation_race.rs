//! Kicks raced with admissions: whichever comes first, no session of a kicked epoch is left when the dust settles,
//! and no attempt that began after the answer to the kick is let in.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "test code")]

mod support;

use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use support::raw;
use support::{Conference, EVENT, Gateway, MediaUrl, Peer, flv, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Kicks in an ordinary run, some ten seconds of two cores; `TIDEGATE_RACE_KICKS` in the environment of the test asks for
/// another number.
const KICKS: usize = 1_000;
/// Members kicked by one call.
const MEMBERS: usize = 50;
/// Commands of the backend that are under way at once while members are let in again.
const BACKEND_PARALLEL: usize = 8;

/// The life of one media URL, which is the life of one epoch.
struct Epoch {
    url: MediaUrl,
    direction: Direction,
    /// When the API answered the kick that ended it.
    kicked: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Publish,
    Play,
}

/// What the racers counted.
#[derive(Default)]
struct Counts {
    admitted: AtomicUsize,
    refused: AtomicUsize,
    open: AtomicUsize,
    /// Sentences about what ought not to have happened.
    wrong: Mutex<Vec<String>>,
}

enum Outcome {
    Admitted,
    Refused,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_of_a_kicked_epoch_survives() {
    let kicks = std::env::var("TIDEGATE_RACE_KICKS").ok().and_then(|text| text.parse().ok()).unwrap_or(KICKS);
    let rounds = usize::max(kicks / MEMBERS, 1);
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let limits = json!({ "limits": { "maxTalkerCount": MEMBERS + 1, "maxVideoCount": MEMBERS + 1 } });
    let conference = app.create(limits).await.expect("created");
    let star = conference.member("star", 3).await;
    let published = star.publish("RTC1").await.expect("pubStream");
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());

    let counts = Arc::new(Counts::default());
    let names: Vec<String> = (0..MEMBERS).map(|number| format!("racer-{number}")).collect();
    let mut racers = JoinSet::new();
    let mut newest = BTreeMap::new();
    for name in &names {
        let (tell, told) = watch::channel(None);
        newest.insert(name.clone(), tell);
        racers.spawn(race(told, Arc::clone(&counts)));
    }
    let began = Instant::now();
    for round in 0..rounds {
        let epochs = admit_all(&conference, &names, &published.stream_id).await;
        for (name, epoch) in &epochs {
            newest[name].send_replace(Some(Arc::clone(epoch)));
        }
        // The kick goes out while the racers connect, or just after: the round decides, so that both are met.
        if round % 2 == 1 {
            wait_for_admissions(&counts, MEMBERS / 2).await;
        }
        let victims: Vec<&str> = names.iter().map(String::as_str).collect();
        let answer = conference.kick(&victims).await.expect("kick");
        let answered = Instant::now();
        assert_eq!(answer["kicked"].as_array().map(Vec::len), Some(MEMBERS));
        for epoch in epochs.values() {
            *epoch.kicked.lock() = Some(answered);
        }
    }
    // No new epoch follows: every racer makes its last attempt at a dead URL, and every socket must have been closed.
    drop(newest);
    let all_closed = async {
        while let Some(racer) = racers.join_next().await {
            racer.expect("a racer");
        }
    };
    let in_time = tokio::time::timeout(EVENT, all_closed).await;
    let open = counts.open.load(Ordering::Relaxed);
    assert!(in_time.is_ok(), "{open} sessions survived their epoch, {} racers have no answer", racers.len());

    let (admitted, refused) =
        (counts.admitted.load(Ordering::Relaxed), counts.refused.load(Ordering::Relaxed));
    println!(
        "{} kicks in {:?}: {admitted} sessions were let in and closed, {refused} refused",
        rounds * MEMBERS,
        began.elapsed()
    );
    let wrong = counts.wrong.lock().clone();
    assert!(wrong.is_empty(), "{} wrong, among them: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert_eq!(open, 0, "sessions that survived their epoch");
    assert!(admitted > 0 && refused > 0, "a race that only one side ever wins shows nothing");
    assert!(feed.is_open(), "who was not kicked goes on");
    gateway.stop().await;
}

/// New tickets, joins and media URLs for all: half of them publish, half of them play.
async fn admit_all(conference: &Conference, names: &[String], star: &str) -> BTreeMap<String, Arc<Epoch>> {
    let mut epochs = BTreeMap::new();
    let mut calls = JoinSet::new();
    let mut waiting = names.iter().enumerate();
    loop {
        while calls.len() < BACKEND_PARALLEL {
            let Some((index, name)) = waiting.next() else { break };
            let (conference, name, star) = (conference.clone(), name.clone(), star.to_owned());
            calls.spawn(async move {
                let member = conference.member(&name, 3).await;
                let (url, direction) = if index % 2 == 0 {
                    (member.subscribe(&star).await.expect("subStream").url, Direction::Play)
                } else {
                    (member.publish("cam").await.expect("pubStream").url, Direction::Publish)
                };
                (name, Arc::new(Epoch { url, direction, kicked: Mutex::new(None) }))
            });
        }
        match calls.join_next().await {
            Some(done) => epochs.extend([done.expect("a call of the backend")]),
            None => return epochs,
        }
    }
}

/// Waits until so many sessions are open.
async fn wait_for_admissions(counts: &Counts, wanted: usize) {
    within(EVENT, "sessions are let in", async {
        while counts.open.load(Ordering::Relaxed) < wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// One phone: connects with its newest URL, holds the session until it is closed, tries the same URL once more at
/// once, as clients do by themselves, and then waits for a new URL.
async fn race(mut newest: watch::Receiver<Option<Arc<Epoch>>>, counts: Arc<Counts>) {
    while newest.changed().await.is_ok() {
        let epoch = newest.borrow_and_update().clone();
        let Some(epoch) = epoch else { continue };
        let mut attempts_after_kick = 0;
        while attempts_after_kick == 0 {
            let began_after_kick = epoch.kicked.lock().is_some();
            attempts_after_kick += usize::from(began_after_kick);
            match attempt(&epoch, &counts).await {
                Ok(Outcome::Admitted) if began_after_kick => {
                    counts
                        .wrong
                        .lock()
                        .push(format!("let in after the kick was answered: {}", epoch.url.stream));
                }
                Ok(Outcome::Refused) if !began_after_kick && epoch.kicked.lock().is_none() => {
                    // The kick was applied before its answer was written: the racer comes back when it is known.
                    within(EVENT, "the kick that refused is answered", known(&epoch)).await;
                }
                Ok(Outcome::Admitted | Outcome::Refused) => {}
                Err(error) => counts.wrong.lock().push(format!("no answer at all: {error}")),
            }
        }
    }
}

async fn known(epoch: &Epoch) {
    while epoch.kicked.lock().is_none() {
        tokio::task::yield_now().await;
    }
}

/// One session from the handshake to the end of its socket.
async fn attempt(epoch: &Epoch, counts: &Counts) -> std::io::Result<Outcome> {
    let placement = epoch.url.in_name();
    let mut stream = TcpStream::connect(placement.address).await?;
    stream.set_nodelay(true)?;
    raw::handshake(&mut stream).await?;
    stream.write_all(&raw::connect(&placement.app, &placement.tc_url)).await?;
    let mut said = Vec::new();
    let mut chunk = [0_u8; 16 * 1024];
    while !contains(&said, b"NetConnection.Connect.Success") {
        match stream.read(&mut chunk).await? {
            0 => return Err(std::io::Error::other("connect was not answered")),
            read => said.extend_from_slice(&chunk[..read]),
        }
    }
    let mut request = raw::create_stream(2.0);
    request.extend(match epoch.direction {
        Direction::Publish => raw::publish(1, &placement.name),
        Direction::Play => raw::play(1, &placement.name),
    });
    stream.write_all(&request).await?;

    let mut outcome = None;
    loop {
        // A socket that the gateway closes hard ends with a reset.
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        if outcome.is_none() {
            said.extend_from_slice(&chunk[..read]);
            outcome = decided(&said);
            if matches!(outcome, Some(Outcome::Admitted)) {
                counts.admitted.fetch_add(1, Ordering::Relaxed);
                counts.open.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    match outcome {
        Some(Outcome::Admitted) => counts.open.fetch_sub(1, Ordering::Relaxed),
        // A session that is cut between connect and its answer was refused too.
        Some(Outcome::Refused) | None => counts.refused.fetch_add(1, Ordering::Relaxed),
    };
    Ok(outcome.unwrap_or(Outcome::Refused))
}

fn decided(said: &[u8]) -> Option<Outcome> {
    if contains(said, b"NetStream.Publish.Start") || contains(said, b"NetStream.Play.Start") {
        Some(Outcome::Admitted)
    } else if contains(said, b"NetStream.Publish.BadName") || contains(said, b"NetStream.Play.Failed") {
        Some(Outcome::Refused)
    } else {
        None
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
