use std::time::SystemTime;

use arrow::datatypes::{DataType, Field};

use super::*;
use crate::seal::unix_seconds;
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
        promise: Some(Promise::Bound(7)),
    }
}

fn body(principal: &Principal) -> Body {
    Body {
        version: VERSION,
        kind: Kind::Ticket.into(),
        owner: Owner::new(principal, Duration::from_mins(1)),
        sql: "SELECT 1".to_owned(),
        parameters: Bytes::new(),
        settings: Settings::default(),
        query_id: String::new(),
        promise: None,
        nonce: 0,
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
    let owner = good.owner.clone();
    let of = |owner| Body { owner, ..good.clone() };
    for bad in [
        of(Owner { tenant: "other".to_owned(), ..owner.clone() }),
        of(Owner { subject: "other".to_owned(), ..owner.clone() }),
        of(Owner { expires: unix_seconds(SystemTime::now()), ..owner }),
        Body { version: VERSION + 1, ..good.clone() },
        Body { kind: Kind::Unspecified.into(), ..good.clone() },
    ] {
        assert!(!accepted(&signer(), &bad), "{bad:?}");
    }
}

#[test]
fn a_promise_is_of_names_types_nullability_and_metadata_in_any_order() {
    let schema = |name: &str, data_type, nullable, metadata: &[(&str, &str)]| {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Schema::new(vec![Field::new(name, data_type, nullable).with_metadata(metadata)])
    };
    let pairs = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
    let reversed: Vec<_> = pairs.into_iter().rev().collect();
    let promise = Promise::bound(&schema("n", DataType::Int64, true, &pairs)).unwrap();
    assert_eq!(promise, Promise::bound(&schema("n", DataType::Int64, true, &reversed)).unwrap());
    for other in [
        schema("m", DataType::Int64, true, &pairs),
        schema("n", DataType::Int32, true, &pairs),
        schema("n", DataType::Int64, false, &pairs),
        schema("n", DataType::Int64, true, &pairs[1..]),
        Schema::empty(),
    ] {
        assert_ne!(promise, Promise::bound(&other).unwrap(), "{other}");
    }
}
