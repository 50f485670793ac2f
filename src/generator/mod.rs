//! Made-up telemetry of a small shop: what `alula demo` shows and `alula gen` sends.
//!
//! | file | purpose |
//! |---|---|
//! | `random.rs` | the one source of chance, seeded |
//! | `topology.rs` | services, their instances and what a resource says about them |
//! | `transaction.rs` | one user request through the services: spans, linked logs, observations |
//! | `incident.rs` | the fault worth finding |
//! | `meter.rs` | observations to data points of all five types |
//! | `series.rs` | data points of any number of series, for load |
//! | `points.rs` | how one data point of each type is made |
//! | `otlp.rs` | records to OTLP requests, grouped by resource |
//! | `template.rs`, `wire.rs` | encoded requests whose times, ids and values are patched when they are sent |
//! | `exporter.rs` | OTLP over gRPC with ready-made bytes |
//! | `load/` | the load generator: pace, workers, summary |
//!
//! **Invariant**: content follows from the seed alone. Only times, and what tells one use of a template from the
//! next, come from outside.

mod exporter;
mod incident;
pub(crate) mod load;
mod meter;
mod otlp;
mod points;
mod random;
mod series;
mod template;
mod topology;
mod transaction;
mod wire;

pub(crate) use exporter::{Exporter, Payload};
pub(crate) use incident::Incident;
pub(crate) use meter::Meter;
pub(crate) use otlp::{logs_request, traces_request};
pub(crate) use random::Random;
pub(crate) use series::MetricType;
pub(crate) use topology::Topology;
pub(crate) use transaction::{Activity, Shop};

#[cfg(test)]
mod tests;
