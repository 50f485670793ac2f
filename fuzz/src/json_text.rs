//! Requests as JSON text, which the encoder writes in one of many ways: the bytes choose.

// The encoder takes these from the module that it is in.
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;

#[path = "../../ingest/src/otlp_json/tests/encode.rs"]
mod encode;

use encode::Encoder;

pub(crate) fn metrics(request: &ExportMetricsServiceRequest, choices: &[u8]) -> String {
    Encoder::new(choices).metrics(request)
}

pub(crate) fn logs(request: &ExportLogsServiceRequest, choices: &[u8]) -> String {
    Encoder::new(choices).logs(request)
}

pub(crate) fn traces(request: &ExportTraceServiceRequest, choices: &[u8]) -> String {
    Encoder::new(choices).traces(request)
}
