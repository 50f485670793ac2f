use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};

use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::keys::tests::insert_key;
use crate::{ErrorKind, Issuer, Role};

const NOW_S: u64 = 1_800_000_000;

/// A key store with one key, the key to forge with, and a verifier.
struct Fixture {
    dir: TempDir,
    kid: String,
    key: EncodingKey,
    verifier: Verifier,
    start: Instant,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let signing = store.signing_key().unwrap();
        let verifier = Verifier::new(store).unwrap();
        Self { dir, kid: signing.kid, key: signing.key, verifier, start: Instant::now() }
    }

    fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": self.kid})
    }

    /// A token with the right signature, whatever it says.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn sign_text(&self, header: &str, claims: &str) -> String {
        sign(header, claims, &self.key, Algorithm::EdDSA)
    }

    async fn verify_after(&self, token: &str, elapsed: Duration) -> Result<Principal> {
        self.verifier.verify_at(token, Now { unix_s: NOW_S, instant: self.start + elapsed }).await
    }

    async fn verify(&self, token: &str) -> Result<Principal> {
        self.verify_after(token, Duration::ZERO).await
    }

    /// Verifies, and expects to be refused with a message that contains `expected`.
    async fn assert_refused(&self, token: &str, expected: &str) {
        let error = self.verify(token).await.expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(error.to_string().contains(expected), "{expected:?} is not in {:?}", error.to_string());
        assert!(error.to_string().len() < 300, "{error}");
    }
}

fn open(dir: &Path) -> KeyStore {
    KeyStore::open(&dir.join("auth.db")).unwrap()
}

