//! A gateway in a network of its own, with two links to it: one breaks or loses packets, the other does not. As root.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::pictures::{Arrivals, gaps};
use crate::support::events::Socket;
use crate::support::peer::{mark_of, marked};
use crate::support::{EVENT, MediaUrl, Peer, Scene, Setup, flv, wait};

fn run(line: &str) {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    let ended = command.args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(ended.status.success(), "{line} (as root?): {}", String::from_utf8_lossy(&ended.stderr));
}

/// A network namespace with two links.
struct Network {
    name: String,
    number: u8,
}

/// Over which link a peer comes.
#[derive(Clone, Copy)]
enum Link {
    Wifi = 1,
    Cell = 2,
}

impl Drop for Network {
    fn drop(&mut self) {
        // The kernel lets go of a namespace later than it says; the links are to be gone for the next test.
        for link in [Link::Wifi, Link::Cell] {
            let _ = Command::new("ip").args(["link", "del", &self.device(link)]).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

impl Network {
    /// `number` tells the networks of this file apart.
    fn new(number: u8) -> Self {
        let network = Self { name: format!("tidegate{}-{number}", std::process::id()), number };
        let name = &network.name;
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
        for link in [Link::Wifi, Link::Cell] {
            let (outer, inner) = (network.device(link), format!("tgi{number}{}", link as u8));
            run(&format!("ip link add {outer} type veth peer name {inner} netns {name}"));
            run(&format!("ip address add {}/24 dev {outer}", network.address(link, 1)));
            run(&format!("ip -n {name} address add {}/24 dev {inner}", network.address(link, 2)));
            run(&format!("ip link set {outer} up"));
            run(&format!("ip -n {name} link set {inner} up"));
        }
        network
    }

    fn device(&self, link: Link) -> String {
        format!("tgo{}{}", self.number, link as u8)
    }

    fn address(&self, link: Link, host: u8) -> IpAddr {
        Ipv4Addr::new(10, 213, self.number * 4 + link as u8, host).into()
    }

    /// The same URL over this link.
    fn over(&self, link: Link, url: &MediaUrl) -> MediaUrl {
        url.at(SocketAddr::new(self.address(link, 2), url.address.port()))
    }

    fn setup(&self) -> Setup {
        let any = Ipv4Addr::UNSPECIFIED;
        Setup::new()
            .listen_on(any.into(), [0, 0, 0])
            .env("TIDEGATE_OPS_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_PUBLIC_HTTP_URL", format!("http://{}", self.address(Link::Cell, 2)))
            .through(&["ip", "netns", "exec", &self.name])
            .reached_at(self.address(Link::Cell, 2))
    }

    /// No packet passes any more, and nobody is told.
    fn cut(&self, link: Link) {
        run(&format!("ip link set {} down", self.device(link)));
    }

    fn mend(&self, link: Link) {
        run(&format!("ip link set {} up", self.device(link)));
    }

    /// Loses so many of a hundred packets in each direction over this link, by chance.
    fn lose(&self, link: Link, percent: u8) {
        let name = &self.name;
        let inner = format!("tgi{}{}", self.number, link as u8);
        run(&format!("ip netns exec {name} nft add table inet faults"));
        for (hook, side) in [("input", "iifname"), ("output", "oifname")] {
            run(&format!(
                "ip netns exec {name} nft add chain inet faults {hook} {{ type filter hook {hook} priority 0 ; }}"
            ));
            run(&format!(
                "ip netns exec {name} nft add rule inet faults {hook} {side} {inner} numgen random mod 100 < {percent} drop"
            ));
        }
    }
}

#[tokio::test]
#[ignore = "needs network namespaces: `make chaos`, as root"]
async fn a_publisher_that_changes_networks_returns_over_the_other_and_its_viewers_stay() {
    let network = Network::new(1);
    let scene = Scene::with(network.setup().env("TIDEGATE_PUBLISHER_GRACE_MS", 15_000)).await;
    let play = network.over(Link::Cell, &scene.urls("rtc").await.url);
    let mut viewer = Arrivals::of(Peer::ask_to_play(&play.in_name()).await);
    for (round, away_s) in (0_u8..).zip([0, 1, 3, 10]) {
        let (first, second) = (2 * round + 1, 2 * round + 2);
        let url = network.over(Link::Wifi, &scene.published.url);
        let old = Peer::publish(&url).await.expect("publish").feed(marked(flv::clip(), first));
        viewer.until("its pictures", |tag| mark_of(tag) == Some(first)).await;
        viewer.take(15).await;
        network.cut(Link::Wifi);
        tokio::time::sleep(Duration::from_secs(away_s)).await;
        let returned = Instant::now();
        let url = network.over(Link::Cell, &scene.published.url);
        let again = Peer::publish(&url).await.expect("nobody is told that the stream is busy");
        let again = again.feed(marked(flv::clip(), second));
        let came = viewer.until("the other network", |tag| mark_of(tag) == Some(second)).await;
        let (at, tag) = came.last().expect("the one waited for");
        assert!(tag.is_keyframe());
        println!(
            "link down, back after {away_s} s over another: first picture {:?} after that",
            at.duration_since(returned)
        );
        viewer.take(15).await;
        drop((old, again));
        network.mend(Link::Wifi);
    }
    scene.gateway.stop().await;
}

#[tokio::test]
#[ignore = "needs network namespaces: `make chaos`, as root"]
async fn whoever_vanishes_with_the_network_is_let_go() {
    let network = Network::new(2);
    let setup = network
        .setup()
        .env("TIDEGATE_PUBLISHER_IDLE_MS", 2000)
        .env("TIDEGATE_VIEWER_STALL_MS", 2000)
        .env("TIDEGATE_MEMBER_TIMEOUT_MS", 2000)
        .env("TIDEGATE_FIRST_CONTACT_MS", 30_000)
        .env("TIDEGATE_EVENT_PING_MS", 500)
        .env("TIDEGATE_PUBLISHER_GRACE_MS", 500);
    let scene = Scene::with(setup).await;
    let feed = Peer::publish(&network.over(Link::Wifi, &scene.published.url)).await.expect("publish");
    let feed = feed.feed(flv::clip());
    let play = scene.urls("rtc").await.url;
    let viewer = Peer::play(&network.over(Link::Wifi, &play)).await.expect("play").watch();
    viewer.more_pictures(5).await;
    // Clara has an event socket alone, over the link that breaks.
    let mut clara = scene.conference.member("clara", 1).await;
    clara.api.address = SocketAddr::new(network.address(Link::Wifi, 2), scene.gateway.http.port());
    let mut socket = Socket::open(&clara, None).await;
    socket.expect("snapshot").await;
    let answering = tokio::spawn(async move { while socket.next().await.is_ok() {} });
    assert_eq!(scene.conference.member_names().await.len(), 3);

    network.cut(Link::Wifi);
    let began = Instant::now();
    wait::until(EVENT, "all three are gone", async || {
        scene.conference.member_names().await.is_empty().then_some(())
    })
    .await;
    println!("half-open publisher, viewer and event socket: gone {:?} after the cut", began.elapsed());
    let path = format!("/v1/sessions?confrId={}", scene.conference.id);
    let app = &scene.conference.app;
    let sessions = app.api.get(&path, &app.key).await.expect("sessions");
    assert_eq!(sessions["sessions"], serde_json::json!([]));
    answering.abort();
    drop((feed, viewer));
    scene.gateway.stop().await;
}

#[tokio::test]
#[ignore = "needs network namespaces: `make chaos`, as root"]
async fn media_flows_over_a_network_that_loses_packets() {
    for (number, percent) in [(3, 1), (4, 5)] {
        let network = Network::new(number);
        let scene = Scene::with(network.setup()).await;
        let feed = Peer::publish(&network.over(Link::Wifi, &scene.published.url)).await.expect("publish");
        let _feed = feed.feed(flv::clip());
        let url = scene.urls("rtc").await.url;
        let mut lossy = Arrivals::of(Peer::play(&network.over(Link::Wifi, &url)).await.expect("play"));
        let other = scene.urls("rtc").await.url;
        let mut whole = Arrivals::of(Peer::play(&network.over(Link::Cell, &other)).await.expect("play"));
        tokio::join!(lossy.take(20), whole.take(20));
        network.lose(Link::Wifi, percent);
        let (lossy, whole) = tokio::join!(lossy.take(300), whole.take(300));
        let ((lossy_p99, lossy_max), (whole_p99, whole_max)) = (gaps(&lossy), gaps(&whole));
        println!(
            "{percent} % lost each way between publisher and gateway: a viewer without loss sees gaps of p99 {whole_p99:?}, \
             at most {whole_max:?}; one with the same loss {lossy_p99:?}, at most {lossy_max:?}"
        );
        for came in [&lossy, &whole] {
            assert!(came.windows(2).all(|pair| pair[0].1.timestamp_ms <= pair[1].1.timestamp_ms));
        }
        scene.gateway.stop().await;
    }
}
