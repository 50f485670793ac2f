//! The server crate: composition and the command line. What the parts do is in the member crates.
//!
//! A library besides the binary, so that tests and `alula demo` can start the server inside their own process.

pub mod cli;
pub mod config;
mod demo;
mod generator;
pub mod server;
mod shutdown;
mod sql_client;
mod telemetry;
