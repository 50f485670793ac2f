//! The whole surface, over a socket, with arrow-flight's client.

mod claims;
mod compatibility;
mod endpoints;
mod errors;
pub(crate) mod fixture;
mod grafana;
mod hostile;
pub(crate) mod ledger;
pub(crate) mod long_queries;
mod metadata;
mod parameters;
mod polling;
mod prepared;
mod profiles;
mod promises;
mod sessions;
mod statements;
pub(crate) mod tables;
mod tail;
mod transactions;
