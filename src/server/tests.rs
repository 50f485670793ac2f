use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use alula_auth::{Role, Roles};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::*;

fn config(data_dir: &Path) -> Config {
    let mut config = Config::for_data_dir(data_dir);
    config.server.grpc_addr = "127.0.0.1:0".parse().unwrap();
    config.server.http_addr = "127.0.0.1:0".parse().unwrap();
    config
}

async fn start(data_dir: &Path) -> Server {
    Server::start(config(data_dir)).await.unwrap()
}

async fn connect(server: &Server) -> Channel {
    Channel::from_shared(format!("http://{}", server.grpc_addr())).unwrap().connect().await.unwrap()
}

/// Exports nothing: what matters is whether the call gets through.
async fn export(channel: &Channel, token: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(ExportLogsServiceRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    LogsServiceClient::new(channel.clone()).export(request).await.map(|_| ())
}

fn token(data_dir: &Path) -> String {
    let tenant = "acme".parse().unwrap();
    identity::create_token(data_dir, &tenant, "test", Roles::from(Role::Write), Duration::from_secs(60))
        .unwrap()
}

async fn health_of(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel.clone()).check(request).await.map_err(|status| status.code())?;
    Ok(answer.into_inner().status())
}

#[tokio::test]
async fn a_call_needs_a_token_and_one_made_while_the_server_runs_will_do() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path()).await;
    let channel = connect(&server).await;

    let refused = export(&channel, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    export(&channel, Some(&token(directory.path()))).await.unwrap();
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_token_made_before_the_first_start_is_accepted() {
    let directory = TempDir::new().unwrap();
    let data_dir = directory.path().join("made/by/the/command");
    let token = token(&data_dir);
    let server = start(&data_dir).await;
    export(&connect(&server).await, Some(&token)).await.unwrap();
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn without_authentication_a_call_needs_no_token() {
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path());
    config.server.no_auth = true;
    let server = Server::start(config).await.unwrap();
    export(&connect(&server).await, None).await.unwrap();
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_configuration_that_is_not_valid_is_refused_before_anything_is_touched() {
    let directory = TempDir::new().unwrap();
    let data_dir = directory.path().join("data");
    let mut config = config(&data_dir);
    config.server.no_auth = true;
    config.server.grpc_addr = "0.0.0.0:0".parse().unwrap();
    let error = Server::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Config(_)), "{error}");
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn every_service_reports_its_health_without_a_token() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path()).await;
    let channel = connect(&server).await;
    for service in
        ["", "arrow.flight.protocol.FlightService", "opentelemetry.proto.collector.logs.v1.LogsService"]
    {
        assert_eq!(health_of(&channel, service).await, Ok(ServingStatus::Serving), "{service}");
    }
    assert_eq!(health_of(&channel, "nobody").await, Err(Code::NotFound));
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_health_watcher_is_told_of_the_drain_and_does_not_hold_it_up() {
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path());
    config.server.shutdown_grace = config::Period::seconds(3600);
    let server = Server::start(config).await.unwrap();
    let channel = connect(&server).await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let drained = tokio::spawn(server.shutdown());
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none());
    drained.await.unwrap().unwrap();
}

