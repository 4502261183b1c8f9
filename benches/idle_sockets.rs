//! Memory of the gateway for each event socket on which nothing happens. A measurement, not a check.
//! `docs/benchmarks.md` says how to run it, and what was seen.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "test code")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::Gateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Sockets, where the first argument names no number.
const SOCKETS: usize = 10_000;
/// Sockets that are opened at once: the listeners' backlogs hold so many.
const AT_ONCE: usize = 100;
/// Longer than the gateway leaves a socket without a ping, so that each has been through a whole round.
const SETTLED: Duration = Duration::from_secs(12);
/// An empty pong with a mask of zeros.
const PONG: [u8; 6] = [0x8A, 0x80, 0, 0, 0, 0];

#[tokio::main]
async fn main() {
    let wanted = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(SOCKETS);
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        conference.path("/events"),
        gateway.http,
        conference.app.key
    );
    let mut open = JoinSet::new();
    let mut last: Option<(u64, usize)> = None;
    for count in [0, wanted / 10, wanted] {
        while open.len() < count {
            let more = AT_ONCE.min(count - open.len());
            let sockets = futures_util::future::join_all((0..more).map(|_| connect(gateway.http, &request)));
            for socket in sockets.await {
                open.spawn(stay(socket));
            }
        }
        tokio::time::sleep(SETTLED).await;
        let bytes = resident_bytes(gateway.process.id());
        print!("{count} sockets: {} KiB resident", bytes / 1024);
        if let Some((fewer_bytes, fewer)) = last {
            print!(", {} bytes for each more", bytes.saturating_sub(fewer_bytes) / (count - fewer) as u64);
        }
        println!();
        last = Some((bytes, count));
    }
    assert!(open.try_join_next().is_none(), "a socket ended");
    open.abort_all();
    gateway.stop().await;
}

async fn connect(address: SocketAddr, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    socket.write_all(request.as_bytes()).await.expect("asks");
    let mut answer = Vec::new();
    while !answer.windows(10).any(|text| text == b"\"snapshot\"") {
        assert_ne!(socket.read_buf(&mut answer).await.expect("answers"), 0, "the feed ended");
    }
    socket
}

/// Answers whatever comes, which is pings.
async fn stay(mut socket: TcpStream) {
    let mut frame = [0; 256];
    while socket.read(&mut frame).await.is_ok_and(|length| length > 0) {
        if socket.write_all(&PONG).await.is_err() {
            return;
        }
    }
}

fn resident_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident set");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024
}
