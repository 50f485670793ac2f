use super::*;

#[test]
fn the_user_agent_decides() {
    for (agent, profile) in [
        ("ADBC Flight SQL Driver 1.13.0 grpc-go/1.82.0", Profile::Native),
        ("JDBC Flight SQL Driver 19.0.0 grpc-java-netty/1.81.0", Profile::Jdbc),
        ("grpc-java-netty/1.71.0", Profile::JdbcUnzoned),
        ("grpc-go/1.80.0", Profile::Bi),
        ("alula/0.1.0 tonic/0.14.6", Profile::Native),
        ("tonic/0.14.6", Profile::Safe),
        ("grpc-c++/1.80.0 grpc-c/54.0.0 (linux; chttp2)", Profile::Safe),
        ("grpc-node-js/1.14.0", Profile::Safe),
        ("", Profile::Safe),
    ] {
        assert_eq!(Profile::of_user_agent(agent), profile, "{agent}");
    }
}

#[test]
fn every_profile_has_a_name() {
    assert_eq!(Profile::names().filter_map(Profile::named).count(), 5);
    assert_eq!(Profile::named("nativ"), None);
}
