//! One connection: handshake, requests, then publishing or playing until the end.
//!
//! The order inside the select is the order of importance: a right that ended, the end of the gateway, the socket, new
//! media, the deadline.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::Gateway;
use super::admission::hevc_form;
use super::crowd::Place;
use super::outbox::Outbox;
use super::play::{Playing, Refill};
use super::port::Port;
use super::proto::server::{AnswerError, ConnectRequest, Output, ServerSession, SessionEvent};
use super::proto::{MessageStreamId, UrlText};
use super::publish::Publishing;
use super::transport::{Transport, Turn, close_politely, send_once, turn};
use super::unfinished::{self, Share, UsedUp};
use super::wire::{Wire, WireError};
use crate::admission::Admitted;
use crate::clock;
use crate::domain::media_url::Profile;
use crate::domain::{Direction, Reason, Refusal, StreamId};
use crate::entrance;
use crate::hub::{CloseReason, SessionGuard, Viewer};
use crate::telemetry::OpenGuard;

/// What the connection is for.
enum Work {
    /// It has not been let in, or has ended what it did and may ask again.
    Asking {
        until: Instant,
        /// Its place among those who were not let in yet.
        _handshake: Option<entrance::Place>,
    },
    Publishing(Box<Publishing>),
    /// What it plays is in its port.
    Playing(MessageStreamId),
}

impl Work {
    /// Resolves when the peer publishes pictures that are held back because no place is free.
    async fn has_no_place(&mut self) {
        match self {
            Self::Publishing(publishing) => publishing.has_no_place().await,
            Self::Asking { .. } | Self::Playing(_) => pending().await,
        }
    }

    fn stream(&self) -> Option<MessageStreamId> {
        match self {
            Self::Asking { .. } => None,
            Self::Publishing(publishing) => Some(publishing.stream),
            Self::Playing(stream) => Some(*stream),
        }
    }
}

/// Resolves when the session is closed from outside.
async fn closed(session: Option<&mut OpenSession>) -> CloseReason {
    match session {
        Some(session) => session.closing.as_mut().await,
        None => pending().await,
    }
}

/// How a connection ends.
enum End {
    /// The peer is gone, or makes no sense, or takes nothing: there is nothing left to say.
    Silently,
    /// The last answer is to reach the peer.
    Politely,
    /// A right has ended: one attempt to say so, and nothing more reaches the peer.
    Hard(CloseReason),
}

/// An admitted session, counted as open while it lives.
struct OpenSession {
    guard: SessionGuard,
    /// Waits once for the whole session: to begin anew for each message would cost as much as a write.
    closing: Pin<Box<dyn Future<Output = CloseReason> + Send>>,
    _open: OpenGuard,
}

/// One peer.
pub(super) struct Connection<S> {
    socket: S,
    peer: SocketAddr,
    gateway: Arc<Gateway>,
    wire: Wire,
    /// Its part of what unfinished messages may take.
    unfinished: Share,
    port: Arc<Port>,
    /// Its place among those who watch the same stream.
    crowd: Option<Place>,
    connect: ConnectRequest,
    /// Its entry in the session table while it publishes or plays.
    session: Option<OpenSession>,
    work: Work,
    /// Until then no time of the peer's runs out: this process itself was away.
    hearing_until: Option<Instant>,
}

impl<S: Transport> Connection<S> {
    /// `until` is when the peer must have been let in, which it holds the place `handshake` for.
    pub(super) fn new(
        socket: S,
        peer: SocketAddr,
        gateway: Arc<Gateway>,
        until: Instant,
        handshake: entrance::Place,
    ) -> Self {
        let port = Arc::new(Port::new(socket.direct()));
        let unfinished = gateway.unfinished.share();
        Self {
            socket,
            peer,
            gateway,
            wire: Wire::new(),
            unfinished,
            port,
            crowd: None,
            connect: ConnectRequest::default(),
            session: None,
            work: Work::Asking { until, _handshake: Some(handshake) },
            hearing_until: None,
        }
    }

