//! Forged, changed, swapped and outdated tokens of the three kinds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp(1_900_000_000_000);

fn user() -> UserClaims {
    UserClaims {
        app: AppId::parse("app1").unwrap(),
        user: UserName::parse("张三").unwrap(),
        can_create: true,
    }
}

fn ticket() -> TicketClaims {
    TicketClaims {
        id: TicketId::from_random([1; 10]),
        app: AppId::parse("app1").unwrap(),
        conference: ConferenceId::from_random([2; 10]),
        user: None,
        role: Role::Talker,
        seq: Seq(17),
        expires_at: NOW.plus_ms(60_000),
    }
}

fn member() -> MemberClaims {
    MemberClaims {
        app: AppId::parse("app1").unwrap(),
        conference: ConferenceId::from_random([2; 10]),
        member: MemberId::from_random([3; 10]),
        epoch: Seq(4),
        expires_at: NOW.plus_ms(60_000),
    }
}

#[test]
fn a_user_token_may_expire_at_a_fraction_of_a_second() {
    let token = |exp: Value| {
        let claims = json!({"iss": "app1", "sub": "u", "exp": exp});
        Hs256::new(b"s3cret").sign(&claims).unwrap()
    };
    let leeway = USER_TOKEN_LEEWAY_SECS;
    let exp = |after: f64| json!(1_900_000_000.0 + after);
    let at = |secs| NOW.plus_ms(secs * 1000);
    for (text, now, good) in [
        (token(exp(10.5)), at(9), true),
        (token(exp(10.5)), at(10 + leeway), false),
        (token(exp(10.5)), at(9 + leeway), true),
        (token(json!(1_900_000_010_u64)), at(9 + leeway), true),
        (token(json!(-1.5)), NOW, false),
        (token(json!(1e300)), NOW, false),
        (token(json!("1900000010")), NOW, false),
        (token(exp(90_000_000.5)), NOW, false),
    ] {
        assert_eq!(verify_user_token("s3cret", &text, now).is_ok(), good, "{text}");
    }
}

#[test]
fn tokens_say_what_was_minted() {
    let keys = TokenKeys::derive(&[1; 32]);
    let token = keys.mint_ticket(&ticket()).unwrap();
    assert_eq!(claimed_kind(&token), Some(ClaimedKind::Ticket));
    assert_eq!(keys.verify_ticket(&token, NOW), Ok(ticket()));
    let token = keys.mint_member_token(&member()).unwrap();
    assert_eq!(claimed_kind(&token), Some(ClaimedKind::Member));
    assert_eq!(keys.verify_member_token(&token, NOW), Ok(member()));
    let token = mint_user_token("s3cret", &user(), NOW.plus_ms(1000)).unwrap();
    assert_eq!(claimed_kind(&token), Some(ClaimedKind::User(user().app)));
    assert_eq!(verify_user_token("s3cret", &token, NOW), Ok(user()));
}

#[test]
fn no_token_passes_for_another() {
    let keys = TokenKeys::derive(&[1; 32]);
    let a_ticket = keys.mint_ticket(&ticket()).unwrap();
    let a_member = keys.mint_member_token(&member()).unwrap();
    let a_user = mint_user_token("s3cret", &user(), NOW.plus_ms(1000)).unwrap();
    assert_eq!(keys.verify_ticket(&a_member, NOW).unwrap_err().reason, Reason::TicketInvalid);
    assert_eq!(keys.verify_ticket(&a_user, NOW).unwrap_err().reason, Reason::TicketInvalid);
    assert_eq!(keys.verify_member_token(&a_ticket, NOW).unwrap_err().reason, Reason::Unauthenticated);
    assert_eq!(verify_user_token("s3cret", &a_ticket, NOW).unwrap_err().reason, Reason::Unauthenticated);
    assert_eq!(verify_user_token("other", &a_user, NOW).unwrap_err().reason, Reason::Unauthenticated);
    let strangers = TokenKeys::derive(&[2; 32]);
    assert_eq!(strangers.verify_ticket(&a_ticket, NOW).unwrap_err().reason, Reason::TicketInvalid);
}

#[test]
fn the_same_key_and_another_typ_is_refused() {
    let keys = TokenKeys::derive(&[1; 32]);
    let mut header = Header::new(Algorithm::HS256);
    let claims = json!({"typ": "member", "iss": "app1", "jti": "TK_a", "confr": "TS_a", "role": 7, "seq": 1, "exp": 4_000_000_000_u64});
    let forged = encode(&header, &claims, &keys.ticket.encoding).unwrap();
    assert_eq!(keys.verify_ticket(&forged, NOW).unwrap_err().reason, Reason::TicketInvalid);
    header.alg = Algorithm::HS512;
    let claims = json!({"typ": "ticket", "iss": "app1", "jti": "TK_a", "confr": "TS_a", "role": 7, "seq": 1, "exp": 4_000_000_000_u64});
    let forged = encode(&header, &claims, &keys.ticket.encoding).unwrap();
    assert_eq!(keys.verify_ticket(&forged, NOW).unwrap_err().reason, Reason::TicketInvalid);
}

