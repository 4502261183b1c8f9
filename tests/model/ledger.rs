//! What clients asked for and were promised, held against what the feed told.
//!
//! An *effect* is one thing that a command leads to, written as a text that no other command's effect has, or that can be
//! counted: `joined:17`, `exit:u3:12`. A frame of the feed is at most one effect.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::fold::{Fold, field};
use crate::reader::{End, Eyes, Log, Reader, seq};

/// A `conference` object that an answer showed.
pub struct Look {
    pub view: Value,
    pub is_app: bool,
    pub who: String,
}

#[derive(Default)]
pub struct Ledger {
    /// Asked for, and not refused: how often at most.
    asked: BTreeMap<String, usize>,
    /// Promised by an answer: how often at least.
    promised: BTreeMap<String, usize>,
    /// The number of the event that an effect is, where an answer told it.
    places: BTreeMap<String, u64>,
    looks: Vec<Look>,
    pub looks_checked: usize,
}

fn add(counts: &mut BTreeMap<String, usize>, effects: &[String]) {
    for effect in effects {
        *counts.entry(effect.clone()).or_default() += 1;
    }
}

impl Ledger {
    /// Before the command is sent.
    pub fn ask(&mut self, effects: &[String]) {
        add(&mut self.asked, effects);
    }

    /// The command was refused, and nothing of it may be seen.
    pub fn take_back(&mut self, effects: &[String]) {
        for effect in effects {
            *self.asked.get_mut(effect).expect("it was asked for") -= 1;
        }
    }

    pub fn promise(&mut self, effects: &[String]) {
        add(&mut self.promised, effects);
    }

    /// The effect is the event with this number.
    pub fn place(&mut self, effect: &str, seq: u64) {
        self.places.insert(effect.to_owned(), seq);
    }

    pub fn look(&mut self, look: Look) {
        self.looks.push(look);
    }

    pub fn is_promised(&self, effect: &str) -> bool {
        self.promised.contains_key(effect)
    }

    pub fn promised_streams(&self) -> impl Iterator<Item = &str> {
        self.promised.keys().filter_map(|effect| effect.strip_prefix("stream:"))
    }

    /// What of `streams` can only be off by now: it was turned off, and nobody asked to turn it on.
    pub fn is_off_for_good(&self, what: &str, stream: &str) -> bool {
        self.is_promised(&format!("{what}:{stream}:1")) && !self.is_asked(&format!("{what}:{stream}:0"))
    }

    pub fn is_asked(&self, effect: &str) -> bool {
        self.asked.get(effect).is_some_and(|count| *count > 0)
    }
}

/// Streams are declared and deleted in silence, and turning off what is off is no news. Nobody counts how often a mute
/// that stands is set again: it has to be seen in force.
fn is_counted(effect: &str) -> bool {
    !["stream:", "gone:", "voff:", "aoff:", "muted:", "creator"].iter().any(|kind| effect.starts_with(kind))
}

/// The effect that a frame tells of; `None` for what follows from another.
fn effect(fold: &Fold, frame: &Value, next: Option<&Value>) -> Option<String> {
    let member = &frame["member"];
    match frame["type"].as_str().expect("a type") {
        "memberJoined" => Some(format!("joined:{}", member["ext"]["n"])),
        "memberExited" => match frame["reason"].as_i64() {
            Some(reason @ (0 | 12)) => Some(format!("exit:{}:{reason}", field(member, "name"))),
            Some(10) => {
                let next = next.expect("who was replaced is back in the same record");
                assert_eq!(
                    (&next["type"], &next["member"]["name"]),
                    (&"memberJoined".into(), &member["name"])
                );
                None
            }
            other => panic!("nobody asked for an exit for the reason {other:?}: {frame}"),
        },
        "memberChanged" => match fold.mute_in(frame) {
            Some((what, on)) => Some(format!("muted:{}:{what}:{on}", field(member, "name"))),
            // A guest's mute can be remembered anew, and look as it did.
            None if fold.members.get(&field(member, "id")) == Some(member) => None,
            None => Some(format!("profile:{}", field(member, "nickName"))),
        },
        "message" => Some(format!("message:{}", frame["body"]["n"])),
        "roleChanged" => Some(format!("role:{}:{}", field(member, "name"), member["role"])),
        "conferenceChanged" => Some(format!("configured:{}", frame["conference"]["metadata"]["n"])),
        "conferenceExit" => {
            assert_eq!(frame["reason"], 11, "{frame}");
            Some("ended".to_owned())
        }
        _ => None,
    }
}

