//! What each column holds, in a few words: clients read it as the column's remarks, and readers in `docs/sql.md`.
//!
//! Not in the metadata of the fields: schemas are compared and written into files, and a better word must change neither.

use super::columns::*;
use crate::Signal;

type Comments = &'static [(&'static str, &'static str)];

const COMMON: Comments = &[
    (TIMESTAMP, "when it happened, of a span its start; see timestamp_source"),
    (
        TIMESTAMP_SOURCE,
        "where timestamp comes from: record; observed for a log record without a time of its own; received if there was no time at all",
    ),
    (SERVICE_NAME, "resource attribute service.name, if it is a text"),
    (ATTRIBUTES, "attributes of the data point, log record or span, as JSON"),
    (DROPPED_ATTRIBUTES_COUNT, "attributes that the sender dropped"),
    (FLAGS, "flags as OTLP defines them"),
    (RESOURCE_ATTRIBUTES, "attributes of the resource, as JSON; null if the sender sent none"),
    (RESOURCE_DROPPED_ATTRIBUTES_COUNT, "attributes of the resource that the sender dropped"),
    (RESOURCE_ENTITY_REFS, "entities that the resource stands for, as JSON"),
    (RESOURCE_SCHEMA_URL, "schema of the resource's attributes"),
    (SCOPE_NAME, "instrumentation scope: the library that recorded it"),
    (SCOPE_VERSION, "version of the instrumentation scope"),
    (SCOPE_ATTRIBUTES, "attributes of the scope, as JSON; null if the sender sent no scope"),
    (SCOPE_DROPPED_ATTRIBUTES_COUNT, "attributes of the scope that the sender dropped"),
    (SCOPE_SCHEMA_URL, "schema of the scope's attributes"),
    (TENANT_ID, "the tenant: yours"),
    (INGESTED_AT, "when the request arrived"),
    (INGEST_SEQ, "number of the request in the log: rises with arrival"),
];

const METRICS: Comments = &[
    (NAME, "name of the metric"),
    (TYPE, "gauge, sum, histogram, exponential_histogram or summary"),
    (VALUE, "value of a gauge or sum"),
    (VALUE_INT, "the same, if the sender sent an integer: exact beyond 2^53"),
    (UNIT, "unit of the metric"),
    (DESCRIPTION, "description of the metric"),
    (START_TIMESTAMP, "when the counting of this point began"),
    (TEMPORALITY, "delta, cumulative or unspecified"),
    (IS_MONOTONIC, "whether a sum only rises"),
    (COUNT, "observations in a histogram or summary"),
    (SUM, "sum of the observations"),
    (MIN, "smallest observation"),
    (MAX, "largest observation"),
    (BUCKET_COUNTS, "observations in each bucket of a histogram"),
    (EXPLICIT_BOUNDS, "upper bounds of the buckets but the last"),
    (SCALE, "scale of an exponential histogram: its base is 2^(2^-scale)"),
    (ZERO_COUNT, "observations in the zero bucket"),
    (ZERO_THRESHOLD, "width of the zero bucket on either side"),
    (POSITIVE_OFFSET, "index of the first positive bucket"),
    (POSITIVE_BUCKET_COUNTS, "observations in each positive bucket"),
    (NEGATIVE_OFFSET, "index of the first negative bucket"),
    (NEGATIVE_BUCKET_COUNTS, "observations in each negative bucket"),
    (QUANTILES, "quantiles of a summary and their values"),
    (EXEMPLARS, "single observations with their traces; view metric_exemplars has them as rows"),
    (SERIES_ID, "stable hash of everything that identifies the series"),
    (METADATA, "metadata of the metric, as JSON"),
];

const LOGS: Comments = &[
    (SEVERITY_NUMBER, "1 (trace) to 24 (fatal); 0 for none"),
    (SEVERITY_TEXT, "severity as the source writes it"),
    (BODY, "text as sent; anything else as JSON"),
    (BODY_TYPE, "string, bool, int, double, bytes, array, map or empty"),
    (EVENT_NAME, "name of the event that the record is about"),
    (TRACE_ID, "trace that the record belongs to, in lower-case hex"),
    (SPAN_ID, "span that the record belongs to, in lower-case hex"),
    (OBSERVED_TIMESTAMP, "when the record was collected"),
];

