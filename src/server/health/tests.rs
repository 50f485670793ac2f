use super::*;

#[test]
fn every_state_has_its_code_and_says_why() {
    let reason = || "because".to_owned();
    for (health, code, body) in [
        (StorageHealth::Sound, 200, r#"{"status":"ok"}"#),
        (StorageHealth::Degraded { reason: reason() }, 200, r#"{"reason":"because","status":"degraded"}"#),
        (StorageHealth::ReadOnly { reason: reason() }, 503, r#"{"reason":"because","status":"read-only"}"#),
        (StorageHealth::Failed { reason: reason() }, 503, r#"{"reason":"because","status":"failed"}"#),
    ] {
        let (found, said) = said_of(&health);
        assert_eq!((found.as_u16(), said.to_string()), (code, body.to_owned()));
    }
}

#[tokio::test]
async fn what_storage_reports_is_followed_until_it_fails_for_good() {
    let sender = watch::Sender::new(StorageHealth::Sound);
    let health = Health::new();
    health.set_serving().await;
    let following = tokio::spawn(health.clone().follow(sender.subscribe()));
    sender.send(StorageHealth::ReadOnly { reason: "disk".to_owned() }).unwrap();
    sender.send(StorageHealth::Failed { reason: "gone".to_owned() }).unwrap();
    assert_eq!(following.await.unwrap(), "gone");
}
