//! The actions on transactions and savepoints.

use alula_catalog::{SequenceNumber, Signal};
use alula_storage::Snapshot;
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionEndSavepointRequest, ActionEndTransactionRequest, ProstMessageExt,
};
use bytes::Bytes;
use prost::Message;

use super::Service;
use crate::caller::Caller;
use crate::command::unpack;
use crate::settings::Settings;
use crate::transaction::Ending;
use crate::{Error, Result};

impl Service {
    pub(super) fn begin_transaction(&self, caller: &Caller, body: &[u8]) -> Result<Bytes> {
        unpack::<ActionBeginTransactionRequest>(body)?;
        let snapshot = self.engine.storage().snapshot();
        let tables = snapshot.user_tables(caller.principal.tenant());
        let transaction_id =
            self.transactions.begin(&caller.principal, last_entry(&snapshot, caller), &tables);
        Ok(ActionBeginTransactionResult { transaction_id }.as_any().encode_to_vec().into())
    }

    /// Durable: what a committed transaction has written, when this returns.
    pub(super) async fn end_transaction(&self, caller: &Caller, body: &[u8]) -> Result<()> {
        let request: ActionEndTransactionRequest = unpack(body)?;
        // In both messages 1 keeps what was done, and 2 undoes it.
        let ending = ending(request.action)?;
        match self.transactions.end(&caller.principal, &request.transaction_id, ending)? {
            Some(writes) => {
                let id = &request.transaction_id;
                let committed = writes.commit(caller.principal.tenant(), &self.backfiller).await;
                committed.inspect_err(|_| self.transactions.lose(&caller.principal, id))
            }
            None => Ok(()),
        }
    }

    pub(super) fn begin_savepoint(&self, caller: &Caller, body: &[u8]) -> Result<Bytes> {
        let ActionBeginSavepointRequest { transaction_id, name } = unpack(body)?;
        let savepoint_id = self.transactions.begin_savepoint(&caller.principal, &transaction_id, name)?;
        Ok(ActionBeginSavepointResult { savepoint_id }.as_any().encode_to_vec().into())
    }

    pub(super) fn end_savepoint(&self, caller: &Caller, body: &[u8]) -> Result<()> {
        let request: ActionEndSavepointRequest = unpack(body)?;
        self.transactions.end_savepoint(&caller.principal, &request.savepoint_id, ending(request.action)?)
    }

    /// What holds for a statement: what the caller has chosen, and the transaction that it names, if it names one.
    pub(super) fn settings(&self, caller: &Caller, transaction_id: Option<&Bytes>) -> Result<Settings> {
        let id = transaction_id.filter(|id| !id.is_empty());
        let transaction = id.map(|id| self.transactions.find(&caller.principal, id)).transpose()?;
        Ok(Settings { transaction, ..caller.settings.clone() })
    }
}

/// The last entry of the caller's tenant that is acknowledged.
fn last_entry(snapshot: &Snapshot, caller: &Caller) -> SequenceNumber {
    let last = Signal::ALL.map(|signal| snapshot.last_seq(caller.principal.tenant(), signal));
    last.into_iter().max().unwrap_or_default()
}

fn ending(action: i32) -> Result<Ending> {
    match action {
        1 => Ok(Ending::Commit),
        2 => Ok(Ending::Rollback),
        _ => {
            let reason =
                "the action does not say whether to keep what was done or to roll it back".to_owned();
            Err(Error::MalformedMessage { reason })
        }
    }
}
