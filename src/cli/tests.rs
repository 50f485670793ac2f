use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use super::*;
use crate::server::StopError;

fn parse_words(words: &str) -> Result<Cli, clap::Error> {
    parse(words.split_whitespace().map(OsString::from))
}

fn check_usage_error(words: &str, expected: &str) {
    let error = parse_words(words).expect_err(words);
    assert_eq!(error.exit_code(), 2, "{words}");
    let text = error.to_string();
    assert!(text.contains(expected), "{words}: {text}");
}

fn flags_of(words: &str) -> Flags {
    match parse_words(words).unwrap_or_else(|error| panic!("{words}: {error}")).command {
        Command::Config(args) => args.flags().expect("a command that takes flags"),
        other => panic!("not a configuration command: {other:?}"),
    }
}

#[test]
fn the_definition_of_the_command_line_is_consistent() {
    command().debug_assert();
}

#[test]
fn the_contract_of_the_command_line_parses() {
    for words in [
        "alula serve",
        "alula serve --config f --data-dir d --grpc-addr 127.0.0.1:0 --no-auth --ready-file r",
        "alula demo --data-dir d --grpc-addr 127.0.0.1:0 --once",
        "alula sql",
        "alula token create --tenant acme --role read --role write --ttl 7d --subject s --data-dir d --config f",
        "alula config show --no-auth",
        "alula config check --config f",
        "alula config default",
        "alula backup --to /var/backups --data-dir d --keep 7 --verify --format json",
        "alula backup --to s3://bucket/path --config f",
        "alula restore --from s3://bucket/path --snapshot 20261121T120231.068Z --data-dir d --format json",
        "alula loss list --data-dir d",
        "alula loss acknowledge 3 4 --note lost --data-dir d --config f",
        "alula loss acknowledge --all",
        "alula verify --data-dir d --format json",
        "alula verify --repair --force",
        "alula verify --repair --without-remote --config f",
        "alula version --json",
    ] {
        assert!(parse_words(words).is_ok(), "{words}: {}", parse_words(words).unwrap_err());
    }
}

#[test]
fn a_flag_without_value_switches_authentication_off() {
    assert_eq!(flags_of("alula config show --no-auth").server.no_auth, Some(true));
    assert_eq!(flags_of("alula config show --no-auth=false").server.no_auth, Some(false));
    assert_eq!(flags_of("alula config show").server.no_auth, None);
}

#[test]
fn bad_usage_is_refused_with_what_would_be_right() {
    check_usage_error("alula", "Usage: alula <COMMAND>");
    check_usage_error("alula serv", "'serve'");
    // A pause that no length of time can hold.
    for rate in ["1e-300", "0.0009", "-1", "NaN", "inf", "x"] {
        check_usage_error(&format!("alula gen logs --rate={rate}"), "0.001 or more");
    }
    check_usage_error(
        "alula serve --grpc-addr 4317",
        "\"4317\" is not an IP address and port, as in 127.0.0.1:4317",
    );
    check_usage_error("alula serve --flush-bytes many", "\"many\" is not a size: write a number and a unit");
    check_usage_error("alula token create --role read", "--tenant <TENANT>");
    check_usage_error("alula token create --tenant acme", "--role <ROLE>");
    check_usage_error("alula token create --tenant acme --role owner", "the roles are read, write and admin");
    check_usage_error(
        "alula token create --tenant A/b --role read",
        "invalid value 'A/b' for '--tenant <TENANT>'",
    );
}

#[test]
fn the_help_of_a_flag_names_its_variable_and_default() {
    let help = command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
    for leaf in config::leaves() {
        assert!(help.contains(leaf.variable), "{}", leaf.variable);
    }
    assert!(help.contains("[env: ALULA_SERVER_GRPC_ADDR] [default: 127.0.0.1:4317]"), "{help}");
}

#[test]
fn the_shown_configuration_is_itself_a_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, shown) = (directory.path().join("empty.toml"), directory.path().join("shown.toml"));
    std::fs::write(&empty, "").unwrap();
    let flags = flags_of("alula config show --no-auth --flush-bytes 1MB --ready-file r");

    let loaded = Config::load(flags, Some(&empty), |_| None).unwrap();
    let mut text = Vec::new();
    config_command::show(&loaded, &mut text).unwrap();
    std::fs::write(&shown, &text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("no_auth = true                           # flag --no-auth\n"), "{text}");

    let again = Config::load(flags_of("alula config show"), Some(&shown), |_| None).unwrap();
    let values =
        |loaded: &Loaded| loaded.settings().into_iter().map(|s| (s.key, s.value)).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&loaded));
}

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Chained {
    text: &'static str,
    source: Option<Box<Chained>>,
}

#[test]
fn an_error_is_one_line_with_its_causes_and_a_hint() {
    let inner = Chained { text: "no space", source: None };
    let repeating = Chained { text: "cannot write: no space", source: Some(Box::new(inner)) };
    let outer = Chained { text: "cannot start", source: Some(Box::new(repeating)) };
    let mut stderr = Vec::new();
    let code = CliError::failed(outer).with_hint("make room").report(&mut stderr);
    assert_eq!(
        String::from_utf8(stderr).unwrap(),
        "error: cannot start: cannot write: no space\nhint: make room\n"
    );
    assert_eq!(code, ExitCode::from(1));
}

#[test]
fn each_failure_has_its_exit_code() {
    for (failure, code) in [
        (Failure::Failed, 1),
        (Failure::Usage, 2),
        (Failure::CannotConnect, 3),
        (Failure::NotAuthorised, 4),
        (Failure::Interrupted, 130),
    ] {
        assert_eq!(CliError::new(failure, "why").report(io::sink()), ExitCode::from(code));
    }
}

#[test]
fn a_reader_that_closed_the_pipe_is_no_failure() {
    let mut stderr = Vec::new();
    let closed = io::Error::from(io::ErrorKind::BrokenPipe);
    assert_eq!(CliError::from(closed).report(&mut stderr), ExitCode::SUCCESS);
    assert!(stderr.is_empty());
}

#[test]
fn a_configuration_error_is_a_usage_error() {
    let mut message = String::new();
    let error = CliError::from(ConfigError::Conflict { message: "two keys".to_owned() });
    write!(message, "{error}").unwrap();
    assert_eq!((error.failure(), message.as_str()), (Failure::Usage, "two keys"));
}

#[test]
fn a_server_whose_disk_failed_ends_with_an_exit_code_of_its_own() {
    let error = CliError::from(StopError::StorageFailed { reason: "the log could not be synced".to_owned() });
    assert_eq!(error.failure() as u8, 70);
    let mut said = Vec::new();
    let _ = error.report(&mut said);
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("error: the log could not be synced\nhint: "), "{said}");
    assert_eq!(CliError::from(StopError::PortEnded).failure(), Failure::Failed);
}
