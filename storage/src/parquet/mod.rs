//! From buffered chunks to Parquet files.
//!
//! | file | purpose |
//! |---|---|
//! | `partition.rs` | splits rows by hour and sorts each part; pure |
//! | `properties.rs` | how each column is encoded, and what the footer says |
//! | `writer.rs` | writes one file so that it is on disk, whole, under its final name |

mod partition;
mod properties;
mod writer;

pub(crate) use partition::{Partition, partition_rows};
pub(crate) use writer::{FileIdentity, is_data_file_name, write_data_file};
