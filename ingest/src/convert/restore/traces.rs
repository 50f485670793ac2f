//! Rows of `traces` as spans.

use arrow::datatypes::{Int64Type, UInt32Type};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use alula_catalog::Signal;
use alula_catalog::schema::{
    ATTRIBUTES, DROPPED_ATTRIBUTES_COUNT, DROPPED_EVENTS_COUNT, DROPPED_LINKS_COUNT, DURATION_NS,
    END_TIMESTAMP, EVENTS, FLAGS, KIND, LINKS, NAME, PARENT_SPAN_ID, SPAN_ID, STATUS_CODE, STATUS_MESSAGE,
    TIMESTAMP, TRACE_ID, TRACE_STATE, event_fields, link_fields,
};

use super::Read;
use super::columns::{Attributes, Ids, Lists, Numbers, Texts, Times};
use super::given::Given;
use super::requests::{Entered, Rows};
use super::shared::{RecordTime, ScopePart};

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUS_CODES: [&str; 3] = ["unset", "ok", "error"];

pub(super) struct SpanRows {
    time: RecordTime,
    end_timestamp: Times,
    duration_ns: Numbers<Int64Type>,
    name: Texts,
    kind: Texts,
    status_code: Texts,
    status_message: Texts,
    trace_id: Ids,
    span_id: Ids,
    parent_span_id: Ids,
    trace_state: Texts,
    events: Lists<Events>,
    links: Lists<Links>,
    attributes: Attributes,
    dropped_attributes_count: Numbers<UInt32Type>,
    dropped_events_count: Numbers<UInt32Type>,
    dropped_links_count: Numbers<UInt32Type>,
    flags: Numbers<UInt32Type>,
}

impl Rows for SpanRows {
    const SIGNAL: Signal = Signal::Traces;
    type Record = Span;
    type Request = ExportTraceServiceRequest;

    fn try_new(given: &mut Given) -> Read<Self> {
        let end = if given.has(DURATION_NS) { DURATION_NS } else { END_TIMESTAMP };
        given.require(&[TIMESTAMP, end, NAME, TRACE_ID, SPAN_ID])?;
        Ok(Self {
            time: RecordTime::try_new(given)?,
            end_timestamp: given.times(END_TIMESTAMP)?,
            duration_ns: given.numbers(DURATION_NS)?,
            name: given.texts(NAME)?,
            kind: given.texts(KIND)?,
            status_code: given.texts(STATUS_CODE)?,
            status_message: given.texts(STATUS_MESSAGE)?,
            trace_id: given.ids(TRACE_ID)?,
            span_id: given.ids(SPAN_ID)?,
            parent_span_id: given.ids(PARENT_SPAN_ID)?,
            trace_state: given.texts(TRACE_STATE)?,
            events: given.struct_lists(EVENTS, &event_fields(), Events::try_new)?,
            links: given.struct_lists(LINKS, &link_fields(), Links::try_new)?,
            attributes: Attributes::new(given.texts(ATTRIBUTES)?),
            dropped_attributes_count: given.numbers(DROPPED_ATTRIBUTES_COUNT)?,
            dropped_events_count: given.numbers(DROPPED_EVENTS_COUNT)?,
            dropped_links_count: given.numbers(DROPPED_LINKS_COUNT)?,
            flags: given.numbers(FLAGS)?,
        })
    }

    fn record(&mut self, row: usize) -> Read<Span> {
        let name = self.name.needed(row, self.name.get(row), "a span needs a name")?.to_owned();
        let start_time_unix_nano = self.time.get(row)?;
        Ok(Span {
            trace_id: self.trace_id.get(row)?,
            span_id: self.span_id.get(row)?,
            trace_state: self.trace_state.text(row),
            parent_span_id: self.parent_span_id.get(row)?,
            flags: self.flags.get(row).unwrap_or_default(),
            name,
            kind: self.kind.number(row, &KINDS)?,
            start_time_unix_nano,
            end_time_unix_nano: self.end(row, start_time_unix_nano)?,
            attributes: self.attributes.list(row)?,
            dropped_attributes_count: self.dropped_attributes_count.get(row).unwrap_or_default(),
            events: self.events.get(row, Events::read)?.unwrap_or_default(),
            dropped_events_count: self.dropped_events_count.get(row).unwrap_or_default(),
            links: self.links.get(row, Links::read)?.unwrap_or_default(),
            dropped_links_count: self.dropped_links_count.get(row).unwrap_or_default(),
            status: self.status(row)?,
        })
    }