#[test]
fn expiry_is_judged_by_the_callers_clock() {
    let keys = TokenKeys::derive(&[1; 32]);
    let token = keys.mint_ticket(&ticket()).unwrap();
    let late = keys.verify_ticket(&token, ticket().expires_at);
    assert_eq!(late.unwrap_err().reason, Reason::TicketExpired);
    let exp = NOW.plus_ms(1000);
    let token = mint_user_token("s3cret", &user(), exp).unwrap();
    let leeway_ms = USER_TOKEN_LEEWAY_SECS * 1000;
    assert!(verify_user_token("s3cret", &token, exp.plus_ms(leeway_ms - 1000)).is_ok());
    assert!(verify_user_token("s3cret", &token, exp.plus_ms(leeway_ms)).is_err());
    let far =
        mint_user_token("s3cret", &user(), NOW.plus_ms((USER_TOKEN_TTL_SECS_MAX + 120) * 1000)).unwrap();
    assert!(verify_user_token("s3cret", &far, NOW).is_err());
}

#[test]
fn every_changed_character_is_refused() {
    let keys = TokenKeys::derive(&[1; 32]);
    let token = keys.mint_ticket(&ticket()).unwrap();
    for at in 0..token.len() {
        assert!(keys.verify_ticket(&token[..at], NOW).is_err());
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert!(keys.verify_ticket(std::str::from_utf8(&forged).unwrap(), NOW).is_err(), "at {at}");
    }
    assert!(keys.verify_ticket(&"A.".repeat(5000), NOW).is_err());
}

