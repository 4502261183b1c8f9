//! A viewer that comes before its publisher waits, sees the stream from its first keyframe, and is not kept for ever.

mod support;

use support::peer::{PLAY_REFUSED, Seen};
use support::{EVENT, Gateway, Peer, Pusher, Setup, Viewer, ffmpeg, flv, within};

#[tokio::test]
async fn a_viewer_waits_for_its_publisher() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let boris = conference.member("boris", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = boris.subscribe(&published.stream_id).await.expect("subStream on a declared stream").url;

    // `ask_to_play` returns once connect is answered: the play is on its way before the publisher comes.
    let patient = Peer::ask_to_play(&url.in_name()).await.watch();
    let librtmp = Viewer::rtmpdump(&url);
    let feed = Peer::publish(&published.url).await.expect("publish").feed(flv::clip());
    let seen = patient.until("20 pictures", |notes| notes.pictures() >= 20).await;
    let first = seen.tags.iter().find(|tag| tag.is_picture()).expect("a picture");
    assert!(first.is_keyframe());
    librtmp.pictures(20).await;
    ffmpeg::assert_is_clip(&librtmp.body()).await;
    assert!(feed.is_open());
    gateway.stop().await;
}

#[tokio::test]
async fn real_players_wait_too() {
    let gateway = Gateway::start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let viewer = Viewer::ffmpeg(&url);
    let pusher = Pusher::start(&published.url);
    pusher.sending().await;
    viewer.pictures(20).await;
    ffmpeg::assert_is_clip(&viewer.body()).await;
    gateway.stop().await;
}

#[tokio::test]
async fn waiting_ends_with_a_reason() {
    let gateway = Setup::new().env("TIDEGATE_PLAY_WAIT_MS", 300).start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    let url = anna.subscribe(&published.stream_id).await.expect("subStream").url;
    let mut viewer = Peer::ask_to_play(&url.in_name()).await;
    let refusal = within(EVENT, "the wait for a publisher ends", async {
        loop {
            match viewer.next().await {
                Seen::Status(status) if status.level == "error" => return status,
                Seen::Closed => panic!("closed without a status"),
                Seen::Connected | Seen::Status(_) | Seen::Media(_) => {}
            }
        }
    })
    .await;
    refusal.assert_refuses(PLAY_REFUSED, "stream_not_found");
    gateway.stop().await;
}
