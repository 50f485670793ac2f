use std::process::{Command, Stdio};
use std::sync::Barrier;

use super::*;

/// Set in the processes that race for the first key: the path of the database.
const RACE_PATH: &str = "ALULA_AUTH_TEST_RACE_PATH";

fn key_and_secret(path: &Path) -> (String, [u8; 32]) {
    let store = KeyStore::open(path).unwrap();
    (store.signing_key().unwrap().kid, store.secret("tickets").unwrap())
}

fn assert_one_key(path: &Path, seen: &[(String, [u8; 32])]) {
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    let keys = KeyStore::open(path).unwrap().verifying_keys().unwrap();
    assert_eq!(keys.keys().collect::<Vec<_>>(), [&seen[0].0]);
}

#[test]
fn threads_racing_for_the_first_key_and_secret_end_with_the_same() {
    const THREADS: usize = 8;
    for _ in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.db");
        let start = Barrier::new(THREADS);
        let seen: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        key_and_secret(&path)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_one_key(&path, &seen);
    }
}

/// Runs itself again in four processes, which find the path in their environment and print what they got.
#[test]
#[expect(clippy::disallowed_methods, reason = "a process of the test gets its part by the environment")]
fn processes_racing_for_the_first_key_and_secret_end_with_the_same() {
    if let Some(path) = std::env::var_os(RACE_PATH) {
        std::fs::write(
            Path::new(&path).with_extension(std::process::id().to_string()),
            format!("{:?}", key_and_secret(Path::new(&path))),
        )
        .unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.db");
    let mut children: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "keys::tests::processes_racing_for_the_first_key_and_secret_end_with_the_same",
                ])
                .env(RACE_PATH, &path)
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let seen: Vec<String> = children
        .iter_mut()
        .map(|child| {
            assert!(child.wait().unwrap().success());
            std::fs::read_to_string(path.with_extension(child.id().to_string())).unwrap()
        })
        .collect();
    assert_eq!(seen, vec![format!("{:?}", key_and_secret(&path)); 4]);
    assert_eq!(KeyStore::open(&path).unwrap().verifying_keys().unwrap().len(), 1);
}

#[test]
fn keys_and_secrets_survive_a_restart_and_secrets_differ_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.db");
    let before = key_and_secret(&path);
    assert_eq!(key_and_secret(&path), before);
    let other = KeyStore::open(&path).unwrap().secret("other").unwrap();
    assert_ne!(other, before.1);
    assert_ne!(other, [0; 32]);
}

#[test]
fn the_newest_key_that_is_not_retired_signs_and_all_keys_verify() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(&dir.path().join("auth.db")).unwrap();
    let first = store.signing_key().unwrap().kid;
    store.lock().execute("UPDATE signing_keys SET retired_at = created_at", []).unwrap();
    let second = store.signing_key().unwrap().kid;
    assert_ne!(first, second);
    assert_eq!(store.signing_key().unwrap().kid, second);
    let keys = store.verifying_keys().unwrap();
    assert!(keys.len() == 2 && keys.contains_key(&first) && keys.contains_key(&second));
}

#[test]
fn a_damaged_or_short_key_is_an_error_that_names_it() {
    for (algorithm, private_key) in [("EdDSA", vec![7; 32]), ("EdDSA", vec![]), ("HS256", vec![7; 31])] {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::open(&dir.path().join("auth.db")).unwrap();
        insert_key(&store, "k1", algorithm, &private_key);
        for error in [store.verifying_keys().err().unwrap(), store.signing_key().err().unwrap()] {
            assert!(matches!(&error, Error::InvalidKey { kid, .. } if kid == "k1"), "{error}");
        }
    }
}

#[test]
fn key_files_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(&dir.path().join("auth.db")).unwrap();
    store.signing_key().unwrap();
    let modes: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(Result::unwrap)
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().permissions().mode() & 0o777))
        .collect();
    assert!(modes.len() >= 2, "{modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

pub(crate) fn insert_key(store: &KeyStore, kid: &str, algorithm: &str, private_key: &[u8]) {
    store
        .lock()
        .execute(
            "INSERT INTO signing_keys (kid, algorithm, private_key) VALUES (?1, ?2, ?3)",
            (kid, algorithm, private_key),
        )
        .unwrap();
}
