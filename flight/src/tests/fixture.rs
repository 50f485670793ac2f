//! A server on a free port with two tenants' rows, and a client.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alula_auth::AuthLayer;
use alula_catalog::schema::{ATTRIBUTES, BODY, SERVICE_NAME, TENANT_ID, TIMESTAMP, entry_schema};
use alula_catalog::{Catalog, Signal, TenantId};
use alula_storage::{Entry, EntryDecoder, LoggedEntry, OnCorruption, Storage};
use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Int32Type, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{Action, FlightInfo, IpcMessage};
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Request as Call;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, Server};

use super::ledger::Ledger;
use crate::context::QueryEngine;
use crate::{Config, FlightSql};

pub(crate) type Client = FlightSqlServiceClient<Channel>;

pub(crate) struct TestServer {
    pub(crate) flight: FlightSql,
    pub(crate) storage: Storage,
    /// What was ingested into the tables of telemetry.
    pub(crate) ledger: Arc<Ledger>,
    channel: Channel,
    address: String,
    directory: TempDir,
}

/// Nothing is replayed in these tests.
struct NoDecoder;

impl EntryDecoder for NoDecoder {
    fn decode(&self, _: &LoggedEntry) -> Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>> {
        Err("nothing to replay".into())
    }
}

pub(crate) fn config(directory: &Path) -> Config {
    Config {
        memory_limit_bytes: 64 << 20,
        spill_dir: directory.join("spill"),
        spill_limit_bytes: 64 << 20,
        statement_timeout: Some(Duration::from_secs(60)),
        max_sql_bytes: 256 << 10,
        target_partitions: 2,
        signing_key: [1; 32],
        server_version: "0.0.0-test".to_owned(),
        tail: crate::TailConfig::default(),
        keep_alive_interval: Duration::from_secs(10),
    }
}

/// `(timestamp, service, attributes)`.
pub(crate) type Log<'a> = (i64, &'a str, &'a str);

/// A server with logs of the tenant that its clients are of, and of another one.
pub(crate) async fn server_with_logs(own: &[Log<'_>], foreign: &[Log<'_>]) -> TestServer {
    let server = TestServer::start().await;
    server.append_logs("default", own).await;
    if !foreign.is_empty() {
        server.append_logs("other", foreign).await;
    }
    server
}

fn storage(directory: &Path) -> Storage {
    let config = alula_storage::Config {
        flush_interval: Duration::from_hours(1),
        wal_segment_bytes: 4 << 20,
        wal_queue_bytes: 16 << 20,
        on_corruption: OnCorruption::Refuse,
        ..alula_storage::Config::new(directory.to_owned())
    };
    let catalog = Arc::new(Catalog::open(&directory.join("catalog.db")).unwrap());
    Storage::open(&config, catalog, &NoDecoder).unwrap()
}

pub(crate) fn engine(config: &Config) -> QueryEngine {
    let directory = config.spill_dir.parent().unwrap();
    QueryEngine::try_new(storage(directory), config).unwrap()
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        change(&mut config);
        let data = directory.path().to_owned();
        let storage = tokio::task::spawn_blocking(move || storage(&data)).await.unwrap();
        let ledger = Arc::new(Ledger::default());
        let flight = FlightSql::new(storage.clone(), Arc::clone(&ledger) as _, &config).unwrap();
        let (address, channel) = serve(&flight, AuthLayer::disabled()).await;
        Self { flight, storage, ledger, channel, address, directory }
    }

    /// A client that names itself so, and takes messages of 4 MiB, which is gRPC's default.
    pub(crate) async fn client_named(&self, user_agent: &str) -> Client {
        let endpoint = Endpoint::from_shared(self.address.clone()).unwrap();
        let channel = endpoint.user_agent(user_agent.to_owned()).unwrap().connect().await.unwrap();
        let inner = arrow_flight::flight_service_client::FlightServiceClient::new(channel)
            .max_decoding_message_size(4 << 20);
        FlightSqlServiceClient::new_from_inner(inner)
    }

    /// A client of another server with the same key and the same data.
    pub(crate) async fn other_server(&self, auth: AuthLayer) -> Client {
        let config =
            Config { spill_dir: self.directory.path().join("other"), ..config(self.directory.path()) };
        let flight = FlightSql::new(self.storage.clone(), Arc::clone(&self.ledger) as _, &config).unwrap();
        client_of(serve(&flight, auth).await.1)
    }

    pub(crate) fn client(&self) -> Client {
        client_of(self.channel.clone())
    }

    /// The body of row i is `body i`.
    pub(crate) async fn append_logs(&self, tenant: &str, rows: &[Log<'_>]) {
        let tenant: TenantId = tenant.parse().unwrap();
        let schema = entry_schema(Signal::Logs);
        let given: HashMap<&str, ArrayRef> = HashMap::from([
            (
                TIMESTAMP,
                Arc::new(
                    TimestampNanosecondArray::from_iter_values(rows.iter().map(|r| r.0)).with_timezone("UTC"),
                ) as _,
            ),
            (SERVICE_NAME, dictionary(rows.iter().map(|r| r.1))),
            (ATTRIBUTES, dictionary(rows.iter().map(|r| r.2))),
            (TENANT_ID, dictionary(rows.iter().map(|_| tenant.as_str()))),
            (
                BODY,
                Arc::new((0..rows.len()).map(|i| Some(format!("body {i}"))).collect::<StringArray>()) as _,
            ),
        ]);
        let column = |field: &Field| match given.get(field.name().as_str()) {
            Some(column) => Arc::clone(column),
            None => filler(field, rows.len()),
        };
        let columns = schema.fields().iter().map(|field| column(field)).collect();
        let entry = Entry {
            tenant,
            signal: Signal::Logs,
            received_ns: 1,
            batch_id: None,
            payload: bytes::Bytes::from_static(b"a request"),
            rejected: vec![],
            batch: RecordBatch::try_new(schema, columns).unwrap(),
        };
        self.storage.append(entry).await.unwrap();
    }

    /// Runs a statement as Grafana does, and checks that its stream keeps the promise of its `FlightInfo`.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<RecordBatch> {
        let mut client = self.client();
        let info =
            client.execute(sql.to_owned(), None).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        fetch(&mut client, info).await.1
    }

    pub(crate) async fn table(&self, sql: &str) -> String {
        pretty_format_batches(&self.rows(sql).await).unwrap().to_string()
    }

    /// What a statement is refused with, at `GetFlightInfo` or while it runs.
    pub(crate) async fn error(&self, sql: &str) -> tonic::Status {
        let mut client = self.client();
        let info = match client.execute(sql.to_owned(), None).await {
            Ok(info) => info,
            Err(error) => return as_status(error),
        };
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let stream = match client.do_get(ticket).await {
            Ok(stream) => stream,
            Err(error) => return as_status(error),
        };
        match stream.try_collect::<Vec<_>>().await {
            Ok(_) => panic!("{sql} did not fail"),
            Err(error) => as_status(error),
        }
    }
}

