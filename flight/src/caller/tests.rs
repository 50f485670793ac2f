use super::*;

fn settings(headers: &[(&'static str, &str)]) -> Result<Settings> {
    let mut call = Call::new(());
    for (name, value) in headers {
        call.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let principal = Principal::unauthenticated();
    call.extensions_mut().insert(Arc::new(principal));
    Caller::reader(&call).map(|caller| caller.settings)
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
