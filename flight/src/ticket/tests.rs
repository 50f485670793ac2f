use super::*;
use crate::wire::Profile;

const KINDS: [Kind; 2] = [Kind::Ticket, Kind::Prepared];

fn signer() -> Signer {
    Signer::new(&[7; 32])
}

fn statement() -> SignedStatement {
    let mut settings = Settings::default();
    settings.set_wire_profile(Profile::Native);
    SignedStatement {
        sql: "SELECT $1".to_owned(),
        parameters: Bytes::from_static(b"row"),
        settings,
        query_id: "a query".to_owned(),
    }
}

fn body(principal: &Principal) -> Body {
    Body {
        version: VERSION,
        kind: Kind::Ticket.into(),
        tenant: principal.tenant().to_string(),
        subject: principal.subject().to_owned(),
        sql: "SELECT 1".to_owned(),
        parameters: Bytes::new(),
        expires: unix_seconds(SystemTime::now()) + 60,
        settings: Settings::default(),
        nonce: 0,
        query_id: String::new(),
    }
}

#[test]
fn no_two_servers_make_the_same_handle() {
    let handle = || signer().sign(Kind::Prepared, &Principal::unauthenticated(), statement());
    assert_ne!(handle(), handle());
}

fn accepted(signer: &Signer, body: &Body) -> bool {
    signer.verify(&[Kind::Ticket], &Principal::unauthenticated(), &signer.seal.seal(body)).is_ok()
}

#[test]
fn a_handle_gives_back_what_was_signed() {
    let principal = Principal::unauthenticated();
    let handle = signer().sign(Kind::Prepared, &principal, statement());
    assert_eq!(signer().verify(&KINDS, &principal, &handle).unwrap(), statement());
}

#[test]
fn a_handle_with_any_bit_flipped_or_byte_missing_is_unknown() {
    let principal = Principal::unauthenticated();
    let handle = signer().sign(Kind::Ticket, &principal, statement());
    for bit in 0..handle.len() * 8 {
        let mut altered = handle.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(signer().verify(&KINDS, &principal, &altered), Err(Error::UnknownHandle)),
            "bit {bit}"
        );
    }
    for length in 0..handle.len() {
        assert!(signer().verify(&KINDS, &principal, &handle[..length]).is_err(), "{length} bytes");
    }
    // The second is a field that nobody knows.
    for suffix in [&[0][..], &[0x18, 0]] {
        let longer = [&handle[..], suffix].concat();
        assert!(signer().verify(&KINDS, &principal, &longer).is_err(), "{suffix:?}");
    }
}

#[test]
fn a_handle_of_another_key_kind_tenant_subject_version_or_time_is_unknown() {
    let principal = Principal::unauthenticated();
    let good = body(&principal);
    assert!(accepted(&signer(), &good));
    assert!(signer().verify(&KINDS, &principal, &Signer::new(&[8; 32]).seal.seal(&good)).is_err());
    assert!(signer().verify(&[Kind::Prepared], &principal, &signer().seal.seal(&good)).is_err());
    for bad in [
        Body { tenant: "other".to_owned(), ..good.clone() },
        Body { subject: "other".to_owned(), ..good.clone() },
        Body { version: VERSION + 1, ..good.clone() },
        Body { kind: Kind::Unspecified.into(), ..good.clone() },
        Body { expires: unix_seconds(SystemTime::now()), ..good.clone() },
    ] {
        assert!(!accepted(&signer(), &bad), "{bad:?}");
    }
}
