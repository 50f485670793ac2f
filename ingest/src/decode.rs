//! The replay side of the conversion.

use std::error::Error as StdError;

use arrow::array::RecordBatch;

use alula_storage::{EntryDecoder, LoggedEntry};

use crate::convert::{Context, Policy, convert};

/// Makes the rows of a logged request again: those that were stored when it was received, whatever the limits are now.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtlpDecoder;

impl EntryDecoder for OtlpDecoder {
    fn decode(&self, entry: &LoggedEntry) -> Result<RecordBatch, Box<dyn StdError + Send + Sync>> {
        let context = Context {
            tenant: entry.tenant.clone(),
            received_ns: entry.received_ns,
            policy: Policy::Replay(&entry.rejected),
        };
        Ok(convert(entry.signal, &entry.payload, &context)?.batch)
    }
}

#[cfg(test)]
mod tests {
    use alula_catalog::{Signal, TenantId, schema};
    use prost::Message;

    use super::*;
    use crate::testing::logs;

    fn entry(payload: Vec<u8>) -> LoggedEntry {
        LoggedEntry {
            tenant: TenantId::unauthenticated(),
            signal: Signal::Logs,
            received_ns: 7,
            payload: payload.into(),
            rejected: vec![1, 3],
        }
    }

    #[test]
    fn exactly_the_rejected_records_are_left_out() {
        let batch = OtlpDecoder.decode(&entry(logs(3, 2).encode_to_vec())).unwrap();
        assert_eq!(batch.schema(), schema::entry_schema(Signal::Logs));
        assert_eq!(batch.num_rows(), 3);
    }

    #[test]
    fn an_entry_that_is_no_request_is_an_error() {
        let error = OtlpDecoder.decode(&entry(b"garbage".to_vec())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the request is not a valid ExportLogsServiceRequest; nothing of it was stored"
        );
    }
}
