//! The gRPC side: three services that differ only in name and signal.

mod codec;
mod service;

pub use service::{LogsService, MetricsService, TraceService};

#[cfg(test)]
mod tests;
