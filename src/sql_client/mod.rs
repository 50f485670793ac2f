//! The Flight SQL client behind `alula sql`, `alula demo` and, for addresses and credentials, `alula gen`.
//!
//! | file | purpose |
//! |---|---|
//! | `address.rs` | [`ServerUrl`] and [`Credentials`]: where to connect and what to present |
//! | `query.rs` | one query: connect, execute, stream the batches |
//! | `output/` | record batches to text or bytes, one encoder a format |
//! | `destination.rs` | standard output or a file that appears only when it is complete |
//! | `error.rs` | what can go wrong, on this side or on the server |
//!
//! **Invariants**
//! - Every format but the box table on a terminal writes all rows; what a terminal leaves out is said on stderr.
//! - Nothing but the answer is written to the destination.

mod address;
mod destination;
mod error;
mod output;
mod query;

pub(crate) use address::{ConnectArgs, Credentials, ServerUrl};
pub(crate) use destination::Destination;
pub(crate) use error::{Error, Result};
pub(crate) use output::{Encoder, Format, Layout, LeftOut, encoder};
pub(crate) use query::{Answer, Connection};

#[cfg(test)]
mod tests;
