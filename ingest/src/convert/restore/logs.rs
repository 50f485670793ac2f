//! Rows of `logs` as log records.

use arrow::datatypes::{Int32Type, UInt32Type};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use alula_catalog::Signal;
use alula_catalog::schema::{
    ATTRIBUTES, BODY, BODY_TYPE, DROPPED_ATTRIBUTES_COUNT, EVENT_NAME, FLAGS, OBSERVED_TIMESTAMP,
    SEVERITY_NUMBER, SEVERITY_TEXT, SPAN_ID, TIMESTAMP, TRACE_ID,
};

use super::columns::{Attributes, Ids, Numbers, Texts, Times, shortened};
use super::given::Given;
use super::requests::{Entered, Rows};
use super::shared::{RecordTime, ScopePart};
use super::{Read, json};

pub(super) struct LogRows {
    time: RecordTime,
    observed_timestamp: Times,
    severity_number: Numbers<Int32Type>,
    severity_text: Texts,
    body: Texts,
    body_type: Texts,
    event_name: Texts,
    trace_id: Ids,
    span_id: Ids,
    attributes: Attributes,
    dropped_attributes_count: Numbers<UInt32Type>,
    flags: Numbers<UInt32Type>,
}

impl Rows for LogRows {
    const SIGNAL: Signal = Signal::Logs;
    type Record = LogRecord;
    type Request = ExportLogsServiceRequest;

    fn try_new(given: &mut Given) -> Read<Self> {
        // A record may have been observed at a known time and have happened at an unknown one.
        if !given.has(OBSERVED_TIMESTAMP) {
            given.require(&[TIMESTAMP])?;
        }
        Ok(Self {
            time: RecordTime::try_new(given)?,
            observed_timestamp: given.times(OBSERVED_TIMESTAMP)?,
            severity_number: given.numbers(SEVERITY_NUMBER)?,
            severity_text: given.texts(SEVERITY_TEXT)?,
            body: given.texts(BODY)?,
            body_type: given.texts(BODY_TYPE)?,
            event_name: given.texts(EVENT_NAME)?,
            trace_id: given.ids(TRACE_ID)?,
            span_id: given.ids(SPAN_ID)?,
            attributes: Attributes::new(given.texts(ATTRIBUTES)?),
            dropped_attributes_count: given.numbers(DROPPED_ATTRIBUTES_COUNT)?,
            flags: given.numbers(FLAGS)?,
        })
    }

    fn record(&mut self, row: usize) -> Read<LogRecord> {
        let time_unix_nano = self.time.get(row)?;
        let observed_time_unix_nano = self.observed_timestamp.get(row)?;
        let is_observed = self.time.is_observed(row) && time_unix_nano == observed_time_unix_nano;
        Ok(LogRecord {
            time_unix_nano: if is_observed { 0 } else { time_unix_nano },
            observed_time_unix_nano,
            severity_number: self.severity_number.get(row).unwrap_or_default(),
            severity_text: self.severity_text.text(row),
            body: self.body(row)?,
            attributes: self.attributes.list(row)?,
            dropped_attributes_count: self.dropped_attributes_count.get(row).unwrap_or_default(),
            flags: self.flags.get(row).unwrap_or_default(),
            trace_id: self.trace_id.get(row)?,
            span_id: self.span_id.get(row)?,
            event_name: self.event_name.text(row),
        })
    }

    fn add(request: &mut ExportLogsServiceRequest, entered: Entered, record: LogRecord) {
        let scope_logs =
            |ScopePart { scope, schema_url }| ScopeLogs { scope, schema_url, log_records: Vec::new() };
        match entered {
            Entered::Resource(part, scope) => request.resource_logs.push(ResourceLogs {
                resource: part.resource,
                schema_url: part.schema_url,
                scope_logs: vec![scope_logs(scope)],
            }),
            Entered::Scope(scope) => {
                if let Some(last) = request.resource_logs.last_mut() {
                    last.scope_logs.push(scope_logs(scope));
                }
            }
            Entered::Metric | Entered::Nothing => {}
        }
        let scope = request.resource_logs.last_mut().and_then(|last| last.scope_logs.last_mut());
        scope.expect("a scope is entered before its records").log_records.push(record);
    }
}

impl LogRows {
    /// Text without a type is a text.
    fn body(&self, row: usize) -> Read<Option<AnyValue>> {
        let (text, body_type) = (self.body.get(row), self.body_type.get(row));
        let value = match (text, body_type) {
            (None, None) => return Ok(None),
            (None, Some("empty")) => None,
            (Some(text), None | Some("string")) => Some(Value::StringValue(text.to_owned())),
            (None, Some(body_type)) => {
                let what = format!("is null, and {BODY_TYPE} is {:?}", shortened(body_type));
                return Err(self.body.fault(row, what));
            }
            (Some(text), Some(body_type)) => {
                let value = json::parse(text).map_err(|what| self.body.fault(row, what))?.value;
                if type_of(value.as_ref()) != body_type {
                    let what = format!(
                        "is {:?}, and {BODY_TYPE} is {:?}: give the type that the JSON of the body has, or string",
                        shortened(text),
                        shortened(body_type)
                    );
                    return Err(self.body.fault(row, what));
                }
                value
            }
        };
        Ok(Some(AnyValue { value }))
    }
}

/// What `body_type` says of a body.
fn type_of(value: Option<&Value>) -> &'static str {
    match value {
        None | Some(Value::StringValueStrindex(_)) => "empty",
        Some(Value::StringValue(_)) => "string",
        Some(Value::BoolValue(_)) => "bool",
        Some(Value::IntValue(_)) => "int",
        Some(Value::DoubleValue(_)) => "double",
        Some(Value::BytesValue(_)) => "bytes",
        Some(Value::ArrayValue(_)) => "array",
        Some(Value::KvlistValue(_)) => "map",
    }
}
