//! From buffered chunks, and the rows of user tables, to Parquet files.
//!
//! | file | purpose |
//! |---|---|
//! | `partition.rs` | splits rows by hour and sorts each part; pure |
//! | `properties.rs` | how each column is encoded, and what the footer says |
//! | `footer.rs` | reads back what the footer says |
//! | `own_checksum.rs` | the checksum that a file has of itself |
//! | `hashing_file.rs` | a file that is hashed while it is written |
//! | `writer.rs` | writes one file so that it is on disk, whole, under its final name |
//! | `expanded.rs` | how many bytes rows have without encodings; pure |
//! | `user_file.rs` | the same for a user table: the footer, and the writer |

mod expanded;
mod footer;
mod hashing_file;
mod own_checksum;
mod partition;
mod properties;
mod user_file;
mod writer;

pub(crate) use expanded::{expanded_bytes, value_bytes};
pub(crate) use footer::{Footer, FooterError, checksums, read_footer};
pub(crate) use partition::{Partition, partition_rows};
pub(crate) use properties::FILE_FORMAT_VERSION;
pub(crate) use user_file::{UserFileIdentity, UserFileWriter, UserFooter, read_user_footer};
pub(crate) use writer::{DataFileWriter, FileIdentity, NewDataFile, is_data_file_name, write_data_file};
