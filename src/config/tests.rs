use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use confique::Layer as _;
use tempfile::TempDir;

use super::*;

/// Loads with the given flags, variables and file text.
fn load(flags: &Flags, variables: &[(&str, &str)], file: Option<&str>) -> Result<Loaded, ConfigError> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("alula.toml");
    // An empty file stands for none, so that a file of this machine cannot get in.
    std::fs::write(&path, file.unwrap_or_default()).unwrap();
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    Config::load(flags.clone(), Some(&path), |name| variables.get(name).map(|value| (*value).to_owned()))
}

fn error_of(variables: &[(&str, &str)], file: &str) -> String {
    match load(&Flags::empty(), variables, Some(file)) {
        Ok(loaded) => panic!("accepted: {:?}", loaded.config),
        Err(error) => error.to_string(),
    }
}

fn setting(loaded: &Loaded, section: &str, key: &str) -> Setting {
    let found =
        loaded.settings().into_iter().find(|setting| setting.section == section && setting.key == key);
    found.unwrap_or_else(|| panic!("{section}.{key} is not a setting"))
}

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let Config { server, ingest, storage, query } = load(&Flags::empty(), &[], None).unwrap().config;
    assert_eq!(server.data_dir, PathBuf::from("./alula-data"));
    assert_eq!(server.grpc_addr.to_string(), "127.0.0.1:4317");
    assert_eq!(server.http_addr.to_string(), "127.0.0.1:4318");
    assert!(!server.no_auth);
    assert_eq!(server.ready_file, None);
    assert_eq!(server.shutdown_grace.as_duration(), Duration::from_secs(10));
    assert_eq!(ingest.max_message_bytes, Size::mebibytes(4));
    assert_eq!(ingest.max_http_message_bytes, Size::mebibytes(20));
    assert_eq!(ingest.max_in_flight_bytes, Size::mebibytes(64));
    assert_eq!(ingest.max_future.as_duration(), Duration::from_secs(3600));
    assert_eq!(storage.flush_bytes, Size::mebibytes(64));
    assert_eq!(storage.flush_interval.as_duration(), Duration::from_secs(60));
    assert_eq!(storage.max_buffer_bytes, Size::mebibytes(256));
    assert_eq!(storage.wal_segment_bytes, Size::mebibytes(64));
    assert_eq!(storage.wal_queue_bytes, Size::mebibytes(64));
    assert_eq!(storage.compaction_cold_after.as_duration(), Duration::from_secs(3600));
    assert_eq!(storage.compaction_day_after.as_duration(), Duration::from_secs(24 * 3600));
    assert_eq!(storage.compaction_target_bytes, Size::mebibytes(256));
    assert_eq!(storage.wal_on_corruption, OnCorruption::Salvage);
    assert_eq!(query.memory_limit, Size::mebibytes(512));
    assert_eq!(query.statement_timeout.as_duration(), Duration::from_secs(300));
    assert_eq!(query.spill_limit, Size::mebibytes(2048));
    assert_eq!(query.max_sql_bytes, Size::bytes(256 << 10));
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default() {
    let file = "[server]\ngrpc_addr = '127.0.0.1:1'\nlog_level = 'warn'\nshutdown_grace = '1s'";
    let variables = [("ALULA_SERVER_GRPC_ADDR", "127.0.0.1:2"), ("ALULA_SERVER_LOG_LEVEL", "debug")];
    let mut flags = Flags::empty();
    flags.server.grpc_addr = Some("127.0.0.1:3".parse().unwrap());

    let loaded = load(&flags, &variables, Some(file)).unwrap();

    let expected = [
        ("grpc_addr", "127.0.0.1:3", Source::Flag),
        ("log_level", "debug", Source::Environment("ALULA_SERVER_LOG_LEVEL")),
        ("shutdown_grace", "1s", Source::File(loaded.file.clone().unwrap())),
        ("log_format", "auto", Source::Default),
    ];
    for (key, value, source) in expected {
        let setting = setting(&loaded, "server", key);
        assert_eq!(setting.value, Some(toml::Value::from(value)), "{key}");
        assert_eq!(setting.source, source, "{key}");
    }
    assert_eq!(loaded.config.server.grpc_addr.to_string(), "127.0.0.1:3");
}

