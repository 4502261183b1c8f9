//! IPv6 alone and beside IPv4: sockets, URLs with hosts in brackets, and the clients that read them.

#![allow(clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use support::api::text;
use support::ffmpeg::assert_is_clip;
use support::{Authority, Peer, Pusher, Setup, Viewer, flv};

const LOCALHOST: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[tokio::test]
async fn a_gateway_on_ipv6_gives_urls_that_every_client_reads() {
    let authority = Authority::new();
    let issued = authority.issue("one");
    let setup = Setup::new().listen_on(LOCALHOST, [0, 0, 0]).with_tls(&issued.certificate, &issued.key);
    // As many viewers as there are below.
    let gateway = setup.env("TIDEGATE_PLAYS_PER_URL", 5).start().await;
    for address in [gateway.rtmp, gateway.http, gateway.ops, gateway.rtmps(), gateway.https()] {
        assert_eq!(address.ip(), LOCALHOST);
    }
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let http = gateway.http.port();
    assert!(published.url.text().starts_with(&format!("rtmp://[::1]:{}/live/", gateway.rtmp.port())));
    let urls = anna.subscribe(&published.stream_id).await.expect("subStream");
    assert!(urls.flv.starts_with(&format!("http://[::1]:{http}/live/")), "{}", urls.flv);
    assert!(urls.ws_flv.starts_with(&format!("ws://[::1]:{http}/live/")), "{}", urls.ws_flv);
    let members = conference.path("/members");
    let joined = conference.app.api.call(
        reqwest::Method::POST,
        &members,
        None,
        Some(serde_json::json!({ "ticket": conference.ticket("boris", 1).await })),
    );
    let events = text(&joined.await.expect("a join"), "/eventsUrl");
    assert!(events.starts_with(&format!("ws://[::1]:{http}/v1/")), "{events}");

    let pusher = Pusher::start(&published.url);
    pusher.sending().await;
    let secure = urls.url.over_tls(gateway.rtmps());
    let insecure = "--insecure";
    let (_, path) = urls.flv.split_once("/live/").expect("a path");
    let https = format!("https://{}/live/{path}", gateway.https());
    for viewer in [
        Viewer::ffmpeg(&urls.url),
        Viewer::ffmpeg_at(&[], &urls.flv),
        Viewer::ffmpeg_at(&["-tls_verify", "0"], &secure.text()),
        Viewer::gstreamer(&urls.url),
        Viewer::curl(&[insecure], &https),
    ] {
        viewer.pictures(20).await;
        assert_is_clip(&viewer.body()).await;
    }
    let app = &conference.app;
    let page = app.api.get("/v1/sessions", &app.key).await.expect("a page");
    let session = page["sessions"].as_array().expect("sessions").first().expect("the publisher");
    assert!(text(session, "/peer").starts_with("[::1]:"), "{session}");
    gateway.stop().await;
}

/// A port that is free in both families.
fn free_port() -> u16 {
    let held = TcpListener::bind((LOCALHOST, 0)).expect("IPv6");
    let port = held.local_addr().expect("an address").port();
    let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the same port in IPv4");
    port
}

#[tokio::test]
async fn both_families_meet_on_one_port_and_in_one_stream() {
    let (rtmp, http) = (free_port(), free_port());
    let both = |port: u16| format!("127.0.0.1:{port},[::1]:{port}");
    let setup = Setup::new().env("TIDEGATE_RTMP_LISTEN", both(rtmp)).env("TIDEGATE_HTTP_LISTEN", both(http));
    let gateway = setup.start().await;
    assert_eq!(gateway.rtmp, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), rtmp), "the first is announced");
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let by_v6 = published.url.at(SocketAddr::new(LOCALHOST, rtmp));
    let _feed = Peer::publish(&by_v6).await.expect("publish").feed(flv::clip());
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    for address in [gateway.rtmp, SocketAddr::new(LOCALHOST, rtmp)] {
        Peer::play(&url.at(address)).await.expect("play").watch().more_pictures(3).await;
    }
    let by_v6 = reqwest::get(format!("http://[::1]:{http}/openapi.json")).await.expect("an answer");
    assert_eq!(by_v6.status(), 200);
    gateway.stop().await;
}
