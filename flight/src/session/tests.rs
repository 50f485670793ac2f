use super::*;

fn sessions() -> Sessions {
    Sessions::new(&[7; 32])
}

fn settings() -> Settings {
    Settings { schema: "system".to_owned(), ..Settings::default() }
}

fn headers(pairs: &[(&'static str, &str)]) -> MetadataMap {
    let mut headers = MetadataMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn value<'a>(headers: &'a MetadataMap, name: &str) -> &'a str {
    headers.get(name).unwrap().to_str().unwrap()
}

#[test]
fn either_carrier_brings_a_session_back() {
    let (sessions, principal) = (sessions(), Principal::unauthenticated());
    let kept = sessions.keep(&headers(&[("authorization", "Basic dTphLmIuYw")]), &principal, settings());
    let bearer = value(&kept, "authorization");
    assert!(bearer.starts_with("Bearer a.b.c~"), "{bearer}");
    let cookie = value(&kept, "set-cookie");
    assert!(cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly"), "{cookie}");
    let session = bearer.strip_prefix("Bearer a.b.c~").unwrap();
    assert!(cookie.starts_with(&format!("alula_session={session};")), "{cookie}");

    for (name, value) in [
        ("authorization", bearer.to_owned()),
        ("authorization", format!("bearer ~{session}")),
        ("cookie", format!("alula_session={session}")),
        ("cookie", format!("a=b; alula_session={session}; c=d")),
        // As Java writes it.
        ("cookie", format!("alula_session=\"{session}\";$Path=\"/\"")),
    ] {
        let found = sessions.of(&headers(&[(name, &value)]), &principal).unwrap();
        assert_eq!(found, Some(settings()), "{value}");
    }
    let both = headers(&[("cookie", "a=b"), ("cookie", &format!("alula_session={session}"))]);
    assert_eq!(sessions.of(&both, &principal).unwrap(), Some(settings()));
}

#[test]
fn without_a_carrier_there_is_no_session() {
    for pairs in [
        &[][..],
        &[("authorization", "Bearer a.b.c")],
        &[("authorization", "Bearer a.b.c~")],
        &[("authorization", "Token a~b")],
        &[("cookie", "other=x; alula_session=")],
    ] {
        assert_eq!(sessions().of(&headers(pairs), &Principal::unauthenticated()).unwrap(), None, "{pairs:?}");
    }
}

#[test]
fn a_session_that_is_forged_altered_expired_or_another_callers_is_refused() {
    let principal = Principal::unauthenticated();
    let sealed = |sessions: &Sessions, owner: Owner| {
        BASE64_URL_SAFE_NO_PAD.encode(sessions.seal.seal(&Body { owner, settings: settings() }))
    };
    let good = sealed(&sessions(), Owner::new(&principal, LIFETIME));
    let read = |session: &str| {
        let headers = headers(&[("authorization", &format!("Bearer ~{session}"))]);
        sessions().of(&headers, &principal)
    };
    assert_eq!(read(&good).unwrap(), Some(settings()));
    let mut altered = good.clone();
    altered.replace_range(8..9, if &good[8..9] == "A" { "B" } else { "A" });
    for bad in [
        "x",
        "!",
        &good[1..],
        &altered,
        &sealed(&Sessions::new(&[8; 32]), Owner::new(&principal, LIFETIME)),
        &sealed(&sessions(), Owner::new(&principal, Duration::ZERO)),
        &sealed(&sessions(), Owner::default()),
        &"A".repeat(MAX_BYTES + 1),
    ] {
        assert!(matches!(read(bad), Err(Error::UnknownSession)), "{bad}");
    }
}

#[test]
fn forgetting_a_session_gives_the_token_back_without_it() {
    let forgotten = forget(&headers(&[("authorization", "Bearer a.b.c~session")]));
    assert_eq!(value(&forgotten, "authorization"), "Bearer a.b.c");
    assert_eq!(value(&forgotten, "set-cookie"), "alula_session=; Path=/; Max-Age=0; HttpOnly");
    assert_eq!(
        value(&forget(&headers(&[("authorization", "Bearer ~session")])), "authorization"),
        "Bearer ~"
    );
    assert!(forget(&headers(&[("authorization", "Bearer a.b.c")])).is_empty(), "nothing to forget");
}
