//! Log records: the columns that only `logs` has.

use arrow::array::{Int32Builder, StringBuilder};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use alula_catalog::{Signal, schema};

use super::checks::{self, Reason};
use super::columns::{Column, Ids, NamedColumns, RepeatedText, Times};
use super::common::{CommonColumns, Shared};
use super::json::{self, JsonText};
use super::sample::Sample;
use super::{Converted, finish};
use crate::Result;

pub(super) fn convert(request: &ExportLogsServiceRequest, mut common: CommonColumns) -> Result<Converted> {
    let mut own = LogColumns::default();
    for resource_logs in &request.resource_logs {
        common.enter_resource(resource_logs.resource.as_ref(), &resource_logs.schema_url);
        for scope_logs in &resource_logs.scope_logs {
            common.enter_scope(scope_logs.scope.as_ref(), &scope_logs.schema_url);
            for record in &scope_logs.log_records {
                let shared = Shared {
                    timestamp: common.timestamp(record.time_unix_nano, record.observed_time_unix_nano),
                    attributes: &record.attributes,
                    dropped_attributes_count: Some(record.dropped_attributes_count),
                    flags: record.flags,
                };
                if common.admit(&shared, || check(record), |sample| describe(record, sample)) {
                    let (row, _) = common.push(&shared);
                    own.push(row, record, &mut common.json);
                }
            }
        }
    }
    let columns = own.finish(common.rows());
    finish(Signal::Logs, common, columns)
}

fn check(record: &LogRecord) -> Result<(), Reason> {
    checks::time(record.time_unix_nano, "time_unix_nano")?;
    checks::time(record.observed_time_unix_nano, "observed_time_unix_nano")?;
    let bounded = record.body.as_ref().is_none_or(json::value_depth_is_bounded);
    checks::ensure(bounded, Reason::TooDeep { place: "the values in the body" })
}

fn describe(record: &LogRecord, sample: &mut Sample) {
    sample.number("time_unix_nano", record.time_unix_nano);
    sample.number("observed_time_unix_nano", record.observed_time_unix_nano);
    sample.number("severity_number", record.severity_number);
    sample.text("severity_text", &record.severity_text);
    sample.text("event_name", &record.event_name);
    if let Some(body) = &record.body {
        sample.value("body", body);
    }
}

#[derive(Debug, Default)]
struct LogColumns {
    severity_number: Column<Int32Builder>,
    severity_text: RepeatedText,
    body: Column<StringBuilder>,
    body_type: RepeatedText,
    event_name: RepeatedText,
    trace_id: Ids,
    span_id: Ids,
    observed_timestamp: Times,
}

impl LogColumns {
    fn push(&mut self, row: usize, record: &LogRecord, json: &mut JsonText) {
        self.severity_number.set(row, record.severity_number);
        self.severity_text.set(row, &record.severity_text);
        self.event_name.set(row, &record.event_name);
        self.trace_id.set(row, &record.trace_id);
        self.span_id.set(row, &record.span_id);
        self.observed_timestamp.set_otlp(row, record.observed_time_unix_nano);
        if let Some(body) = &record.body {
            self.push_body(row, body, json);
        }
    }

    fn push_body(&mut self, row: usize, body: &AnyValue, json: &mut JsonText) {
        let body_type = match &body.value {
            Some(Value::StringValue(text)) => {
                self.body.set(row, text);
                self.body_type.set(row, "string");
                return;
            }
            // A body without a value has a type and no text.
            None | Some(Value::StringValueStrindex(_)) => {
                self.body_type.set(row, "empty");
                return;
            }
            Some(Value::BoolValue(_)) => "bool",
            Some(Value::IntValue(_)) => "int",
            Some(Value::DoubleValue(_)) => "double",
            Some(Value::BytesValue(_)) => "bytes",
            Some(Value::ArrayValue(_)) => "array",
            Some(Value::KvlistValue(_)) => "map",
        };
        self.body.set(row, json.value(body));
        self.body_type.set(row, body_type);
    }

    fn finish(self, rows: usize) -> NamedColumns {
        vec![
            (schema::SEVERITY_NUMBER, self.severity_number.finish(rows)),
            (schema::SEVERITY_TEXT, self.severity_text.finish(rows)),
            (schema::BODY, self.body.finish(rows)),
            (schema::BODY_TYPE, self.body_type.finish(rows)),
            (schema::EVENT_NAME, self.event_name.finish(rows)),
            (schema::TRACE_ID, self.trace_id.finish(rows)),
            (schema::SPAN_ID, self.span_id.finish(rows)),
            (schema::OBSERVED_TIMESTAMP, self.observed_timestamp.finish(rows)),
        ]
    }
}
