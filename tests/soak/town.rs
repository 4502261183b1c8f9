//! The gateway under load, and the organisers who make it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, StatusCode, header::CONNECTION};
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::life::live_one_conference;
use crate::sample::Sample;
use crate::support::api::Secrets;
use crate::support::{Api, App, Gateway, Setup};

/// How long it may take until the last one has timed out, the last conference has ended, and the webhooks are told.
const EBB_MAX: Duration = Duration::from_secs(60);

/// What the organisers share.
pub struct Square {
    app: App,
    number: AtomicU64,
    tally: Mutex<BTreeMap<String, u64>>,
}

impl Square {
    /// A number that nothing else in this run has.
    pub fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    pub fn count(&self, what: &str) {
        *self.tally.lock().entry(what.to_owned()).or_default() += 1;
    }

    /// The app with a client of its own, whose connections and secrets end with the conference it is for.
    pub fn app(&self) -> App {
        self.app.at(Api::new(self.app.api.address, Secrets::default()))
    }
}

/// The draws of one organiser (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The gateway, its load and its receiver of webhooks.
pub struct Town {
    pub gateway: Gateway,
    square: Arc<Square>,
    scraper: reqwest::Client,
    receiver: JoinHandle<()>,
    first: Option<Sample>,
    began: Instant,
    seed: u64,
}

impl Town {
    pub async fn start(setup: Setup, seed: u64) -> Self {
        let gateway = setup.start().await;
        let app = gateway.app().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let receiver = tokio::spawn(async move { axum::serve(listener, forgetful()).await.expect("serves") });
        let app = app.at(Api::new(gateway.http, Secrets::default()));
        app.api
            .put("/v1/webhooks", &app.key, json!({ "targets": [{ "url": url }] }))
            .await
            .expect("a target");
        let app = app.at(Api::new(gateway.http, Secrets::default()));
        let square = Square { app, number: AtomicU64::new(1), tally: Mutex::default() };
        let scraper = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        println!("seed {seed}");
        let (began, first) = (Instant::now(), None);
        Self { gateway, square: Arc::new(square), scraper, receiver, first, began, seed }
    }

    /// Organisers hold one conference after another until `end`, and finish what they have begun.
    pub async fn flood(&mut self, organisers: u64, end: Instant) {
        self.flood_and_sample(organisers, end, Duration::from_secs(3600)).await;
    }

    /// The same, with a look at the gateway now and then.
    pub async fn flood_and_sample(&mut self, organisers: u64, end: Instant, every: Duration) -> Vec<Sample> {
        let mut at_work = JoinSet::new();
        for _ in 0..organisers {
            self.seed += 1;
            let (square, mut random) = (Arc::clone(&self.square), Random::new(self.seed));
            at_work.spawn(async move {
                while Instant::now() < end {
                    live_one_conference(&square, &mut random).await;
                }
            });
        }
        let mut samples = Vec::new();
        let mut looks = tokio::time::interval_at(Instant::now() + every, every);
        loop {
            tokio::select! {
                _ = looks.tick() => samples.push(self.sample().await),
                ended = at_work.join_next() => match ended {
                    Some(ended) => ended.expect("an organiser"),
                    None => return samples,
                },
            }
        }
    }

    async fn sample(&self) -> Sample {
        Sample::take(self.began.elapsed(), self.gateway.process.id(), self.gateway.ops, &self.scraper).await
    }

    /// Waits until nobody is there, and descriptors and tasks are those of the first ebb. It is a failure if they stay more.
    pub async fn ebb(&mut self) -> Sample {
        let quiet = async {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            loop {
                pace.tick().await;
                let sample = self.sample().await;
                let first = self.first.as_ref().unwrap_or(&sample);
                let is_back = sample.descriptors <= first.descriptors && sample.tasks <= first.tasks;
                if sample.is_quiet() && is_back {
                    return sample;
                }
            }
        };
        let Ok(sample) = tokio::time::timeout(EBB_MAX, quiet).await else {
            let (first, now) = (self.first.clone().unwrap_or_default(), self.sample().await);
            panic!("not back within {EBB_MAX:?}:\n{}\n{first} at first\n{now} now", Sample::HEADINGS);
        };
        self.first.get_or_insert_with(|| sample.clone());
        sample
    }

    pub async fn stop(self) {
        self.gateway.stop().await;
        self.receiver.abort();
    }

    pub fn tell(&self) {
        for (what, count) in self.square.tally.lock().iter() {
            println!("{count:>8} {what}");
        }
    }

    pub fn assert_all_kinds_were_done(&self, kinds: &[&str]) {
        let tally = self.square.tally.lock();
        for kind in kinds {
            assert!(tally.contains_key(*kind), "nothing was {kind}: {tally:?}");
        }
    }
}

/// Takes every webhook, keeps nothing, and keeps no connection: an idle one would be a descriptor of the gateway.
fn forgetful() -> Router {
    async fn take() -> (StatusCode, [(HeaderName, &'static str); 1]) {
        (StatusCode::OK, [(CONNECTION, "close")])
    }
    Router::new().fallback(take)
}
