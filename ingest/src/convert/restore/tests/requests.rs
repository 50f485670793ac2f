//! How rows are put together in requests, and where these end.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::*;

/// Rows of these services, which differ in nothing else but the time.
fn of_services(services: &[&str]) -> RecordBatch {
    rows([("timestamp", times(services.len())), ("service_name", texts(services))])
}

#[test]
fn neighbours_share_resource_scope_and_metric() {
    let requests = restore(Signal::Logs, &of_services(&["a", "a", "b", "a", "a", "a"])).unwrap();
    let [request] = &decoded::<ExportLogsServiceRequest>(&requests)[..] else { panic!("{requests:?}") };
    let records = |resource: usize| request.resource_logs[resource].scope_logs[0].log_records.len();
    assert_eq!((request.resource_logs.len(), records(0), records(1), records(2)), (3, 2, 1, 3));

    let metrics = rows([
        ("timestamp", times(5)),
        ("name", texts(&["m", "m", "m", "n", "n"])),
        ("scope_name", texts(&["s", "s", "t", "t", "t"])),
        ("type", texts(&["gauge", "gauge", "gauge", "gauge", "sum"])),
        ("value", doubles(&[1.0, 2.0, 3.0, 4.0, 5.0])),
    ]);
    let requests = restore(Signal::Metrics, &metrics).unwrap();
    let [request] = &decoded::<ExportMetricsServiceRequest>(&requests)[..] else { panic!("{requests:?}") };
    let [resource] = &request.resource_metrics[..] else { panic!("{request:?}") };
    let points = |scope: usize| -> Vec<usize> {
        let points =
            resource.scope_metrics[scope].metrics.iter().map(|metric| match metric.data.as_ref().unwrap() {
                Data::Gauge(gauge) => gauge.data_points.len(),
                Data::Sum(sum) => sum.data_points.len(),
                other => panic!("{other:?}"),
            });
        points.collect()
    };
    assert_eq!((resource.scope_metrics.len(), points(0), points(1)), (2, vec![2], vec![1, 1, 1]));
}

#[test]
fn a_request_ends_at_each_of_its_bounds() {
    let bounds = Bounds::default();
    let batch = of_services(&["a"; 10]);
    let counts = |bounds: Bounds| -> Vec<(u64, u64)> {
        let requests = restore_within(Signal::Logs, std::slice::from_ref(&batch), bounds).unwrap();
        requests.iter().map(|request| (request.first_row, request.num_rows)).collect()
    };
    assert_eq!(counts(bounds), [(0, 10)]);
    assert_eq!(counts(Bounds { rows: 4, ..bounds }), [(0, 4), (4, 4), (8, 2)]);
    assert_eq!(counts(Bounds { bytes: 1, ..bounds }), (0..10).map(|row| (row, 1)).collect::<Vec<_>>());
    assert_eq!(counts(Bounds { repeated_bytes: 1, ..bounds }).len(), 10);
    let in_bytes = Bounds { bytes: 120, ..bounds };
    let requests = restore_within(Signal::Logs, &[batch], in_bytes).unwrap();
    assert!(
        requests.len() < 10 && requests.iter().all(|request| request.payload.len() <= 120),
        "{requests:?}"
    );
}

#[test]
fn where_requests_end_does_not_depend_on_batches() {
    let batch = of_services(&["a", "a", "b", "b", "b", "c", "a"]);
    let bounds = Bounds { rows: 3, ..Bounds::default() };
    let whole = restore_within(Signal::Logs, std::slice::from_ref(&batch), bounds).unwrap();
    let cut = [batch.slice(0, 1), batch.slice(1, 4), batch.slice(5, 0), batch.slice(5, 2)];
    assert_eq!(restore_within(Signal::Logs, &cut, bounds).unwrap(), whole);
}

#[test]
fn a_fault_is_told_with_its_row_among_all_that_came() {
    let good = of_services(&["a", "a", "a"]);
    let bad = rows([("timestamp", times(2)), ("attributes", texts(&["{}", "{"]))]);
    let bounds = Bounds { rows: 2, ..Bounds::default() };
    let error = restore_within(Signal::Logs, &[good, bad], bounds).unwrap_err();
    assert!(matches!(&error, Error::BadValue { row: 5, column, .. } if column == "attributes"), "{error}");
}

/// A resource that is repeated in each row must not be so in the request.
#[test]
fn rows_take_about_as_much_as_the_request_that_they_came_in() {
    let attributes = format!(r#"{{"k":"{}"}}"#, "x".repeat(1000));
    let batch =
        rows([("timestamp", times(1000)), ("resource_attributes", texts(&vec![attributes.as_str(); 1000]))]);
    let requests = restore(Signal::Logs, &batch).unwrap();
    let bytes: usize = requests.iter().map(|request| request.payload.len()).sum();
    assert!(requests.len() == 1 && bytes < 1000 * 20, "{bytes}");
    assert_eq!(rows_of(Signal::Logs, &requests[0].payload).num_rows(), 1000);
}

#[test]
fn no_rows_make_no_request() {
    assert_eq!(restore(Signal::Traces, &rows(least(Signal::Traces)).slice(0, 0)).unwrap(), []);
}
