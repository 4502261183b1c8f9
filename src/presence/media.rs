//! Streams: media that began to flow, changed, or ended for good.
//!
//! The hub says where each stream stands now, not what happened to it, so nothing queues up while the store is slow:
//! the newest state of a stream is told as soon as the one before it was. The media path waits for none of this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::conferences::Conferences;
use crate::domain::event::{MediaFormat, StreamEnd};
use crate::domain::{Command, ConferenceId, Reason, StreamId};
use crate::hub::{Hub, Phase, StreamStatus};

/// Reports on their way to the log at once: enough to share its commits, and no flood after a restart.
const REPORTS_MAX: usize = 64;
/// Pause before a report is tried again that the store did not take.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What is to be told about a stream.
#[derive(Debug, Clone)]
enum News {
    Flows { claim: u64, format: MediaFormat },
    Ends { reason: StreamEnd },
}

#[derive(Debug, Clone)]
struct Report {
    conference: ConferenceId,
    news: News,
    not_before: Instant,
}

/// A stream whose publisher is away.
struct Away {
    conference: ConferenceId,
    until: Instant,
    by: AwaySince,
}

enum AwaySince {
    /// The publisher of this claim left.
    Claim(u64),
    /// The log says that media flows, and this process has not seen any.
    Restart,
}

/// Tells the conferences what becomes of their streams.
pub struct MediaReporter {
    hub: Hub,
    conferences: Arc<Conferences>,
    grace: Duration,
    away: BTreeMap<StreamId, Away>,
    /// The claim that was last told to flow.
    told: BTreeMap<StreamId, u64>,
    waiting: BTreeMap<StreamId, Report>,
    under_way: BTreeSet<StreamId>,
    reports: JoinSet<(StreamId, Report, Result<(), Reason>)>,
}

impl MediaReporter {
    /// A stream may be without its publisher for `grace` before it counts as ended.
    pub fn new(hub: Hub, conferences: Arc<Conferences>, grace: Duration) -> Self {
        let until = Instant::now() + grace;
        let mut away = BTreeMap::new();
        for conference in conferences.all() {
            for stream in conference.streams.values().filter(|stream| stream.live.is_some()) {
                let conference = conference.id().clone();
                away.insert(stream.id.clone(), Away { conference, until, by: AwaySince::Restart });
            }
        }
        Self {
            hub,
            conferences,
            grace,
            away,
            told: BTreeMap::new(),
            waiting: BTreeMap::new(),
            under_way: BTreeSet::new(),
            reports: JoinSet::new(),
        }
    }

    /// Runs until `stop`, and then until what is under way has been told.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let now = Instant::now();
            self.end_overdue(now);
            self.send_reports(now);
            let next = self.next_deadline();
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.hub.changed() => {
                    for status in self.hub.take_changes() {
                        self.note(status);
                    }
                }
                Some(finished) = self.reports.join_next(), if !self.reports.is_empty() => {
                    if let Ok((stream, report, result)) = finished {
                        self.finish(stream, report, result);
                    }
                }
                () = async { match next { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
        while self.reports.join_next().await.is_some() {}
    }

    fn note(&mut self, status: StreamStatus) {
        let StreamStatus { stream, conference, claim, phase } = status;
        let news = match phase {
            Phase::Live { format } => {
                self.away.remove(&stream);
                News::Flows { claim, format }
            }
            Phase::Held { .. } => {
                let away =
                    Away { conference, until: Instant::now() + self.grace, by: AwaySince::Claim(claim) };
                self.away.insert(stream, away);
                return;
            }
            Phase::Ended => {
                self.away.remove(&stream);
                News::Ends { reason: StreamEnd::PublisherGone }
            }
        };
        self.waiting.insert(stream, Report { conference, news, not_before: Instant::now() });
    }

    /// Ends what has been without its publisher for too long. The hub answers with a change of its own.
    fn end_overdue(&mut self, now: Instant) {
        let overdue: Vec<_> = self
            .away
            .iter()
            .filter(|(_, away)| away.until <= now)
            .map(|(stream, _)| stream.clone())
            .collect();
        for stream in overdue {
            let Some(away) = self.away.remove(&stream) else { continue };
            match away.by {
                AwaySince::Claim(claim) => {
                    self.hub.end_if_held(&stream, claim);
                }
                AwaySince::Restart => {
                    let news = News::Ends { reason: StreamEnd::GatewayRestarted };
                    self.waiting
                        .insert(stream, Report { conference: away.conference, news, not_before: now });
                }
            }
        }
    }

    fn send_reports(&mut self, now: Instant) {
        let ready: Vec<_> = self
            .waiting
            .iter()
            .filter(|(stream, report)| report.not_before <= now && !self.under_way.contains(*stream))
            .map(|(stream, _)| stream.clone())
            .take(REPORTS_MAX.saturating_sub(self.under_way.len()))
            .collect();
        for stream in ready {
            let Some(report) = self.waiting.remove(&stream) else { continue };
            let command = self.command(&stream, &report.news);
            self.under_way.insert(stream.clone());
            let conferences = Arc::clone(&self.conferences);
            self.reports.spawn(async move {
                let done = conferences.execute(&report.conference, command, clock::now()).await;
                let result = done.map(|_| ()).map_err(|refusal| refusal.reason);
                (stream, report, result)
            });
        }
    }

    fn command(&self, stream: &StreamId, news: &News) -> Command {
        let stream = stream.clone();
        match news {
            News::Flows { claim, format } => {
                let replaced = self.told.get(&stream).is_some_and(|told| told != claim);
                Command::MediaFlows { stream, format: format.clone(), replaced }
            }
            News::Ends { reason } => Command::MediaEnds { stream, reason: *reason },
        }
    }

    fn finish(&mut self, stream: StreamId, mut report: Report, result: Result<(), Reason>) {
        self.under_way.remove(&stream);
        match (result, &report.news) {
            (Err(reason @ (Reason::StoreUnavailable | Reason::Overloaded)), _) => {
                tracing::warn!(%stream, reason = reason.word(), "a report about a stream was not taken; trying again");
                report.not_before = Instant::now() + RETRY_PAUSE;
                self.waiting.entry(stream).or_insert(report);
            }
            (Ok(()), News::Flows { claim, .. }) => {
                self.told.insert(stream, *claim);
            }
            // The conference is gone, and its streams with it.
            (Ok(()), News::Ends { .. }) | (Err(_), _) => {
                self.told.remove(&stream);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let away = self.away.values().map(|away| away.until);
        if self.under_way.len() >= REPORTS_MAX {
            // The next report can go when one of these is done, which wakes the loop by itself.
            return away.min();
        }
        let idle = self.waiting.iter().filter(|(stream, _)| !self.under_way.contains(*stream));
        away.chain(idle.map(|(_, report)| report.not_before)).min()
    }
}
