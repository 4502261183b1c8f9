//! The three JWTs: a user token speaks for a user of an app, a ticket lets into one conference, a member token
//! speaks for one stay in one conference.
//!
//! All are HS256 and nothing else. Each verifier has a key of its own and demands its own `typ` claim, so that no token
//! passes for another. Expiry is checked here, against the caller's `now`.

use std::sync::LazyLock;
use std::time::Duration;

use hkdf::Hkdf;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::Sha256;

use super::id::{AppId, ConferenceId, MemberId, Seq, TicketId, Timestamp, UserName};
use super::mark::MarkKey;
use super::media_url::MediaKey;
use super::refusal::{Reason, Refusal};
use super::role::Role;
use super::sealed::SealingKey;

/// How far ahead a user token may expire (contract, section Who is calling).
pub const USER_TOKEN_TTL_SECS_MAX: u64 = 24 * 3600;
/// How far the clock of an app's backend may be off; our own tokens get none.
pub const USER_TOKEN_LEEWAY_SECS: u64 = 60;
/// What a user token is refused with that nobody signed, whether or not there is the app that it names: who proves nothing
/// learns no app.
pub const NO_USER_TOKEN: &str = "the user token is not a valid HS256 JWT with iss, sub and exp, signed with the secret of the app that it names";
/// Longest token that is looked at. A ticket with the longest names has about 900 characters.
pub const TOKEN_CHARS_MAX: usize = 4096;

/// A user of an app, as its backend vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserClaims {
    /// Whose user.
    pub app: AppId,
    /// Who.
    pub user: UserName,
    /// May create conferences.
    pub can_create: bool,
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketClaims {
    /// This very ticket.
    pub id: TicketId,
    /// The conference's app.
    pub app: AppId,
    /// The one conference that it opens.
    pub conference: ConferenceId,
    /// Whom it lets in; `None` lets anybody in, as a guest.
    pub user: Option<UserName>,
    /// The highest role that it gives.
    pub role: Role,
    /// The conference's newest event when it was issued.
    pub seq: Seq,
    /// When it stops opening, in whole seconds.
    pub expires_at: Timestamp,
}

/// What a member token says. The role is not in it: it is read live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberClaims {
    /// The conference's app.
    pub app: AppId,
    /// Where.
    pub conference: ConferenceId,
    /// Who.
    pub member: MemberId,
    /// Which of its stays.
    pub epoch: Seq,
    /// When it stops speaking, whatever happens.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct UserJwt {
    iss: AppId,
    sub: UserName,
    #[serde(deserialize_with = "numeric_date")]
    exp: u64,
    /// Not before that time. The gateway sets none; libraries of backends do.
    #[serde(default, deserialize_with = "some_numeric_date", skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    can: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
}

/// Seconds since 1970, which may have a fraction (RFC 7519, section 2). The whole seconds count.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumericDate {
        Whole(u64),
        Fraction(f64),
    }
    match NumericDate::deserialize(deserializer)? {
        NumericDate::Whole(seconds) => Ok(seconds),
        // Refuses what is negative, endless, or no number.
        NumericDate::Fraction(seconds) => Duration::try_from_secs_f64(seconds)
            .map(|since_1970| since_1970.as_secs())
            .map_err(serde::de::Error::custom),
    }
}

fn some_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    numeric_date(deserializer).map(Some)
}

#[derive(Serialize, Deserialize)]
struct TicketJwt {
    typ: String,
    iss: AppId,
    jti: TicketId,
    confr: ConferenceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<UserName>,
    role: Role,
    seq: Seq,
    exp: u64,
}

#[derive(Serialize, Deserialize)]
struct MemberJwt {
    typ: String,
    iss: AppId,
    confr: ConferenceId,
    sub: MemberId,
    epoch: Seq,
    exp: u64,
}

/// What a token says of itself, before anything in it can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimedKind {
    /// A user token of the app named.
    User(AppId),
    /// A ticket.
    Ticket,
    /// A member token.
    Member,
}

/// Reads what kind of token this claims to be, so that the caller can pick the verifier. Proves nothing.
pub fn claimed_kind(token: &str) -> Option<ClaimedKind> {
    #[derive(Deserialize)]
    struct Claimed {
        typ: Option<String>,
        iss: AppId,
    }
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let claimed: Claimed = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
    match claimed.typ.as_deref() {
        None | Some("user") => Some(ClaimedKind::User(claimed.iss)),
        Some("ticket") => Some(ClaimedKind::Ticket),
        Some("member") => Some(ClaimedKind::Member),
        Some(_) => None,
    }
}

/// Signs and verifies by HS256 and nothing else.
#[derive(Clone)]
struct Hs256 {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// Time is judged by the caller's clock, and what must be there by the claims' own types.
static SIGNATURE_ALONE: LazyLock<Validation> = LazyLock::new(|| {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
});

impl Hs256 {
    fn new(key: &[u8]) -> Self {
        Self { encoding: EncodingKey::from_secret(key), decoding: DecodingKey::from_secret(key) }
    }

    fn sign<T: Serialize>(&self, claims: &T) -> Option<String> {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding).ok()
    }

    fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let token = decode(token, &self.decoding, &SIGNATURE_ALONE).ok()?;
        // Names what whoever reads the token must understand; of that there is nothing here (RFC 7515 section 4.1.11).
        token.header.crit.is_none().then_some(token.claims)
    }
}

