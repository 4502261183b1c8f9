//! What stands before every request: how many may be under way, and how often somebody may come.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::Control;
use super::client::ClientAddress;
use super::problem::Problem;
use super::rate::{Limiter, Rate};
use crate::domain::ticket::{MemberClaims, TicketClaims, UserClaims};
use crate::domain::{ConferenceId, Reason, Refusal, UserName};
use crate::places::neighbourhood;

/// A credential may use up its requests of so many seconds at once: an app that starts asks for much together.
const CREDENTIAL_BURST_SECS: u32 = 5;
/// Users that are kept from guessing at once. Each is kept for seconds and got there by dozens of slow hashes.
const BARRED_MAX: usize = 10_000;
/// Below this path media is played (contract, section Media).
const PLAYS: &str = "/live/";
const GUESSED: &str = "too many wrong passwords came from this user";

/// How much the API takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardSettings {
    /// Requests under way at once.
    pub requests_in_flight_max: u32,
    /// Requests a second of one address, those with an app key left aside.
    pub requests_per_address: u32,
    /// Requests a second of one member token, user token or named ticket.
    pub requests_per_credential: u32,
    /// Credentials that prove nothing, a minute and address.
    pub failed_authentications_per_address: u32,
    /// Wrong passwords a minute, of one user in one conference.
    pub wrong_passwords_per_user: u32,
}

impl GuardSettings {
    fn address_rate(&self) -> Rate {
        Rate::per_second(self.requests_per_address, 1)
    }

    fn credential_rate(&self) -> Rate {
        Rate::per_second(self.requests_per_credential, CREDENTIAL_BURST_SECS)
    }

    fn failure_rate(&self) -> Rate {
        Rate::per_minute(self.failed_authentications_per_address)
    }

    fn password_rate(&self) -> Rate {
        Rate::per_minute(self.wrong_passwords_per_user)
    }
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            requests_in_flight_max: 4096,
            requests_per_address: 2000,
            requests_per_credential: 200,
            failed_authentications_per_address: 600,
            wrong_passwords_per_user: 30,
        }
    }
}

/// A limiter that can be exchanged for another one, whose buckets are full.
struct Exchangeable<K: Hash + Eq + Clone>(RwLock<Arc<Limiter<K>>>);

impl<K: Hash + Eq + Clone> Exchangeable<K> {
    fn new(rate: Rate) -> Self {
        Self(RwLock::new(Arc::new(Limiter::new(rate))))
    }

    fn exchange(&self, rate: Rate) {
        *self.0.write() = Arc::new(Limiter::new(rate));
    }

    fn take(&self, key: &K) -> Result<(), Duration> {
        let limiter = Arc::clone(&self.0.read());
        limiter.take(key)
    }
}

/// Requests under way.
#[derive(Default)]
struct InFlight {
    now: AtomicUsize,
    max: AtomicUsize,
}

impl InFlight {
    fn enter(&self) -> Option<UnderWay<'_>> {
        let max = self.max.load(Ordering::Relaxed);
        let one_more = |now| (now < max).then_some(now + 1);
        self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(UnderWay(&self.now))
    }
}

/// A request under way.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts requests.
pub struct Guard {
    settings: Mutex<GuardSettings>,
    in_flight: InFlight,
    addresses: Exchangeable<IpAddr>,
    credentials: Exchangeable<String>,
    failures: Exchangeable<IpAddr>,
    passwords: Exchangeable<(ConferenceId, UserName)>,
    /// Who guessed too often, and until when that counts.
    barred: Mutex<BTreeMap<(ConferenceId, UserName), Instant>>,
}

impl Guard {
    /// Nothing counted yet.
    pub fn new(settings: GuardSettings) -> Self {
        let in_flight = InFlight::default();
        in_flight.max.store(settings.requests_in_flight_max as usize, Ordering::Relaxed);
        Self {
            settings: Mutex::new(settings),
            in_flight,
            addresses: Exchangeable::new(settings.address_rate()),
            credentials: Exchangeable::new(settings.credential_rate()),
            failures: Exchangeable::new(settings.failure_rate()),
            passwords: Exchangeable::new(settings.password_rate()),
            barred: Mutex::default(),
        }
    }

