//! OTLP over gRPC: three services that differ only in name and signal.

pub(crate) mod message;
mod service;

pub use service::{LogsService, MetricsService, TraceService};

#[cfg(test)]
mod tests;
