use serde_json::{Value, json};

use super::*;

fn issuer() -> Issuer {
    let dir = tempfile::tempdir().unwrap();
    Issuer::new(&KeyStore::open(&dir.path().join("auth.db")).unwrap()).unwrap()
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn a_token_carries_every_claim_and_names_its_key() {
    let issuer = issuer();
    let tenant = "team-a".parse().unwrap();
    let roles = [Role::Write, Role::Read].into_iter().collect();
    let token = issuer.issue(&tenant, "collector", roles, Duration::from_mins(1)).unwrap();
    assert_eq!(part(&token, 0), json!({"typ": "at+jwt", "alg": "EdDSA", "kid": issuer.header.kid}));
    let claims = part(&token, 1);
    let (iat, jti) = (claims["iat"].as_u64().unwrap(), claims["jti"].as_str().unwrap());
    assert!(iat.abs_diff(now_s()) <= 5);
    assert_eq!(
        claims,
        json!({
            "iss": "alula", "aud": "alula", "sub": "collector", "tenant": "team-a", "roles": ["read", "write"],
            "iat": iat, "nbf": iat, "exp": iat + 60, "jti": jti,
        })
    );
    let again = issuer.issue(&tenant, "collector", roles, Duration::from_mins(1)).unwrap();
    assert_ne!(part(&again, 1)["jti"], claims["jti"]);
}

#[test]
fn a_token_outside_the_bounds_is_not_made() {
    let issuer = issuer();
    let issue = |subject: &str, roles: Roles, ttl: Duration| {
        issuer.issue(&"a".parse().unwrap(), subject, roles, ttl).map_err(|error| error.to_string())
    };
    let (day, long) = (Duration::from_hours(24), "s".repeat(256));
    for ttl in [MIN_TTL, day, MAX_TTL] {
        issue("s", Roles::all(), ttl).unwrap();
    }
    for ttl in [Duration::ZERO, Duration::from_millis(999), MAX_TTL + Duration::from_nanos(1), Duration::MAX]
    {
        assert!(issue("s", Roles::all(), ttl).unwrap_err().contains("give a time from 1s to 315360000s"));
    }
    for subject in ["", "a\nb", "a\0", &long] {
        assert!(issue(subject, Roles::all(), day).unwrap_err().contains("invalid subject"), "{subject:?}");
    }
    assert!(issue("s", Roles::default(), day).unwrap_err().contains("at least one role"));
}