/// The whole feed of one conference as the app's uncut reader was told it.
pub struct Truth {
    pub snapshot: Value,
    pub frames: Vec<Value>,
    /// Nothing is missing at its end.
    pub is_whole: bool,
}

impl Truth {
    pub fn of(log: &Log) -> Self {
        Self {
            snapshot: log.snapshot.clone().expect("a snapshot"),
            frames: log.frames.clone(),
            is_whole: !matches!(log.end, Some(End::Gone { .. })),
        }
    }

    pub fn last_seq(&self) -> u64 {
        self.frames.last().map_or_else(|| seq(&self.snapshot), seq)
    }

    /// Everything that was shown, promised and asked for agrees with the feed. Some was asked for where nobody knew yet
    /// which conference it leads to: that stands in `elsewhere`.
    pub fn check(&self, ledger: &mut Ledger, elsewhere: &Ledger) {
        let mut fold = Fold::of(&self.snapshot["conference"], true);
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        let mut by_itself: BTreeMap<String, usize> = BTreeMap::new();
        let mut muted: BTreeSet<String> = BTreeSet::new();
        let last = self.last_seq();
        let mut looks = std::mem::take(&mut ledger.looks);
        looks.sort_by_key(|look| seq(&look.view));
        let mut looks = looks.into_iter().peekable();
        for (at, frame) in self.frames.iter().enumerate() {
            while let Some(look) = looks.next_if(|look| seq(&look.view) < seq(frame)) {
                check_look(&fold, &look);
                ledger.looks_checked += 1;
            }
            for what in ["audio", "video"].into_iter().filter(|what| frame["member"]["muted"][*what] == true)
            {
                muted.insert(format!("muted:{}:{what}:true", field(&frame["member"], "name")));
            }
            if let Some(effect) = effect(&fold, frame, self.frames.get(at + 1)) {
                let place = ledger.places.get(&effect).copied().unwrap_or_else(|| seq(frame));
                assert_eq!(seq(frame), place, "{effect}: its place among the events");
                if effect.starts_with("role:") && fold.is_succession(frame) {
                    *by_itself.entry(effect.clone()).or_default() += 1;
                }
                *told.entry(effect).or_default() += 1;
            }
            if frame["type"] == "streamAdded" {
                let stream = format!("stream:{}", field(&frame["stream"], "id"));
                assert!(ledger.is_asked(&stream), "nobody asked for {frame}");
            }
            fold.apply(frame);
        }
        for look in looks {
            // What is newer than the feed tells can be held against it as long as nothing is missing.
            if self.is_whole || seq(&look.view) <= last {
                check_look(&fold, &look);
                ledger.looks_checked += 1;
            }
        }
        for (effect, told) in &told {
            let asked = [&*ledger, elsewhere].map(|of| of.asked.get(effect).copied().unwrap_or_default());
            let asked: usize = asked.iter().sum();
            let by_itself = by_itself.get(effect).copied().unwrap_or_default();
            assert!(*told <= asked + by_itself, "{effect}: told {told} times, asked for {asked} times");
        }
        for (effect, promised) in ledger.promised.iter().filter(|(effect, _)| is_counted(effect)) {
            let told = told.get(effect).copied().unwrap_or_default();
            assert!(
                !self.is_whole || told >= *promised,
                "{effect}: told {told} times, promised {promised} times"
            );
        }
        let mutes =
            ledger.promised.keys().filter(|effect| effect.starts_with("muted:") && effect.ends_with(":true"));
        for mute in mutes {
            assert!(!self.is_whole || muted.contains(mute), "{mute}: promised, and never in force");
        }
        assert!(ledger.promised.get("creator").is_none_or(|creators| *creators == 1), "made by several");
    }

