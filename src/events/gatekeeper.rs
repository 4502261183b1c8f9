//! Holds back media that may not pass: of muted members, of streams that are turned off, of pictures without a place.
//!
//! It runs between an event becoming durable and its command being answered. A stream is declared before anybody can
//! publish it, so its gate stands before the first packet comes. A publisher whose pictures find no place is told.

use crate::conferences::{Conferences, Watcher};
use crate::domain::conference::Pictures;
use crate::domain::{Conference, Event, Recorded, StreamId};
use crate::hub::Hub;

/// The watcher that sets the gates of the hub.
pub struct Gatekeeper {
    hub: Hub,
}

impl Gatekeeper {
    /// Sets the gates of `hub`.
    pub fn new(hub: Hub) -> Self {
        Self { hub }
    }

    /// Sets the gates of all streams that are declared already: after a start, before anybody is let in.
    pub fn adopt(&self, conferences: &Conferences) {
        for conference in conferences.all() {
            for stream in conference.streams.keys() {
                self.set(&conference, stream);
            }
        }
    }

    fn set(&self, conference: &Conference, stream: &StreamId) {
        self.hub.set_gate(stream, conference.media_gate(stream));
        let pictures = conference.streams.get(stream).map(|stream| stream.pictures);
        self.hub.set_placeless(stream, pictures == Some(Pictures::Refused));
    }
}

impl Watcher for Gatekeeper {
    fn recorded(&self, conference: &Conference, events: &[Recorded]) {
        for recorded in events {
            match &recorded.event {
                Event::StreamDeclared { stream, .. }
                | Event::StreamChanged { stream, .. }
                | Event::StreamMuteChanged { stream }
                | Event::VideoGranted { stream }
                | Event::VideoRefused { stream }
                | Event::StreamUndeclared { stream, .. } => self.set(conference, stream),
                _ => {}
            }
        }
    }
}
