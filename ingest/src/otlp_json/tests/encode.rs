//! Requests as OTLP/JSON, written independently of the descriptors, and in all the ways that senders may choose.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use opentelemetry_proto::tonic::common::v1::{EntityRef, InstrumentationScope};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint, exemplar,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::*;

/// Chooses by bytes; when these have run out, it takes the first of what there is.
pub(super) struct Encoder {
    choices: std::vec::IntoIter<u8>,
    /// The members of the objects that are being written, from the outermost to the innermost.
    open: Vec<Vec<String>>,
}

impl Encoder {
    pub(super) fn new(choices: &[u8]) -> Self {
        Self { choices: Vec::from(choices).into_iter(), open: Vec::new() }
    }

    pub(super) fn logs(&mut self, request: &ExportLogsServiceRequest) -> String {
        self.object(|members| {
            members.list("resourceLogs", &request.resource_logs, |members, logs| {
                members.resource(logs.resource.as_ref(), &logs.schema_url);
                members.list("scopeLogs", &logs.scope_logs, |members, logs| {
                    members.scope(logs.scope.as_ref(), &logs.schema_url);
                    members.list("logRecords", &logs.log_records, Self::log_record);
                });
            });
        })
    }

    pub(super) fn traces(&mut self, request: &ExportTraceServiceRequest) -> String {
        self.object(|members| {
            members.list("resourceSpans", &request.resource_spans, |members, spans| {
                members.resource(spans.resource.as_ref(), &spans.schema_url);
                members.list("scopeSpans", &spans.scope_spans, |members, spans| {
                    members.scope(spans.scope.as_ref(), &spans.schema_url);
                    members.list("spans", &spans.spans, Self::span);
                });
            });
        })
    }

    pub(super) fn metrics(&mut self, request: &ExportMetricsServiceRequest) -> String {
        self.object(|members| {
            members.list("resourceMetrics", &request.resource_metrics, |members, metrics| {
                members.resource(metrics.resource.as_ref(), &metrics.schema_url);
                members.list("scopeMetrics", &metrics.scope_metrics, |members, metrics| {
                    members.scope(metrics.scope.as_ref(), &metrics.schema_url);
                    members.list("metrics", &metrics.metrics, Self::metric);
                });
            });
        })
    }

    fn object(&mut self, write: impl FnOnce(&mut Self)) -> String {
        self.open.push(Vec::new());
        write(self);
        let mut members = self.open.pop().unwrap();
        // The order of members means nothing.
        if self.choose(2) == 1 {
            members.reverse();
        }
        let space = self.space();
        format!("{{{space}{}}}", members.join(&format!("{space},{space}")))
    }

    fn integer_json(&mut self, value: impl Into<i128>) -> String {
        let value = value.into();
        match self.choose(6) {
            0 | 1 => format!("\"{value}\""),
            2 | 3 => value.to_string(),
            4 => format!("{value}.0"),
            _ => format!("\"{value}.0E+00\""),
        }
    }

    fn double_json(&mut self, value: f64) -> String {
        if value.is_nan() {
            "\"NaN\"".to_owned()
        } else if value.is_infinite() {
            format!("\"{}Infinity\"", if value > 0.0 { "" } else { "-" })
        } else {
            match self.choose(4) {
                0 => ryu::Buffer::new().format_finite(value).to_owned(),
                1 => format!("{value}"),
                2 => format!("{value:E}"),
                _ => format!("\"{value:e}\""),
            }
        }
    }

    fn text_json(&mut self, text: &str) -> String {
        if self.choose(2) == 0 {
            return serde_json::to_string(text).unwrap();
        }
        let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        units.concat().join_quotes()
    }

    fn hex_json(&mut self, bytes: &[u8]) -> String {
        let is_upper = self.choose(2) == 1;
        let digits =
            bytes.iter().map(|byte| if is_upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        digits.collect::<String>().join_quotes()
    }

    fn base64_json(&mut self, bytes: &[u8]) -> String {
        let text = match self.choose(4) {
            0 => BASE64_STANDARD.encode(bytes),
            1 => BASE64_STANDARD_NO_PAD.encode(bytes),
            2 => BASE64_URL_SAFE.encode(bytes),
            _ => BASE64_URL_SAFE_NO_PAD.encode(bytes),
        };
        text.join_quotes()
    }

    fn space(&mut self) -> &'static str {
        ["", "", " ", "\n\t"][self.choose(4)]
    }

