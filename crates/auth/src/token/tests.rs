use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::VideoGrant;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

fn keys() -> KeyStore {
    KeyStore::new([("devkey".to_owned(), "secret".into()), ("other".to_owned(), "2".into())]).unwrap()
}

fn signed(payload: Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &payload, &key).unwrap()
}

fn refused(payload: Value) -> TokenError {
    keys().verify(&signed(payload, "secret"), now()).unwrap_err()
}

const NOW: u64 = 1_900_000_000;

#[test]
fn a_minted_token_says_what_was_put_in() {
    let claims = Claims {
        identity: "ana".into(),
        name: "Ana".into(),
        metadata: "m".into(),
        attributes: [("a".to_owned(), "b".to_owned())].into(),
        video: Some(VideoGrant { room_join: true, room: "r".into(), ..VideoGrant::default() }),
        ..Claims::default()
    };
    let verified = keys().verify(&keys().mint(&claims, now(), HOUR), now()).unwrap();
    assert_eq!(verified, Verified { api_key: "devkey".into(), claims, expires_at: now() + HOUR });
}

#[test]
fn a_token_of_the_second_key_is_accepted() {
    let token = signed(json!({"iss": "other", "sub": "x", "exp": NOW + 5}), "2");
    assert_eq!(keys().verify(&token, now()).unwrap().api_key, "other");
}

#[test]
fn identity_falls_back_to_the_token_id() {
    let token = signed(json!({"iss": "devkey", "jti": "x", "exp": NOW + 5}), "secret");
    assert_eq!(keys().verify(&token, now()).unwrap().claims.identity, "x");
}

#[test]
fn a_token_without_expiry_would_live_for_ever_and_is_refused() {
    assert_eq!(refused(json!({"iss": "devkey"})), TokenError::NoExpiry);
}

#[test]
fn clocks_may_differ_by_a_minute_and_no_more() {
    let verify = |payload| keys().verify(&signed(payload, "secret"), now());
    assert!(verify(json!({"iss": "devkey", "exp": NOW - 59})).is_ok());
    assert_eq!(refused(json!({"iss": "devkey", "exp": NOW - 60})), TokenError::Expired);
    assert!(verify(json!({"iss": "devkey", "exp": NOW + 99, "nbf": NOW + 60})).is_ok());
    assert_eq!(refused(json!({"iss": "devkey", "exp": NOW + 99, "nbf": NOW + 61})), TokenError::NotYetValid);
}

#[test]
fn forged_tokens_are_refused() {
    let payload = json!({"iss": "devkey", "exp": NOW + 5});
    let verify = |token: &str| keys().verify(token, now()).unwrap_err();
    assert_eq!(verify(&signed(payload.clone(), "guess")), TokenError::BadSignature);
    assert_eq!(verify(&signed(json!({"iss": "ghost", "exp": NOW + 5}), "secret")), TokenError::UnknownKey);
    let key = EncodingKey::from_secret(b"secret");
    let hs512 = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &payload, &key).unwrap();
    assert_eq!(verify(&hs512), TokenError::BadMethod("HS512".into()));
    // {"alg":"none"} . {"iss":"devkey","exp":9999999999} .
    let unsigned = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJkZXZrZXkiLCJleHAiOjk5OTk5OTk5OTl9.";
    assert_eq!(verify(unsigned), TokenError::Malformed);
    assert_eq!(verify("x"), TokenError::Malformed);
}

#[test]
fn unknown_claims_audiences_and_nulls_are_ignored() {
    let token = signed(
        json!({"iss": "devkey", "exp": (NOW as f64) + 5.5, "aud": "x", "name": null, "future": {"a": 1},
               "video": {"room": null, "roomJoin": true, "levitate": true}}),
        "secret",
    );
    let verified = keys().verify(&token, now()).unwrap();
    assert_eq!(verified.claims.joinable_room(), Some(""));
}

#[test]
fn claims_of_the_wrong_type_are_refused_not_guessed() {
    assert_eq!(refused(json!({"iss": "devkey", "exp": NOW + 5, "name": 7})), TokenError::BadClaims);
    assert_eq!(refused(json!({"iss": "devkey", "exp": "soon"})), TokenError::Malformed);
}

#[test]
fn an_expiry_at_the_end_of_time_does_not_overflow() {
    let token = signed(json!({"iss": "devkey", "exp": 1e300}), "secret");
    assert!(keys().verify(&token, now()).is_ok());
}

#[test]
fn room_options_travel_in_the_token() {
    let token = signed(
        json!({"iss": "devkey", "exp": NOW + 5, "roomConfig": {"emptyTimeout": 7, "maxParticipants": 2}}),
        "secret",
    );
    let config = keys().verify(&token, now()).unwrap().claims.room_config.unwrap();
    assert_eq!((config.empty_timeout, config.max_participants), (7, 2));
}

proptest! {
    #[test]
    fn no_text_makes_the_verifier_panic(token in "\\PC{0,200}") {
        let _ = keys().verify(&token, now());
    }

    #[test]
    fn no_payload_makes_the_verifier_panic(exp in any::<f64>(), nbf in any::<f64>()) {
        let token = signed(json!({"iss": "devkey", "exp": exp, "nbf": nbf}), "secret");
        let _ = keys().verify(&token, now());
    }
}
