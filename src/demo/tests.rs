//! What can be said of the demo without a server; the whole of it runs in the integration tests.

use super::*;

#[test]
fn the_guide_names_this_server_and_token_for_every_client() {
    let guide = guide::text(
        "127.0.0.1:4999".parse().unwrap(),
        "127.0.0.1:4888".parse().unwrap(),
        "aaa.bbb.ccc",
        false,
    );
    assert_eq!(guide.matches("127.0.0.1:4999").count(), 8, "{guide}");
    assert_eq!(guide.matches("http://127.0.0.1:4888").count(), 1, "{guide}");
    assert!(guide.contains("export ALULA_TOKEN=aaa.bbb.ccc\n"));
    for client in ["alula sql", "dbapi.connect", "polars", "sql.Open", "jdbc:", "Grafana", "otlp_grpc/alula"]
    {
        assert!(guide.contains(client), "{client}");
    }
}

#[test]
fn a_temporary_place_is_removed_and_a_given_one_is_kept() {
    let temporary = Place::new(None).unwrap();
    let path = temporary.path().to_owned();
    std::fs::write(path.join("file"), "data").unwrap();
    temporary.leave().unwrap();
    assert!(!path.exists());

    let given = tempfile::tempdir().unwrap();
    Place::new(Some(given.path().to_owned())).unwrap().leave().unwrap();
    assert!(given.path().exists());
}
