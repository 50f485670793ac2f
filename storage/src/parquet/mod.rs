//! From buffered chunks to Parquet files.
//!
//! | file | purpose |
//! |---|---|
//! | `partition.rs` | splits rows by hour and sorts each part; pure |
//! | `properties.rs` | how each column is encoded, and what the footer says |
//! | `footer.rs` | reads back what the footer says |
//! | `own_checksum.rs` | the checksum that a file has of itself |
//! | `writer.rs` | writes one file so that it is on disk, whole, under its final name |

mod footer;
mod own_checksum;
mod partition;
mod properties;
mod writer;

pub(crate) use footer::{Footer, FooterError, checksums, read_footer};
pub(crate) use partition::{Partition, partition_rows};
pub(crate) use properties::FILE_FORMAT_VERSION;
pub(crate) use writer::{DataFileWriter, FileIdentity, NewDataFile, is_data_file_name, write_data_file};
