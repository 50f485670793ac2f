//! `DoAction`: what each action does.

use arrow_flight::Action;
use arrow_flight::sql::{ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest};
use bytes::Bytes;
use tonic::Request as Call;
use tonic::metadata::MetadataMap;

use super::Service;
use super::session::close_session;
use crate::action::{self, ActionKind};
use crate::caller::{Caller, reading_principal};
use crate::command::unpack;
use crate::ticket::{Kind, Promise, SignedStatement};
use crate::{Result, prepared};

impl Service {
    /// What an action answers, and `headers` for the answer.
    pub(super) async fn act(&self, call: &Call<Action>, headers: &mut MetadataMap) -> Result<Option<Bytes>> {
        let action = call.get_ref();
        reading_principal(call)?;
        // Also who has a session that cannot be read can close it: there must be a way out of it.
        let caller = || Caller::reader(call, &self.sessions);
        match ActionKind::of(action)? {
            ActionKind::CreatePreparedStatement => {
                let caller = &caller()?;
                let request: ActionCreatePreparedStatementRequest = unpack(&action.body)?;
                let settings = self.settings(caller, request.transaction_id.as_ref())?;
                let context = self.context(caller, &settings)?;
                let known = prepared::prepare(&self.runtime, context, request.query.clone()).await?;
                let mut statement = SignedStatement::unbound(request.query, settings);
                statement.promise = Some(Promise::unbound(&known.dataset)?);
                let handle = self.signer.sign(Kind::Prepared, &caller.principal, statement);
                Ok(Some(action::created(handle, &known)?))
            }
            ActionKind::ClosePreparedStatement => {
                let request: ActionClosePreparedStatementRequest = unpack(&action.body)?;
                self.bindings.forget(&caller()?.principal, &request.prepared_statement_handle);
                Ok(None)
            }
            ActionKind::BeginTransaction => self.begin_transaction(&caller()?, &action.body).map(Some),
            ActionKind::EndTransaction => self.end_transaction(&caller()?, &action.body).await.map(|()| None),
            ActionKind::BeginSavepoint => self.begin_savepoint(&caller()?, &action.body).map(Some),
            ActionKind::EndSavepoint => self.end_savepoint(&caller()?, &action.body).map(|()| None),
            ActionKind::CancelFlightInfo => self.cancel_flight_info(&caller()?, &action.body).map(Some),
            ActionKind::CancelQuery => self.cancel_query(&caller()?, &action.body).map(Some),
            ActionKind::RenewFlightEndpoint => self.renew(&caller()?, &action.body).map(Some),
            ActionKind::SetSessionOptions => self.set_session_options(&caller()?, call, headers).map(Some),
            ActionKind::GetSessionOptions => Ok(Some(self.session_options(&caller()?))),
            ActionKind::CloseSession => Ok(Some(close_session(call, headers))),
        }
    }
}