    fn add(request: &mut ExportTraceServiceRequest, entered: Entered, span: Span) {
        let scope_spans =
            |ScopePart { scope, schema_url }| ScopeSpans { scope, schema_url, spans: Vec::new() };
        match entered {
            Entered::Resource(part, scope) => request.resource_spans.push(ResourceSpans {
                resource: part.resource,
                schema_url: part.schema_url,
                scope_spans: vec![scope_spans(scope)],
            }),
            Entered::Scope(scope) => {
                if let Some(last) = request.resource_spans.last_mut() {
                    last.scope_spans.push(scope_spans(scope));
                }
            }
            Entered::Metric | Entered::Nothing => {}
        }
        let scope = request.resource_spans.last_mut().and_then(|last| last.scope_spans.last_mut());
        scope.expect("a scope is entered before its spans").spans.push(span);
    }
}

impl SpanRows {
    /// The end, or what the start and the duration make it.
    fn end(&self, row: usize, start: u64) -> Read<u64> {
        let end = self.end_timestamp.get(row)?;
        let Some(duration_ns) = self.duration_ns.get(row).filter(|_| end == 0 && start != 0) else {
            return Ok(end);
        };
        let end = u64::try_from(duration_ns).ok().and_then(|duration_ns| start.checked_add(duration_ns));
        let what = || format!("is {duration_ns}, with which the span has no end");
        end.ok_or_else(|| self.duration_ns.fault(row, what()))
    }

    fn status(&self, row: usize) -> Read<Option<Status>> {
        if self.status_code.get(row).is_none() && self.status_message.get(row).is_none() {
            return Ok(None);
        }
        let code = self.status_code.number(row, &STATUS_CODES)?;
        Ok(Some(Status { message: self.status_message.text(row), code }))
    }
}

struct Events {
    timestamp: Times,
    name: Texts,
    attributes: Attributes,
    dropped_attributes_count: Numbers<UInt32Type>,
}

impl Events {
    fn try_new(given: &mut Given) -> Read<Self> {
        Ok(Self {
            timestamp: given.times(TIMESTAMP)?,
            name: given.texts(NAME)?,
            attributes: Attributes::new(given.texts(ATTRIBUTES)?),
            dropped_attributes_count: given.numbers(DROPPED_ATTRIBUTES_COUNT)?,
        })
    }

    fn read(&mut self, item: usize) -> Read<Event> {
        Ok(Event {
            time_unix_nano: self.timestamp.get(item)?,
            name: self.name.text(item),
            attributes: self.attributes.list(item)?,
            dropped_attributes_count: self.dropped_attributes_count.get(item).unwrap_or_default(),
        })
    }
}

struct Links {
    trace_id: Ids,
    span_id: Ids,
    trace_state: Texts,
    attributes: Attributes,
    dropped_attributes_count: Numbers<UInt32Type>,
    flags: Numbers<UInt32Type>,
}

impl Links {
    fn try_new(given: &mut Given) -> Read<Self> {
        Ok(Self {
            trace_id: given.ids(TRACE_ID)?,
            span_id: given.ids(SPAN_ID)?,
            trace_state: given.texts(TRACE_STATE)?,
            attributes: Attributes::new(given.texts(ATTRIBUTES)?),
            dropped_attributes_count: given.numbers(DROPPED_ATTRIBUTES_COUNT)?,
            flags: given.numbers(FLAGS)?,
        })
    }

    fn read(&mut self, item: usize) -> Read<Link> {
        Ok(Link {
            trace_id: self.trace_id.get(item)?,
            span_id: self.span_id.get(item)?,
            trace_state: self.trace_state.text(item),
            attributes: self.attributes.list(item)?,
            dropped_attributes_count: self.dropped_attributes_count.get(item).unwrap_or_default(),
            flags: self.flags.get(item).unwrap_or_default(),
        })
    }
}
