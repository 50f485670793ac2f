//! Whole runs against a service that answers as it is told.

use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::generator::MetricType;

/// Fails with the given codes first, then takes everything but `rejected` records of each request.
#[derive(Debug, Default)]
struct Script {
    failures: Mutex<Vec<Code>>,
    rejected: i64,
    points: AtomicU64,
}

#[derive(Clone, Debug)]
struct Scripted(Arc<Script>);

#[tonic::async_trait]
impl MetricsService for Scripted {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if let Some(code) = self.0.failures.lock().unwrap().pop() {
            return Err(Status::new(code, "as told"));
        }
        let mut points = 0;
        for resource in request.into_inner().resource_metrics {
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                match metric.data {
                    Some(Data::Gauge(gauge)) => points += gauge.data_points.len(),
                    other => panic!("only gauges were asked for: {other:?}"),
                }
            }
        }
        self.0.points.fetch_add(points as u64, std::sync::atomic::Ordering::Relaxed);
        let partial_success = (self.0.rejected > 0).then(|| ExportMetricsPartialSuccess {
            rejected_data_points: self.0.rejected,
            error_message: "too old".to_owned(),
        });
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

/// Runs 2,050 data points in requests of 500 against the script, and gives the summary as JSON and the points seen.
async fn run_against(script: Script, change: impl FnOnce(&mut Load)) -> (Result<serde_json::Value>, u64) {
    let script = Arc::new(script);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = ServerUrl::from(listener.local_addr().unwrap());
    let service = MetricsServiceServer::new(Scripted(Arc::clone(&script)))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let router = tonic::transport::Server::builder().add_service(service);
    let server = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut load = Load {
        url,
        credentials: Credentials::none(),
        compression: None,
        signal: Signal::Metrics,
        content: Content {
            seed: 1,
            services: 3,
            series: 700,
            types: vec![MetricType::Gauge],
            attributes: None,
            start_ns: 1,
        },
        rate: None,
        total: Some(2_050),
        duration: None,
        batch: 500,
        connections: 2,
        in_flight: 2,
        retry: false,
    };
    change(&mut load);
    let summary = run(load, CancellationToken::new()).await;
    server.abort();
    let json = summary.map(|summary| serde_json::from_str(&summary.json()).unwrap());
    (json, script.points.load(std::sync::atomic::Ordering::Relaxed))
}

#[tokio::test]
async fn the_total_comes_out_even_with_every_compression() {
    for compression in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let (summary, points) = run_against(Script::default(), |load| load.compression = compression).await;
        let summary = summary.unwrap();
        assert_eq!((summary["sent"].as_u64(), summary["accepted"].as_u64()), (Some(2_050), Some(2_050)));
        assert_eq!((summary["requests"].as_u64(), points), (Some(5), 2_050));
        assert!(summary["latency_ms"]["p50"].as_f64() > Some(0.0));
    }
}

#[tokio::test]
async fn rejected_and_failed_records_are_told_from_accepted_ones() {
    let script = Script {
        failures: Mutex::new(vec![Code::Unavailable, Code::InvalidArgument]),
        rejected: 3,
        ..Script::default()
    };
    // One request at a time: the script's two failures then hit the first two requests, which are full ones.
    let (summary, points) = run_against(script, |load| (load.connections, load.in_flight) = (1, 1)).await;
    let summary = summary.unwrap();
    assert_eq!(summary["sent"], 2_050);
    assert_eq!(summary["failed"], 1_000);
    assert_eq!(summary["failed_by_status"]["UNAVAILABLE"], 500);
    assert_eq!(summary["failed_by_status"]["INVALID_ARGUMENT"], 500);
    assert_eq!((&summary["rejected"], &summary["accepted"]), (&9.into(), &1_041.into()));
    assert_eq!(
        (summary["rejection"].as_str(), summary["failure"].as_str()),
        (Some("too old"), Some("as told"))
    );
    assert_eq!(points, 1_050);
}

#[tokio::test]
async fn with_retry_what_the_server_could_not_take_yet_arrives_once() {
    let script = Script { failures: Mutex::new(vec![Code::Unavailable; 3]), ..Script::default() };
    let (summary, points) = run_against(script, |load| load.retry = true).await;
    let summary = summary.unwrap();
    assert_eq!((&summary["accepted"], &summary["failed"]), (&2_050.into(), &0.into()));
    assert_eq!((&summary["retries"], points), (&3.into(), 2_050));
}

#[tokio::test]
async fn retrying_stops_at_what_will_never_succeed() {
    let script = Script { failures: Mutex::new(vec![Code::InvalidArgument]), ..Script::default() };
    let (summary, _) = run_against(script, |load| load.retry = true).await;
    let summary = summary.unwrap();
    assert_eq!(
        (&summary["failed_by_status"]["INVALID_ARGUMENT"], &summary["retries"]),
        (&500.into(), &0.into())
    );
}

#[tokio::test]
async fn refused_credentials_end_the_run() {
    for code in [Code::Unauthenticated, Code::PermissionDenied] {
        let script = Script { failures: Mutex::new(vec![code; 100]), ..Script::default() };
        let (summary, points) = run_against(script, |_| {}).await;
        assert!(matches!(summary, Err(Error::NotAuthorised { .. })), "{summary:?}");
        assert_eq!(points, 0);
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_before_it_starts_sends_nothing() {
    let (summary, points) =
        run_against(Script::default(), |load| load.duration = Some(Duration::from_nanos(1))).await;
    assert_eq!((&summary.unwrap()["sent"], points), (&0.into(), 0));
}
