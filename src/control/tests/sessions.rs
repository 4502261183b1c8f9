//! Media sessions as the app's backend sees them.

use super::*;
use crate::domain::{Direction, MediaRight, StreamId};
use crate::hub::{CloseReason, Protocol, SessionGuard, SessionStart};

impl Gateway {
    /// A session in the table as a door enters it: of whoever joined `conference` first.
    async fn enter(&self, conference: &str, key: &str, direction: Direction) -> SessionGuard {
        let seen = self.get(conference, key).await.ok(200);
        let right = MediaRight {
            conference: ConferenceId::parse(&text(&seen, "/id")).unwrap(),
            member: MemberId::parse(&text(&seen, "/members/0/id")).unwrap(),
            epoch: Seq(2),
            direction,
            stream: StreamId::parse("RTC1__Of_MS_z").unwrap(),
            declared: Seq(3),
        };
        self.sessions.enter(SessionStart {
            right,
            protocol: Protocol::Rtmp,
            peer: "[2001:db8::1]:40000".parse().unwrap(),
            url_key: [0; 4],
            at: Timestamp(1_800_000_000_123),
            is_observer: false,
        })
    }

    async fn sessions_at(&self, query: &str, key: &str) -> (Vec<String>, Option<String>) {
        let page = self.get(&format!("/v1/sessions{query}"), key).await.ok(200);
        let ids = page["sessions"].as_array().unwrap().iter().map(|session| text(session, "/id")).collect();
        (ids, page["nextCursor"].as_str().map(str::to_owned))
    }

    /// A conference of the other app with a member in it.
    async fn foreign(&self) -> String {
        let created = self.post("/v1/conferences", OTHER_APP_KEY, json!({ "password": "" })).await.ok(201);
        let path = format!("/v1/conferences/{}", text(&created, "/confrId"));
        self.post(&format!("{path}/members"), OTHER_APP_KEY, json!({ "user": "zoe" })).await.ok(201);
        path
    }
}

fn id(guard: &SessionGuard) -> String {
    guard.session().id().to_string()
}

fn confr_id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_session_tells_who_moves_what_from_where() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    let anna = gateway.member(&conference, "anna", 3).await;
    let guard = gateway.enter(&conference, APP_KEY, Direction::Play).await;
    let mut expected = json!({
        "id": id(&guard), "confrId": confr_id(&conference), "user": "anna", "streamId": "RTC1__Of_MS_z",
        "direction": "play", "protocol": "rtmp", "peer": "[2001:db8::1]:40000",
        "since": "2027-01-15T08:00:00.123Z", "packets": 0, "bytes": 0, "skips": 0, "observer": false,
    });
    let member = gateway.get(&conference, &anna).await.ok(200);
    expected["memId"] = json!(text(&member, "/members/0/id"));
    let page = gateway.get("/v1/sessions", APP_KEY).await.ok(200);
    assert_eq!(page, json!({ "sessions": [expected], "nextCursor": null }));
}

#[tokio::test]
async fn pages_hold_each_session_of_the_app_once() {
    let gateway = gateway().await;
    let (here, there) = (gateway.conference(json!({})).await, gateway.conference(json!({})).await);
    let foreign = gateway.foreign().await;
    for conference in [&here, &there] {
        gateway.member(conference, "anna", 3).await;
    }
    let mut guards = Vec::new();
    for _ in 0..3 {
        guards.push(gateway.enter(&here, APP_KEY, Direction::Publish).await);
        guards.push(gateway.enter(&foreign, OTHER_APP_KEY, Direction::Publish).await);
        guards.push(gateway.enter(&there, APP_KEY, Direction::Play).await);
    }
    let ids = |nth: &[usize]| nth.iter().map(|nth| id(&guards[*nth])).collect::<Vec<_>>();

    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let (page, next) = gateway.sessions_at(&query, APP_KEY).await;
        assert_eq!(page.len(), 2);
        seen.extend(page);
        let Some(next) = next else { break };
        query = format!("?limit=2&cursor={next}");
    }
    assert_eq!(seen, ids(&[0, 2, 3, 5, 6, 8]));
    assert_eq!(gateway.sessions_at("", OTHER_APP_KEY).await, (ids(&[1, 4, 7]), None));

    let one = format!("?confrId={}&limit=2", confr_id(&there));
    let (page, next) = gateway.sessions_at(&one, APP_KEY).await;
    assert_eq!(page, ids(&[2, 5]));
    let rest = format!("{one}&cursor={}", next.unwrap());
    assert_eq!(gateway.sessions_at(&rest, APP_KEY).await, (ids(&[8]), None));
    gateway.get(&format!("/v1/sessions{one}"), OTHER_APP_KEY).await.refused(404, "conference_not_found");
    for bad in ["limit=0", "limit=501", "limit=x", "cursor=x", "cursor=-1", "confrId=%2F"] {
        let answered = gateway.get(&format!("/v1/sessions?{bad}"), APP_KEY).await;
        let name = bad.split('=').next().unwrap();
        assert!(answered.refused(422, "invalid_request").contains(name), "{bad}");
    }
}

#[tokio::test]
async fn an_app_with_few_sessions_among_many_of_others_finds_them() {
    let gateway = gateway().await;
    let (own, foreign) = (gateway.conference(json!({})).await, gateway.foreign().await);
    gateway.member(&own, "anna", 3).await;
    let first = gateway.enter(&foreign, OTHER_APP_KEY, Direction::Publish).await;
    let start = first.session().start().clone();
    // More than one scan takes.
    let _others: Vec<_> = (0..2500).map(|_| gateway.sessions.enter(start.clone())).collect();
    let guard = gateway.enter(&own, APP_KEY, Direction::Publish).await;
    assert_eq!(gateway.sessions_at("", APP_KEY).await, (vec![id(&guard)], None));
}

#[tokio::test]
async fn only_sessions_of_the_app_are_closed_and_only_once() {
    let gateway = gateway().await;
    let (own, foreign) = (gateway.conference(json!({})).await, gateway.foreign().await);
    gateway.member(&own, "anna", 3).await;
    let mine = gateway.enter(&own, APP_KEY, Direction::Publish).await;
    let foreign = gateway.enter(&foreign, OTHER_APP_KEY, Direction::Publish).await;
    let path = |guard: &SessionGuard| format!("/v1/sessions/{}", id(guard));
    gateway.delete(&path(&foreign), APP_KEY).await.refused(404, "not_found");
    assert_eq!(foreign.try_closed(), None);
    assert_eq!(gateway.delete(&path(&mine), APP_KEY).await.ok(204), Value::Null);
    assert_eq!(mine.try_closed(), Some(CloseReason::ClosedByApi));
    // It is on its way out, whether its socket is gone already or not.
    assert_eq!(gateway.sessions_at("", APP_KEY).await, (vec![], None));
    gateway.delete(&path(&mine), APP_KEY).await.refused(404, "not_found");
    for unknown in ["999", "0", "x", "-1", "%00", "99999999999999999999999"] {
        gateway.delete(&format!("/v1/sessions/{unknown}"), APP_KEY).await.refused(404, "not_found");
    }
}
