//! Spans: the columns that only `traces` has.

use arrow::array::{Int64Builder, StringBuilder, UInt32Builder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use alula_catalog::{Signal, schema};

use super::checks::{self, Reason};
use super::columns::{Column, Ids, Lists, NamedColumns, RepeatedText, Times, saturate};
use super::common::{CommonColumns, Shared};
use super::json::JsonText;
use super::sample::Sample;
use super::{Converted, finish};
use crate::Result;

pub(super) fn convert(request: &ExportTraceServiceRequest, mut common: CommonColumns) -> Result<Converted> {
    let mut own = SpanColumns::default();
    for resource_spans in &request.resource_spans {
        common.enter_resource(resource_spans.resource.as_ref(), &resource_spans.schema_url);
        for scope_spans in &resource_spans.scope_spans {
            common.enter_scope(scope_spans.scope.as_ref(), &scope_spans.schema_url);
            for span in &scope_spans.spans {
                let shared = Shared {
                    timestamp: common.timestamp(span.start_time_unix_nano, 0),
                    attributes: &span.attributes,
                    dropped_attributes_count: Some(span.dropped_attributes_count),
                    flags: span.flags,
                };
                if common.admit(&shared, || check(span), |sample| describe(span, sample)) {
                    let (row, _) = common.push(&shared);
                    own.push(row, span, &mut common.json);
                }
            }
        }
    }
    let columns = own.finish(common.rows());
    finish(Signal::Traces, common, columns)
}

fn check(span: &Span) -> Result<(), Reason> {
    checks::ensure(is_id::<16>(&span.trace_id), Reason::InvalidTraceId)?;
    checks::ensure(is_id::<8>(&span.span_id), Reason::InvalidSpanId)?;
    checks::time(span.start_time_unix_nano, "start_time_unix_nano")?;
    checks::time(span.end_time_unix_nano, "end_time_unix_nano")?;
    for event in &span.events {
        checks::time(event.time_unix_nano, "time_unix_nano of an event")?;
        checks::depth(&event.attributes, "attributes of an event")?;
    }
    span.links.iter().try_for_each(|link| checks::depth(&link.attributes, "attributes of a link"))
}

fn describe(span: &Span, sample: &mut Sample) {
    sample.text("name", &span.name);
    sample.id("trace_id", &span.trace_id);
    sample.id("span_id", &span.span_id);
    sample.number("start_time_unix_nano", span.start_time_unix_nano);
    sample.number("end_time_unix_nano", span.end_time_unix_nano);
}

fn is_id<const BYTES: usize>(id: &[u8]) -> bool {
    id.len() == BYTES && id.iter().any(|&byte| byte != 0)
}

#[derive(Debug, Default)]
struct SpanColumns {
    name: RepeatedText,
    kind: RepeatedText,
    status_code: RepeatedText,
    status_message: RepeatedText,
    duration_ns: Column<Int64Builder>,
    trace_id: Ids,
    span_id: Ids,
    parent_span_id: Ids,
    end_timestamp: Times,
    trace_state: RepeatedText,
    events: Events,
    links: Links,
    dropped_events_count: Column<UInt32Builder>,
    dropped_links_count: Column<UInt32Builder>,
}

impl SpanColumns {
    fn push(&mut self, row: usize, span: &Span, json: &mut JsonText) {
        self.name.set(row, &span.name);
        self.trace_state.set(row, &span.trace_state);
        self.trace_id.set(row, &span.trace_id);
        self.span_id.set(row, &span.span_id);
        self.parent_span_id.set(row, &span.parent_span_id);
        self.end_timestamp.set_otlp(row, span.end_time_unix_nano);
        self.duration_ns.set_some(row, duration_ns(span));
        self.dropped_events_count.set(row, span.dropped_events_count);
        self.dropped_links_count.set(row, span.dropped_links_count);
        match kind(span.kind) {
            Some(kind) => self.kind.set(row, kind),
            None => self.kind.set(row, &span.kind.to_string()),
        }
        if let Some(status) = &span.status {
            self.status_message.set(row, &status.message);
            match status_code(status.code) {
                Some(code) => self.status_code.set(row, code),
                None => self.status_code.set(row, &status.code.to_string()),
            }
        }
        self.events.push(row, &span.events, json);
        self.links.push(row, &span.links, json);
    }

    fn finish(self, rows: usize) -> NamedColumns {
        vec![
            (schema::NAME, self.name.finish(rows)),
            (schema::KIND, self.kind.finish(rows)),
            (schema::STATUS_CODE, self.status_code.finish(rows)),
            (schema::STATUS_MESSAGE, self.status_message.finish(rows)),
            (schema::DURATION_NS, self.duration_ns.finish(rows)),
            (schema::TRACE_ID, self.trace_id.finish(rows)),
            (schema::SPAN_ID, self.span_id.finish(rows)),
            (schema::PARENT_SPAN_ID, self.parent_span_id.finish(rows)),
            (schema::END_TIMESTAMP, self.end_timestamp.finish(rows)),
            (schema::TRACE_STATE, self.trace_state.finish(rows)),
            (schema::EVENTS, self.events.finish(rows)),
            (schema::LINKS, self.links.finish(rows)),
            (schema::DROPPED_EVENTS_COUNT, self.dropped_events_count.finish(rows)),
            (schema::DROPPED_LINKS_COUNT, self.dropped_links_count.finish(rows)),
        ]
    }
}

/// The time between two known ends that are in order.
fn duration_ns(span: &Span) -> Option<i64> {
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    (start != 0 && end >= start).then(|| saturate(end) - saturate(start))
}

/// The name of a span kind, none for a number that OTLP does not define.
fn kind(number: i32) -> Option<&'static str> {
    Some(match SpanKind::try_from(number).ok()? {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    })
}

