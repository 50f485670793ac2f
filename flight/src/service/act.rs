//! `DoAction`: what each action does.

use arrow_flight::Action;
use arrow_flight::sql::{ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest};
use bytes::Bytes;
use prost::Message;

use super::Service;
use crate::action::{self, ActionKind, CloseSessionResult, CloseStatus};
use crate::caller::Caller;
use crate::command::{refuse_transaction, unpack};
use crate::ticket::{Kind, SignedStatement};
use crate::{Result, prepared};

impl Service {
    pub(super) async fn act(&self, caller: &Caller, action: &Action) -> Result<Option<Bytes>> {
        match ActionKind::of(action)? {
            ActionKind::CreatePreparedStatement => {
                let request: ActionCreatePreparedStatementRequest = unpack(&action.body)?;
                refuse_transaction(request.transaction_id.as_ref())?;
                let context = self.context(caller, &caller.settings)?;
                let known = prepared::prepare(&self.runtime, context, request.query.clone()).await?;
                let statement = SignedStatement::unbound(request.query, caller.settings.clone());
                let handle = self.signer.sign(Kind::Prepared, &caller.principal, statement);
                Ok(Some(action::created(handle, &known)?))
            }
            ActionKind::ClosePreparedStatement => {
                unpack::<ActionClosePreparedStatementRequest>(&action.body)?;
                Ok(None)
            }
            ActionKind::CloseSession => {
                Ok(Some(CloseSessionResult { status: CloseStatus::Closed.into() }.encode_to_vec().into()))
            }
        }
    }
}