    /// Holds callers to `settings` from now on. A limit that changes is counted anew; the others go on.
    pub fn apply(&self, settings: GuardSettings) {
        let mut current = self.settings.lock();
        let before = std::mem::replace(&mut *current, settings);
        self.in_flight.max.store(settings.requests_in_flight_max as usize, Ordering::Relaxed);
        if before.requests_per_address != settings.requests_per_address {
            self.addresses.exchange(settings.address_rate());
        }
        if before.requests_per_credential != settings.requests_per_credential {
            self.credentials.exchange(settings.credential_rate());
        }
        if before.failed_authentications_per_address != settings.failed_authentications_per_address {
            self.failures.exchange(settings.failure_rate());
        }
        if before.wrong_passwords_per_user != settings.wrong_passwords_per_user {
            self.passwords.exchange(settings.password_rate());
            self.barred.lock().clear();
        }
    }

    pub(super) fn member(&self, claims: &MemberClaims) -> Result<(), Refusal> {
        self.credential(format!("member {}", claims.member))
    }

    pub(super) fn user(&self, claims: &UserClaims) -> Result<(), Refusal> {
        self.credential(format!("user {} {}", claims.app, claims.user))
    }

    /// A ticket without a user is shown by many guests, and is not counted.
    pub(super) fn ticket(&self, claims: &TicketClaims) -> Result<(), Refusal> {
        match &claims.user {
            Some(user) => self.credential(format!("ticket {} {user}", claims.conference)),
            None => Ok(()),
        }
    }

    fn credential(&self, name: String) -> Result<(), Refusal> {
        let taken = self.credentials.take(&name);
        taken.map_err(|wait| {
            too_many("this credential makes too many requests", wait).at("requests_per_credential")
        })
    }

    /// Whether `user` may try a password of `conference` now. Asked before it is checked: who guessed too often gets no
    /// answer for a right one either.
    pub(super) fn may_try_password(&self, conference: &ConferenceId, user: &UserName) -> Result<(), Refusal> {
        let mut barred = self.barred.lock();
        let now = Instant::now();
        barred.retain(|_, until| *until > now);
        match barred.get(&(conference.clone(), user.clone())) {
            Some(until) => Err(too_many(GUESSED, until.duration_since(now)).at("wrong_passwords_per_user")),
            None => Ok(()),
        }
    }

    /// Counts a wrong password.
    pub(super) fn wrong_password(&self, conference: &ConferenceId, user: &UserName) -> Result<(), Refusal> {
        let guesser = (conference.clone(), user.clone());
        let Err(wait) = self.passwords.take(&guesser) else { return Ok(()) };
        let mut barred = self.barred.lock();
        if barred.len() < BARRED_MAX {
            barred.insert(guesser, Instant::now() + wait);
        }
        Err(too_many(GUESSED, wait).at("wrong_passwords_per_user"))
    }

    /// Counts a credential from `address` that proved nothing.
    pub(super) fn failure(&self, address: IpAddr) -> Result<(), Refusal> {
        if address.is_loopback() {
            return Ok(());
        }
        let taken = self.failures.take(&neighbourhood(address));
        taken.map_err(|wait| {
            too_many("too many credentials from this address proved nothing", wait)
                .at("failed_authentications_per_address")
        })
    }

    fn address(&self, address: IpAddr) -> Result<(), Refusal> {
        let taken = self.addresses.take(&neighbourhood(address));
        taken.map_err(|wait| {
            too_many("too many requests come from this address", wait).at("requests_per_address")
        })
    }
}

fn too_many(what: &'static str, wait: Duration) -> Refusal {
    Reason::RateLimited.because(format!("{what}; the Retry-After header says when to go on")).after(wait)
}

/// Lets a request through if there is room for it. A refusal for a credential that proves nothing becomes one for too
/// many of them where an address sends them without end.
pub(super) async fn guard(State(control): State<Control>, mut request: Request, next: Next) -> Response {
    let address = control.endpoints.client(&request);
    request.extensions_mut().insert(ClientAddress(address));
    if !address.is_loopback()
        && !control.shows_app_key(request.headers())
        && let Err(refusal) = control.guard.address(address)
    {
        return Problem::from(refusal).into_response();
    }
    // A play may wait long for its publisher; viewers have limits of their own.
    let is_play = request.uri().path().starts_with(PLAYS);
    let place = if is_play { None } else { Some(control.guard.in_flight.enter()) };
    if let Some(None) = place {
        let refusal = Reason::Overloaded.because("too many requests are under way; try again");
        let refusal = refusal.at("requests_in_flight_max");
        return Problem::from(refusal).into_response();
    }
    let response = next.run(request).await;
    let proved_nothing = matches!(
        response.extensions().get::<Reason>(),
        Some(Reason::Unauthenticated | Reason::TicketInvalid | Reason::TicketExpired)
    );
    if proved_nothing && let Err(refusal) = control.guard.failure(address) {
        return Problem::from(refusal).into_response();
    }
    response
}
