//! Puts the gateway together and takes it apart: each step in order, with the reason for its place.

mod doors;
mod meaning;
mod readings;
mod relays;
mod reload;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::clock;
use crate::conferences::Conferences;
use crate::conferences::apps::{self, Apps, AppsError, KeyFile};
use crate::conferences::keys::{MasterKeyError, stored_token_keys};
use crate::conferences::passwords::Passwords;
use crate::conferences::voip_sessions::VoipSessions;
use crate::config::Config;
use crate::control::admin::{AdminDeps, Changes};
use crate::control::ops::{MetricsAccess, Ops};
use crate::control::server::{self, ServeOptions};
use crate::control::{self, Control, ControlDeps, Guard, Heartbeats};
use crate::data_dir::{self, AppKey, DataDir, DataDirError};
use crate::domain::ticket::TokenKeys;
use crate::domain::{AppId, ConferenceId, MemberId, Refusal, Seq, Timestamp};
use crate::entrance::Entrance;
use crate::entropy::{self, EntropyError};
use crate::events::{Feed, Gatekeeper, Revoker, Webhooks};
use crate::flv::FlvDoor;
use crate::hub::{Hub, SessionCounts, SessionTable};
use crate::intake::Intake;
use crate::listen::{ListenError, Listening};
use crate::local_socket::{self, LocalSocket, SocketFile};
use crate::overview::Overview;
use crate::places::Places;
use crate::presence::{Contacts, MediaReporter, Present};
use crate::relays::{RelayTable, Relays};
use crate::retention::{LogReader, Removed, Retention, Sweep};
use crate::rtmp::crowd::Crowds;
use crate::rtmp::{Gateway, Meters, listener};
use crate::secret::Secret;
use crate::store::{EmbeddedStore, OpenError, StoreError};
use crate::telemetry::Metrics;
use crate::tls::TlsError;
use doors::{DoorCounts, Entrances, Listeners, TlsParts};
use meaning::{
    contact_times, control_settings, endpoints, hub_settings, keep, merge_windows, rtmp_settings,
    serve_options, session_table, stop_grace, unfinished_budget, webhook_settings,
};
use relays::RelayParts;
use reload::Current;
pub use reload::{ReloadError, Reloader, Source};

/// Between two looks whether anybody is still inside: soon enough for whoever waits for the end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a probe of the ops listener may take to finish when all else has stopped.
const OPS_GRACE: Duration = Duration::from_secs(1);

