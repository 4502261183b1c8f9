//! Media tokens and the three JWTs. The first byte says how far the input comes: as it is, or signed by the right key, so
//! that what reads the claims is reached too.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidegate::domain::media_url::{Direction, MediaKey};
use tidegate::domain::ticket::{ClaimedKind, TokenKeys, USER_TOKEN_LEEWAY_SECS, USER_TOKEN_TTL_SECS_MAX};
use tidegate::domain::ticket::{claimed_kind, mint_user_token, verify_user_token};
use tidegate::domain::{AppId, Timestamp, UserName};

const MASTER: [u8; 32] = [7; 32];
const MEDIA: [u8; 32] = [9; 32];
const APP_SECRET: &str = "the text of the app's secret";
const STREAM: &str = "RTC1__Of_MS_aaaaaaaaaaaaaaaa";
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const PURPOSES: [&str; 2] = ["tidegate ticket v1", "tidegate member token v1"];

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let Some((&way, input)) = input.split_first() else { return };
    match way % 5 {
        0 => raw(&String::from_utf8_lossy(input)),
        1 => media_claim(input),
        2 => user_claims(input),
        3 => header(input),
        _ => own_claims(input),
    }
}

/// Nobody signed this.
fn raw(text: &str) {
    let keys = TokenKeys::derive(&MASTER);
    let _ = claimed_kind(text);
    assert!(verify_user_token(APP_SECRET, text, NOW).is_err());
    assert!(keys.verify_ticket(text, NOW).is_err());
    assert!(keys.verify_member_token(text, NOW).is_err());
    for direction in [Direction::Publish, Direction::Play] {
        assert!(MediaKey::new(MEDIA).verify(STREAM, text, direction, NOW).is_err());
        assert!(MediaKey::new(MEDIA).verify(text, text, direction, NOW).is_err());
    }
}

/// A claim of a media token, signed: what it grants is granted by the token that the gateway would make of it.
fn media_claim(claim: &[u8]) {
    let tag = tag(&MEDIA, &[claim, STREAM.as_bytes()].concat());
    let token = URL_SAFE_NO_PAD.encode([claim, &tag[..16]].concat());
    let key = MediaKey::new(MEDIA);
    for direction in [Direction::Publish, Direction::Play] {
        let Ok(grant) = key.verify(STREAM, &token, direction, NOW) else { continue };
        assert_eq!(grant.right.direction, direction);
        assert_eq!(grant.right.stream.as_str(), STREAM);
        assert!(grant.expires_at > NOW);
        assert_eq!(key.verify(STREAM, &key.mint(&grant), direction, NOW), Ok(grant));
        let other = if direction == Direction::Play { Direction::Publish } else { Direction::Play };
        assert!(key.verify(STREAM, &token, other, NOW).is_err());
    }
}

/// Claims of a user token, signed with the app's secret.
fn user_claims(claims: &[u8]) {
    let token = jwt(HEADER.as_bytes(), claims, APP_SECRET.as_bytes());
    let Ok(user) = verify_user_token(APP_SECRET, &token, NOW) else { return };
    assert_eq!(claimed_kind(&token), Some(ClaimedKind::User(user.app.clone())));
    let claims = json(claims);
    assert_eq!(claims["iss"].as_str(), Some(user.app.as_str()));
    assert_eq!(claims["sub"].as_str(), Some(user.user.as_str()));
    assert!(claims["typ"].is_null() || claims["typ"] == "user");
    let (exp, now) = (claims["exp"].as_f64().expect("exp"), NOW.as_secs() as f64);
    assert!(exp > now - 1.0 - USER_TOKEN_LEEWAY_SECS as f64);
    assert!(exp < now + 1.0 + (USER_TOKEN_TTL_SECS_MAX + USER_TOKEN_LEEWAY_SECS) as f64);
    refused_elsewhere(&token);
}

/// Any header before good claims, signed with the app's secret whatever it says.
fn header(header: &[u8]) {
    let (app, user) = (AppId::parse("app").expect("an id"), UserName::parse("eve").expect("a name"));
    let claims = tidegate::domain::ticket::UserClaims { app, user, can_create: true };
    let good = mint_user_token(APP_SECRET, &claims, NOW.plus_ms(1000)).expect("a token");
    let body = good.split('.').nth(1).and_then(|body| URL_SAFE_NO_PAD.decode(body).ok()).expect("claims");
    let token = jwt(header, &body, APP_SECRET.as_bytes());
    let Ok(verified) = verify_user_token(APP_SECRET, &token, NOW) else { return };
    assert_eq!(verified, claims);
    let header = json(header);
    assert_eq!(header["alg"], "HS256", "another algorithm was taken");
    assert!(header["crit"].is_null(), "a header that must be understood was passed over");
}

/// Claims of a ticket or of a member token, signed with the key of either.
fn own_claims(claims: &[u8]) {
    let Some((&which, claims)) = claims.split_first() else { return };
    let keys = TokenKeys::derive(&MASTER);
    let mut key = [0; 32];
    let purpose = PURPOSES[usize::from(which) % 2];
    Hkdf::<Sha256>::new(None, &MASTER).expand(purpose.as_bytes(), &mut key).expect("32 bytes");
    let token = jwt(HEADER.as_bytes(), claims, &key);
    let (ticket, member) = (keys.verify_ticket(&token, NOW), keys.verify_member_token(&token, NOW));
    assert!(verify_user_token(APP_SECRET, &token, NOW).is_err());
    if let Ok(ticket) = ticket {
        assert_eq!((purpose, claimed_kind(&token)), (PURPOSES[0], Some(ClaimedKind::Ticket)));
        assert!(ticket.expires_at > NOW && member.is_err());
        let again = keys.mint_ticket(&ticket).expect("a ticket");
        // A time past the end of all times is the end of all times.
        if ticket.expires_at.0 < u64::MAX {
            assert_eq!(keys.verify_ticket(&again, NOW), Ok(ticket));
        }
    } else if let Ok(member) = member {
        assert_eq!((purpose, claimed_kind(&token)), (PURPOSES[1], Some(ClaimedKind::Member)));
        assert!(member.expires_at > NOW);
        let again = keys.mint_member_token(&member).expect("a token");
        if member.expires_at.0 < u64::MAX {
            assert_eq!(keys.verify_member_token(&again, NOW), Ok(member));
        }
    }
}

/// What was taken is JSON. Texts that nobody reads may hold bytes that are no UTF-8: that is the signer's own business.
fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_str(&String::from_utf8_lossy(bytes)).expect("what was taken is JSON")
}

fn refused_elsewhere(token: &str) {
    let keys = TokenKeys::derive(&MASTER);
    assert!(keys.verify_ticket(token, NOW).is_err() && keys.verify_member_token(token, NOW).is_err());
    assert!(verify_user_token("another secret", token, NOW).is_err());
}

fn jwt(header: &[u8], claims: &[u8], key: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag(key, signed.as_bytes())))
}

fn tag(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
