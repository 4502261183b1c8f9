//! The app's webhook receiver: what it took, without repeats, is what the app's event socket was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::fold::{Fold, field};
use crate::reader::{End, seq};
use crate::support::{App, Receiver, Reply};
use crate::world::{Random, Venue};

/// Of so many messages one is not taken, and must come again.
const REFUSED_ONE_IN: usize = 12;

/// What was taken of one conference.
#[derive(Default)]
struct Inbox {
    ids: BTreeSet<String>,
    bodies: Vec<Value>,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    taken: usize,
    refused: usize,
    repeated: usize,
}

#[derive(Default)]
struct Desk {
    inboxes: BTreeMap<String, Inbox>,
    counts: Counts,
    fault: Option<String>,
}

impl Desk {
    /// Notes a message that is taken.
    fn take(&mut self, body: &Value) {
        let inbox = self.inboxes.entry(field(body, "confrId")).or_default();
        if !inbox.ids.insert(field(body, "id")) {
            self.counts.repeated += 1;
            return;
        }
        self.counts.taken += 1;
        let newest = inbox.bodies.last().map(seq);
        if newest.is_some_and(|newest| newest >= seq(body)) {
            // Said by the test itself, which a panic here would not end.
            self.fault.get_or_insert_with(|| format!("after {newest:?}, in no order: {body}"));
        }
        inbox.bodies.push(body.clone());
    }
}

pub struct Webhook {
    receiver: Receiver,
    desk: Arc<Mutex<Desk>>,
}

impl Webhook {
    /// A receiver that `app` tells of everything, and that does not take each message at once.
    pub async fn start(app: &App) -> Self {
        let receiver = Receiver::start().await;
        let desk = Arc::new(Mutex::new(Desk::default()));
        let (noted, random) = (Arc::clone(&desk), Mutex::new(Random::new(7)));
        receiver.answer(move |hook| {
            let mut desk = noted.lock();
            if random.lock().one_in(REFUSED_ONE_IN) {
                desk.counts.refused += 1;
                return Reply::Status(500);
            }
            desk.take(&hook.body);
            Reply::Status(200)
        });
        let targets = json!({ "targets": [{ "url": receiver.url("/model") }] });
        app.api.put("/v1/webhooks", &app.key, targets).await.expect("the target");
        Self { receiver, desk }
    }

    /// Waits until it was told of the event `through`, then holds what it took against the app's event socket.
    pub async fn check(&self, venue: &Venue, through: u64) {
        let what = format!("the webhook of event {through} of {}", venue.id);
        let told = || self.desk.lock().inboxes.get(&venue.id)?.bodies.last().map(seq);
        let all = self.receiver.until(&what, |_| told().filter(|told| *told >= through));
        all.await;
        self.receiver.forget();
        let desk = self.desk.lock();
        assert_eq!(desk.fault, None);
        let bodies = &desk.inboxes[&venue.id].bodies;
        let log = venue.witness.log.lock();
        let (first, rest) = bodies.split_first().expect("a message");
        assert_eq!(first["type"], "conferenceStarted", "{first}");
        let after = seq(log.snapshot.as_ref().expect("a snapshot"));
        // What the witness missed after a restart, it was told in one piece.
        let until = if matches!(log.end, Some(End::Gone { .. })) { log.last_seq() } else { Some(through) };
        let until = until.expect("a snapshot");
        let between = |body: &&Value| (after + 1..=until).contains(&seq(body));
        let frames = log.frames.iter().filter(between).map(plain);
        let mut bodies = rest.iter().filter(between).map(plain);
        for frame in frames {
            assert_eq!(bodies.next().as_ref(), Some(&frame), "a webhook of {}", venue.id);
        }
        assert_eq!(bodies.next(), None, "a webhook of {} that no event is", venue.id);
        let mut fold = Fold::of(&first["conference"], true);
        for body in rest.iter().take_while(|body| seq(body) <= until) {
            fold.apply(body);
        }
        let told = log.fold(&venue.witness.eyes, until);
        assert_eq!(fold.members, told.members, "members of {} by webhooks", venue.id);
        assert_eq!(fold.streams, told.streams, "streams of {} by webhooks", venue.id);
        assert_eq!(fold.settings, told.settings, "settings of {} by webhooks", venue.id);
    }

    /// Nothing more is told of it.
    pub fn forget(&self, venue: &Venue) {
        self.desk.lock().inboxes.remove(&venue.id);
    }

    pub fn describe(&self) -> String {
        let Counts { taken, refused, repeated } = self.desk.lock().counts;
        format!("webhooks: {taken} taken, {refused} not taken, {repeated} repeated")
    }
}

/// A message or a frame without what the other has not.
fn plain(body: &Value) -> Value {
    let mut body = body.clone();
    let fields = body.as_object_mut().expect("an object");
    for own in ["prev", "id", "appId"] {
        fields.remove(own);
    }
    body
}