    /// What `reader` has to be told after its snapshot.
    fn for_reader(&self, eyes: &Eyes, after: u64) -> Vec<Value> {
        let mut roles: BTreeMap<String, i64> = BTreeMap::new();
        let mut seen = Vec::new();
        for member in self.snapshot["conference"]["members"].as_array().expect("members") {
            roles.insert(field(member, "id"), member["role"].as_i64().expect("a role"));
        }
        for frame in &self.frames {
            let member = &frame["member"];
            let before = member["id"].as_str().and_then(|id| roles.get(id).copied());
            if let Some(id) = member["id"].as_str() {
                roles.insert(id.to_owned(), member["role"].as_i64().expect("a role"));
            }
            if seq(frame) <= after {
                continue;
            }
            let is_own = matches!(eyes, Eyes::Member { id, .. } if member["id"] == id.as_str());
            if is_own && frame["type"] == "memberExited" {
                let mut last = frame.clone();
                last["type"] = "conferenceExit".into();
                last.as_object_mut().expect("a frame").remove("member");
                seen.push(last);
                break;
            }
            let silent = !eyes.see_audience()
                && match frame["type"].as_str() {
                    Some("memberJoined" | "memberExited" | "memberChanged") => member["role"] == 1,
                    Some("roleChanged") => !is_own && before == Some(1) && member["role"] == 1,
                    _ => false,
                };
            if !silent && let Some(frame) = for_eyes(frame, eyes) {
                seen.push(frame);
            }
        }
        seen
    }

    /// `reader` was told what it had to be, in this order, as far as both have come; and through `through`, which it
    /// has waited for.
    pub fn check_reader(&self, reader: &Reader, through: u64) {
        let who = reader.describe();
        let log = reader.log.lock();
        let Some(snapshot) = &log.snapshot else { return };
        let mut expected = self.for_reader(&reader.eyes, seq(snapshot));
        if let Some(End::Gone { reason }) = log.end
            && let Some(last) = expected.last().filter(|last| last["type"] == "conferenceExit")
        {
            assert_eq!(last["reason"], reason, "{who}: why it is gone");
        }
        let until = match log.end {
            Some(End::Told) => self.last_seq(),
            Some(_) => log.last_seq().expect("a snapshot"),
            None => through,
        };
        let until = until.min(if self.is_whole { u64::MAX } else { self.last_seq() });
        expected.retain(|frame| seq(frame) <= until);
        let told = log.frames.iter().filter(|frame| seq(frame) <= until).count();
        for (told, expected) in log.frames.iter().zip(&expected) {
            assert_eq!(plain(told), plain(expected), "{who}");
        }
        assert_eq!(told, expected.len(), "{who}: frames from {} through {until}", seq(snapshot));
    }
}

/// What `eyes` may see of a frame beside who joins and leaves: private messages are for those who say and hear them, and
/// that there was no place for pictures is for their owner.
fn for_eyes(frame: &Value, eyes: &Eyes) -> Option<Value> {
    let mut frame = frame.clone();
    let Eyes::Member { id, .. } = eyes else { return Some(frame) };
    if frame.get("refused").is_some() && frame["stream"]["memId"] != id.as_str() {
        return None;
    }
    if let Some(to) = frame["to"].as_array().filter(|_| frame["from"]["id"] != id.as_str()) {
        if !to.iter().any(|member| member == id.as_str()) {
            return None;
        }
        frame.as_object_mut().expect("a frame").remove("to");
    }
    Some(frame)
}

/// A frame without what is the reader's own.
fn plain(frame: &Value) -> Value {
    let mut frame = frame.clone();
    let fields = frame.as_object_mut().expect("a frame");
    fields.remove("prev");
    fields.remove("roleToken");
    frame
}

fn check_look(fold: &Fold, look: &Look) {
    let who = format!("{} at {}", look.who, look.view["seq"]);
    let seen = if look.is_app { fold.clone() } else { fold.for_members() };
    seen.assert_shown_as(&look.view, &who);
    assert_eq!(look.view["audienceCount"], fold.audience_count(), "{who}: audienceCount");
}