#[tokio::test]
async fn after_the_drain_the_port_and_the_data_directory_are_free() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path()).await;
    let addr = server.grpc_addr();
    // An idle connection of a client that does not hang up must not hold the drain up either.
    let channel = connect(&server).await;
    server.shutdown().await.unwrap();
    assert!(health_of(&channel, "").await.is_err());

    let mut config = config(directory.path());
    config.server.grpc_addr = config::ListenAddr::new(addr);
    Server::start(config).await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_option_that_changes_it() {
    let directory = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let mut config = config(directory.path());
    config.server.grpc_addr = config::ListenAddr::new(addr);
    let error = Server::start(config.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the address {addr} is in use"));
    assert!(error.hint().unwrap().contains("--grpc-addr"));

    config.server.http_addr = std::mem::replace(&mut config.server.grpc_addr, "127.0.0.1:0".parse().unwrap());
    let error = Server::start(config).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the address {addr} is in use"));
    assert!(error.hint().unwrap().contains("--http-addr"));
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused_with_the_process_that_uses_it() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path()).await;
    let error = Server::start(config(directory.path())).await.unwrap_err();
    let StartError::Storage(source) = &error else { panic!("{error}") };
    assert!(source.to_string().contains(&format!("in use by process {}", std::process::id())), "{source}");
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_data_directory_is_made_for_its_owner_alone() {
    let directory = TempDir::new().unwrap();
    let data_dir = directory.path().join("data");
    start(&data_dir).await.shutdown().await.unwrap();
    assert_eq!(data_dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(data_dir.join("auth.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_data_directory_that_is_a_file_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Server::start(config(&file)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot use {} as the data directory", file.display()));
}

async fn reflect(channel: &Channel, asked: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer: ServerReflectionResponse = answers.into_inner().message().await.unwrap().unwrap();
    answer.message_response.unwrap()
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_describes_each() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path()).await;
    let channel = connect(&server).await;
    let MessageResponse::ListServicesResponse(list) =
        reflect(&channel, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "arrow.flight.protocol.FlightService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "opentelemetry.proto.collector.logs.v1.LogsService",
            "opentelemetry.proto.collector.metrics.v1.MetricsService",
            "opentelemetry.proto.collector.trace.v1.TraceService",
        ]
    );
    for name in names {
        let answer = reflect(&channel, MessageRequest::FileContainingSymbol(name.clone())).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{name}: {answer:?}");
    }
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_http_port_answers_health_checks_without_a_token() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let directory = TempDir::new().unwrap();
    let server = start(directory.path()).await;
    for (method, status, body) in [
        ("GET", "200 OK", "{\"status\":\"ok\"}\n"),
        ("HEAD", "200 OK", ""),
        ("POST", "405 Method Not Allowed", "GET only"),
    ] {
        let mut socket = tokio::net::TcpStream::connect(server.http_addr()).await.unwrap();
        let request = format!("{method} /health HTTP/1.1\r\nhost: alula\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{method}: {answer}");
        assert!(
            answer.split_once("\r\n\r\n").is_some_and(|(_, found)| found.contains(body)),
            "{method}: {answer}"
        );
    }
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody_else() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let directory = TempDir::new().unwrap();
    let server = start(directory.path()).await;
    let mut socket = tokio::net::TcpStream::connect(server.grpc_addr()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: alula\r\n\r\n\0\xff\xfe").await.unwrap();
    // The server hangs up.
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert_eq!(health_of(&connect(&server).await, "").await, Ok(ServingStatus::Serving));
    server.shutdown().await.unwrap();
}

/// A key that is not passed on would have no effect, and nothing else would say so.
#[test]
fn every_storage_key_reaches_the_storage() {
    let (mib, seconds) = (config::Size::mebibytes, config::Period::seconds);
    let mut config = Config::for_data_dir(Path::new("/somewhere"));
    config.storage = config::StorageConfig {
        flush_bytes: mib(1),
        flush_interval: seconds(2),
        max_buffer_bytes: mib(3),
        wal_segment_bytes: mib(4),
        wal_queue_bytes: mib(5),
        maintenance_interval: seconds(6),
        maintenance_cpu_share: "7%".parse().unwrap(),
        compaction_cold_after: seconds(8),
        compaction_day_after: seconds(9),
        compaction_target_bytes: mib(10),
        scrub_interval: seconds(11),
        retention_metrics: seconds(12),
        retention_logs: seconds(13),
        retention_traces: seconds(14),
        user_tables_max: 20,
        user_tables_bytes: mib(21),
        wal_on_corruption: config::OnCorruption::Refuse,
        wal_on_sync_error: config::OnSyncError::Exit,
        min_free_bytes: Some(mib(15)),
        remote_url: Some("s3://bucket/path".parse().unwrap()),
        remote_after: seconds(16),
        remote_cache_bytes: mib(17),
        remote_cache_memory: mib(18),
        remote_orphan_age: seconds(19),
    };
    let storage = storage_config(&config);
    assert_eq!(storage.data_dir, Path::new("/somewhere"));
    assert_eq!((storage.flush_bytes, storage.flush_interval), (1 << 20, Duration::from_secs(2)));
    assert_eq!((storage.max_buffer_bytes, storage.wal_segment_bytes), (3 << 20, 4 << 20));
    assert_eq!((storage.wal_queue_bytes, storage.maintenance_interval), (5 << 20, Duration::from_secs(6)));
    assert!((storage.maintenance_cpu_share - 0.07).abs() < 1e-9);
    let compaction = alula_storage::CompactionConfig {
        cold_after: Duration::from_secs(8),
        day_after: Duration::from_secs(9),
        target_bytes: 10 << 20,
    };
    assert_eq!((storage.compaction, storage.scrub_interval), (compaction, Some(Duration::from_secs(11))));
    let retention = alula_storage::RetentionConfig {
        metrics: Some(Duration::from_secs(12)),
        logs: Some(Duration::from_secs(13)),
        traces: Some(Duration::from_secs(14)),
    };
    assert_eq!(storage.retention, retention);
    let user_tables = alula_storage::UserTablesConfig { max_tables: 20, max_bytes: 21 << 20 };
    assert_eq!(storage.user_tables, user_tables);
    assert_eq!(storage.on_corruption, alula_storage::OnCorruption::Refuse);
    assert_eq!(storage.on_sync_error, alula_storage::OnSyncError::Exit);
    assert_eq!(storage.min_free_bytes, Some(15 << 20));
    let remote = storage.remote.unwrap();
    assert_eq!(remote.url.to_string(), "s3://bucket/path");
    assert_eq!((remote.after, remote.orphan_age), (Duration::from_secs(16), Duration::from_secs(19)));
    assert_eq!((remote.cache_bytes, remote.cache_memory_bytes), (17 << 20, 18 << 20));

    config.storage.scrub_interval = seconds(0);
    config.storage.retention_logs = seconds(0);
    let storage = storage_config(&config);
    assert_eq!((storage.scrub_interval, storage.retention.logs), (None, None));
}

/// JDBC and ODBC turn each property of a URL into a header.
#[tokio::test]
async fn a_call_may_have_many_long_headers() {
    let directory = TempDir::new().unwrap();
    let server = start(directory.path()).await;
    let channel = connect(&server).await;
    let token = token(directory.path());
    let call = |num_headers: usize| {
        let mut request = Request::new(ExportLogsServiceRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        for number in 0..num_headers {
            let name =
                tonic::metadata::MetadataKey::from_bytes(format!("property-{number}").as_bytes()).unwrap();
            request.metadata_mut().insert(name, "x".repeat(4_000).parse().unwrap());
        }
        let mut client = LogsServiceClient::new(channel.clone());
        async move { client.export(request).await }
    };
    call(15).await.unwrap();
    call(17).await.unwrap_err();
    server.shutdown().await.unwrap();
}