/// The name of a status code, none for a number that OTLP does not define.
fn status_code(number: i32) -> Option<&'static str> {
    Some(match StatusCode::try_from(number).ok()? {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    })
}

#[derive(Debug, Default)]
struct Events {
    lists: Lists,
    timestamp: Times,
    name: Column<StringBuilder>,
    attributes: Column<StringBuilder>,
    dropped_attributes_count: Column<UInt32Builder>,
}

impl Events {
    fn push(&mut self, row: usize, events: &[Event], json: &mut JsonText) {
        for (item, event) in (self.lists.items()..).zip(events) {
            self.timestamp.set_otlp(item, event.time_unix_nano);
            self.name.set(item, &event.name);
            self.attributes.set(item, json.attributes(&event.attributes));
            self.dropped_attributes_count.set(item, event.dropped_attributes_count);
        }
        self.lists.set(row, events.len());
    }

    fn finish(self, rows: usize) -> arrow::array::ArrayRef {
        let items = self.lists.items();
        let columns = vec![
            self.timestamp.finish(items),
            self.name.finish(items),
            self.attributes.finish(items),
            self.dropped_attributes_count.finish(items),
        ];
        self.lists.finish_structs(rows, schema::event_fields(), columns)
    }
}

#[derive(Debug, Default)]
struct Links {
    lists: Lists,
    trace_id: Ids,
    span_id: Ids,
    trace_state: Column<StringBuilder>,
    attributes: Column<StringBuilder>,
    dropped_attributes_count: Column<UInt32Builder>,
    flags: Column<UInt32Builder>,
}

impl Links {
    fn push(&mut self, row: usize, links: &[Link], json: &mut JsonText) {
        for (item, link) in (self.lists.items()..).zip(links) {
            self.trace_id.set(item, &link.trace_id);
            self.span_id.set(item, &link.span_id);
            self.trace_state.set(item, &link.trace_state);
            self.attributes.set(item, json.attributes(&link.attributes));
            self.dropped_attributes_count.set(item, link.dropped_attributes_count);
            self.flags.set(item, link.flags);
        }
        self.lists.set(row, links.len());
    }

    fn finish(self, rows: usize) -> arrow::array::ArrayRef {
        let items = self.lists.items();
        let columns = vec![
            self.trace_id.finish(items),
            self.span_id.finish(items),
            self.trace_state.finish(items),
            self.attributes.finish(items),
            self.dropped_attributes_count.finish(items),
            self.flags.finish(items),
        ];
        self.lists.finish_structs(rows, schema::link_fields(), columns)
    }
}