    /// Serves the peer until one of the two ends it.
    pub(super) async fn run(mut self) {
        let end = self.serve().await;
        if let End::Hard(reason) = &end {
            self.cut_off(reason).await;
        }
        if matches!(end, End::Politely) {
            self.collect_last_words();
        }
        // Whatever this connection held is free before the peer has read its last answer.
        self.stop();
        if matches!(end, End::Politely) {
            // Whoever does not take its last answer in time goes without.
            let goodbye = self.gateway.settings.goodbye;
            let _ = timeout(goodbye, close_politely(&mut self.socket, &self.port)).await;
        }
    }

    async fn serve(&mut self) -> End {
        let mut alarm = pin!(sleep_until(self.deadline()));
        let draining = self.gateway.draining.clone();
        let mut draining = pin!(draining.cancelled());
        loop {
            if let Some(end) = self.refill() {
                return end;
            }
            bring_forward(alarm.as_mut(), self.deadline());
            let wire = &mut self.wire;
            let read = |bytes: &[u8], outbox: &mut Outbox| (bytes.len(), wire.handle_input(bytes, outbox));
            let end = tokio::select! {
                biased;
                reason = closed(self.session.as_mut()) => Some(End::Hard(reason)),
                () = draining.as_mut() => Some(self.say_goodbye("draining: the gateway stops")),
                turned = turn(&mut self.socket, &self.port, read) => match turned {
                    Ok(turned) => self.handle_turn(turned),
                    Err(error) => {
                        tracing::debug!(%error, "the connection broke");
                        Some(End::Silently)
                    }
                },
                // Only a crowd wakes it, and whoever sends a packet every few milliseconds has none.
                () = self.port.woken(), if matches!(self.work, Work::Playing(_)) => None,
                () = self.work.has_no_place() => self.warn_of_no_place(),
                () = alarm.as_mut() => {
                    let now = Instant::now();
                    if clock::was_away(alarm.deadline(), now) {
                        self.hearing_until = Some(now + clock::HEARING);
                    }
                    let deadline = self.deadline();
                    alarm.as_mut().reset(deadline);
                    if deadline <= Instant::now() { self.handle_deadline() } else { None }
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn handle_turn(&mut self, turned: Turn<(usize, Result<(), WireError>)>) -> Option<End> {
        match turned {
            Turn::Read((bytes, result)) => {
                if let Work::Publishing(_) = &self.work {
                    self.gateway.meters.received_bytes.inc_by(bytes as u64);
                }
                let end = self.handle_outputs();
                let Err(error) = result else { return end.or_else(|| self.hold_unfinished()) };
                tracing::debug!(%error, "the peer's bytes make no sense");
                self.gateway.metrics.handshakes_failed(error.cause()).inc();
                if let Some(limit) = error.limit() {
                    self.gateway.metrics.limit_reached(limit);
                }
                Some(End::Silently)
            }
            Turn::Wrote(bytes) => {
                if let Work::Playing(_) = &self.work {
                    self.gateway.meters.sent_bytes.inc_by(bytes as u64);
                }
                self.port.outlet().note_progress(true, Instant::now());
                None
            }
            Turn::Closed => Some(End::Silently),
        }
    }

    /// Counts what the peer's unfinished messages take, unless it publishes.
    fn hold_unfinished(&mut self) -> Option<End> {
        let bytes = match &self.work {
            Work::Publishing(_) => 0,
            Work::Asking { .. } | Work::Playing(_) => self.wire.session.partial_capacity_bytes(),
        };
        self.unfinished.hold(bytes).err().map(|UsedUp| {
            tracing::debug!(bytes, "unfinished messages take all the memory that they may");
            self.gateway.metrics.handshakes_failed("unfinished_bytes").inc();
            self.gateway.metrics.limit_reached(unfinished::LIMIT);
            End::Silently
        })
    }

    /// Fills the outbox with media, if this connection plays. All that was to be said before is in it by now.
    fn refill(&mut self) -> Option<End> {
        let now = clock::steady();
        let refilled = {
            let mut outlet = self.port.outlet();
            outlet.open();
            let refilled = outlet.refill(&mut Vec::new(), now);
            outlet.note_progress(false, Instant::now());
            // Whether or not it is slow: this task runs when a player begins, and when its socket takes no more.
            if let Some(bits_per_second) = outlet.bits_per_second(now) {
                self.socket.bound_unsent(bits_per_second);
            }
            refilled
        };
        match (refilled, self.work.stream()) {
            (Some(Refill::Ended), Some(stream)) => {
                self.answer(|session| session.end_play(stream));
                Some(End::Politely)
            }
            _ => None,
        }
    }

    fn warn_of_no_place(&mut self) -> Option<End> {
        let stream = self.work.stream()?;
        let refusal = Reason::VideosFull
            .because("no place for video is free; pictures are held back and pass as soon as one is");
        self.answer(|session| session.warn_publisher(stream, &refusal.to_string()));
        self.handle_outputs()
    }

    /// Hands the session's bytes to the outbox and acts on its events.
    fn handle_outputs(&mut self) -> Option<End> {
        while let Some(output) = self.wire.session.poll_output() {
            let event = match output {
                Output::Send(bytes) => {
                    self.port.outlet().outbox.push_control(bytes);
                    continue;
                }
                Output::Event(event) => event,
            };
            if let Some(end) = self.handle_event(event) {
                return Some(end);
            }
        }
        None
    }

    fn handle_event(&mut self, event: SessionEvent) -> Option<End> {
        match event {
            SessionEvent::Connected(connect) => {
                tracing::debug!(software = connect.flash_ver, "connected");
                self.connect = *connect;
                None
            }
            SessionEvent::PublishRequested { stream, name, .. } => self.handle_publish(stream, &name),
            SessionEvent::PlayRequested { stream, name, .. } => self.handle_play(stream, &name),
            SessionEvent::Media(message) => {
                if let Work::Publishing(publishing) = &mut self.work {
                    publishing.write(message, Instant::now());
                }
                None
            }
            SessionEvent::PublishEnded { stream } | SessionEvent::PlayEnded { stream } => {
                if self.work.stream() == Some(stream) {
                    self.stop();
                }
                None
            }
            SessionEvent::PlayPaused { stream, paused } => {
                self.with_player(stream, |player| player.set_paused(paused))
            }
            SessionEvent::ReceiveAudio { stream, enabled } => {
                self.with_player(stream, |player| player.set_audio(enabled))
            }
            SessionEvent::ReceiveVideo { stream, enabled } => {
                self.with_player(stream, |player| player.set_video(enabled))
            }
        }
    }

    fn with_player(&mut self, stream: MessageStreamId, change: impl FnOnce(&mut Playing)) -> Option<End> {
        if matches!(self.work, Work::Playing(playing) if playing == stream)
            && let Some(playing) = &mut self.port.outlet().playing
        {
            change(playing);
        }
        self.find_crowd();
        None
    }

    /// Sees to it that the connection is served with the viewers of the stream that it plays, if it plays.
    fn find_crowd(&mut self) {
        let outlet = self.port.outlet();
        let playing = outlet.playing.as_ref();
        let viewer = playing.and_then(|playing| Some((playing.viewer()?, playing.profile())));
        let stays = |(viewer, _): &(&Viewer, Profile)| {
            self.crowd.as_ref().is_some_and(|place| place.stream() == viewer.serial())
        };
        if !viewer.as_ref().is_some_and(stays) {
            self.crowd =
                viewer.map(|(viewer, profile)| self.gateway.crowds.join(&self.port, viewer, profile));
        }
    }

    fn handle_publish(&mut self, stream: MessageStreamId, name: &UrlText) -> Option<End> {
        match self.admit(name, Direction::Publish) {
            Ok(Admitted { session, .. }) => {
                let claimed = Publishing::new(&self.gateway.hub, stream, session.session(), Instant::now());
                let publishing = match claimed {
                    Ok(publishing) => publishing,
                    Err(reason) => return self.refuse_publish(stream, &reason.to_string()),
                };
                self.work = Work::Publishing(Box::new(publishing));
                self.session = Some(self.opened(session));
                self.answer(|session| session.accept_publish(stream));
                None
            }
            Err(refusal) => self.refuse_publish(stream, &refusal.to_string()),
        }
    }

    fn refuse_publish(&mut self, stream: MessageStreamId, description: &str) -> Option<End> {
        self.answer(|session| session.refuse_publish(stream, description));
        Some(End::Politely)
    }

    fn handle_play(&mut self, stream: MessageStreamId, name: &UrlText) -> Option<End> {
        match self.admit(name, Direction::Play) {
            Ok(Admitted { session, grant }) => {
                let wait = self.gateway.settings.play_wait;
                let hub = &self.gateway.hub;
                let playing = match Playing::new(hub, session.session(), grant.profile, wait) {
                    Ok(playing) => playing.reading_hevc_as(hevc_form(&self.connect, name)),
                    Err(refusal) => {
                        self.gateway.metrics.refused_for(&refusal);
                        return self.refuse_play(stream, &refusal);
                    }
                };
                self.work = Work::Playing(stream);
                self.port.outlet().playing = Some(Box::new(playing));
                self.find_crowd();
                self.session = Some(self.opened(session));
                self.answer(|session| session.accept_play(stream));
                None
            }
            Err(refusal) => self.refuse_play(stream, &refusal),
        }
    }

    fn refuse_play(&mut self, stream: MessageStreamId, refusal: &Refusal) -> Option<End> {
        self.answer(|session| session.refuse_play(stream, &refusal.to_string()));
        Some(End::Politely)
    }

    fn admit(&mut self, name: &UrlText, direction: Direction) -> Result<Admitted, Refusal> {
        if !matches!(self.work, Work::Asking { .. }) {
            return Err(Reason::InvalidRequest.because("one connection publishes or plays one stream"));
        }
        let admitted = self.gateway.admit(&self.connect, name, direction, self.peer, clock::now());
        match &admitted {
            Ok(Admitted { grant, .. }) => {
                let right = &grant.right;
                tracing::info!(direction = direction.word(), stream = %right.stream, member = %right.member, "admitted");
            }
            Err(refusal) => {
                self.gateway.metrics.refused_for(refusal);
                // A person may have put a key where the name ought to be: what is no name of a stream is not shown.
                let stream = StreamId::parse(name.stream_name()).ok();
                let stream = stream.as_ref().map_or("none", StreamId::as_str);
                tracing::debug!(direction = direction.word(), stream, %refusal, "refused");
            }
        }
        admitted
    }

    fn opened(&self, guard: SessionGuard) -> OpenSession {
        let direction = guard.session().right().direction;
        let closing = Box::pin(guard.closed());
        OpenSession { guard, closing, _open: self.gateway.metrics.session_opened(direction) }
    }

    /// Makes the session say something. What it says is polled with its other output.
    fn answer(&mut self, say: impl FnOnce(&mut ServerSession) -> Result<(), AnswerError>) {
        if let Err(error) = say(&mut self.wire.session) {
            tracing::debug!(%error, "the peer did not wait for its answer");
        }
    }

    /// Hands the session's last bytes to the outbox. What the peer did meanwhile no longer matters.
    fn collect_last_words(&mut self) {
        while let Some(output) = self.wire.session.poll_output() {
            if let Output::Send(bytes) = output {
                self.port.outlet().outbox.push_control(bytes);
            }
        }
    }

    /// Ends what the connection does, not the connection.
    fn stop(&mut self) {
        self.crowd = None;
        // Outside the lock: letting go of the stream takes locks of its own.
        let played = self.port.outlet().shut();
        drop(played);
        let until = Instant::now() + self.gateway.settings.handshake_timeout;
        self.work = Work::Asking { until, _handshake: None };
        if let Some(session) = self.session.take() {
            self.gateway.meters.count_packets(&session.guard);
            tracing::info!(stream = %session.guard.session().right().stream, "session ended");
        }
    }

    /// Ends the connection with a status for whoever publishes or plays.
    fn say_goodbye(&mut self, description: &str) -> End {
        let Some(stream) = self.work.stream() else { return End::Silently };
        self.answer(|session| session.revoke(stream, description));
        End::Politely
    }

    /// One attempt to tell why, then a close that throws away what the peer has not yet got.
    async fn cut_off(&mut self, reason: &CloseReason) {
        tracing::info!(%reason, "session closed");
        self.crowd = None;
        {
            let mut outlet = self.port.outlet();
            let played = outlet.shut();
            outlet.outbox.drop_unbegun();
            drop(outlet);
            drop(played);
        }
        if let Some(stream) = self.work.stream() {
            self.answer(|session| session.revoke(stream, &reason.to_string()));
        }
        self.collect_last_words();
        // Behind what is held back no word would arrive, and that itself must not.
        if !self.socket.holds_back() {
            send_once(&mut self.socket, &self.port).await;
        }
        self.socket.cut_off();
    }

    /// When this connection is to be looked at, should nothing happen before.
    fn deadline(&self) -> Instant {
        let settings = &self.gateway.settings;
        let work = match &self.work {
            Work::Asking { until, .. } => Some(*until),
            Work::Publishing(publishing) => Some(publishing.idle_deadline(settings.publisher_idle)),
            Work::Playing(_) => {
                let outlet = self.port.outlet();
                outlet.playing.as_ref().and_then(|playing| playing.first_media_deadline())
            }
        };
        let soonest = [work, self.stall_deadline()].into_iter().flatten().min();
        let deadline = soonest.unwrap_or_else(|| Instant::now() + settings.viewer_stall);
        self.hearing_until.map_or(deadline, |until| deadline.max(until))
    }

    fn stall_deadline(&self) -> Option<Instant> {
        let since = self.port.outlet().stalled_since()?;
        // What is held back may be on its way without the outbox getting shorter.
        let since = self.socket.moved_at().map_or(since, |moved| moved.max(since));
        Some(since + self.gateway.settings.viewer_stall)
    }

    /// The deadline has passed.
    fn handle_deadline(&mut self) -> Option<End> {
        if self.stall_deadline().is_some_and(|at| at <= Instant::now()) {
            self.gateway.metrics.viewers_stalled.inc();
            return Some(End::Hard(CloseReason::Stalled));
        }
        match &mut self.work {
            Work::Asking { .. } => {
                self.gateway.metrics.handshakes_failed("timeout").inc();
                Some(End::Silently)
            }
            Work::Publishing(_) => {
                let seconds = self.gateway.settings.publisher_idle.as_secs();
                Some(self.say_goodbye(&format!("publisher_idle: nothing was sent for {seconds} s")))
            }
            Work::Playing(_) => {
                // Somebody publishes and is held back: there is something to wait for.
                if self.port.outlet().playing.as_mut().is_none_or(|playing| playing.waits_on()) {
                    return None;
                }
                let refusal = Reason::StreamNotFound.because("nobody publishes this stream; try again later");
                self.gateway.metrics.refused(refusal.reason);
                Some(self.say_goodbye(&refusal.to_string()))
            }
        }
    }
}

/// Sets the alarm to an earlier time. A later time waits until the alarm goes off, so that the timer is not touched for
/// every message.
fn bring_forward(alarm: Pin<&mut Sleep>, deadline: Instant) {
    if deadline < alarm.deadline() {
        alarm.reset(deadline);
    }
}
