use super::*;

fn settings(headers: &[(&'static str, &str)]) -> Result<Settings> {
    let mut call = Call::new(());
    for (name, value) in headers {
        call.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let principal = Principal::unauthenticated();
    call.extensions_mut().insert(Arc::new(principal));
    Caller::reader(&call, &Sessions::new(&[7; 32])).map(|caller| caller.settings)
}

#[test]
fn the_header_is_heard_before_the_user_agent() {
    let adbc = ("user-agent", "ADBC Flight SQL Driver v1.13.0 grpc-go/1.80.0");
    assert_eq!(settings(&[adbc]).unwrap().wire_profile(), Profile::Native);
    assert_eq!(settings(&[adbc, ("x-arrow-profile", "BI")]).unwrap().wire_profile(), Profile::Bi);
}

#[test]
fn a_profile_that_does_not_exist_is_an_error_that_names_those_that_do() {
    let error = settings(&[("x-arrow-profile", "best")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no wire profile best; there are safe, bi, native, jdbc, jdbc-unzoned"
    );
}

#[test]
fn a_schema_that_is_named_in_a_header_is_the_default_one_if_there_is_such_a_schema() {
    assert_eq!(settings(&[("schema", "system")]).unwrap().schema(), "system");
    for hint in ["schema", "catalog", "database", "bucket", "bucket-name", "iox-namespace-name"] {
        assert_eq!(settings(&[(hint, "other")]).unwrap().schema(), "public", "{hint}");
    }
}

#[test]
fn what_the_session_has_is_heard_before_a_hint_and_after_an_order() {
    let sessions = Sessions::new(&[7; 32]);
    let principal = Principal::unauthenticated();
    let kept =
        Settings { schema: "information_schema".to_owned(), tail_from: Some(7), ..Settings::default() };
    let mut call = Call::new(());
    *call.metadata_mut() = sessions.keep(&MetadataMap::new(), &principal, kept);
    call.extensions_mut().insert(Arc::new(principal));
    for (name, value) in [("schema", "system"), ("x-alula-tail", "true")] {
        call.metadata_mut().insert(name, value.parse().unwrap());
    }
    let settings = Caller::reader(&call, &sessions).unwrap().settings;
    assert_eq!((settings.schema(), settings.tail, settings.tail_from), ("information_schema", true, Some(7)));
    call.metadata_mut().insert("tail_from", "now".parse().unwrap());
    assert_eq!(Caller::reader(&call, &sessions).unwrap().settings.tail_from, None);
}

#[test]
fn several_endpoints_can_be_asked_for_by_either_name_with_a_number_that_is_allowed() {
    assert_eq!(settings(&[]).unwrap().endpoints(), 1);
    for name in ["x-alula-endpoints", "endpoints"] {
        assert_eq!(settings(&[(name, "64")]).unwrap().endpoints(), 64);
        for value in ["0", "65", "-1", "many", ""] {
            let error = settings(&[(name, value)]).unwrap_err().to_string();
            let expected = format!("the header {name} is {value:?} and must be a number from 1 to 64");
            assert_eq!(error, expected);
        }
    }
}

#[test]
fn a_tail_can_be_asked_for_by_either_name_with_a_value_that_is_one() {
    for (tail, from) in [("x-alula-tail", "x-alula-tail-from"), ("tail", "tail_from")] {
        let settings = settings(&[(tail, "true"), (from, "7")]).unwrap();
        assert_eq!((settings.tail, settings.tail_from), (true, Some(7)));
    }
    for (name, value, expected) in [
        ("tail", "maybe", "the header tail is \"maybe\" and must be true or false"),
        ("x-alula-tail-from", "-1", "must be now or a value of ingest_seq"),
    ] {
        let error = settings(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