/// A JWT with any text for its header and its claims, signed with HMAC-SHA256 by `key`.
fn forged(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// What is verified there, the key, claims that are good, and whether a token is taken.
type Door = (&'static str, Vec<u8>, String, Box<dyn Fn(&str) -> bool>);

/// The three verifiers with their keys, and claims that each takes when they are signed with that key.
fn doors() -> Vec<Door> {
    const MASTER: [u8; 32] = [1; 32];
    let derived = |purpose: &str| {
        let mut key = vec![0; 32];
        Hkdf::<Sha256>::new(None, &MASTER).expand(purpose.as_bytes(), &mut key).unwrap();
        key
    };
    let (tickets, members) = (TokenKeys::derive(&MASTER), TokenKeys::derive(&MASTER));
    let exp = NOW.as_secs() + 60;
    let user = json!({"iss": "app1", "sub": "eve", "exp": exp, "can": ["create"]});
    let ticket = json!({"typ": "ticket", "iss": "app1", "jti": "TK_a", "confr": "TS_a", "role": 7, "seq": 1, "exp": exp});
    let member =
        json!({"typ": "member", "iss": "app1", "confr": "TS_a", "sub": "MS_a", "epoch": 3, "exp": exp});
    vec![
        (
            "user token",
            b"s3cret".to_vec(),
            user.to_string(),
            Box::new(|token| verify_user_token("s3cret", token, NOW).is_ok()),
        ),
        (
            "ticket",
            derived("tidegate ticket v1"),
            ticket.to_string(),
            Box::new(move |token| tickets.verify_ticket(token, NOW).is_ok()),
        ),
        (
            "member token",
            derived("tidegate member token v1"),
            member.to_string(),
            Box::new(move |token| members.verify_member_token(token, NOW).is_ok()),
        ),
    ]
}

#[test]
fn no_header_talks_a_verifier_out_of_its_algorithm_and_key() {
    let headers = [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":"nOnE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":0}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS256 "}"#,
        r#"{"alg":"HS256\u0000"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"RS256","kid":"1"}"#,
        r#"{"alg":"PS256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":"exp"}"#,
        r#"{"alg":"HS256"} {"alg":"HS256"}"#,
        "",
        "null",
        "[]",
        "{}",
    ];
    for (what, key, claims, takes) in doors() {
        assert!(takes(&forged(HS256, &claims, &key)), "a good {what}");
        for header in headers {
            let token = forged(header, &claims, &key);
            assert!(!takes(&token), "{what}: {header}");
            let (signed, _) = token.rsplit_once('.').unwrap();
            assert!(!takes(signed) && !takes(&format!("{signed}.")), "{what} without a signature: {header}");
        }
        let (signed, _) = claims_alone(&claims);
        assert!(!takes(&signed));
    }
}

/// Good header and claims with an empty signature, and with none.
fn claims_alone(claims: &str) -> (String, String) {
    let bare = format!("{}.{}", URL_SAFE_NO_PAD.encode(HS256), URL_SAFE_NO_PAD.encode(claims));
    (format!("{bare}."), bare)
}

#[test]
fn keys_that_a_token_brings_along_are_not_looked_at() {
    let strange = b"the attacker's own key";
    let k = URL_SAFE_NO_PAD.encode(strange);
    let headers = [
        format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{k}"}}}}"#),
        r#"{"alg":"HS256","jku":"http://127.0.0.1:1/keys"}"#.to_owned(),
        r#"{"alg":"HS256","x5u":"http://127.0.0.1:1/certificate"}"#.to_owned(),
        r#"{"alg":"HS256","x5c":["MIIB"]}"#.to_owned(),
        r#"{"alg":"HS256","kid":"/dev/null"}"#.to_owned(),
        r#"{"alg":"HS256","kid":"' UNION SELECT 'x"}"#.to_owned(),
    ];
    for (what, key, claims, takes) in doors() {
        for header in &headers {
            for wrong in [&strange[..], b"", b"app1", b"\0", k.as_bytes()] {
                assert!(!takes(&forged(header, &claims, wrong)), "{what}: {header}");
            }
        }
        for (other, _, _, other_takes) in doors().iter().filter(|(other, ..)| *other != what) {
            assert!(!other_takes(&forged(HS256, &claims, &key)), "{what} is taken for a {other}");
        }
    }
}

#[test]
fn no_typ_makes_one_kind_of_another_even_with_the_right_key() {
    let every: Vec<(String, Value)> = doors()
        .iter()
        .map(|(what, _, claims, _)| ((*what).to_owned(), serde_json::from_str(claims).unwrap()))
        .collect();
    for (what, key, own, takes) in doors() {
        let own: Value = serde_json::from_str(&own).unwrap();
        for typ in [
            json!("ticket"),
            json!("member"),
            json!("user"),
            json!("JWT"),
            json!(""),
            json!(["user"]),
            json!(7),
        ] {
            let mut claims = own.clone();
            claims["typ"] = typ.clone();
            let is_own = typ == own["typ"] || (what == "user token" && typ == "user");
            assert_eq!(takes(&forged(HS256, &claims.to_string(), &key)), is_own, "{what} with typ {typ}");
        }
        for (other, claims) in every.iter().filter(|(other, _)| other != what) {
            assert!(!takes(&forged(HS256, &claims.to_string(), &key)), "the claims of a {other} as a {what}");
        }
        // Whoever reads the first and whoever reads the last of two would disagree.
        let text = own.to_string();
        for name in own.as_object().unwrap().keys() {
            let twice = format!("{},\"{name}\":{}}}", text.strip_suffix('}').unwrap(), own[name]);
            assert!(!takes(&forged(HS256, &twice, &key)), "{what} with {name} twice");
        }
    }
}

#[test]
fn the_times_of_a_user_token_are_held_to_the_second() {
    let (now, leeway, longest) = (NOW.as_secs(), USER_TOKEN_LEEWAY_SECS, USER_TOKEN_TTL_SECS_MAX);
    let takes = |times: Value| {
        let mut claims = json!({"iss": "app1", "sub": "eve", "exp": now + 60});
        claims.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        verify_user_token("s3cret", &forged(HS256, &claims.to_string(), b"s3cret"), NOW).is_ok()
    };
    for (times, expected) in [
        (json!({"exp": now - leeway}), false),
        (json!({"exp": now - leeway + 1}), true),
        (json!({"exp": now + longest + leeway}), true),
        (json!({"exp": now + longest + leeway + 1}), false),
        (json!({"exp": 0}), false),
        (json!({"exp": -1}), false),
        (json!({"exp": u64::MAX}), false),
        (json!({"exp": 1e300}), false),
        (json!({"exp": "1900000060"}), false),
        (json!({"exp": null}), false),
        (json!({"exp": [now + 60]}), false),
        (json!({"exp": now as f64 + 60.5}), true),
        // RFC 7519 section 4.1.5: not before that time, wherever it stands.
        (json!({"nbf": now}), true),
        (json!({"nbf": now + leeway}), true),
        (json!({"nbf": now + leeway + 1}), false),
        (json!({"nbf": now as f64 + 61.5}), false),
        (json!({"nbf": "soon"}), false),
        (json!({"nbf": 0}), true),
        // It says when the token was made, and nothing about its life.
        (json!({"iat": now + 3600}), true),
        (json!({"iat": "never"}), true),
    ] {
        assert_eq!(takes(times.clone()), expected, "{times}");
    }
}

#[test]
fn every_letter_at_every_place_of_every_token_is_refused_but_its_own() {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (what, key, claims, takes) in doors() {
        let token = forged(HS256, &claims, &key);
        for at in 0..token.len() {
            assert!(!takes(&token[..at]), "{what}, the first {at}");
            assert!(!takes(&token[at + 1..]), "{what}, without the first {}", at + 1);
            // Every letter in the last places, where some of the bits belong to no byte; one elsewhere.
            let is_edge = token[at..].len() <= 2 || token[at + 1..].starts_with('.');
            for letter in LETTERS.iter().skip(if is_edge { 0 } else { 63 }).chain(b".=+ \n%") {
                let mut changed = token.clone().into_bytes();
                if changed[at] == *letter {
                    continue;
                }
                changed[at] = *letter;
                let changed = String::from_utf8(changed).unwrap();
                assert!(!takes(&changed), "{what} at {at}: {changed}");
            }
        }
        for more in ["A", "=", "==", ".", ".x", " ", "\n", "\0"] {
            assert!(!takes(&format!("{token}{more}")), "{what} and {more:?}");
            assert!(!takes(&format!("{more}{token}")), "{more:?} and {what}");
        }
    }
}