fn sign(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn claims() -> Value {
    json!({
        "iss": "alula", "aud": "alula", "sub": "collector", "tenant": "team-a", "roles": ["write"],
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 60, "jti": "1",
    })
}

/// `base` with one member replaced.
fn with(mut base: Value, member: &str, value: Value) -> Value {
    base[member] = value;
    base
}

#[tokio::test]
async fn an_issued_token_proves_its_tenant_subject_and_roles() {
    let fixture = Fixture::new();
    let issuer = Issuer::new(&open(fixture.dir.path())).unwrap();
    let roles = [Role::Read, Role::Write].into_iter().collect();
    let token = issuer.issue(&"team-a".parse().unwrap(), "dash", roles, Duration::from_mins(1)).unwrap();
    let principal = fixture.verifier.verify(&token).await.unwrap();
    assert_eq!((principal.tenant().as_str(), principal.subject()), ("team-a", "dash"));
    let valid_for = principal.valid_for().unwrap();
    assert!((60..=60 + LEEWAY_S).contains(&valid_for.as_secs()), "{valid_for:?}");
    assert!(principal.can_read() && principal.can_write() && !principal.is_admin());
}

#[tokio::test]
async fn a_signed_token_is_accepted_with_every_form_of_audience_and_type() {
    let fixture = Fixture::new();
    for audience in [json!("alula"), json!(["other", "alula"])] {
        fixture.verify(&fixture.sign(&fixture.header(), &with(claims(), "aud", audience))).await.unwrap();
    }
    let header = with(fixture.header(), "typ", json!("AT+JWT"));
    fixture.verify(&fixture.sign(&header, &claims())).await.unwrap();
}

#[tokio::test]
async fn an_hs256_key_verifies_its_own_tokens_and_no_others() {
    let fixture = Fixture::new();
    insert_key(&open(fixture.dir.path()), "shared", "HS256", &[7; 32]);
    let header = json!({"typ": "at+jwt", "alg": "HS256", "kid": "shared"}).to_string();
    let token = |secret: &[u8]| {
        sign(&header, &claims().to_string(), &EncodingKey::from_secret(secret), Algorithm::HS256)
    };
    fixture.verify(&token(&[7; 32])).await.unwrap();
    fixture.assert_refused(&token(&[8; 32]), "signature is wrong").await;
    let eddsa = with(fixture.header(), "kid", json!("shared"));
    fixture.assert_refused(&fixture.sign(&eddsa, &claims()), "its key is for HS256").await;
}

#[tokio::test]
async fn the_algorithm_is_the_keys_and_never_the_headers() {
    let fixture = Fixture::new();
    for alg in ["none", "None", "HS256", "RS256", "ES256", "eddsa", ""] {
        let header = with(fixture.header(), "alg", json!(alg));
        fixture.assert_refused(&fixture.sign(&header, &claims()), "its key is for EdDSA").await;
    }
    // Without a signature at all, as "none" has it.
    let token = fixture.sign(&with(fixture.header(), "alg", json!("none")), &claims());
    let unsigned = &token[..=token.rfind('.').unwrap()];
    fixture.assert_refused(unsigned, "its key is for EdDSA").await;
    let token = fixture.sign(&fixture.header(), &claims());
    fixture.assert_refused(&token[..=token.rfind('.').unwrap()], "signature is wrong").await;
}

#[tokio::test]
async fn the_public_key_is_no_hs256_secret() {
    let fixture = Fixture::new();
    let keys = open(fixture.dir.path()).verifying_keys().unwrap();
    let public_key: &DecodingKey = &keys[&fixture.kid].key;
    let secret = EncodingKey::from_secret(public_key.try_get_as_bytes().unwrap());
    for alg in ["HS256", "EdDSA"] {
        let header = with(fixture.header(), "alg", json!(alg)).to_string();
        let token = sign(&header, &claims().to_string(), &secret, Algorithm::HS256);
        let expected = if alg == "HS256" { "its key is for EdDSA" } else { "signature is wrong" };
        fixture.assert_refused(&token, expected).await;
    }
}

#[tokio::test]
async fn a_key_id_is_an_exact_name_and_neither_a_path_nor_sql() {
    let fixture = Fixture::new();
    let (first, rest) = fixture.kid.split_at(1);
    let flipped = if first == first.to_lowercase() { first.to_uppercase() } else { first.to_lowercase() };
    for kid in [
        "",
        "other",
        "../../etc/passwd",
        "/dev/null",
        "' OR 1=1 --",
        "%",
        &format!("{} ", fixture.kid),
        &format!("{flipped}{rest}-"),
        &"k".repeat(4_000),
    ] {
        let header = with(fixture.header(), "kid", json!(kid));
        fixture.assert_refused(&fixture.sign(&header, &claims()), "does not know").await;
    }
    for kid in [json!(null), json!(7), json!([fixture.kid])] {
        let header = with(fixture.header(), "kid", kid);
        fixture.assert_refused(&fixture.sign(&header, &claims()), "header is not").await;
    }
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_ignored() {
    let fixture = Fixture::new();
    let other = Fixture::new();
    let mut header = fixture.header();
    header["jwk"] =
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    header["jku"] = json!("http://127.0.0.1/keys");
    header["x5u"] = json!("file:///etc/passwd");
    fixture.assert_refused(&other.sign(&header, &claims()), "signature is wrong").await;
    fixture.verify(&fixture.sign(&header, &claims())).await.unwrap();
}

#[tokio::test]
async fn a_token_altered_in_any_part_is_refused() {
    let fixture = Fixture::new();
    let token = fixture.sign(&fixture.header(), &claims());
    let parts: Vec<&str> = token.split('.').collect();
    let forged = URL_SAFE_NO_PAD.encode(with(claims(), "tenant", json!("team-b")).to_string());
    fixture.assert_refused(&[parts[0], &forged, parts[2]].join("."), "signature is wrong").await;
    // Any one character of the token replaced by another.
    for at in (0..token.len()).filter(|at| token.as_bytes()[*at] != b'.') {
        let replacement = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut altered = token.clone();
        altered.replace_range(at..=at, replacement);
        let error = fixture.verify(&altered).await.expect_err("an altered token");
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{at}: {error}");
    }
}

#[tokio::test]
async fn a_token_is_valid_from_nbf_to_exp_give_or_take_30_seconds() {
    let fixture = Fixture::new();
    for (member, offset, expected) in [
        ("exp", -29, None),
        ("exp", -30, Some("expired at 2027-01-15T07:59:30Z")),
        ("exp", -1_000_000_000, Some("expired at")),
        ("nbf", 30, None),
        ("nbf", 31, Some("not valid before 2027-01-15T08:00:31Z")),
    ] {
        let time = NOW_S.checked_add_signed(offset).unwrap();
        let token = fixture.sign(&fixture.header(), &with(claims(), member, json!(time)));
        match expected {
            Some(expected) => fixture.assert_refused(&token, expected).await,
            None => drop(fixture.verify(&token).await.expect(member)),
        }
    }
    fixture.verify(&fixture.sign(&fixture.header(), &with(claims(), "exp", json!(u64::MAX)))).await.unwrap();
    let never = fixture.sign(&fixture.header(), &with(claims(), "nbf", json!(u64::MAX)));
    fixture.assert_refused(&never, "not valid before 9999-12-30").await;
}

#[tokio::test]
async fn every_claim_that_is_read_is_required() {
    let fixture = Fixture::new();
    for claim in ["iss", "aud", "sub", "exp", "nbf", "tenant", "roles"] {
        let expected = format!("lacks the claim {claim:?}");
        let mut missing = claims();
        missing.as_object_mut().unwrap().remove(claim);
        fixture.assert_refused(&fixture.sign(&fixture.header(), &missing), &expected).await;
        let null = with(claims(), claim, json!(null));
        fixture.assert_refused(&fixture.sign(&fixture.header(), &null), &expected).await;
    }
}

#[tokio::test]
async fn a_claim_of_the_wrong_type_or_value_is_refused_by_name() {
    let fixture = Fixture::new();
    let long = "s".repeat(256);
    for (claim, value, expected) in [
        ("exp", json!((NOW_S + 60).to_string()), "\"exp\" must be a whole number"),
        ("exp", json!(-1), "\"exp\" must be a whole number"),
        ("exp", json!(1.8e9 + 60.5), "\"exp\" must be a whole number"),
        ("exp", json!([NOW_S + 60]), "\"exp\" must be a whole number"),
        ("nbf", json!("0"), "\"nbf\" must be a whole number"),
        ("iss", json!("Alula"), "\"iss\" must be \"alula\""),
        ("iss", json!("https://issuer.example"), "\"iss\" must be \"alula\""),
        ("iss", json!(["alula"]), "\"iss\" must be a text"),
        ("aud", json!("other"), "\"aud\" must be \"alula\""),
        ("aud", json!(["other"]), "\"aud\" must be \"alula\""),
        ("aud", json!([]), "\"aud\" must be \"alula\""),
        ("aud", json!({"alula": 1}), "\"aud\" must be \"alula\""),
        ("sub", json!(""), "\"sub\" must be a text"),
        ("sub", json!("a\nb"), "\"sub\" must be a text"),
        ("sub", json!(long), "\"sub\" must be a text"),
        ("sub", json!(7), "\"sub\" must be a text"),
        ("roles", json!("admin"), "\"roles\" must be an array"),
        ("roles", json!([1]), "\"roles\" must be an array"),
        ("roles", json!(["read", "root"]), "unknown role \"root\""),
        ("roles", json!(["Admin"]), "unknown role \"Admin\""),
        ("roles", json!(["r".repeat(4_000)]), "unknown role"),
        ("tenant", json!(["team-a"]), "\"tenant\" must be a text"),
    ] {
        let token = fixture.sign(&fixture.header(), &with(claims(), claim, value));
        fixture.assert_refused(&token, expected).await;
    }
}

#[tokio::test]
async fn a_tenant_that_could_name_a_path_is_refused() {
    let fixture = Fixture::new();
    for tenant in ["", ".", "..", "../x", "a/b", "%2e%2e%2fx", "%252e", "A", "a\0", "ä", &"t".repeat(4_000)]
    {
        let token = fixture.sign(&fixture.header(), &with(claims(), "tenant", json!(tenant)));
        fixture.assert_refused(&token, "no usable tenant").await;
    }
}

#[tokio::test]
async fn no_role_is_a_caller_who_may_do_nothing() {
    let fixture = Fixture::new();
    let token = fixture.sign(&fixture.header(), &with(claims(), "roles", json!([])));
    let principal = fixture.verify(&token).await.unwrap();
    assert!(!principal.can_read() && !principal.can_write() && !principal.is_admin());
}

#[tokio::test]
async fn a_critical_header_is_refused_whatever_it_holds() {
    let fixture = Fixture::new();
    for crit in [json!(["b64"]), json!([]), json!(null), json!("exp")] {
        let header = with(fixture.header(), "crit", crit);
        fixture.assert_refused(&fixture.sign(&header, &claims()), "crit").await;
    }
}

#[tokio::test]
async fn only_access_tokens_are_access_tokens() {
    let fixture = Fixture::new();
    for typ in ["JWT", "ticket+jwt", ""] {
        let header = with(fixture.header(), "typ", json!(typ));
        fixture.assert_refused(&fixture.sign(&header, &claims()), "\"typ\" must be").await;
    }
    let header = json!({"alg": "EdDSA", "kid": fixture.kid});
    fixture.assert_refused(&fixture.sign(&header, &claims()), "header is not").await;
}

#[tokio::test]
async fn a_member_that_occurs_twice_is_refused() {
    let fixture = Fixture::new();
    let twice = |text: String, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let (header, claims) = (fixture.header().to_string(), claims().to_string());
    for member in [r#""tenant":"team-b""#, r#""exp":9999999999"#, r#""roles":["admin"]"#, r#""iss":null"#] {
        fixture
            .assert_refused(&fixture.sign_text(&header, &twice(claims.clone(), member)), "claims are not")
            .await;
    }
    for member in [r#""alg":"none""#, r#""kid":"other""#] {
        fixture
            .assert_refused(&fixture.sign_text(&twice(header.clone(), member), &claims), "header is not")
            .await;
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused_with_the_shape_of_one() {
    let fixture = Fixture::new();
    let token = fixture.sign(&fixture.header(), &claims());
    for (given, expected) in [
        (String::new(), "not a JWT"),
        ("alula_api_key".to_owned(), "not a JWT"),
        ("a.b".to_owned(), "not a JWT"),
        (format!("{token}.x"), "not a JWT"),
        ("..".to_owned(), "header is not"),
        ("....".to_owned(), "not a JWT"),
        (format!(" {token}"), "header is not"),
        (format!("{token}="), "signature is wrong"),
        (fixture.sign_text("[]", "{}"), "header is not"),
        (fixture.sign_text("\u{0}", "{}"), "header is not"),
        (fixture.sign_text(&fixture.header().to_string(), "7"), "claims are not"),
        (fixture.sign_text(&fixture.header().to_string(), &"[".repeat(5_000)), "claims are not"),
        ("é.é.é".to_owned(), "header is not"),
    ] {
        fixture.assert_refused(&given, expected).await;
    }
}

#[tokio::test]
async fn a_token_longer_than_8_kib_is_refused_unread() {
    let fixture = Fixture::new();
    let signed = |padding: usize| {
        let claims = with(claims(), "jti", json!("j".repeat(padding)));
        fixture.sign(&fixture.header(), &claims)
    };
    let longest =
        (0..MAX_TOKEN_BYTES).rev().map(signed).find(|token| token.len() <= MAX_TOKEN_BYTES).unwrap();
    assert!(longest.len() > MAX_TOKEN_BYTES - 4);
    fixture.verify(&longest).await.unwrap();
    fixture.assert_refused(&signed(MAX_TOKEN_BYTES), "longer than 8 KiB").await;
    fixture.assert_refused(&"a".repeat(10 << 20), "longer than 8 KiB").await;
}

#[tokio::test]
async fn a_new_key_is_found_without_a_restart_but_the_store_is_read_at_most_once_a_second() {
    let fixture = Fixture::new();
    let store = open(fixture.dir.path());
    let token = |kid: &str| {
        let header = json!({"typ": "at+jwt", "alg": "HS256", "kid": kid}).to_string();
        sign(&header, &claims().to_string(), &EncodingKey::from_secret(&[7; 32]), Algorithm::HS256)
    };
    let at = Duration::from_millis;
    insert_key(&store, "one", "HS256", &[7; 32]);
    fixture.verify_after(&token("one"), at(0)).await.unwrap();
    insert_key(&store, "two", "HS256", &[7; 32]);
    let early = fixture.verify_after(&token("two"), at(999)).await.unwrap_err();
    assert!(matches!(early, Error::UnknownKey { .. }), "{early}");
    fixture.verify_after(&token("two"), at(1_000)).await.unwrap();
    fixture.verify_after(&token("one"), at(1_000)).await.unwrap();
}

/// Scenario: the first caller with a new key hangs up while the keys are read again. The blocking pool has one thread, and
/// it is kept busy, so the reading has not even begun.
/// Guarantees: the next caller waits for it, instead of being refused for a key that is there.
#[test]
fn a_caller_who_goes_away_during_the_reload_does_not_have_the_next_one_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let fixture = Fixture::new();
    insert_key(&open(fixture.dir.path()), "new", "HS256", &[7; 32]);
    let header = json!({"typ": "at+jwt", "alg": "HS256", "kid": "new"}).to_string();
    let token = sign(&header, &claims().to_string(), &EncodingKey::from_secret(&[7; 32]), Algorithm::HS256);
    runtime.block_on(async {
        let (release, busy) = std::sync::mpsc::channel::<()>();
        let busy = spawn_blocking(move || busy.recv());
        {
            let first = pin!(fixture.verify(&token));
            assert!(first.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let mut second = pin!(fixture.verify(&token));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        second.await.unwrap();
    });
}

#[tokio::test]
async fn a_key_store_that_cannot_be_read_is_the_servers_fault() {
    let fixture = Fixture::new();
    insert_key(&open(fixture.dir.path()), "bad", "HS256", b"short");
    let header = with(fixture.header(), "kid", json!("unknown"));
    let error = fixture.verify(&fixture.sign(&header, &claims())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    // The keys in memory still serve.
    fixture.verify(&fixture.sign(&fixture.header(), &claims())).await.unwrap();
}