const TRACES: Comments = &[
    (NAME, "name of the span"),
    (KIND, "server, client, producer, consumer, internal or unspecified"),
    (STATUS_CODE, "unset, ok or error"),
    (STATUS_MESSAGE, "what went wrong"),
    (
        DURATION_NS,
        "end minus start in nanoseconds; null if a time is missing or the end comes before the start",
    ),
    (TRACE_ID, "trace that the span is part of, in lower-case hex"),
    (SPAN_ID, "the span, in lower-case hex"),
    (PARENT_SPAN_ID, "span that it is a part of; null for the root of a trace"),
    (END_TIMESTAMP, "when the span ended"),
    (TRACE_STATE, "W3C trace state"),
    (EVENTS, "what happened during the span; view span_events has them as rows"),
    (LINKS, "other spans that it has to do with; view span_links has them as rows"),
    (DROPPED_EVENTS_COUNT, "events that the sender dropped"),
    (DROPPED_LINKS_COUNT, "links that the sender dropped"),
];

const INGEST_REJECTIONS: Comments = &[
    (TIMESTAMP, "arrival of the first request"),
    (LAST_TIMESTAMP, "arrival of the last request"),
    (TENANT_ID, "the tenant: yours"),
    (SIGNAL, "metrics, logs or traces"),
    (REASON, "why it was refused"),
    (COUNT, "refused records; 0 if a request was refused as a whole"),
    (REQUESTS, "requests with such records"),
    (SAMPLE, "the first refused record as JSON, cut at 1 KiB"),
];

const DELETIONS: Comments = &[
    (ID, "number of the deletion"),
    (CREATED, "when it was requested"),
    (TENANT_ID, "the tenant: yours"),
    (SIGNAL, "table that rows were deleted from"),
    (PREDICATE, "condition of the statement"),
    (NUM_ROWS, "rows that it deleted"),
    (REQUESTED_BY, "subject of the token it was requested with"),
    (COMPLETED, "when no file had such a row any more; null until then"),
];

const DATA_LOSS: Comments = &[
    (TIMESTAMP, "when the loss was found"),
    (TENANT_ID, "the tenant: yours"),
    (OWNER_KNOWN, "whether the rows are known to be yours"),
    (SIGNAL, "metrics, logs or traces; null if it is not known"),
    (FIRST_SEQ, "first request in the log that is concerned"),
    (LAST_SEQ, "last request in the log that is concerned"),
    (NUM_ROWS, "rows that are lost; null if it is not known"),
    (MIN_TIMESTAMP, "earliest timestamp of the lost rows"),
    (MAX_TIMESTAMP, "latest timestamp of the lost rows"),
    (SOURCE, "log segment or data file that cannot be read"),
    (DETAIL, "what is wrong with it"),
    (ACKNOWLEDGED_AT, "when an operator said that they know of it; null until then"),
];

const QUERIES: Comments = &[
    ("query_id", "id of the run, which its client has too"),
    ("started", "when the statement came"),
    (TENANT_ID, "the tenant: yours"),
    ("subject", "subject of the token it came with"),
    ("state", "queued, planning, running (no row sent yet), streaming, finished, failed or cancelled"),
    ("error", "what its client was told; null if it did not fail"),
    ("sql", "the statement, cut at 1,000 bytes"),
    ("progress", "part of the rows of buffer and files that was read, 0 to 1; below 1 until the end"),
    ("elapsed_ms", "milliseconds that it has taken"),
    ("rows", "rows sent"),
    ("bytes", "bytes sent"),
    ("rows_scanned", "rows read from buffer and files"),
    ("bytes_scanned", "bytes read from files"),
    ("files_read", "files that were read"),
    ("files_pruned", "files that statistics ruled out"),
    ("row_groups_read", "row groups that were read"),
    ("row_groups_pruned", "row groups that statistics ruled out"),
    ("memory_peak_bytes", "the most memory that its operators held"),
];

/// What a column of a telemetry table holds.
pub fn column_comment(signal: Signal, column: &str) -> Option<&'static str> {
    let own = match signal {
        Signal::Metrics => METRICS,
        Signal::Logs => LOGS,
        Signal::Traces => TRACES,
    };
    find(own, column).or_else(|| find(COMMON, column))
}

/// What a column of a table in the schema `system` holds.
pub fn system_column_comment(table: &str, column: &str) -> Option<&'static str> {
    let comments = match table {
        "data_loss" => DATA_LOSS,
        "deletions" => DELETIONS,
        "ingest_rejections" => INGEST_REJECTIONS,
        "queries" => QUERIES,
        _ => return None,
    };
    find(comments, column)
}

fn find(comments: Comments, column: &str) -> Option<&'static str> {
    comments.iter().find(|(name, _)| *name == column).map(|(_, comment)| *comment)
}

#[cfg(test)]
mod tests;
