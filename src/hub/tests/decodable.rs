//! Whatever is published and however it is read, each viewer gets something that a decoder can show, and the ring
//! keeps its bounds.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::domain::Timestamp;
use crate::domain::media_url::Profile;
use crate::media::{PacketClass, PacketKind, flv};

use super::super::fixtures::*;
use super::super::ring::PACKET_OVERHEAD_BYTES;
use super::super::*;

#[derive(Debug, Clone)]
enum Step {
    Metadata(u8),
    VideoHeader(u8),
    AudioHeader(u8),
    Keyframe(usize),
    Interframe(usize),
    Sound(usize),
    Wait(u64),
    Takeover,
    Leave,
    Join(Profile),
    Take {
        viewer: usize,
        packets_max: usize,
        bytes_max: usize,
    },
    /// All that came since the last round, to whoever it fits; the others take what there is.
    Round {
        packets_max: usize,
        bytes_max: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0..3_u8).prop_map(Step::Metadata),
        2 => (0..3_u8).prop_map(Step::VideoHeader),
        1 => (0..3_u8).prop_map(Step::AudioHeader),
        4 => (10..900_usize).prop_map(Step::Keyframe),
        20 => (10..300_usize).prop_map(Step::Interframe),
        12 => (10..50_usize).prop_map(Step::Sound),
        6 => (1..400_u64).prop_map(Step::Wait),
        1 => Just(Step::Takeover),
        1 => Just(Step::Leave),
        2 => prop_oneof![Just(Profile::Rtc), Just(Profile::Live)].prop_map(Step::Join),
        14 => (0..8_usize, 1..12_usize, 1..2000_usize)
            .prop_map(|(viewer, packets_max, bytes_max)| Step::Take { viewer, packets_max, bytes_max }),
        14 => (1..12_usize, 1..2000_usize)
            .prop_map(|(packets_max, bytes_max)| Step::Round { packets_max, bytes_max }),
    ];
    prop::collection::vec(step, 1..400)
}

fn tight() -> HubSettings {
    HubSettings {
        ring_bytes_max: 30 * PACKET_OVERHEAD_BYTES,
        ring_ms_max: 2_000,
        ring_packets_max: 40,
        rtc_lag_max_ms: 600,
        live_lag_max_ms: 1_200,
        burst_squeeze_ms: 200,
        viewers_per_stream_max: 100,
    }
}

/// What the publisher had said when it sent a packet.
#[derive(Debug, Clone)]
struct Sent {
    order: usize,
    /// Metadata, video and audio header in force.
    headers: [Option<Bytes>; 3],
    /// The picture before, of the same GOP.
    previous_picture: Option<usize>,
}

/// All that was published, by the address of its payload: payloads live as long as the test.
#[derive(Default)]
struct History {
    sent: HashMap<usize, Sent>,
    payloads: Vec<Bytes>,
    headers: [Option<Bytes>; 3],
    newest_picture: Option<usize>,
}

impl History {
    fn note(&mut self, kind: PacketKind, payload: &Bytes) {
        let class = flv::classify(kind, payload);
        if let Some(header) = header_slot(class) {
            self.headers[header] = Some(payload.clone());
        }
        let order = self.payloads.len();
        let previous_picture = if class == PacketClass::Interframe { self.newest_picture } else { None };
        if class == PacketClass::Keyframe || (class == PacketClass::Interframe && previous_picture.is_some())
        {
            self.newest_picture = Some(order);
        }
        let sent = Sent { order, headers: self.headers.clone(), previous_picture };
        assert!(self.sent.insert(payload.as_ptr() as usize, sent).is_none());
        self.payloads.push(payload.clone());
    }

    fn begin(&mut self) {
        self.headers = Default::default();
        self.newest_picture = None;
    }
}

fn header_slot(class: PacketClass) -> Option<usize> {
    match class {
        PacketClass::Metadata => Some(0),
        PacketClass::VideoSequenceHeader => Some(1),
        PacketClass::AudioSequenceHeader => Some(2),
        _ => None,
    }
}

/// What a player knows, and what it would complain about.
struct Player {
    watcher: Watcher,
    headers: [Option<Bytes>; 3],
    newest_frame: Option<usize>,
    newest_picture: Option<usize>,
    picture_ms: u64,
    sound_ms: u64,
}

impl Player {
    fn new(watcher: Watcher) -> Self {
        Self {
            watcher,
            headers: Default::default(),
            newest_frame: None,
            newest_picture: None,
            picture_ms: 0,
            sound_ms: 0,
        }
    }

    fn take(&mut self, history: &History, packets_max: usize, bytes_max: usize) -> Taken {
        let mut out = Vec::new();
        let taken = self.watcher.viewer.take(&mut out, packets_max, bytes_max, Timestamp(0));
        assert_eq!(taken == Taken::Some, !out.is_empty());
        let own = out.iter().skip_while(|outgoing| outgoing.frame.packet().class.is_header());
        let own: Vec<_> = own.map(|outgoing| outgoing.frame.packet().payload.len()).collect();
        assert!(out.len() <= packets_max + 3);
        assert!(own.len() <= 1 || own.iter().sum::<usize>() <= bytes_max);
        for outgoing in out {
            self.show(history, &outgoing);
        }
        taken
    }