/// Mints the user token that an app's backend could mint itself. `None` never happens for valid claims.
pub fn mint_user_token(secret: &str, claims: &UserClaims, expires_at: Timestamp) -> Option<String> {
    let can = if claims.can_create { vec!["create".to_owned()] } else { Vec::new() };
    let (iss, sub) = (claims.app.clone(), claims.user.clone());
    let jwt = UserJwt { iss, sub, exp: expires_at.as_secs(), nbf: None, can, typ: Some("user".to_owned()) };
    Hs256::new(secret.as_bytes()).sign(&jwt)
}

/// Verifies a user token against one of the app's secrets (its text).
pub fn verify_user_token(secret: &str, token: &str, now: Timestamp) -> Result<UserClaims, Refusal> {
    let unauthenticated = |detail: &'static str| Reason::Unauthenticated.because(detail);
    let jwt: UserJwt =
        Hs256::new(secret.as_bytes()).verify(token).ok_or_else(|| unauthenticated(NO_USER_TOKEN))?;
    if jwt.typ.is_some_and(|typ| typ != "user") {
        return Err(unauthenticated("this token is not a user token"));
    }
    let now = now.as_secs();
    if now >= jwt.exp.saturating_add(USER_TOKEN_LEEWAY_SECS) {
        return Err(unauthenticated("the user token has expired; the app's backend can issue a new one"));
    }
    if jwt.nbf.is_some_and(|nbf| nbf > now.saturating_add(USER_TOKEN_LEEWAY_SECS)) {
        return Err(unauthenticated("the user token is not valid yet: its nbf is ahead"));
    }
    if jwt.exp > now + USER_TOKEN_TTL_SECS_MAX + USER_TOKEN_LEEWAY_SECS {
        return Err(unauthenticated("the user token's exp is more than 24 hours ahead"));
    }
    Ok(UserClaims { app: jwt.iss, user: jwt.sub, can_create: jwt.can.iter().any(|right| right == "create") })
}

/// The gateway's own keys, one per purpose, all derived from one master key.
#[derive(Clone)]
pub struct TokenKeys {
    ticket: Hs256,
    member: Hs256,
    /// For the tokens in media URLs.
    pub media: MediaKey,
    /// For secrets that the store keeps.
    pub sealing: SealingKey,
    /// For the fingerprints of idempotency keys.
    pub marks: MarkKey,
}

impl TokenKeys {
    /// Derives the keys by HKDF-SHA256 (RFC 5869) from at least 32 secret bytes.
    pub fn derive(master: &[u8]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, master);
        let key = |purpose: &str| {
            let mut bytes = [0; 32];
            #[expect(clippy::expect_used, reason = "HKDF-SHA256 yields up to 8160 bytes")]
            hkdf.expand(purpose.as_bytes(), &mut bytes).expect("32 bytes are within what HKDF yields");
            bytes
        };
        Self {
            ticket: Hs256::new(&key("tidegate ticket v1")),
            member: Hs256::new(&key("tidegate member token v1")),
            media: MediaKey::new(key("tidegate media url v1")),
            sealing: SealingKey::new(key("tidegate sealed secrets v1")),
            marks: MarkKey::new(key("tidegate idempotency v1")),
        }
    }

    /// The text of a ticket. `None` never happens for valid claims.
    pub fn mint_ticket(&self, claims: &TicketClaims) -> Option<String> {
        let claims = claims.clone();
        self.ticket.sign(&TicketJwt {
            typ: "ticket".to_owned(),
            iss: claims.app,
            jti: claims.id,
            confr: claims.conference,
            sub: claims.user,
            role: claims.role,
            seq: claims.seq,
            exp: claims.expires_at.as_secs(),
        })
    }

    /// What a ticket says, if it is ours and in time. Whether it still opens is the conference's to say.
    pub fn verify_ticket(&self, token: &str, now: Timestamp) -> Result<TicketClaims, Refusal> {
        let jwt: TicketJwt =
            self.ticket.verify(token).filter(|jwt: &TicketJwt| jwt.typ == "ticket").ok_or_else(|| {
                Reason::TicketInvalid.because("the ticket was not issued by this gateway, or was changed")
            })?;
        if now.as_secs() >= jwt.exp {
            return Err(Reason::TicketExpired.because("the ticket has expired; ask for a new one"));
        }
        Ok(TicketClaims {
            id: jwt.jti,
            app: jwt.iss,
            conference: jwt.confr,
            user: jwt.sub,
            role: jwt.role,
            seq: jwt.seq,
            expires_at: Timestamp(jwt.exp.saturating_mul(1000)),
        })
    }

    /// The text of a member token. `None` never happens for valid claims.
    pub fn mint_member_token(&self, claims: &MemberClaims) -> Option<String> {
        let claims = claims.clone();
        self.member.sign(&MemberJwt {
            typ: "member".to_owned(),
            iss: claims.app,
            confr: claims.conference,
            sub: claims.member,
            epoch: claims.epoch,
            exp: claims.expires_at.as_secs(),
        })
    }

    /// What a member token says, if it is ours and in time. Whether the member is still inside is the conference's to say.
    pub fn verify_member_token(&self, token: &str, now: Timestamp) -> Result<MemberClaims, Refusal> {
        let jwt: MemberJwt =
            self.member.verify(token).filter(|jwt: &MemberJwt| jwt.typ == "member").ok_or_else(|| {
                Reason::Unauthenticated.because("the member token was not issued by this gateway")
            })?;
        if now.as_secs() >= jwt.exp {
            return Err(Reason::Unauthenticated.because("the member token has expired; join again"));
        }
        Ok(MemberClaims {
            app: jwt.iss,
            conference: jwt.confr,
            member: jwt.sub,
            epoch: jwt.epoch,
            expires_at: Timestamp(jwt.exp.saturating_mul(1000)),
        })
    }
}

#[cfg(test)]
mod tests;
