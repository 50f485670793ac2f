//! Requests as JSON text.

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

pub(crate) use encode::Encoder;

/// An encoder that takes its choices from these bytes.
pub(crate) fn encoder(choices: &[u8]) -> Encoder {
    Encoder::new(choices)
}
