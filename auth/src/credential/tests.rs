use base64::engine::general_purpose::{STANDARD as PADDED, STANDARD_NO_PAD as UNPADDED};

use super::*;

fn token_in(values: &[&str]) -> Result<String> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    token_of(&headers).map(Cow::into_owned)
}

#[test]
fn a_bearer_token_is_taken_as_it_is_whatever_the_case_of_the_scheme() {
    for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c", " Bearer a.b.c "] {
        assert_eq!(token_in(&[value]).unwrap(), "a.b.c", "{value:?}");
    }
}

#[test]
fn a_basic_password_is_a_token_padded_or_not() {
    for user in ["u", "us", "user", ""] {
        for encoded in [PADDED.encode(format!("{user}:a.b.c")), UNPADDED.encode(format!("{user}:a.b.c"))] {
            assert_eq!(token_in(&[&format!("Basic {encoded}")]).unwrap(), "a.b.c", "{user:?}");
            assert_eq!(token_in(&[&format!("bASIC {encoded}")]).unwrap(), "a.b.c", "{user:?}");
        }
    }
    assert_eq!(token_in(&[&format!("Basic {}", PADDED.encode("u:a:b"))]).unwrap(), "a:b");
}

#[test]
fn a_key_may_come_in_a_header_of_its_own_or_under_the_names_that_other_servers_use() {
    for value in ["ApiKey a.b.c", "apikey a.b.c", "Token a.b.c", "TOKEN  a.b.c"] {
        assert_eq!(token_in(&[value]).unwrap(), "a.b.c", "{value:?}");
    }
    for (name, value) in [
        ("x-api-key", "a.b.c".to_owned()),
        ("auth-token-bin", PADDED.encode("a.b.c")),
        ("auth-token-bin", UNPADDED.encode("a.b.c")),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        assert_eq!(token_of(&headers).unwrap(), "a.b.c", "{name}");
        headers.insert(AUTHORIZATION, "Bearer d.e.f".parse().unwrap());
        assert_eq!(token_of(&headers).unwrap(), "d.e.f", "the authorization header comes first");
        headers.remove(AUTHORIZATION);
        headers.append(name, value.parse().unwrap());
        assert!(token_of(&headers).unwrap_err().to_string().contains("more than one"), "{name}");
        headers.insert(name, "%".parse().unwrap());
        assert!(name == "x-api-key" || token_of(&headers).is_err());
    }
}

#[test]
fn what_stands_behind_a_bearer_token_is_no_part_of_it() {
    let behind = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        behind_token(&headers).map(str::to_owned)
    };
    assert_eq!(token_in(&["Bearer a.b.c~x"]).unwrap(), "a.b.c");
    assert_eq!(behind("Bearer a.b.c~x").unwrap(), "x");
    assert_eq!(behind("bearer ~x").unwrap(), "x");
    assert!(token_in(&["Bearer ~a.b.c"]).unwrap_err().to_string().contains("no token"));
    let basic = format!("Basic {}", PADDED.encode("user:a~b"));
    assert_eq!(token_in(&[&basic]).unwrap(), "a~b");
    for value in ["Bearer a.b.c", "Token a~b", &basic, "Bearer"] {
        assert_eq!(behind(value), None, "{value:?}");
    }
}

#[test]
fn a_header_without_one_token_is_refused_with_the_reason() {
    let no_colon = format!("Basic {}", PADDED.encode("token"));
    let no_password = format!("Basic {}", PADDED.encode("user:"));
    let not_utf8 = format!("Basic {}", PADDED.encode([0x75, 0x3a, 0xff]));
    let huge = format!("Basic {}", PADDED.encode("u:".to_owned() + &"a".repeat(MAX_BASIC_BYTES)));
    let cases: [(&[&str], &str); 11] = [
        (&[], "alula token create"),
        (&["Bearer a", "Bearer a"], "more than one"),
        (&["Bearer"], "no token"),
        (&["Bearer  "], "no token"),
        (&["a.b.c"], "Bearer, Basic, ApiKey or Token"),
        (&["Digest x"], "Bearer, Basic, ApiKey or Token"),
        (&["Basic %%%"], "base64"),
        (&[&no_colon], "base64"),
        (&[&not_utf8], "base64"),
        (&[&huge], "base64"),
        (&[&no_password], "no token"),
    ];
    for (values, expected) in cases {
        let error = token_in(values).unwrap_err();
        assert!(error.to_string().contains(expected), "{values:?}: {error}");
        assert_eq!(error.kind(), crate::ErrorKind::Unauthenticated);
    }
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff").unwrap());
    assert!(token_of(&headers).unwrap_err().to_string().contains("ASCII"));
}
