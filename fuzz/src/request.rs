//! What the three signals have in common.

use std::collections::HashSet;
use std::fmt::Debug;

use alula_catalog::Signal;
use alula_ingest::fuzzing::{RECEIVED_NS, restore};
use arrow::array::RecordBatch;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;

use crate::draw::Draw;
use crate::{json_text, split};

/// An export request.
pub(crate) trait Request: Message + Default + Debug {
    const SIGNAL: Signal;

    fn drawn(draw: &mut Draw<'_>) -> Self;
    fn in_json(&self, choices: &[u8]) -> String;
    /// The request that a batch is the rows of.
    fn restored(batch: &RecordBatch) -> Self;
    /// One request for each record that is not rejected, in the canonical form of what is restored.
    fn split(self, rejected: &HashSet<u32>) -> Self;
    /// How many resources there are, and after a split, records.
    fn resources(&self) -> usize;
    /// How many records a response says were rejected, and the message that goes with it.
    fn reported(response: &[u8]) -> Option<(i64, String)>;
}

/// The request that a batch is the rows of, in the canonical form.
fn restored<M: Request>(batch: &RecordBatch) -> M {
    let payload = restore(M::SIGNAL, batch).expect("rows of a table can be restored");
    M::decode(payload.as_slice()).expect("it is encoded").split(&HashSet::new())
}

impl Request for ExportMetricsServiceRequest {
    const SIGNAL: Signal = Signal::Metrics;

    fn drawn(draw: &mut Draw<'_>) -> Self {
        draw.metrics()
    }
    fn in_json(&self, choices: &[u8]) -> String {
        json_text::metrics(self, choices)
    }
    fn restored(batch: &RecordBatch) -> Self {
        restored(batch)
    }
    fn split(self, rejected: &HashSet<u32>) -> Self {
        split::split_metrics(self, rejected, RECEIVED_NS)
    }
    fn resources(&self) -> usize {
        self.resource_metrics.len()
    }
    fn reported(response: &[u8]) -> Option<(i64, String)> {
        let response = ExportMetricsServiceResponse::decode(response).unwrap();
        response.partial_success.map(|partial| (partial.rejected_data_points, partial.error_message))
    }
}

impl Request for ExportLogsServiceRequest {
    const SIGNAL: Signal = Signal::Logs;

    fn drawn(draw: &mut Draw<'_>) -> Self {
        draw.logs()
    }
    fn in_json(&self, choices: &[u8]) -> String {
        json_text::logs(self, choices)
    }
    fn restored(batch: &RecordBatch) -> Self {
        restored(batch)
    }
    fn split(self, rejected: &HashSet<u32>) -> Self {
        split::split_logs(self, rejected, RECEIVED_NS)
    }
    fn resources(&self) -> usize {
        self.resource_logs.len()
    }
    fn reported(response: &[u8]) -> Option<(i64, String)> {
        let response = ExportLogsServiceResponse::decode(response).unwrap();
        response.partial_success.map(|partial| (partial.rejected_log_records, partial.error_message))
    }
}

impl Request for ExportTraceServiceRequest {
    const SIGNAL: Signal = Signal::Traces;

    fn drawn(draw: &mut Draw<'_>) -> Self {
        draw.traces()
    }
    fn in_json(&self, choices: &[u8]) -> String {
        json_text::traces(self, choices)
    }
    fn restored(batch: &RecordBatch) -> Self {
        restored(batch)
    }
    fn split(self, rejected: &HashSet<u32>) -> Self {
        split::split_traces(self, rejected, RECEIVED_NS)
    }
    fn resources(&self) -> usize {
        self.resource_spans.len()
    }
    fn reported(response: &[u8]) -> Option<(i64, String)> {
        let response = ExportTraceServiceResponse::decode(response).unwrap();
        response.partial_success.map(|partial| (partial.rejected_spans, partial.error_message))
    }
}
