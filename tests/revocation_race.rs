//! Kicks raced with admissions, over RTMP, FLV and WebSocket: whichever comes first, no session of a kicked epoch is left
//! when the dust settles, and no attempt that began after the answer to the kick is let in.
//! Joins raced with kicks and with the end of the conference: nobody is inside afterwards.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "test code")]

mod support;

use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use support::api::Refused as _;
use support::raw;
use support::{Conference, EVENT, Gateway, MediaUrl, Peer, flv, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Kicks in an ordinary run, some ten seconds of two cores; `TIDEGATE_RACE_KICKS` in the environment of the test asks for
/// another number.
const KICKS: usize = 600;
/// Members kicked by one call.
const MEMBERS: usize = 50;
/// How often a client shows the URL of a kicked epoch again, each time at once.
const RETRIES: usize = 4;
/// Joins that race in an ordinary run; `TIDEGATE_RACE_JOINS` asks for another number.
const JOINS: usize = 100;
/// Commands of the backend that are under way at once while members are let in again.
const BACKEND_PARALLEL: usize = 8;

/// The life of one media URL, which is the life of one epoch.
struct Epoch {
    url: MediaUrl,
    door: Door,
    /// When the API answered the kick that ended it.
    kicked: Mutex<Option<Instant>>,
}

/// Which way the URL is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Door {
    Publish,
    Play,
    /// At this address of the HTTP listener.
    Flv(SocketAddr),
    WsFlv(SocketAddr),
}

/// What the racers counted.
#[derive(Default)]
struct Counts {
    admitted: AtomicUsize,
    refused: AtomicUsize,
    open: AtomicUsize,
    /// Attempts that began after the answer to their kick, by door.
    retries: Mutex<BTreeMap<Door, usize>>,
    /// Sentences about what ought not to have happened.
    wrong: Mutex<Vec<String>>,
}

enum Outcome {
    Admitted,
    Refused,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_of_a_kicked_epoch_survives() {
    let kicks = setting("TIDEGATE_RACE_KICKS", KICKS);
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
    let retries = counts.retries.lock().clone();
    println!("attempts after the answer to their kick: {retries:?}");
    assert!(
        retries.len() == 4 && retries.values().all(|count| *count >= rounds * MEMBERS / 2),
        "{retries:?}"
    );
    assert!(feed.is_open(), "who was not kicked goes on");
    gateway.stop().await;
}

fn setting(name: &str, ordinary: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(ordinary)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_inside_after_a_kick_or_an_end_that_raced_with_the_join() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let mut conference = app.conference().await;
    let (mut let_in, mut kept_out) = (0, 0);
    for round in 0..setting("TIDEGATE_RACE_JOINS", JOINS) {
        let ticket = conference.ticket("racer", 3).await;
        let join = conference.app.api.join(&conference.id, &ticket);
        let does_end = round % 4 == 3;
        let other = async {
            // Each side is ahead now and then.
            for _ in 0..round % 3 {
                tokio::task::yield_now().await;
            }
            if does_end { conference.delete().await } else { conference.kick(&["racer"]).await }
        };
        let (joined, done) = tokio::join!(join, other);
        done.expect("a kick or an end is always carried out");
        let expected = if does_end { "conference_closed" } else { "member_gone" };
        match joined {
            Ok(member) => {
                let_in += 1;
                let refusal = member.look().await.refused();
                assert_eq!((refusal.status, refusal.reason.as_str()), (410, expected), "{refusal:?}");
                let refusal = member.publish("RTC1").await.refused();
                assert_eq!(refusal.status, 410, "{refusal:?}");
            }
            Err(refusal) => {
                kept_out += 1;
                // A join that was carried out and overtaken by the end before its answer is told that its member is gone.
                let words = [expected, "member_gone"];
                assert!(refusal.status == 410 && words.contains(&refusal.reason.as_str()), "{refusal:?}");
            }
        }
        if does_end {
            conference = app.conference().await;
        } else {
            assert!(conference.member_names().await.is_empty(), "somebody is inside after its kick");
        }
    }
    println!("{let_in} were let in first and then removed, {kept_out} were kept out");
    assert!(let_in > 0, "a race that only one side ever wins shows nothing");
    gateway.stop().await;
}

/// New tickets, joins and media URLs for all: a quarter of them for each door.
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
                let http = member.api.address;
                let door = [Door::Play, Door::Publish, Door::Flv(http), Door::WsFlv(http)][index % 4];
                let url = match door {
                    Door::Publish => member.publish("cam").await.expect("pubStream").url,
                    _ => member.subscribe(&star).await.expect("subStream").url,
                };
                (name, Arc::new(Epoch { url, door, kicked: Mutex::new(None) }))
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

/// One phone: connects with its newest URL, holds the session until it is closed, tries the same URL again and again at
/// once, as clients do by themselves, and then waits for a new URL.
async fn race(mut newest: watch::Receiver<Option<Arc<Epoch>>>, counts: Arc<Counts>) {
    while newest.changed().await.is_ok() {
        let epoch = newest.borrow_and_update().clone();
        let Some(epoch) = epoch else { continue };
        let mut attempts_after_kick = 0;
        while attempts_after_kick < RETRIES {
            let began_after_kick = epoch.kicked.lock().is_some();
            if began_after_kick {
                attempts_after_kick += 1;
                *counts.retries.lock().entry(epoch.door).or_default() += 1;
            }
            match attempt(&epoch, &counts).await {
                Ok(Outcome::Admitted) if began_after_kick => {
                    counts.wrong.lock().push(format!(
                        "let in after the kick was answered: {:?} {}",
                        epoch.door, epoch.url.stream
                    ));
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

/// One session from its first byte to the end of its socket.
async fn attempt(epoch: &Epoch, counts: &Counts) -> std::io::Result<Outcome> {
    let (mut stream, mut said) = match epoch.door {
        Door::Publish | Door::Play => ask_over_rtmp(epoch).await?,
        Door::Flv(address) => ask_over_http(epoch, address, "connection: close\r\n").await?,
        Door::WsFlv(address) => {
            let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                           sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            ask_over_http(epoch, address, upgrade).await?
        }
    };
    let mut chunk = [0_u8; 16 * 1024];
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
            if matches!(outcome, Some(Outcome::Refused))
                && matches!(epoch.door, Door::Flv(_) | Door::WsFlv(_))
            {
                // HTTP may keep the connection for another request.
                break;
            }
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

async fn ask_over_rtmp(epoch: &Epoch) -> std::io::Result<(TcpStream, Vec<u8>)> {
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
    request.extend(match epoch.door {
        Door::Publish => raw::publish(1, &placement.name),
        _ => raw::play(1, &placement.name),
    });
    stream.write_all(&request).await?;
    Ok((stream, said))
}

async fn ask_over_http(
    epoch: &Epoch,
    address: SocketAddr,
    headers: &str,
) -> std::io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (name, token) = (&epoch.url.stream, &epoch.url.token);
    let request = format!("GET /live/{name}.flv?t={token} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok((stream, Vec::new()))
}

fn decided(said: &[u8]) -> Option<Outcome> {
    let is_admitted =
        [&b"NetStream.Publish.Start"[..], b"NetStream.Play.Start"].iter().any(|word| contains(said, word));
    if is_admitted || said.starts_with(b"HTTP/1.1 200 ") || said.starts_with(b"HTTP/1.1 101 ") {
        Some(Outcome::Admitted)
    } else if said.starts_with(b"HTTP/1.1 4")
        || contains(said, b"NetStream.Publish.BadName")
        || contains(said, b"NetStream.Play.Failed")
    {
        Some(Outcome::Refused)
    } else {
        None
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