#[test]
fn a_key_without_default_that_nobody_set_has_no_value() {
    let loaded = load(&Flags::empty(), &[], None).unwrap();
    assert_eq!(setting(&loaded, "server", "ready_file").value, None);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_valid_names() {
    let error = error_of(&[], "[server]\n\n  grpc_adr = '127.0.0.1:1'");
    assert!(error.contains("alula.toml:3:3: unknown key `grpc_adr`"), "{error}");
    assert!(error.contains("`grpc_addr`") && error.contains("`data_dir`"), "{error}");
}

#[test]
fn an_unknown_section_is_refused_with_the_valid_names() {
    let error = error_of(&[], "[http]\naddr = '127.0.0.1:4318'");
    assert!(error.contains("alula.toml:1:2: unknown key `http`"), "{error}");
    assert!(error.contains("`server`, `ingest`, `storage`, `query`"), "{error}");
}

#[test]
fn a_bad_value_is_refused_with_its_place_and_an_example() {
    for (file, expected) in [
        ("[storage]\nflush_bytes = '64 bananas'", "alula.toml:2:15: \"64 bananas\" is not a size"),
        ("[storage]\nflush_interval = '60'", "alula.toml:2:18: \"60\" is not a length of time"),
        ("[storage]\nflush_interval = '-1s'", "\"-1s\" is not a length of time"),
        (
            "[storage]\nflush_interval = 60",
            "\"60\" is not a length of time: write numbers and units, as in 15m",
        ),
        ("[server]\ngrpc_addr = ':4317'", "is not an IP address and port, as in 127.0.0.1:4317"),
        ("[server]\nlog_level = 'loud'", "\"loud\" is not a log level"),
        ("[server]\nlog_format = 'xml'", "`auto`, `text`, `json`"),
        ("[storage]\nwal_on_corruption = 'ignore'", "expected `salvage` or `refuse`"),
        ("[server]\nno_auth = 'perhaps'", "alula.toml:2:11: invalid type"),
        ("[server", "alula.toml:1:8: "),
    ] {
        let error = error_of(&[], file);
        assert!(error.contains(expected), "{file:?}: {error}");
        assert!(!error.contains('\n'), "{file:?} gives more than one line: {error}");
    }
}

#[test]
fn a_bad_variable_is_named() {
    let error = error_of(&[("ALULA_QUERY_STATEMENT_TIMEOUT", "soon")], "");
    assert_eq!(
        error,
        "environment variable ALULA_QUERY_STATEMENT_TIMEOUT: \"soon\" is not a length of time: \
         write numbers and units, as in 15m or 1h 30m"
    );
    let error = error_of(&[("ALULA_SERVER_NO_AUTH", "perhaps")], "");
    assert_eq!(error, "environment variable ALULA_SERVER_NO_AUTH: \"perhaps\" is neither true nor false");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let loaded = load(&Flags::empty(), &[("ALULA_SERVER_NO_AUTH", ""), ("ALULA_SERVER_GRPC_ADDR", "")], None);
    assert_eq!(setting(&loaded.unwrap(), "server", "grpc_addr").source, Source::Default);
}

#[test]
fn a_truth_value_may_be_written_in_several_ways_in_the_environment() {
    for text in ["1", "true", "YES", "on"] {
        assert!(
            load(&Flags::empty(), &[("ALULA_SERVER_NO_AUTH", text)], None).unwrap().config.server.no_auth
        );
    }
}

#[test]
fn variables_that_look_like_keys_but_are_none_are_found() {
    let names = ["ALULA_SERVER_GRPC_ADR", "ALULA_SERVER_GRPC_ADDR", "ALULA_URL", "ALULA_TOKEN", "HOME"];
    assert_eq!(load::unknown_among(names.map(Into::into)), ["ALULA_SERVER_GRPC_ADR"]);
}

#[test]
fn a_file_that_was_named_must_exist() {
    let error =
        Config::load(Flags::empty(), Some(Path::new("/nonexistent/alula.toml")), |_| None).unwrap_err();
    assert_eq!(error.to_string(), "configuration file /nonexistent/alula.toml cannot be read");
}

#[test]
fn values_that_contradict_one_another_are_refused_with_both_names() {
    for (file, small, large) in [
        (
            "[storage]\nflush_bytes = '256MiB'",
            "storage.flush_bytes (256MiB)",
            "storage.max_buffer_bytes (256MiB)",
        ),
        (
            "[storage]\nwal_segment_bytes = '4MiB'",
            "ingest.max_message_bytes (4MiB)",
            "storage.wal_segment_bytes (4MiB)",
        ),
        (
            "[storage]\nwal_queue_bytes = '1MiB'",
            "ingest.max_message_bytes (4MiB)",
            "storage.wal_queue_bytes (1MiB)",
        ),
        (
            "[ingest]\nmax_in_flight_bytes = '1MiB'",
            "ingest.max_message_bytes (4MiB)",
            "ingest.max_in_flight_bytes (1MiB)",
        ),
        ("[query]\nmax_sql_bytes = 0", "query.max_sql_bytes", "greater than zero"),
        ("[storage]\nflush_interval = '0s'", "storage.flush_interval", "greater than zero"),
        ("[storage]\nmaintenance_interval = '0s'", "storage.maintenance_interval", "greater than zero"),
        ("[storage]\nremote_orphan_age = '0s'", "storage.remote_orphan_age", "greater than zero"),
    ] {
        let error = error_of(&[], file);
        assert!(error.contains(small) && error.contains(large), "{file:?}: {error}");
    }
}

#[test]
fn a_server_without_authentication_may_only_listen_on_loopback() {
    let variables = [("ALULA_SERVER_NO_AUTH", "true")];
    for addr in ["127.0.0.1:0", "[::1]:4317", "localhost:4317"] {
        let file = format!("[server]\ngrpc_addr = '{addr}'");
        assert!(load(&Flags::empty(), &variables, Some(&file)).is_ok(), "{addr}");
    }
    for addr in ["0.0.0.0:4317", "[::]:4317", "10.0.0.7:4317"] {
        let error = error_of(&variables, &format!("[server]\ngrpc_addr = '{addr}'"));
        assert!(error.contains("server.no_auth") && error.contains("loopback"), "{error}");
    }
}

#[test]
fn the_template_is_a_valid_file_that_changes_nothing() {
    let template = Config::template();
    let loaded = load(&Flags::empty(), &[], Some(&template)).unwrap();
    assert!(loaded.settings().iter().all(|setting| setting.source == Source::Default));
}

#[test]
fn the_template_with_its_comment_marks_removed_sets_every_key_to_its_default() {
    let live: Vec<_> = Config::template()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.contains(" = ") && !key.starts_with(' ') => key.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let defaults = load(&Flags::empty(), &[], None).unwrap().settings();
    let written = load(&Flags::empty(), &[], Some(&live.join("\n"))).unwrap().settings();
    for (default, written) in defaults.iter().zip(&written) {
        assert_eq!(default.value, written.value, "{}", default.key);
        assert_eq!(matches!(written.source, Source::File(_)), default.value.is_some(), "{}", default.key);
    }
}

#[test]
fn every_variable_is_named_after_its_section_and_key() {
    for leaf in leaves() {
        let expected = format!("ALULA_{}_{}", leaf.section, leaf.key).to_ascii_uppercase();
        assert_eq!(leaf.variable, expected);
    }
    assert!(leaves().count() >= 23, "the keys were not walked");
}

#[test]
fn sizes_and_times_are_shown_as_they_are_read() {
    for text in ["64MiB", "2GiB", "1000B", "0B", "1TiB", "3KiB"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
    for text in ["10s", "5m", "1h", "250ms"] {
        assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
    }
    assert_eq!("1MB".parse::<Size>().unwrap().as_u64(), 1_000_000);
    assert_eq!("4096".parse::<Size>().unwrap().to_string(), "4KiB");
    assert_eq!("7d".parse::<Period>().unwrap().as_duration(), Duration::from_secs(7 * 24 * 3600));
    assert_eq!("1h 30m".parse::<Period>().unwrap().as_duration(), Duration::from_secs(5400));
}

#[test]
fn log_filters_may_name_modules_but_a_lone_word_must_be_a_level() {
    for text in ["info", "off", "warn,alula_storage=debug", "alula_flight=trace"] {
        assert!(text.parse::<LogLevel>().is_ok(), "{text}");
    }
    for text in ["", "alula_storage", "inof", "alula_storage=loud"] {
        assert!(text.parse::<LogLevel>().is_err(), "{text}");
    }
}

#[test]
fn the_defaults_over_a_directory_are_valid() {
    let config = Config::for_data_dir(Path::new("/somewhere"));
    config.validate().unwrap();
    assert_eq!(config.server.data_dir, PathBuf::from("/somewhere"));
}