    fn choose(&mut self, among: u8) -> usize {
        usize::from(self.choices.next().unwrap_or(0) % among)
    }

    fn resource(&mut self, resource: Option<&Resource>, schema_url: &str) {
        self.message("resource", resource, |members, resource| {
            members.attributes("attributes", &resource.attributes);
            members.integer("droppedAttributesCount", resource.dropped_attributes_count);
            members.list(
                "entityRefs",
                &resource.entity_refs,
                |members, EntityRef { schema_url, r#type, id_keys, description_keys }| {
                    members.text("schemaUrl", schema_url);
                    members.text("type", r#type);
                    members.scalars("idKeys", id_keys, |encoder, key| encoder.text_json(key));
                    members
                        .scalars("descriptionKeys", description_keys, |encoder, key| encoder.text_json(key));
                },
            );
        });
        self.text("schemaUrl", schema_url);
    }

    fn scope(&mut self, scope: Option<&InstrumentationScope>, schema_url: &str) {
        self.message("scope", scope, |members, scope| {
            members.text("name", &scope.name);
            members.text("version", &scope.version);
            members.attributes("attributes", &scope.attributes);
            members.integer("droppedAttributesCount", scope.dropped_attributes_count);
        });
        self.text("schemaUrl", schema_url);
    }

    fn log_record(&mut self, record: &LogRecord) {
        self.integer("timeUnixNano", record.time_unix_nano);
        self.integer("observedTimeUnixNano", record.observed_time_unix_nano);
        self.enumeration("severityNumber", record.severity_number);
        self.text("severityText", &record.severity_text);
        self.message("body", record.body.as_ref(), Self::value);
        self.attributes("attributes", &record.attributes);
        self.integer("droppedAttributesCount", record.dropped_attributes_count);
        self.integer("flags", record.flags);
        self.id("traceId", &record.trace_id);
        self.id("spanId", &record.span_id);
        self.text("eventName", &record.event_name);
    }

    fn span(&mut self, span: &Span) {
        self.id("traceId", &span.trace_id);
        self.id("spanId", &span.span_id);
        self.text("traceState", &span.trace_state);
        self.id("parentSpanId", &span.parent_span_id);
        self.integer("flags", span.flags);
        self.text("name", &span.name);
        self.enumeration("kind", span.kind);
        self.integer("startTimeUnixNano", span.start_time_unix_nano);
        self.integer("endTimeUnixNano", span.end_time_unix_nano);
        self.attributes("attributes", &span.attributes);
        self.integer("droppedAttributesCount", span.dropped_attributes_count);
        self.list("events", &span.events, |members, event| {
            members.integer("timeUnixNano", event.time_unix_nano);
            members.text("name", &event.name);
            members.attributes("attributes", &event.attributes);
            members.integer("droppedAttributesCount", event.dropped_attributes_count);
        });
        self.integer("droppedEventsCount", span.dropped_events_count);
        self.list("links", &span.links, |members, link| {
            members.id("traceId", &link.trace_id);
            members.id("spanId", &link.span_id);
            members.text("traceState", &link.trace_state);
            members.attributes("attributes", &link.attributes);
            members.integer("droppedAttributesCount", link.dropped_attributes_count);
            members.integer("flags", link.flags);
        });
        self.integer("droppedLinksCount", span.dropped_links_count);
        self.message("status", span.status.as_ref(), |members, status| {
            members.text("message", &status.message);
            members.enumeration("code", status.code);
        });
    }

    fn metric(&mut self, metric: &Metric) {
        self.text("name", &metric.name);
        self.text("description", &metric.description);
        self.text("unit", &metric.unit);
        self.attributes("metadata", &metric.metadata);
        let temporality = "aggregationTemporality";
        match &metric.data {
            None => {}
            Some(Data::Gauge(gauge)) => self.message("gauge", Some(gauge), |members, gauge| {
                members.list("dataPoints", &gauge.data_points, Self::number_point);
            }),
            Some(Data::Sum(sum)) => self.message("sum", Some(sum), |members, sum| {
                members.list("dataPoints", &sum.data_points, Self::number_point);
                members.enumeration(temporality, sum.aggregation_temporality);
                members.scalar("isMonotonic", sum.is_monotonic, |_, is_monotonic| is_monotonic.to_string());
            }),
            Some(Data::Histogram(histogram)) => {
                self.message("histogram", Some(histogram), |members, histogram| {
                    members.list("dataPoints", &histogram.data_points, Self::histogram_point);
                    members.enumeration(temporality, histogram.aggregation_temporality);
                });
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                self.message("exponentialHistogram", Some(histogram), |members, histogram| {
                    members.list("dataPoints", &histogram.data_points, Self::exponential_point);
                    members.enumeration(temporality, histogram.aggregation_temporality);
                });
            }
            Some(Data::Summary(summary)) => self.message("summary", Some(summary), |members, summary| {
                members.list("dataPoints", &summary.data_points, Self::summary_point);
            }),
        }
    }

    fn number_point(&mut self, point: &NumberDataPoint) {
        self.attributes("attributes", &point.attributes);
        self.integer("startTimeUnixNano", point.start_time_unix_nano);
        self.integer("timeUnixNano", point.time_unix_nano);
        self.list("exemplars", &point.exemplars, Self::exemplar);
        self.integer("flags", point.flags);
        match point.value {
            None => {}
            Some(number_data_point::Value::AsDouble(value)) => {
                self.some("asDouble", |encoder| encoder.double_json(value));
            }
            Some(number_data_point::Value::AsInt(value)) => {
                self.some("asInt", |encoder| encoder.integer_json(value));
            }
        }
    }

    fn histogram_point(&mut self, point: &HistogramDataPoint) {
        self.attributes("attributes", &point.attributes);
        self.integer("startTimeUnixNano", point.start_time_unix_nano);
        self.integer("timeUnixNano", point.time_unix_nano);
        self.integer("count", point.count);
        self.option("sum", point.sum);
        self.scalars("bucketCounts", &point.bucket_counts, |encoder, count| encoder.integer_json(*count));
        self.scalars("explicitBounds", &point.explicit_bounds, |encoder, bound| encoder.double_json(*bound));
        self.list("exemplars", &point.exemplars, Self::exemplar);
        self.integer("flags", point.flags);
        self.option("min", point.min);
        self.option("max", point.max);
    }

    fn exponential_point(&mut self, point: &ExponentialHistogramDataPoint) {
        let buckets = |members: &mut Self, buckets: &Buckets| {
            members.integer("offset", buckets.offset);
            members.scalars("bucketCounts", &buckets.bucket_counts, |encoder, count| {
                encoder.integer_json(*count)
            });
        };
        self.attributes("attributes", &point.attributes);
        self.integer("startTimeUnixNano", point.start_time_unix_nano);
        self.integer("timeUnixNano", point.time_unix_nano);
        self.integer("count", point.count);
        self.option("sum", point.sum);
        self.integer("scale", point.scale);
        self.integer("zeroCount", point.zero_count);
        self.message("positive", point.positive.as_ref(), buckets);
        self.message("negative", point.negative.as_ref(), buckets);
        self.integer("flags", point.flags);
        self.list("exemplars", &point.exemplars, Self::exemplar);
        self.option("min", point.min);
        self.option("max", point.max);
        self.double("zeroThreshold", point.zero_threshold);
    }

    fn summary_point(&mut self, point: &SummaryDataPoint) {
        self.attributes("attributes", &point.attributes);
        self.integer("startTimeUnixNano", point.start_time_unix_nano);
        self.integer("timeUnixNano", point.time_unix_nano);
        self.integer("count", point.count);
        self.double("sum", point.sum);
        self.list("quantileValues", &point.quantile_values, |members, quantile| {
            members.double("quantile", quantile.quantile);
            members.double("value", quantile.value);
        });
        self.integer("flags", point.flags);
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        self.attributes("filteredAttributes", &exemplar.filtered_attributes);
        self.integer("timeUnixNano", exemplar.time_unix_nano);
        self.id("spanId", &exemplar.span_id);
        self.id("traceId", &exemplar.trace_id);
        match exemplar.value {
            None => {}
            Some(exemplar::Value::AsDouble(value)) => {
                self.some("asDouble", |encoder| encoder.double_json(value));
            }
            Some(exemplar::Value::AsInt(value)) => self.some("asInt", |encoder| encoder.integer_json(value)),
        }
    }

    fn attributes(&mut self, name: &str, attributes: &[KeyValue]) {
        self.list(name, attributes, Self::key_value);
    }

    fn key_value(&mut self, attribute: &KeyValue) {
        self.text("key", &attribute.key);
        self.message("value", attribute.value.as_ref(), Self::value);
    }

    fn value(&mut self, value: &AnyValue) {
        match &value.value {
            None | Some(Value::StringValueStrindex(_)) => {}
            Some(Value::StringValue(text)) => self.some("stringValue", |encoder| encoder.text_json(text)),
            Some(Value::BoolValue(value)) => self.some("boolValue", |_| value.to_string()),
            Some(Value::IntValue(value)) => self.some("intValue", |encoder| encoder.integer_json(*value)),
            Some(Value::DoubleValue(value)) => {
                self.some("doubleValue", |encoder| encoder.double_json(*value));
            }
            Some(Value::BytesValue(bytes)) => self.some("bytesValue", |encoder| encoder.base64_json(bytes)),
            Some(Value::ArrayValue(array)) => self.message("arrayValue", Some(array), |members, array| {
                members.list("values", &array.values, Self::value);
            }),
            Some(Value::KvlistValue(map)) => self.message("kvlistValue", Some(map), |members, map| {
                members.list("values", &map.values, Self::key_value);
            }),
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.scalar(name, text.to_owned(), |encoder, text| encoder.text_json(&text));
    }

    fn id(&mut self, name: &str, id: &[u8]) {
        self.scalar(name, id.to_vec(), |encoder, id| encoder.hex_json(&id));
    }

    fn integer(&mut self, name: &str, value: impl Into<i128>) {
        self.scalar(name, value.into(), Self::integer_json);
    }

    fn enumeration(&mut self, name: &str, value: i32) {
        self.scalar(name, value, |_, value| value.to_string());
    }

    fn double(&mut self, name: &str, value: f64) {
        // A negative zero equals the default, but is none.
        if value.to_bits() == 0 {
            self.scalar(name, value, Self::double_json);
        } else {
            self.some(name, |encoder| encoder.double_json(value));
        }
    }

    fn option(&mut self, name: &str, value: Option<f64>) {
        match value {
            Some(value) => self.some(name, |encoder| encoder.double_json(value)),
            None => self.none(name),
        }
    }

    /// A default may be written, left out, or null.
    fn scalar<T: Default + PartialEq>(
        &mut self,
        name: &str,
        value: T,
        write: impl FnOnce(&mut Self, T) -> String,
    ) {
        if value == T::default() && self.choose(2) == 0 {
            self.none(name);
        } else {
            self.some(name, |encoder| write(encoder, value));
        }
    }

    fn message<T>(&mut self, name: &str, message: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        match message {
            Some(message) => self.some(name, |encoder| encoder.object(|members| write(members, message))),
            None => self.none(name),
        }
    }

    fn list<T>(&mut self, name: &str, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.scalars(name, items, |encoder, item| encoder.object(|members| write(members, item)));
    }

    fn scalars<T>(&mut self, name: &str, items: &[T], write: impl Fn(&mut Self, &T) -> String) {
        if items.is_empty() && self.choose(2) == 0 {
            return self.none(name);
        }
        self.some(name, |encoder| {
            let items: Vec<String> = items.iter().map(|item| write(encoder, item)).collect();
            format!("[{}{}]", encoder.space(), items.join(&format!("{},", encoder.space())))
        });
    }

    fn none(&mut self, name: &str) {
        if self.choose(3) == 1 {
            self.some(name, |_| "null".to_owned());
        }
    }

    fn push(&mut self, member: String) {
        self.open.last_mut().unwrap().push(member);
    }

    /// Writes a member, and sometimes one beside it that means nothing.
    fn some(&mut self, name: &str, write: impl FnOnce(&mut Self) -> String) {
        match self.choose(16) {
            1 => self.push(format!("\"x_{name}\":{{\"{name}\":[null,-1.5e3,\"\\ud83d\",{{}}]}}")),
            2 => self.push("\"time_unix_nano\":\"ignored\"".to_owned()),
            _ => {}
        }
        let (value, space) = (write(self), self.space());
        self.push(format!("\"{name}\":{space}{value}"));
    }
}

trait JoinQuotes {
    fn join_quotes(self) -> String;
}

impl JoinQuotes for String {
    fn join_quotes(self) -> String {
        format!("\"{self}\"")
    }
}
