//! Every column name, once. Names follow OTLP; our own end in a unit.

// All tables.
pub const TIMESTAMP: &str = "timestamp";
pub const TIMESTAMP_SOURCE: &str = "timestamp_source";
pub const SERVICE_NAME: &str = "service_name";
pub const NAME: &str = "name";
pub const ATTRIBUTES: &str = "attributes";
pub const DROPPED_ATTRIBUTES_COUNT: &str = "dropped_attributes_count";
pub const FLAGS: &str = "flags";
pub const RESOURCE_ATTRIBUTES: &str = "resource_attributes";
pub const RESOURCE_DROPPED_ATTRIBUTES_COUNT: &str = "resource_dropped_attributes_count";
pub const RESOURCE_ENTITY_REFS: &str = "resource_entity_refs";
pub const RESOURCE_SCHEMA_URL: &str = "resource_schema_url";
pub const SCOPE_NAME: &str = "scope_name";
pub const SCOPE_VERSION: &str = "scope_version";
pub const SCOPE_ATTRIBUTES: &str = "scope_attributes";
pub const SCOPE_DROPPED_ATTRIBUTES_COUNT: &str = "scope_dropped_attributes_count";
pub const SCOPE_SCHEMA_URL: &str = "scope_schema_url";
pub const TENANT_ID: &str = "tenant_id";
pub const INGESTED_AT: &str = "ingested_at";
pub const INGEST_SEQ: &str = "ingest_seq";

// Metrics.
pub const DESCRIPTION: &str = "description";
pub const UNIT: &str = "unit";
pub const TYPE: &str = "type";
pub const START_TIMESTAMP: &str = "start_timestamp";
pub const TEMPORALITY: &str = "temporality";
pub const IS_MONOTONIC: &str = "is_monotonic";
pub const VALUE: &str = "value";
pub const VALUE_INT: &str = "value_int";
pub const COUNT: &str = "count";
pub const SUM: &str = "sum";
pub const MIN: &str = "min";
pub const MAX: &str = "max";
pub const BUCKET_COUNTS: &str = "bucket_counts";
pub const EXPLICIT_BOUNDS: &str = "explicit_bounds";
pub const SCALE: &str = "scale";
pub const ZERO_COUNT: &str = "zero_count";
pub const ZERO_THRESHOLD: &str = "zero_threshold";
pub const POSITIVE_OFFSET: &str = "positive_offset";
pub const POSITIVE_BUCKET_COUNTS: &str = "positive_bucket_counts";
pub const NEGATIVE_OFFSET: &str = "negative_offset";
pub const NEGATIVE_BUCKET_COUNTS: &str = "negative_bucket_counts";
pub const QUANTILES: &str = "quantiles";
pub const QUANTILE: &str = "quantile";
pub const EXEMPLARS: &str = "exemplars";
pub const SERIES_ID: &str = "series_id";
pub const METADATA: &str = "metadata";

// Logs.
pub const OBSERVED_TIMESTAMP: &str = "observed_timestamp";
pub const SEVERITY_NUMBER: &str = "severity_number";
pub const SEVERITY_TEXT: &str = "severity_text";
pub const BODY: &str = "body";
pub const BODY_TYPE: &str = "body_type";
pub const EVENT_NAME: &str = "event_name";

// Logs and traces.
pub const TRACE_ID: &str = "trace_id";
pub const SPAN_ID: &str = "span_id";

// Traces.
pub const END_TIMESTAMP: &str = "end_timestamp";
pub const DURATION_NS: &str = "duration_ns";
pub const PARENT_SPAN_ID: &str = "parent_span_id";
pub const TRACE_STATE: &str = "trace_state";
pub const KIND: &str = "kind";
pub const STATUS_CODE: &str = "status_code";
pub const STATUS_MESSAGE: &str = "status_message";
pub const EVENTS: &str = "events";
pub const LINKS: &str = "links";
pub const DROPPED_EVENTS_COUNT: &str = "dropped_events_count";
pub const DROPPED_LINKS_COUNT: &str = "dropped_links_count";

// System tables.
pub const LAST_TIMESTAMP: &str = "last_timestamp";
pub const SIGNAL: &str = "signal";
pub const REASON: &str = "reason";
pub const REQUESTS: &str = "requests";
pub const SAMPLE: &str = "sample";
pub const ID: &str = "id";
pub const CREATED: &str = "created";
pub const PREDICATE: &str = "predicate";
pub const REQUESTED_BY: &str = "requested_by";
pub const COMPLETED: &str = "completed";
pub const FIRST_SEQ: &str = "first_seq";
pub const LAST_SEQ: &str = "last_seq";
pub const NUM_ROWS: &str = "num_rows";
pub const MIN_TIMESTAMP: &str = "min_timestamp";
pub const MAX_TIMESTAMP: &str = "max_timestamp";
pub const OWNER_KNOWN: &str = "owner_known";
pub const SOURCE: &str = "source";
pub const DETAIL: &str = "detail";
pub const ACKNOWLEDGED_AT: &str = "acknowledged_at";
