//! OTLP over HTTP: one service for the three paths, protobuf and JSON.
//!
//! | file | purpose |
//! |---|---|
//! | `service.rs` | [`HttpService`]: from a request to the one path of all transports |
//! | `answer.rs` | successes and refusals in the request's own content type |

mod answer;
mod service;

pub use service::HttpService;

#[cfg(test)]
mod tests;
