//! The table of settings. A row is everything that is known about one: the name, the type, the default, the range,
//! and the text that stands both in the documentation of [`Config`] and in `tidegate serve --print-config`.

use std::path::PathBuf;

use crate::domain::Limits;
use crate::listen::ListenAddresses;
use crate::telemetry::LogFormat;

use super::ConfigError;
use super::value::{
    AddressRanges, CorsOriginList, LogFilter, OpsToken, PublicHttpUrl, PublicRtmpUrl, Reader, SettingValue,
};

/// An hour: longer than any wait that makes sense while a server runs.
const HOUR_MS: u64 = 3_600_000;
/// A day, the longest life of a user token (contract, section "Who is calling").
const DAY_SECONDS: u64 = 86_400;
/// Thirty days: a ticket or media URL that lives longer is better issued again.
const MONTH_SECONDS: u64 = 30 * DAY_SECONDS;
/// More connections than one Linux process can hold by default (fs.nr_open).
const CONNECTIONS_CEILING: u64 = 1_048_576;
/// One stream's ring never gets more than this, so that a typing error cannot eat the machine.
const RING_BYTES_CEILING: u64 = 1 << 30;
/// One large keyframe of a good camera fits in this.
const RING_BYTES_FLOOR: u64 = 1 << 20;

/// What stands in the table about one setting, as far as it can be known without its type.
pub(super) struct Setting {
    /// The name in the file; in the environment `TIDEGATE_` and the same in upper case.
    pub(super) key: &'static str,
    /// The explanation, one line each, as written in the table.
    pub(super) doc: &'static [&'static str],
    /// What a value looks like.
    pub(super) form: &'static str,
    /// Whether its value must never be shown.
    pub(super) secret: bool,
    /// The default, and for a number its range.
    pub(super) default: Preset,
    /// Whether a reload takes a new value; else it takes a restart.
    pub(super) is_live: bool,
}

