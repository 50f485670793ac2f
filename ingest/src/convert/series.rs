//! The identity of a series: a hash that is stored and must not change.
//!
//! `series_id` is XXH3-64 with seed 0 over these parts in this order: resource attributes, scope name, scope version,
//! scope attributes, metric name, unit, type, temporality, `true` or `false` for monotonic, point attributes.
//! Attributes are their canonical JSON text. A part is written as the byte 1, its length as 64-bit little endian and
//! its bytes; a part that is absent as the byte 0. So no two lists of parts have the same bytes.

use xxhash_rust::xxh3::xxh3_64;

use super::common::Origin;

/// The parts of a series that all points of a metric share.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetricIdentity<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) name: &'a str,
    pub(super) unit: &'a str,
    pub(super) kind: &'a str,
    pub(super) temporality: Option<&'a str>,
    pub(super) is_monotonic: Option<bool>,
}

/// Computes the ids of one metric's series.
#[derive(Debug, Default)]
pub(super) struct SeriesHasher {
    parts: Vec<u8>,
    /// The length of the parts that belong to the metric.
    prefix: usize,
}

impl SeriesHasher {
    pub(super) fn enter_metric(&mut self, metric: &MetricIdentity<'_>) {
        self.parts.clear();
        for part in [
            metric.origin.resource_attributes,
            metric.origin.scope_name,
            metric.origin.scope_version,
            metric.origin.scope_attributes,
            Some(metric.name),
            Some(metric.unit),
            Some(metric.kind),
            metric.temporality,
            metric.is_monotonic.map(|is_monotonic| if is_monotonic { "true" } else { "false" }),
        ] {
            self.push(part);
        }
        self.prefix = self.parts.len();
    }

    pub(super) fn id(&mut self, attributes: &str) -> u64 {
        self.parts.truncate(self.prefix);
        self.push(Some(attributes));
        xxh3_64(&self.parts)
    }

    fn push(&mut self, part: Option<&str>) {
        match part {
            None => self.parts.push(0),
            Some(part) => {
                self.parts.push(1);
                self.parts.extend_from_slice(&(part.len() as u64).to_le_bytes());
                self.parts.extend_from_slice(part.as_bytes());
            }
        }
    }
}
