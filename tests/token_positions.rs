//! Clients put the query of a media URL into different places; the token counts in each of them.

mod support;

use support::media_url::{MediaUrl, Placement};
use support::peer::{PLAY_REFUSED, PUBLISH_REFUSED};
use support::{Gateway, Peer, Pusher, Viewer, flv, token};

type Place = fn(&MediaUrl) -> Placement;
const PLACES: [(&str, Place); 3] =
    [("stream", MediaUrl::in_name), ("app", MediaUrl::in_app), ("tcUrl", MediaUrl::in_tc_url)];

#[tokio::test]
async fn the_library_peer_puts_it_anywhere() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    for (place, put) in PLACES {
        let publisher = Peer::publish_placed(&put(&published.url)).await;
        let feed =
            publisher.unwrap_or_else(|status| panic!("publish, {place}: {status:?}")).feed(flv::clip());
        for (place, put) in PLACES {
            let viewer = Peer::play_placed(&put(&url)).await;
            let viewer = viewer.unwrap_or_else(|status| panic!("play, {place}: {status:?}")).watch();
            viewer.more_pictures(3).await;
        }
        assert!(feed.is_open());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_bad_token_is_bad_anywhere() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let play = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let middle = published.url.token.len() / 2;
    let bad_publish = published.url.with_token(token::flipped(&published.url.token, middle));
    let bad_play = play.with_token(token::flipped(&play.token, play.token.len() / 2));
    for (place, put) in PLACES {
        let refusal = Peer::publish_placed(&put(&bad_publish)).await.err().expect(place);
        refusal.assert_refuses(PUBLISH_REFUSED, "url_invalid");
        let refusal = Peer::play_placed(&put(&bad_play)).await.err().expect(place);
        refusal.assert_refuses(PLAY_REFUSED, "url_invalid");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn ffmpeg_and_librtmp_put_it_anywhere() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    for (_, put) in PLACES {
        let pusher = Pusher::start_placed(&put(&published.url));
        pusher.sending().await;
        let viewers = [Viewer::ffmpeg_placed(&put(&url)), Viewer::rtmpdump_placed(&put(&url))];
        for viewer in &viewers {
            viewer.pictures(3).await;
        }
    }
    gateway.stop().await;
}
