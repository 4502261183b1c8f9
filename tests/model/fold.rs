//! The model: what a client knows of a conference that has only read its feed.

use std::collections::BTreeMap;

use serde_json::Value;

/// Members, live streams and settings, as far as one reader sees them.
#[derive(Debug, Clone)]
pub struct Fold {
    /// By id.
    pub members: BTreeMap<String, Value>,
    /// By id, without their owner's description, which is that of the member.
    pub streams: BTreeMap<String, Value>,
    /// All that is neither a list nor a count.
    pub settings: Value,
    /// Ids in the order of joining, where the reader sees everybody join.
    joined: Vec<String>,
    sees_audience: bool,
}

pub fn field(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

fn without_owner(stream: &Value) -> Value {
    let mut stream = stream.clone();
    stream.as_object_mut().expect("a stream").remove("owner");
    stream
}

fn by_id(list: &Value, show: impl Fn(&Value) -> Value) -> BTreeMap<String, Value> {
    let list = list.as_array().expect("a list");
    list.iter().map(|item| (field(item, "id"), show(item))).collect()
}

impl Fold {
    /// What a `conference` object shows.
    pub fn of(conference: &Value, sees_audience: bool) -> Self {
        let mut settings = conference.clone();
        for part in ["members", "streams", "audienceCount", "seq", "password", "ticket"] {
            settings.as_object_mut().expect("a conference").remove(part);
        }
        let members = by_id(&conference["members"], Value::clone);
        let streams = by_id(&conference["streams"], Value::clone);
        for stream in streams.values() {
            assert_eq!(members.get(&field(stream, "memId")), Some(&stream["owner"]), "the owner of {stream}");
        }
        let live = streams.iter().filter(|(_, stream)| stream["live"] == true);
        let joined = conference["members"].as_array().expect("a list");
        Self {
            streams: live.map(|(id, stream)| (id.clone(), without_owner(stream))).collect(),
            joined: joined.iter().map(|member| field(member, "id")).collect(),
            members,
            settings,
            sees_audience,
        }
    }

    /// Folds in a frame, which must follow from what is known.
    pub fn apply(&mut self, frame: &Value) {
        match frame["type"].as_str().expect("a type") {
            "memberJoined" => {
                let member = &frame["member"];
                let id = field(member, "id");
                assert!(self.members.insert(id.clone(), member.clone()).is_none(), "joins twice: {frame}");
                self.joined.push(id);
            }
            "memberExited" => {
                let id = field(&frame["member"], "id");
                assert_eq!(self.members.remove(&id).as_ref(), Some(&frame["member"]), "exits: {frame}");
                self.joined.retain(|member| *member != id);
                let left = self.streams.values().find(|stream| stream["memId"] == id.as_str());
                assert_eq!(left, None, "its streams ended before: {frame}");
            }
            "memberChanged" => self.change(frame),
            "roleChanged" => {
                let id = field(&frame["member"], "id");
                if self.sees_audience || self.members.contains_key(&id) {
                    self.change(frame);
                } else {
                    self.members.insert(id.clone(), frame["member"].clone());
                }
                if !self.sees_audience && frame["member"]["role"] == 1 {
                    self.members.remove(&id);
                }
            }
            "streamAdded" => {
                let stream = &frame["stream"];
                assert_eq!(stream["live"], true, "{frame}");
                let known = self.streams.insert(field(stream, "id"), without_owner(stream));
                assert_eq!(known, None, "starts twice: {frame}");
                self.check_owner(frame);
            }
            "streamRemoved" => {
                let known = self.streams.remove(&field(&frame["stream"], "id"));
                assert!(known.is_some(), "stops without a start: {frame}");
            }
            "mediaChanged" => {
                let id = field(&frame["stream"], "id");
                if frame["stream"]["live"] == true {
                    let known = self.streams.insert(id, without_owner(&frame["stream"]));
                    assert!(known.is_some(), "changes without a start: {frame}");
                }
                self.check_owner(frame);
            }
            "message" => self.check_sender(&frame["from"]),
            "conferenceChanged" => {
                self.settings = Self::of(&frame["conference"], self.sees_audience).settings;
                // What it shows is what members see.
                self.for_members().assert_shown_as(&frame["conference"], "a change of the conference");
            }
            "conferenceExit" => {
                self.members.clear();
                self.streams.clear();
                self.joined.clear();
            }
            other => panic!("the model knows no {other}: {frame}"),
        }
    }

    fn change(&mut self, frame: &Value) {
        let known = self.members.insert(field(&frame["member"], "id"), frame["member"].clone());
        assert!(known.is_some(), "changes and is not inside: {frame}");
    }

    fn check_owner(&self, frame: &Value) {
        let stream = &frame["stream"];
        assert_eq!(self.members.get(&field(stream, "memId")), Some(&stream["owner"]), "{frame}");
    }

    /// Who speaks is inside, and is shown as it is; the app is nobody.
    fn check_sender(&self, from: &Value) {
        let id = from["id"].as_str();
        assert_eq!(id.is_none(), from.is_null(), "from: {from}");
        if let Some(known) = id.and_then(|id| self.members.get(id)) {
            assert_eq!(known, from, "who speaks");
        } else {
            assert!(id.is_none() || (!self.sees_audience && from["role"] == 1), "not inside: {from}");
        }
    }

    /// What `frame` changes of what is held back of a member's media.
    pub fn mute_in(&self, frame: &Value) -> Option<(&'static str, bool)> {
        let (was, is) =
            (&self.members.get(&field(&frame["member"], "id"))?["muted"], &frame["member"]["muted"]);
        let changed = ["audio", "video"].into_iter().filter(|what| was[*what] != is[*what]);
        let changed: Vec<_> = changed.map(|what| (what, is[what] == true)).collect();
        assert!(changed.len() <= 1, "nobody asked for both at once: {frame}");
        changed.first().copied()
    }

    /// The part of it that members are shown.
    pub fn for_members(&self) -> Self {
        let mut seen = self.clone();
        seen.sees_audience = false;
        if self.settings["type"] == 12 {
            seen.members.retain(|_, member| member["role"] != 1);
        }
        seen.joined.retain(|id| seen.members.contains_key(id));
        seen
    }

    pub fn audience_count(&self) -> usize {
        self.members.values().filter(|member| member["role"] == 1).count()
    }

    /// Whether `frame` is the promotion that follows when the last ADMIN goes.
    pub fn is_succession(&self, frame: &Value) -> bool {
        let role = |id: &String| self.members[id]["role"].as_i64();
        frame["member"]["role"] == 7
            && !self.joined.iter().any(|id| role(id) == Some(7))
            && self
                .joined
                .iter()
                .find(|id| role(id) == Some(3))
                .is_some_and(|id| frame["member"]["id"] == id.as_str())
    }

    /// Fails unless a `conference` object shows this. A reader that does not see AUDIENCE join cannot know the order of
    /// those who were promoted.
    pub fn assert_shown_as(&self, conference: &Value, who: &str) {
        let shown = Self::of(conference, self.sees_audience);
        assert_eq!(self.settings, shown.settings, "{who}: settings");
        assert_eq!(self.members, shown.members, "{who}: members");
        assert_eq!(self.streams, shown.streams, "{who}: live streams");
        if self.sees_audience {
            assert_eq!(self.joined, shown.joined, "{who}: the order of joining");
        }
    }
}
