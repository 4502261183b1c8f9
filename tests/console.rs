//! The console and the join page as files: what is answered, under which policy; and who looks on with the app key alone.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::Refused as _;
use support::wait::until;
use support::{EVENT, Feed, Gateway, Peer, Setup, Solo, flv};

async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let api = gateway.app().await.api.clone();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let mut request = client.expect("a client").get(api.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer")
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The files that a page names.
fn named(page: &str) -> Vec<String> {
    let parts = page.split("assets/").skip(1);
    parts.filter_map(|rest| rest.split('"').next()).map(|name| format!("/assets/{name}")).collect()
}

#[tokio::test]
async fn the_pages_stand_in_the_binary_under_a_strict_policy() {
    let gateway = Setup::new().start().await;
    let door = get(&gateway, "/console", &[]).await;
    assert_eq!((door.status().as_u16(), header(&door, "location")), (308, "console/"));
    for path in ["/console/", "/join"] {
        let page = get(&gateway, path, &[]).await;
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(&page, "cache-control"), "no-cache");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff");
        assert_eq!(header(&page, "referrer-policy"), "no-referrer");
        let policy = header(&page, "content-security-policy").to_owned();
        for rule in
            ["default-src 'none'", "script-src 'self'", "media-src 'self' blob:", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(rule), "{rule} is not in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let tag = header(&page, "etag").to_owned();
        let again = get(&gateway, path, &[("if-none-match", &format!("\"other\", W/{tag}"))]).await;
        assert_eq!(again.status(), 304);
        assert_eq!(header(&again, "content-security-policy"), policy);
        let files = named(&page.text().await.expect("a body"));
        assert!(files.len() >= 3, "{files:?}");
        for file in files {
            let answered = get(&gateway, &file, &[]).await;
            assert_eq!(answered.status(), 200, "{file}");
            assert_eq!(header(&answered, "cache-control"), "public, max-age=31536000, immutable");
            assert_eq!(header(&answered, "x-content-type-options"), "nosniff");
            let tag = header(&answered, "etag").to_owned();
            assert!(!answered.bytes().await.expect("a body").is_empty());
            assert_eq!(get(&gateway, &file, &[("if-none-match", &tag)]).await.status(), 304);
        }
    }
    for path in ["/assets/other.js", "/assets/..%2findex.html", "/assets/index.html", "/console/other"] {
        assert_eq!(get(&gateway, path, &[]).await.status(), 404, "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_policy_lets_the_page_reach_where_the_urls_lead() {
    let gateway = Setup::new().env("TIDEGATE_PUBLIC_HTTP_URL", "https://gw.example/tide").start().await;
    let page = get(&gateway, "/console/", &[]).await;
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains("connect-src 'self' https://gw.example wss://gw.example;"), "{policy}");
    gateway.stop().await;
}

#[tokio::test]
async fn an_operator_can_switch_either_page_off() {
    let gateway = Setup::new().env("TIDEGATE_CONSOLE", "false").start().await;
    assert_eq!(get(&gateway, "/console/", &[]).await.status(), 404);
    let page = get(&gateway, "/join", &[]).await.text().await.expect("a page");
    let file = named(&page).pop().expect("a file");
    assert_eq!(get(&gateway, &file, &[]).await.status(), 200);
    gateway.stop().await;
    let gateway =
        Setup::new().env("TIDEGATE_CONSOLE", "false").env("TIDEGATE_JOIN_PAGE", "false").start().await;
    for path in ["/console/", "/join", file.as_str()] {
        assert_eq!(get(&gateway, path, &[]).await.status(), 404, "{path}");
    }
    gateway.stop().await;
}

impl Solo {
    async fn feed(&self) -> Feed {
        Peer::publish(&self.published.url).await.expect("publish").feed(flv::clip())
    }

    async fn observe(&self) -> Value {
        let path = format!(
            "/v1/conferences/{}/streams/{}/subscriptions",
            self.conference.id, self.published.stream_id
        );
        let app = self.gateway.app().await;
        app.api.call(Method::POST, &path, Some(&app.key), None).await.expect("URLs for the app itself")
    }
}

async fn watching(urls: &Value) -> support::peer::Watch {
    let url = urls["data"]["rtmp"].as_str().expect("a URL");
    let watch = Peer::play(&support::MediaUrl::parse(url)).await.expect("play").watch();
    watch.more_pictures(3).await;
    watch
}

#[tokio::test]
async fn the_app_looks_on_without_being_a_member_and_is_cut_off_with_the_owner() {
    enum End {
        Kick,
        Deletion,
        Destruction,
        Demotion,
    }
    let stage = Solo::with(Setup::new()).await;
    let _feed = stage.feed().await;
    let urls = stage.observe().await;
    let watch = watching(&urls).await;
    let sessions = stage.sessions().await;
    let plays: Vec<_> = sessions.iter().filter(|session| session["direction"] == "play").collect();
    assert_eq!(plays.len(), 1, "{sessions:?}");
    assert_eq!((&plays[0]["observer"], &plays[0]["user"]), (&json!(true), &Value::Null));
    let publishes: Vec<_> = sessions.iter().filter(|session| session["direction"] == "publish").collect();
    assert_eq!((&publishes[0]["observer"], &publishes[0]["user"]), (&json!(false), &json!("anna")));
    assert_eq!(stage.conference.member_names().await.len(), 1);
    drop(watch);
    stage.gateway.stop().await;
    for end in [End::Kick, End::Deletion, End::Destruction, End::Demotion] {
        let stage = Solo::with(Setup::new()).await;
        let _feed = stage.feed().await;
        let urls = stage.observe().await;
        let watch = watching(&urls).await;
        match end {
            End::Kick => drop(stage.conference.kick(&["anna"]).await.expect("the kick")),
            End::Deletion => {
                drop(stage.anna.unpublish(&stage.published.stream_id).await.expect("the deletion"));
            }
            End::Destruction => drop(stage.conference.delete().await.expect("the end")),
            End::Demotion => drop(stage.conference.set_role(&["anna"], 1).await.expect("the demotion")),
        }
        watch.closed().await;
        let url = support::MediaUrl::parse(urls["data"]["rtmp"].as_str().expect("a URL"));
        assert!(Peer::play(&url).await.is_err(), "the URL is dead too");
        stage.gateway.stop().await;
    }
}

#[tokio::test]
async fn looking_on_keeps_nobody_inside() {
    let setup = Setup::new()
        .env("TIDEGATE_FIRST_CONTACT_MS", 1500)
        .env("TIDEGATE_MEMBER_TIMEOUT_MS", 1500)
        .env("TIDEGATE_PUBLISHER_GRACE_MS", 60_000);
    let stage = Solo::with(setup).await;
    let feed = stage.feed().await;
    let watch = watching(&stage.observe().await).await;
    // The publisher vanishes, and its stream is held: only who looks on is connected now.
    drop(feed);
    until(EVENT, "the silent owner leaves", || async {
        stage.conference.member_names().await.is_empty().then_some(())
    })
    .await;
    watch.closed().await;
    stage.gateway.stop().await;
}

#[tokio::test]
async fn the_overview_is_the_apps_own_and_remembers() {
    let stage = Solo::with(Setup::new().env("TIDEGATE_OVERVIEW_SAMPLE_MS", 100)).await;
    let _feed = stage.feed().await;
    let app = stage.gateway.app().await;
    let api = app.api.clone();
    let look = |key: String| {
        let api = api.clone();
        async move { api.call(Method::GET, "/v1/overview", Some(&key), None).await.expect("the overview") }
    };
    api.call(Method::GET, "/v1/conferences/TS_none", Some(&app.key), None).await.refused();
    let _watch = watching(&stage.observe().await).await;
    let seen = until(EVENT, "samples of what flows", || {
        let looked = look(app.key.clone());
        async move {
            let seen = looked.await;
            let history = seen["history"].as_array().expect("samples").clone();
            let some = |field: &str| history.iter().any(|sample| sample[field].as_u64() > Some(0));
            let told =
                ["conferences", "members", "streams", "receivedBitrateBps", "sentBitrateBps", "refused"];
            told.into_iter().all(some).then_some(seen)
        }
    })
    .await;
    assert_eq!((&seen["conferences"], &seen["members"], &seen["viewers"]), (&json!(1), &json!(1), &json!(0)));
    let player = stage.conference.member("boris", 1).await;
    let url = player.subscribe(&stage.published.stream_id).await.expect("subStream").url;
    let _member_watch = Peer::play(&url).await.expect("play").watch();
    assert_eq!(look(app.key.clone()).await["viewers"], json!(1));

    let other = stage.gateway.setup.run(&["app", "add", "other"]).await;
    let seen = look(other.stdout.trim().to_owned()).await;
    assert_eq!((&seen["conferences"], &seen["history"]), (&json!(0), &json!([])));
    stage.gateway.stop().await;
}