/// Why the gateway does not start. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory or a key in it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The store cannot be opened.
    #[error(transparent)]
    OpenStore(#[from] OpenError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The apps.
    #[error(transparent)]
    Apps(#[from] AppsError),
    /// No random bytes for keys.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Certificate and key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The relays cannot be read.
    #[error("cannot read the relays: {0}")]
    Relays(Refusal),
}

/// The running gateway.
pub struct App {
    listening: Listening,
    intake: Intake,
    /// How long a stop may take, in milliseconds, and how much of it leaves those inside alone.
    drain_ms: u64,
    notice: Duration,
    reloader: Arc<Reloader>,
    sessions: SessionTable,
    draining: CancellationToken,
    /// Listeners, connections and requests.
    doors: TaskTracker,
    feed: Arc<Feed>,
    flv: Arc<FlvDoor>,
    webhooks: Arc<Webhooks>,
    relays: Arc<Relays>,
    presence_stop: CancellationToken,
    presence: TaskTracker,
    ops_stop: CancellationToken,
    ops: TaskTracker,
    conferences: Arc<Conferences>,
    store: Arc<EmbeddedStore>,
    /// Gone from the data directory before that is unlocked.
    _control_socket: Option<SocketFile>,
    /// Unlocks the data directory when all else has stopped.
    _data_dir: DataDir,
}

/// Whether the files that TLS needs are good, where it is asked for: what is odd about them, one line each.
pub fn check_tls(config: &Config) -> Result<Vec<String>, TlsError> {
    doors::check_tls(config)
}

impl App {
    /// Starts everything. Nothing is accepted before all of it stands.
    pub async fn start(config: Config, source: Source) -> Result<Self, StartError> {
        // First, so that a second process on the same data touches nothing.
        let data_dir = DataDir::open(&config.data_dir)?;
        data_dir.check_whole()?;
        // Before the store is read, so that a taken port is told at once.
        let listeners = Listeners::bind(&config)?;
        let listening = listeners.listening();
        let certificate = TlsParts::load(&config)?;

        let store = Arc::new(EmbeddedStore::open_locked(data_dir.path(), data_dir.lock()?)?);
        let app_key = first_app_key(&data_dir, &store).await?;
        let keys = match &config.master_key_file {
            Some(file) => TokenKeys::derive(&data_dir::read_master_key(file)?),
            None => stored_token_keys(&*store, entropy::bytes()?).await?,
        };
        let apps = Apps::open(store.clone(), &app_key.app, app_key.secret.expose()).await?;
        let apps = Arc::new(apps.with_key_file(Arc::new(KeyFileIn(data_dir.path().to_owned()))));

        let (intake, current) = (meaning::intake(&config), Current::new(&config));
        let hub = Hub::new(hub_settings(&config));
        let known_conferences = Arc::new(OnceLock::new());
        let known_webhooks = Arc::new(OnceLock::new());
        let known_feed = Arc::new(OnceLock::new());
        let metrics = Metrics::with_readings(readings::readings(
            &store,
            &hub,
            &intake,
            &known_conferences,
            &known_webhooks,
            &known_feed,
        ));
        let sessions = session_table(&config);
        // The revoker listens from the first event on: no right is given before it can be taken away.
        let revoker = Arc::new(Revoker::new(hub.clone(), sessions.clone(), metrics.clone()));
        let gatekeeper = Arc::new(Gatekeeper::new(hub.clone()));
        let contacts = Arc::new(Contacts::new(contact_times(&config)));
        let draining = CancellationToken::new();
        let feed = Arc::new(Feed::new(store.clone(), config.event_sockets_max, draining.clone()));
        let _ = known_feed.set(Arc::downgrade(&feed));
        contacts.count_as_present(feed.clone());
        let relay_table = Arc::<RelayTable>::default();
        contacts.count_as_present(relay_table.clone());
        let conferences = Conferences::open(
            store.clone(),
            vec![revoker, gatekeeper.clone(), contacts.clone(), feed.clone(), relay_table.clone()],
        )
        .await?;
        // Before anybody is let in.
        gatekeeper.adopt(&conferences);
        conferences.limit_apps(reload::app_limits(&current, &apps));
        contacts.expect_everyone(&conferences);
        let _ = known_conferences.set(Arc::downgrade(&conferences));
        let outbound = reload::outbound(&current);
        let policy = outbound.policy().clone();
        let webhooks = Webhooks::open(
            store.clone(),
            Arc::clone(&conferences),
            outbound.clone(),
            webhook_settings(&config),
            metrics.clone(),
        )
        .await?;
        let _ = known_webhooks.set(Arc::downgrade(&webhooks));
        tracing::info!(conferences = conferences.count(), "state is back");

        let relays = RelayParts {
            store: store.clone(),
            keys: &keys,
            conferences: &conferences,
            hub: &hub,
            sessions: &sessions,
            policy,
            metrics: &metrics,
            draining: &draining,
        };
        let relays = relays.open(relay_table, &config).await?;
        let presence_stop = CancellationToken::new();
        let presence = TaskTracker::new();
        let grace = Duration::from_millis(config.publisher_grace_ms);
        let reporter = MediaReporter::new(hub.clone(), Arc::clone(&conferences), grace);
        presence.spawn(reporter.run(presence_stop.clone()));
        let look =
            Arc::clone(&contacts).run(Arc::clone(&conferences), sessions.clone(), presence_stop.clone());
        presence.spawn(look);
        let overview = Arc::new(Overview::default());
        let pause = Duration::from_millis(config.overview_sample_ms);
        let looking = Arc::clone(&overview).run(
            Arc::clone(&conferences),
            sessions.clone(),
            pause,
            presence_stop.clone(),
        );
        presence.spawn(looking);
        presence.spawn(intake.overload.clone().run(presence_stop.clone()));
        let voip_sessions = Arc::new(VoipSessions::new(store.clone(), keys.sealing.clone()));
        let retention = Retention {
            store: store.clone(),
            conferences: Arc::clone(&conferences),
            readers: vec![webhooks.clone()],
            sweeps: vec![
                Arc::new(FreedSpace(Arc::clone(&store))),
                Arc::new(UnusedSessions(Arc::clone(&voip_sessions))),
            ],
            keep: keep(&config),
            metrics: metrics.clone(),
            clock: clock::now,
        };
        presence.spawn(retention.run(presence_stop.clone()));

        let counts = DoorCounts {
            connections: Places::new(reload::connection_limits(&config)),
            handshakes: Places::new(reload::handshake_limits(&config)),
        };
        let doors = TaskTracker::new();
        let admission = Admission::new(keys.media.clone(), sessions.clone(), Arc::clone(&conferences));
        let admission = Arc::new(admission.through(intake.clone()));
        let meters = Meters::new(&metrics);
        let gateway = Arc::new(Gateway {
            settings: rtmp_settings(&config),
            crowds: Arc::new(Crowds::new(merge_windows(&config), meters.sent_bytes(), doors.clone())),
            hub: hub.clone(),
            admission: Arc::clone(&admission),
            meters,
            metrics: metrics.clone(),
            draining: draining.clone(),
            unfinished: unfinished_budget(&config),
            connections: AtomicU64::new(0),
        });
        let tls = TlsParts::new(certificate, &config, &metrics)?;
        let entrances = Entrances::new(&config, &counts, &metrics, &tls);
        doors.spawn(TlsParts::renew(tls.renewal, draining.clone()));
        for (bound, entrance) in [(listeners.rtmp, entrances.rtmp), (listeners.rtmps, entrances.rtmps)] {
            for socket in bound.into_iter().flat_map(|bound| bound.listeners) {
                doors.spawn(listener::listen(socket, entrance.clone(), Arc::clone(&gateway), doors.clone()));
            }
        }
        let flv = Arc::new(FlvDoor::new(
            hub.clone(),
            admission,
            metrics.clone(),
            draining.clone(),
            Duration::from_millis(config.play_wait_ms),
        ));
        let control = Control::new(ControlDeps {
            conferences: Arc::clone(&conferences),
            sessions: sessions.clone(),
            hub: hub.clone(),
            apps: Arc::clone(&apps),
            voip_sessions: Arc::clone(&voip_sessions),
            passwords: Arc::new(Passwords::new(entropy::bytes()?)),
            heartbeats: contacts,
            feed: feed.clone(),
            flv: Arc::clone(&flv),
            webhooks: Arc::clone(&webhooks),
            relays: Arc::clone(&relays),
            keys,
            settings: control_settings(&config),
            endpoints: endpoints(&config, listening),
            guard: Guard::new(reload::guard_settings(&config)),
            cors: reload::cors_origins(&config),
            intake: intake.clone(),
            places: Arc::clone(&counts.connections),
            metrics: metrics.clone(),
            overview,
        });
        let reloader = Arc::new(Reloader {
            source,
            current,
            counts,
            overload: intake.overload.clone(),
            control: control.clone(),
            outbound,
            turn: Mutex::default(),
        });
        let changes = Changes::default();
        let admin = AdminDeps {
            conferences: Arc::clone(&conferences),
            apps: Arc::clone(&apps),
            voip_sessions: Arc::clone(&voip_sessions),
            webhooks: Arc::clone(&webhooks),
            listening,
            changes: changes.clone(),
            inside: (feed.clone(), sessions.clone()),
            drain: intake.drain.clone(),
            drain_ms: config.drain_ms,
            reload: reload::as_asked(&reloader),
        };
        let control_socket = control_socket(data_dir.path()).map(|socket| {
            let router = control::admin::router(admin);
            let grace = stop_grace(&config);
            doors.spawn(control::admin::serve(socket.listener, router, changes, grace, draining.clone()));
            socket.file
        });
        let router = control::router(control);
        for (bound, entrance) in [(Some(listeners.http), entrances.http), (listeners.https, entrances.https)]
        {
            let Some(bound) = bound else { continue };
            let options = serve_options(&config, entrance, &metrics);
            doors.spawn(server::serve(bound.listeners, router.clone(), options, draining.clone()));
        }

        // The ops listener outlives the others, so that a probe sees the gateway drain.
        let ops_stop = CancellationToken::new();
        let ops = TaskTracker::new();
        let ops_router = control::ops::router(Ops {
            readiness: readings::readiness(&conferences, &intake),
            metrics: metrics.clone(),
            access: MetricsAccess::new(
                config.ops_listen.is_loopback(),
                config.ops_token.as_ref().map(|token| token.0.clone()),
            ),
        });
        ops.spawn(server::serve(
            listeners.ops.listeners,
            ops_router,
            ServeOptions { grace: OPS_GRACE, ..serve_options(&config, Entrance::open(), &metrics) },
            ops_stop.clone(),
        ));
        Ok(Self {
            listening,
            intake,
            drain_ms: config.drain_ms,
            notice: Duration::from_millis(config.stop_notice_ms()),
            reloader,
            sessions,
            draining,
            doors,
            feed,
            flv,
            webhooks,
            relays,
            presence_stop,
            presence,
            ops_stop,
            ops,
            conferences,
            store,
            _control_socket: control_socket,
            _data_dir: data_dir,
        })
    }

    /// The first address of each listener.
    pub fn listening(&self) -> Listening {
        self.listening
    }

    /// Takes settings anew.
    pub fn reload(&self) -> Result<Vec<&'static str>, ReloadError> {
        self.reloader.reload()
    }

    /// Lets nobody new in and tells those inside. When they have left, or had their time, ends everything, the doors first:
    /// what comes in ends before what it needs. Returns when no task is left; the caller limits the time.
    pub async fn stop(self) {
        self.intake.drain.begin_end(self.drain_ms, Instant::now());
        let all_left = async {
            self.feed.ended().await;
            while self.sessions.counts() != SessionCounts::default() {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(self.notice, all_left).await;
        self.draining.cancel();
        self.doors.close();
        self.doors.wait().await;
        self.relays.ended().await;
        self.feed.ended().await;
        self.flv.ended().await;

        self.presence_stop.cancel();
        self.presence.close();
        self.presence.wait().await;

        self.conferences.settle().await;
        // After the last event, which it may still tell, and before the store, where it keeps how far it came.
        self.webhooks.stop().await;
        self.store.close().await;

        self.ops_stop.cancel();
        self.ops.close();
        self.ops.wait().await;
    }
}

/// The control socket; without one the gateway serves all but the commands of operators.
fn control_socket(data_dir: &Path) -> Option<LocalSocket> {
    let bound = local_socket::bind(data_dir);
    let told = |error: &io::Error| {
        let file = data_dir.join(local_socket::FILE_NAME);
        tracing::warn!(
            %error, file = %file.display(),
            "no control socket: commands such as `tidegate app list` do not reach this gateway; \
             a data directory on a local disk can hold one"
        );
    };
    bound.inspect_err(told).ok()
}

/// The first app's key: that of the key file, or else that of the store, or else a new one.
async fn first_app_key(data_dir: &DataDir, store: &EmbeddedStore) -> Result<AppKey, StartError> {
    let kept = apps::first_key(store).await?;
    let kept = kept.map(|(app, secret)| AppKey { app, secret: Secret::new(secret) });
    Ok(data_dir.app_key(kept)?)
}

/// The key file of a data directory.
struct KeyFileIn(PathBuf);

impl KeyFile for KeyFileIn {
    fn keep(&self, app: &AppId, secret: &str) -> io::Result<()> {
        let key = AppKey { app: app.clone(), secret: Secret::new(secret.to_owned()) };
        data_dir::write_app_key(&self.0, &key)
    }
}

impl Present for Feed {
    fn each_present(&self, tell: &mut dyn FnMut(&ConferenceId, &MemberId, Seq)) {
        self.each_socket(tell);
    }
}

impl LogReader for Webhooks {
    fn unread_from(&self, conference: &ConferenceId, app: Option<&AppId>) -> Option<Seq> {
        self.unread_from(conference, app)
    }

    fn wants_removed(&self, app: &AppId) -> bool {
        self.has_stopped_reading(app)
    }

    fn removed(&self, app: &AppId, conference: &ConferenceId, removed: Removed) {
        self.removed(app, conference, (removed.from, removed.to), removed.at);
    }
}

/// Space of the database file that forgotten logs left.
struct FreedSpace(Arc<EmbeddedStore>);

#[async_trait]
impl Sweep for FreedSpace {
    fn name(&self) -> &'static str {
        "freed space of the store"
    }

    async fn sweep(&self, _now: Timestamp) -> Result<bool, StoreError> {
        self.0.give_back_space().await
    }
}

/// Session keys of VoIP users that nobody used for long.
struct UnusedSessions(Arc<VoipSessions>);

#[async_trait]
impl Sweep for UnusedSessions {
    fn name(&self) -> &'static str {
        "unused session keys"
    }

    async fn sweep(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.0.sweep_unused(now).await
    }
}

impl Heartbeats for Contacts {
    fn heartbeat(&self, conference: &ConferenceId, member: &MemberId, epoch: Seq) {
        self.heard_of(conference, member, epoch);
    }
}