async fn serve(flight: &FlightSql, auth: AuthLayer) -> (String, Channel) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .layer(auth)
        .add_service(flight.clone().into_server())
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let address = format!("http://{address}");
    let endpoint = Endpoint::from_shared(address.clone()).unwrap();
    let channel = endpoint.user_agent("alula/test").unwrap().connect().await.unwrap();
    (address, channel)
}

fn client_of(channel: Channel) -> Client {
    let inner = arrow_flight::flight_service_client::FlightServiceClient::new(channel)
        .max_decoding_message_size(64 << 20);
    FlightSqlServiceClient::new_from_inner(inner)
}

/// What an action answers, with the headers of the answer.
pub(crate) async fn act(
    client: Client,
    name: &str,
    body: Vec<u8>,
    headers: &MetadataMap,
) -> Result<(bytes::Bytes, MetadataMap), tonic::Status> {
    let mut call = Call::new(Action { r#type: name.to_owned(), body: body.into() });
    *call.metadata_mut() = headers.clone();
    let answer = client.into_inner().do_action(call).await?;
    let headers = answer.metadata().clone();
    let results: Vec<_> = answer.into_inner().try_collect().await?;
    Ok((results.into_iter().next().unwrap_or_default().body, headers))
}

/// The promised schema, and the batches, which have it.
pub(crate) async fn fetch(client: &mut Client, info: FlightInfo) -> (SchemaRef, Vec<RecordBatch>) {
    let [endpoint] = &info.endpoint[..] else { panic!("one endpoint") };
    assert!(endpoint.location.is_empty() && endpoint.expiration_time.is_some());
    let promised: SchemaRef =
        Arc::new(arrow::datatypes::Schema::try_from(IpcMessage(info.schema.clone())).unwrap());
    let mut stream = client.do_get(endpoint.ticket.clone().unwrap()).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await.unwrap() {
        assert_eq!(batch.schema(), promised);
        batches.push(batch);
    }
    assert_eq!(stream.schema(), Some(&promised), "a schema message comes even without rows");
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(Arc::clone(&promised)));
    }
    (promised, batches)
}

pub(crate) fn as_status(error: FlightError) -> tonic::Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("{other}"),
    }
}

fn dictionary<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.collect::<DictionaryArray<Int32Type>>())
}

fn filler(field: &Field, rows: usize) -> ArrayRef {
    match field.data_type() {
        data_type if field.is_nullable() => new_null_array(data_type, rows),
        DataType::Dictionary(..) => dictionary(std::iter::repeat_n("", rows)),
        DataType::Int32 => Arc::new(Int32Array::from(vec![0; rows])),
        DataType::Timestamp(..) => {
            Arc::new(TimestampNanosecondArray::from(vec![0; rows]).with_timezone("UTC"))
        }
        other => panic!("no filler for {other}"),
    }
}
