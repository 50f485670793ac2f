//! The whole surface, over a socket, with arrow-flight's client.

pub(crate) mod fixture;
mod metadata;
mod prepared;
mod statements;
