//! Arbitrary requests, drawn from a string of bytes: proptest makes and shrinks the bytes.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// Draws values from bytes; when these have run out, everything is zero, empty or absent.
pub(crate) struct Draw<'a>(pub(crate) &'a [u8]);

impl Draw<'_> {
    pub(crate) fn logs(&mut self) -> ExportLogsServiceRequest {
        ExportLogsServiceRequest {
            resource_logs: self.list(3, |draw| ResourceLogs {
                resource: draw.option(Self::resource),
                scope_logs: draw.list(3, |draw| ScopeLogs {
                    scope: draw.option(Self::scope),
                    log_records: draw.list(4, Self::log_record),
                    schema_url: draw.text(),
                }),
                schema_url: draw.text(),
            }),
        }
    }

    pub(crate) fn traces(&mut self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest {
            resource_spans: self.list(3, |draw| ResourceSpans {
                resource: draw.option(Self::resource),
                scope_spans: draw.list(3, |draw| ScopeSpans {
                    scope: draw.option(Self::scope),
                    spans: draw.list(4, Self::span),
                    schema_url: draw.text(),
                }),
                schema_url: draw.text(),
            }),
        }
    }

    pub(crate) fn metrics(&mut self) -> ExportMetricsServiceRequest {
        ExportMetricsServiceRequest {
            resource_metrics: self.list(3, |draw| ResourceMetrics {
                resource: draw.option(Self::resource),
                scope_metrics: draw.list(3, |draw| ScopeMetrics {
                    scope: draw.option(Self::scope),
                    metrics: draw.list(4, Self::metric),
                    schema_url: draw.text(),
                }),
                schema_url: draw.text(),
            }),
        }
    }

    fn resource(&mut self) -> Resource {
        Resource {
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            entity_refs: self.list(2, |draw| EntityRef {
                schema_url: draw.text(),
                r#type: draw.text(),
                id_keys: draw.list(2, Self::text),
                description_keys: draw.list(2, Self::text),
            }),
        }
    }

    fn scope(&mut self) -> InstrumentationScope {
        InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
        }
    }

    fn log_record(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.time(),
            observed_time_unix_nano: self.time(),
            severity_number: self.u32() as i32,
            severity_text: self.text(),
            body: self.option(|draw| draw.value(3)),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            flags: self.u32(),
            trace_id: self.any_id(),
            span_id: self.any_id(),
            event_name: self.text(),
        }
    }

    fn span(&mut self) -> Span {
        Span {
            trace_id: self.mostly_id(16),
            span_id: self.mostly_id(8),
            trace_state: self.text(),
            parent_span_id: self.any_id(),
            flags: self.u32(),
            name: self.text(),
            kind: self.enumeration(),
            start_time_unix_nano: self.time(),
            end_time_unix_nano: self.time(),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            events: self.list(3, |draw| Event {
                time_unix_nano: draw.time(),
                name: draw.text(),
                attributes: draw.attributes(),
                dropped_attributes_count: draw.u32(),
            }),
            dropped_events_count: self.u32(),
            links: self.list(3, |draw| Link {
                trace_id: draw.any_id(),
                span_id: draw.any_id(),
                trace_state: draw.text(),
                attributes: draw.attributes(),
                dropped_attributes_count: draw.u32(),
                flags: draw.u32(),
            }),
            dropped_links_count: self.u32(),
            status: self.option(|draw| Status { message: draw.text(), code: draw.enumeration() }),
        }
    }

    fn metric(&mut self) -> Metric {
        let data = match self.byte() % 6 {
            0 => None,
            1 => Some(Data::Gauge(Gauge { data_points: self.list(3, Self::number_point) })),
            2 => Some(Data::Sum(Sum {
                data_points: self.list(3, Self::number_point),
                aggregation_temporality: self.enumeration(),
                is_monotonic: self.bool(),
            })),
            3 => Some(Data::Histogram(Histogram {
                data_points: self.list(3, Self::histogram_point),
                aggregation_temporality: self.enumeration(),
            })),
            4 => Some(Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(3, Self::exponential_point),
                aggregation_temporality: self.enumeration(),
            })),
            _ => Some(Data::Summary(Summary { data_points: self.list(3, Self::summary_point) })),
        };
        Metric {
            name: self.text(),
            description: self.text(),
            unit: self.text(),
            metadata: self.attributes(),
            data,
        }
    }

    fn number_point(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            exemplars: self.exemplars(),
            flags: self.u32(),
            value: match self.byte() % 3 {
                0 => None,
                1 => Some(number_data_point::Value::AsDouble(self.double())),
                _ => Some(number_data_point::Value::AsInt(self.int())),
            },
        }
    }

    fn histogram_point(&mut self) -> HistogramDataPoint {
        let mut bounds = self.list(4, Self::double);
        // Others are refused, which is worth seeing now and then.
        if !self.byte().is_multiple_of(8) {
            bounds.sort_by(f64::total_cmp);
            bounds.dedup();
        }
        let counts = match self.byte() % 8 {
            0 if bounds.is_empty() => 0,
            1 => 2,
            _ => bounds.len() + 1,
        };
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.u64(),
            sum: self.option(Self::double),
            bucket_counts: (0..counts).map(|_| self.u64()).collect(),
            explicit_bounds: bounds,
            exemplars: self.exemplars(),
            flags: self.u32(),
            min: self.option(Self::double),
            max: self.option(Self::double),
        }
    }

    fn exponential_point(&mut self) -> ExponentialHistogramDataPoint {
        fn buckets(draw: &mut Draw<'_>) -> Buckets {
            Buckets { offset: draw.u32() as i32, bucket_counts: draw.list(4, Draw::u64) }
        }
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.u64(),
            sum: self.option(Self::double),
            scale: self.u32() as i32,
            zero_count: self.u64(),
            positive: self.option(buckets),
            negative: self.option(buckets),
            flags: self.u32(),
            exemplars: self.exemplars(),
            min: self.option(Self::double),
            max: self.option(Self::double),
            zero_threshold: self.double(),
        }
    }

    fn summary_point(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.u64(),
            sum: self.double(),
            quantile_values: self
                .list(3, |draw| ValueAtQuantile { quantile: draw.double(), value: draw.double() }),
            flags: self.u32(),
        }
    }

    fn exemplars(&mut self) -> Vec<Exemplar> {
        self.list(3, |draw| Exemplar {
            filtered_attributes: draw.attributes(),
            time_unix_nano: draw.time(),
            span_id: draw.any_id(),
            trace_id: draw.any_id(),
            value: match draw.byte() % 3 {
                0 => None,
                1 => Some(exemplar::Value::AsDouble(draw.double())),
                _ => Some(exemplar::Value::AsInt(draw.int())),
            },
        })
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(4, |draw| draw.key_value(3))
    }

    fn key_value(&mut self, depth: usize) -> KeyValue {
        let key = match self.byte() % 8 {
            0 => "$bytes".to_owned(),
            1 => "$double".to_owned(),
            2 => "$map".to_owned(),
            3 => "service.name".to_owned(),
            _ => self.text(),
        };
        KeyValue { key, value: self.option(|draw| draw.value(depth)), key_strindex: 0 }
    }

    fn value(&mut self, depth: usize) -> AnyValue {
        let value = match self.byte() % if depth == 0 { 6 } else { 8 } {
            0 => None,
            1 => Some(Value::StringValue(self.text())),
            2 => Some(Value::BoolValue(self.bool())),
            3 => Some(Value::IntValue(self.int())),
            4 => Some(Value::DoubleValue(self.double())),
            5 => Some(Value::BytesValue(self.any_id())),
            6 => Some(Value::ArrayValue(ArrayValue { values: self.list(3, |draw| draw.value(depth - 1)) })),
            _ => Some(Value::KvlistValue(KeyValueList {
                values: self.list(3, |draw| draw.key_value(depth - 1)),
            })),
        };
        AnyValue { value }
    }

    fn list<T>(&mut self, max: u8, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() % (max + 1);
        (0..count).map(|_| item(self)).collect()
    }

    fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.byte().is_multiple_of(4)).then(|| some(self))
    }

    fn text(&mut self) -> String {
        let texts = [
            "",
            "a",
            "b",
            "http.route",
            "GET /{id}",
            "\"\\/\u{8}\n\u{1f}\u{7f}",
            "ä€😀",
            "{\"a\":1}",
            "null",
        ];
        match self.byte() {
            repeated @ 0..200 => texts[usize::from(repeated) % texts.len()].to_owned(),
            _ => (0..self.byte() % 8).map(|_| char::from_u32(self.u32() % 0x3000).unwrap_or('x')).collect(),
        }
    }

    /// Some times do not fit, so that their records are rejected.
    fn time(&mut self) -> u64 {
        match self.byte() {
            0..40 => 0,
            40..45 => i64::MAX as u64 + self.u64() % 2,
            45..230 => 1_700_000_000_000_000_000 + u64::from(self.u32()),
            _ => self.u64() >> 1,
        }
    }

    fn int(&mut self) -> i64 {
        match self.byte() % 6 {
            0 => 0,
            1 => i64::MIN,
            2 => i64::MAX,
            3 => (1 << 53) + 1,
            _ => self.u64() as i64,
        }
    }

    /// One NaN only: the text of attributes does not tell one from another.
    fn double(&mut self) -> f64 {
        let special =
            [0.0, -0.0, 1.0, 1e300, 5e-324, 0.1 + 0.2, 1e16, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        match self.byte() {
            chosen @ 0..128 => special[usize::from(chosen) % special.len()],
            _ => {
                let value = f64::from_bits(self.u64());
                if value.is_nan() { f64::NAN } else { value }
            }
        }
    }

    fn any_id(&mut self) -> Vec<u8> {
        let length = [0, 8, 16, 3][usize::from(self.byte() % 4)];
        (0..length).map(|_| self.byte()).collect()
    }

    fn mostly_id(&mut self, length: usize) -> Vec<u8> {
        if self.byte() >= 240 { self.any_id() } else { (1..=length).map(|i| self.byte() | i as u8).collect() }
    }

    fn enumeration(&mut self) -> i32 {
        match self.byte() {
            defined @ 0..200 => i32::from(defined % 6),
            _ => self.u32() as i32,
        }
    }

    fn bool(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn u32(&mut self) -> u32 {
        if self.bool() { u32::from(self.byte()) } else { self.u64() as u32 }
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }
}