    fn serve(&mut self, history: &History, batch: &Batch) -> bool {
        let is_served = self.watcher.viewer.is_served_by(batch);
        if is_served {
            self.watcher.viewer.pass(batch);
            for frame in batch.frames() {
                let outgoing =
                    Outgoing { frame: Arc::clone(frame), timestamp_ms: frame.packet().timestamp_ms };
                self.show(history, &outgoing);
            }
            assert!(!self.watcher.is_ready(), "it has all there is");
        }
        is_served
    }

    fn show(&mut self, history: &History, outgoing: &Outgoing) {
        let packet = outgoing.frame.packet();
        let sent = &history.sent[&(packet.payload.as_ptr() as usize)];
        if let Some(header) = header_slot(packet.class) {
            self.headers[header] = Some(packet.payload.clone());
            return;
        }
        assert!(self.newest_frame < Some(sent.order), "frames come in order and once");
        self.newest_frame = Some(sent.order);
        let needed: &[usize] = match packet.class {
            PacketClass::Keyframe => &[0, 1],
            PacketClass::Interframe => &[1],
            _ => &[2],
        };
        for &header in needed {
            if sent.headers[header].is_some() {
                assert_eq!(self.headers[header], sent.headers[header], "header {header}");
            }
        }
        let newest_ms = if packet.kind == PacketKind::Video {
            if packet.class == PacketClass::Interframe {
                assert!(sent.previous_picture.is_some());
                assert_eq!(self.newest_picture, sent.previous_picture, "nothing is cut out of a GOP");
            }
            self.newest_picture = Some(sent.order);
            &mut self.picture_ms
        } else {
            &mut self.sound_ms
        };
        assert!(outgoing.timestamp_ms >= *newest_ms, "time does not go back");
        *newest_ms = outgoing.timestamp_ms;
    }
}

struct Run {
    stage: Stage,
    source: Option<Source>,
    history: History,
    players: Vec<Player>,
    now_ms: u64,
    largest_packet: usize,
    tide: Option<Tide>,
    mark: Mark,
    served: usize,
}

impl Run {
    fn new() -> Self {
        Self {
            stage: Stage::new(tight()),
            source: None,
            history: History::default(),
            players: Vec::new(),
            now_ms: 0,
            largest_packet: 0,
            tide: None,
            mark: Mark::default(),
            served: 0,
        }
    }

    fn write(&mut self, kind: PacketKind, payload: Bytes) {
        let Some(source) = &mut self.source else { return };
        self.now_ms += 5;
        self.history.note(kind, &payload);
        self.largest_packet = self.largest_packet.max(payload.len() + PACKET_OVERHEAD_BYTES);
        source.send(kind, payload, self.now_ms).unwrap();
        let (ring, settings) = (self.stage.stats().ring, tight());
        assert!(ring.bytes <= settings.ring_bytes_max.max(self.largest_packet));
        assert!(ring.ms <= settings.ring_ms_max && ring.packets <= settings.ring_packets_max);
    }

    fn step(&mut self, step: Step) {
        use PacketKind::{Audio, Data, Video};
        match step {
            Step::Metadata(variant) => self.write(Data, metadata(variant)),
            Step::VideoHeader(variant) => self.write(Video, video_header(variant)),
            Step::AudioHeader(variant) => self.write(Audio, audio_header(variant)),
            Step::Keyframe(bytes) => self.write(Video, keyframe(bytes)),
            Step::Interframe(bytes) => self.write(Video, interframe(bytes)),
            Step::Sound(bytes) => self.write(Audio, sound(bytes)),
            Step::Wait(ms) => self.now_ms += ms,
            Step::Takeover => {
                self.history.begin();
                let newer = self.stage.publisher(self.now_ms);
                self.source = Some(newer);
            }
            Step::Leave => self.source = None,
            Step::Join(profile) => {
                let watcher = self.stage.viewer(profile);
                self.tide.get_or_insert_with(|| watcher.viewer.tide());
                self.players.push(Player::new(watcher));
            }
            Step::Round { packets_max, bytes_max } => self.round(packets_max, bytes_max),
            Step::Take { viewer, packets_max, bytes_max } => {
                if let Some(player) = self.players.get_mut(viewer) {
                    player.take(&self.history, packets_max, bytes_max);
                }
            }
        }
    }

    fn round(&mut self, packets_max: usize, bytes_max: usize) {
        let Some(tide) = &mut self.tide else { return };
        let until = tide.settle();
        let batch = tide.gather(self.mark, until, packets_max, bytes_max);
        self.mark = until;
        if let Some(batch) = &batch {
            assert!(batch.frames().len() <= packets_max);
            assert!(
                batch.frames().iter().map(|frame| frame.packet().payload.len()).sum::<usize>() <= bytes_max
            );
        }
        for player in &mut self.players {
            let is_served = batch.as_ref().is_some_and(|batch| player.serve(&self.history, batch));
            self.served += usize::from(is_served);
            while player.take(&self.history, packets_max, bytes_max) == Taken::Some {}
        }
    }

    /// However a viewer stood, the next keyframe reaches it.
    fn finish(&mut self) {
        self.step(Step::Takeover);
        self.step(Step::Keyframe(10));
        let newest = self.history.newest_picture;
        for player in &mut self.players {
            while player.take(&self.history, 7, 1000) == Taken::Some {}
            assert_eq!(player.newest_picture, newest);
            assert!(!player.watcher.is_ready());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_viewer_gets_what_a_decoder_can_show(steps in steps()) {
        let mut run = Run::new();
        run.step(Step::Join(Profile::Rtc));
        run.step(Step::Takeover);
        for step in steps {
            run.step(step);
        }
        run.finish();
    }
}