/// A default as it is written into a TOML file.
#[derive(Clone, Copy)]
pub(super) enum Preset {
    /// A whole number and the range that is allowed.
    Number { default: u64, min: u64, max: u64 },
    /// Yes or no.
    Flag(bool),
    /// A text. Where the type allows it, the empty text means "not set".
    Text(&'static str),
}

const fn number(default: u64, min: u64, max: u64) -> Preset {
    Preset::Number { default, min, max }
}

const fn flag(default: bool) -> Preset {
    Preset::Flag(default)
}

const fn text(default: &'static str) -> Preset {
    Preset::Text(default)
}

/// A row that ends with `, live` is of a setting that a reload changes (`app::reload` carries it out).
macro_rules! settings {
    (@is_live live) => { true };
    (@is_live) => { false };
    ($( $(#[doc = $doc:literal])+ $key:ident: $kind:ty = $default:expr $(, $live:ident)?; )+) => {
        /// Every setting, checked. Nobody looks at a file or at the environment but at the start and for a reload.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $( $(#[doc = $doc])+ pub $key: $kind, )+
        }

        /// The table, in the order in which it is printed.
        pub(super) static SETTINGS: [Setting; [$(stringify!($key)),+].len()] = [
            $( Setting {
                key: stringify!($key),
                doc: &[$($doc),+],
                form: <$kind as SettingValue>::FORM,
                secret: <$kind as SettingValue>::SECRET,
                default: $default,
                is_live: settings!(@is_live $($live)?),
            } ),+
        ];

        impl Config {
            /// Reads every setting of the table; the first wrong value is the error.
            pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ConfigError> {
                let [$($key),+] = &SETTINGS;
                Ok(Self { $( $key: reader.value($key)? ),+ })
            }

            /// The settings that are not the same in `other`, in the order of the table.
            pub(super) fn differences(&self, other: &Self) -> Vec<&'static Setting> {
                let [$($key),+] = &SETTINGS;
                let mut differing = Vec::new();
                $( if self.$key != other.$key { differing.push($key); } )+
                differing
            }
        }
    };
}

settings! {
    /// Where RTMP is served: publish and play. A comma list of host:port; port 0 takes a free one.
    /// Empty: nowhere, which only makes sense where rtmps_listen is set.
    rtmp_listen: Option<ListenAddresses> = text("0.0.0.0:1935,[::]:1935");
    /// Where HTTP is served: control API, events, FLV.
    http_listen: ListenAddresses = text("0.0.0.0:8080,[::]:8080");
    /// Where /healthz, /readyz and /metrics are served. Off loopback, /metrics needs ops_token.
    ops_listen: ListenAddresses = text("127.0.0.1:9090");
    /// What a scraper of /metrics must bring as a bearer token. Empty: none, then /metrics answers on loopback only.
    ops_token: Option<OpsToken> = text("");
    /// Where RTMP is served over TLS, such as "0.0.0.0:443,[::]:443". Empty: nowhere. Needs tls_cert and tls_key.
    rtmps_listen: Option<ListenAddresses> = text("");
    /// Where HTTP is served over TLS. Empty: nowhere. Needs tls_cert and tls_key.
    https_listen: Option<ListenAddresses> = text("");
    /// The certificate for both, in PEM form, followed by those that lead to its root (with certbot: fullchain.pem).
    tls_cert: Option<PathBuf> = text("");
    /// Its private key, in PEM form and not encrypted.
    tls_key: Option<PathBuf> = text("");
    /// How often the two files are looked at. A new pair is taken when two looks found the same, for connections that come
    /// then; nobody is dropped. Five seconds: two small files cost nothing, and a renewal comes weeks before the end.
    tls_reload_ms: u64 = number(5000, 10, HOUR_MS);
    /// Where phones reach RTMP, for the media URLs in answers. Empty: the host of the request and the bound port, with
    /// rtmp:// unless only rtmps_listen is set.
    public_rtmp_url: Option<PublicRtmpUrl> = text("");
    /// Where phones and browsers reach HTTP, for the URLs in answers. Empty: the host of the request.
    public_http_url: Option<PublicHttpUrl> = text("");
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, as a comma list of address ranges. Empty: none.
    trusted_proxies: AddressRanges = text("");
    /// Proxies that pass RTMP on and begin every connection with a PROXY header (version 1 or 2), as a comma list of address
    /// ranges; it tells whose connection it is. One that does not send it is turned away, so name proxies only, and none
    /// whose addresses clients share. Apart from trusted_proxies, since a proxy may speak for HTTP and pass RTMP on. Empty: none.
    rtmp_proxy_protocol_from: AddressRanges = text("");
    /// The same for HTTP and HTTPS: for proxies of TCP, which add no X-Forwarded-For.
    http_proxy_protocol_from: AddressRanges = text("");

    /// The folder of everything that outlives a restart. Made at the first start; one server at a time may use it.
    data_dir: PathBuf = text("data");
    /// A file with the key that signs tickets, member tokens and media URLs: at least 32 random bytes or characters.
    /// Empty: the key is made at the first start and kept in the store.
    master_key_file: Option<PathBuf> = text("");

    /// How long a stop may take: members are told and media ends in order. It is shorter when no socket is left.
    drain_ms: u64 = number(10_000, 0, HOUR_MS);
    /// How long a stop leaves those inside alone after they were told of it, so that they can move; not more than half of
    /// drain_ms, and only as long as somebody is inside. A second: a client on a good network is elsewhere by then, and a
    /// restart is hardly longer for it.
    drain_notice_ms: u64 = number(1000, 0, HOUR_MS);
    /// How long a new member may stay without an event socket, a heartbeat or media before it counts as gone.
    /// Two minutes: a person answers a permission dialog in that time.
    first_contact_ms: u64 = number(120_000, 100, HOUR_MS);
    /// How long a member that was there may be silent in all of these before it counts as gone.
    /// Twenty seconds: a phone that changes networks is back by then.
    member_timeout_ms: u64 = number(20_000, 100, HOUR_MS);
    /// How long a conference waits for its first member before it ends.
    unused_conference_ms: u64 = number(120_000, 1000, 30 * DAY_SECONDS * 1000);
    /// How long a conference stays after its last member has left.
    /// Two minutes: a group that lost its network together finds its conference again.
    empty_conference_ms: u64 = number(120_000, 0, 30 * DAY_SECONDS * 1000);
    /// How long a stream waits for its vanished publisher while viewers stay attached.
    /// Ten seconds: a live-pusher tries three times, three seconds apart.
    publisher_grace_ms: u64 = number(10_000, 0, HOUR_MS);
    /// How long a play waits for a publisher that has not come yet.
    play_wait_ms: u64 = number(30_000, 0, HOUR_MS);
    /// Sessions that one play URL serves at once; one more replaces the oldest.
    /// Four: a phone's reconnects overlap, and a page may be open twice.
    plays_per_url: u32 = number(4, 1, 1000);
    /// Viewers of one stream. Ten thousand fill a 10 Gbit/s line at 1 Mbit/s.
    viewers_per_stream_max: u32 = number(10_000, 1, CONNECTIONS_CEILING);
    /// Viewers in one conference, each stream that somebody watches counted. Ten thousand: 600 members who watch nine streams are 5400,
    /// and no conference takes all connections of the gateway.
    viewers_per_conference_max: u32 = number(10_000, 1, CONNECTIONS_CEILING);

    /// Connections in all, RTMP and HTTP together: a stream full of viewers, and half as many for all others.
    /// Each needs a file descriptor and some tens of kilobytes.
    connections_max: u32 = number(15_000, 1, CONNECTIONS_CEILING), live;
    /// Connections from one address; loopback is exempt. Two thousand: phones share their carrier's address. An IPv6 network of
    /// 64 bits counts as one address.
    connections_per_address_max: u32 = number(2000, 1, CONNECTIONS_CEILING), live;
    /// Connections that have not shown yet what they are here for: no request, no admitted publish or play. One more is closed.
    /// Five thousand: as many phones come back together in the ten seconds of handshake_timeout_ms after a cut, and who holds
    /// connections open for nothing leaves two thirds of all places to the others.
    handshakes_max: u32 = number(5000, 1, CONNECTIONS_CEILING), live;
    /// The same from one address; loopback is exempt. A thousand: phones share their carrier's address.
    handshakes_per_address_max: u32 = number(1000, 1, CONNECTIONS_CEILING), live;
    /// Bytes of unfinished RTMP messages held in all for peers that do not publish, beyond 4 KiB for each of them, which is more than
    /// one has that goes by the book. Sixty-four MiB: whoever fills them harms others of that kind alone.
    unfinished_bytes_max: u64 = number(64 << 20, 0, 1 << 40);
    /// How long a new connection may take until it publishes, plays or has asked its first request.
    /// Ten seconds: a phone on a poor network needs several round trips of a second.
    handshake_timeout_ms: u64 = number(10_000, 100, HOUR_MS);
    /// How long a viewer's socket may accept not a single byte before it is closed.
    viewer_stall_ms: u64 = number(10_000, 100, HOUR_MS);
    /// How long a publisher may send no media (sound, pictures, data messages) before its session is closed. Whatever else it
    /// sends, such as acknowledgements, does not count.
    /// Five minutes: an app in the background sends next to nothing for that long, and comes back.
    publisher_idle_ms: u64 = number(300_000, 100, HOUR_MS);

    /// Resident memory of the process past which newcomers are refused as overloaded; those inside go on. 0: four fifths of what the
    /// machine, or the control group, lets it have; the rest is for the kernel's buffers of its sockets.
    overload_memory_bytes: u64 = number(0, 0, 1 << 50), live;
    /// How late the middle one of the last ticks of the runtime may come until newcomers are refused as overloaded. Half a second: a healthy
    /// gateway is late by a millisecond, and every frame waits as long as a tick.
    overload_lateness_ms: u64 = number(500, 10, HOUR_MS), live;
    /// Requests under way at once. Four thousand: a full conference joins at once and finds the answers of others beside it;
    /// one more is told to try again.
    requests_in_flight_max: u32 = number(4096, 1, CONNECTIONS_CEILING), live;
    /// Requests a second from one address, those with the app key not counted; loopback is exempt.
    /// Two thousand: phones share their carrier's address. An IPv6 network of 64 bits counts as one address.
    requests_per_address: u32 = number(2000, 1, 1_000_000), live;
    /// Requests a second with one member token, user token or ticket of a user, and five times as many at once.
    requests_per_credential: u32 = number(200, 1, 1_000_000), live;
    /// Credentials a minute from one address that prove nothing; loopback is exempt.
    /// Ten a second: phones behind one address come back with tokens that ran out.
    failed_authentications_per_address: u32 = number(600, 1, 1_000_000), live;
    /// Wrong passwords a minute of one user in one conference; then even a right one waits.
    /// Thirty: no person types faster, and eight random characters last for ages.
    wrong_passwords_per_user: u32 = number(30, 1, 1_000_000), live;
    /// Web pages that may call the API: a comma list of origins such as "https://app.example", or "*" for all. There are
    /// no cookies, so that a page can only use a credential that it holds itself. Empty: none.
    cors_origins: CorsOriginList = text("*"), live;
    /// Whether the operators' console is served at /console/. It holds nothing: every call of it takes the app key.
    console: bool = flag(true);
    /// Whether the page is served at /join with which a browser watches a conference by its ticket.
    join_page: bool = flag(true);
    /// Between two looks at what each app has going on, of which the newest 360 are kept in memory for GET /v1/overview.
    /// Ten seconds: the hour that an operator looks back after an alarm.
    overview_sample_ms: u64 = number(10_000, 100, HOUR_MS);
    /// Event sockets in all, each some tens of kilobytes. Twelve thousand: below connections_max, so that those who only listen leave
    /// room for media.
    event_sockets_max: u32 = number(12_000, 1, CONNECTIONS_CEILING);
    /// Between two pings on an event socket: well below what proxies and phone networks let a silent connection live.
    /// A socket on which nothing is heard for two and a half times as long is closed.
    event_ping_ms: u64 = number(10_000, 50, HOUR_MS);

    /// Life of a user token made by POST /v1/user-tokens, where the request names none.
    user_token_ttl_seconds: u64 = number(3600, 1, DAY_SECONDS);
    /// Life of a ticket, where the request names none.
    ticket_ttl_seconds: u64 = number(86_400, 1, MONTH_SECONDS);
    /// How long a media URL admits. A session that is in stays in.
    media_url_ttl_seconds: u64 = number(86_400, 1, MONTH_SECONDS);

    /// Address ranges of inner networks that webhooks and relays may call, as a comma list. Empty: none; loopback, private,
    /// link-local and other special addresses are refused.
    outbound_allow: AddressRanges = text(""), live;
    /// How long a webhook's receiver may take to answer. Ten seconds: whoever needs longer ought to answer first and work afterwards.
    webhook_timeout_ms: u64 = number(10_000, 100, 120_000);
    /// The longest wait after a webhook's first failure; it doubles with each further one.
    webhook_retry_min_ms: u64 = number(1000, 1, HOUR_MS);
    /// The longest wait between two attempts. Five minutes: a receiver that is back is told soon.
    webhook_retry_max_ms: u64 = number(300_000, 1, HOUR_MS);
    /// How long the webhooks of a conference may fail until its events are moved to the dead letters. A day: somebody looks at it in that time.
    webhook_give_up_seconds: u64 = number(DAY_SECONDS, 1, MONTH_SECONDS);
    /// Conferences that one webhook target is told of at once; each takes a connection.
    webhook_conferences_at_once: u32 = number(8, 1, 256);

    /// Relays of one conference, to far servers and from them. Sixteen: each member of a full conference, and some more.
    relays_per_conference_max: u32 = number(16, 0, 1000);
    /// Relays of this gateway. Five hundred of 2 Mbit/s fill a 1 Gbit/s line.
    relays_max: u32 = number(500, 0, 100_000);
    /// How long a relay's far server may take until it takes or gives the stream: TCP, TLS, handshake and its answer.
    relay_connect_timeout_ms: u64 = number(10_000, 100, HOUR_MS);
    /// The longest wait after a relay's first failure; it doubles with each further one.
    relay_retry_min_ms: u64 = number(1000, 10, HOUR_MS);
    /// The longest wait between two connections of a relay. A minute: a far server that is back has its stream soon.
    relay_retry_max_ms: u64 = number(60_000, 10, HOUR_MS);
    /// How long a relay's connection may be without media. Then a push lets the far server go until there is some, and a pull
    /// asks it anew. Thirty seconds: longer than publisher_grace_ms, and as long as far servers wait for a silent publisher.
    relay_idle_ms: u64 = number(30_000, 100, HOUR_MS);
    /// Authorities in PEM form that may have signed the certificates of far RTMPS servers, beside those of the system. Empty: none.
    relay_ca_file: Option<PathBuf> = text("");

    /// Members of role TALKER and above in a new conference that names no limit of its own.
    max_talker_count: u32 = number(9, 1, Limits::CEILING.max_talker_count as u64);
    /// Streams that may carry video in such a conference.
    max_video_count: u32 = number(9, 0, Limits::CEILING.max_video_count as u64);
    /// Members of role AUDIENCE in such a conference.
    max_audience_count: u32 = number(600, 0, Limits::CEILING.max_audience_count as u64);
    /// Shared desktops in such a conference.
    max_pub_desktop_count: u32 = number(2, 0, Limits::CEILING.max_pub_desktop_count as u64);

    /// How long past events of a conference are kept for those who resume and for the app. A day: whoever was away longer
    /// is better served by the state than by what led to it.
    events_kept_seconds: u64 = number(DAY_SECONDS, 1, MONTH_SECONDS);
    /// Past events kept per conference. Ten thousand are a full LIVE conference that came, spoke and left several times.
    events_kept_max: u64 = number(10_000, 1, 1_000_000);
    /// How long an ended conference is told as closed, before it is unknown. A week: longer than any ticket that was
    /// issued for it by default.
    closed_told_seconds: u64 = number(7 * DAY_SECONDS, 1, 12 * MONTH_SECONDS);
    /// How often it is looked for past events and ended conferences that may go.
    retention_pause_ms: u64 = number(60_000, 100, HOUR_MS);
    /// Logs looked at, trimmed or forgotten in a second. Two hundred are a year's conferences of a busy server in an hour, and
    /// no command waits for them longer than for one more of its own kind.
    retention_steps_per_second: u32 = number(200, 1, 10_000);
    /// Conferences that one app may make in a day (UTC), rooms and VoIP rooms included.
    /// A hundred thousand: as many VoIP rooms as WeChat lets a mini program make.
    rooms_per_day_max: u32 = number(100_000, 1, u32::MAX as u64), live;
    /// Conferences that one app may have open at once. Ten thousand of ten members fill the connections of several gateways.
    conferences_per_app_max: u32 = number(10_000, 1, CONNECTIONS_CEILING), live;

    /// Bytes of media kept per stream for its viewers. 16 MiB hold 20 seconds of 6 Mbit/s.
    ring_bytes_max: usize = number(16 << 20, RING_BYTES_FLOOR, RING_BYTES_CEILING);
    /// Milliseconds of media kept per stream. Twenty seconds hold two GOPs of an encoder left at its defaults.
    ring_ms_max: u32 = number(20_000, 1000, 120_000);
    /// Packets kept per stream. Twenty seconds of 60 video and 47 audio packets a second are 2140.
    ring_packets_max: usize = number(4096, 64, 1 << 20);
    /// The span into which the first burst of an rtc viewer is squeezed, so that its player does not start behind.
    rtc_burst_ms: u32 = number(500, 0, 10_000);
    /// How long what comes for rtc viewers of RTMP waits for more, so that all of it leaves in one write. A write costs the same however
    /// much it carries: ten milliseconds spare a bare server a quarter of its processor time. 0 sends everything at once.
    rtc_merge_ms: u32 = number(10, 0, 100);
    /// The same for live viewers, whose players keep seconds in hand. A tenth of a second spares a bare server four fifths.
    live_merge_ms: u32 = number(100, 0, 1000);
    /// How far an rtc viewer may fall behind before it skips to the newest keyframe.
    rtc_lag_max_ms: u32 = number(2000, 100, 120_000);
    /// The same for a live viewer, which prefers every frame to the newest.
    live_lag_max_ms: u32 = number(8000, 100, 120_000);

    /// What is logged: off, error, warn, info, debug or trace, or a comma list with module=level, such as "info,tidegate::rtmp=debug".
    log: LogFilter = text("info"), live;
    /// How a log line looks: text for people, json for collectors.
    log_format: LogFormat = text("text");
}
