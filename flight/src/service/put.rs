//! `DoPut`: parameters, statements that change something, and rows.

use arrow_flight::FlightData;
use arrow_flight::sql::{Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use bytes::Bytes;
use futures::StreamExt;
use prost::Message;
use tonic::Streaming;

use super::Service;
use crate::caller::Caller;
use crate::command::{decode, unsupported};
use crate::ticket::{Kind, SignedStatement};
use crate::{Error, Result, ingest, prepared, statement};

impl Service {
    pub(super) async fn put(&self, caller: &Caller, mut messages: Streaming<FlightData>) -> Result<Bytes> {
        let no_command = || Error::MalformedMessage { reason: "the first message has no command".to_owned() };
        let first = messages.next().await.ok_or_else(no_command)?;
        let unread = |_| Error::MalformedMessage { reason: "the first message cannot be read".to_owned() };
        let mut first = first.map_err(unread)?;
        let descriptor = first.flight_descriptor.take().ok_or_else(no_command)?;
        let messages = futures::stream::iter([Ok(first)]).chain(messages);
        match decode(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(command) => {
                let given = command.prepared_statement_handle;
                let statement = self.prepared(caller, &given)?;
                let context = self.context(caller, &statement.settings)?;
                let bound = prepared::bind(&self.runtime, context, statement, messages).await?;
                if !bound.parameters.is_empty() {
                    self.bindings.remember(&caller.principal, &given, bound.parameters.clone());
                }
                let handle = self.signer.sign(Kind::Prepared, &caller.principal, bound);
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(result.encode_to_vec().into())
            }
            Command::CommandStatementUpdate(command) => {
                let settings = self.settings(caller, command.transaction_id.as_ref())?;
                self.update(caller, SignedStatement::unbound(command.query, settings)).await
            }
            Command::CommandPreparedStatementUpdate(command) => {
                let statement = self.prepared(caller, &command.prepared_statement_handle)?;
                let context = self.context(caller, &statement.settings)?;
                let statement = prepared::rebind(&self.runtime, context, statement, messages).await?;
                self.update(caller, statement).await
            }
            Command::CommandStatementIngest(command) => {
                let settings = self.settings(caller, command.transaction_id.as_ref())?;
                let context = self.context(caller, &settings)?;
                let record_count =
                    ingest::run(&self.runtime, context, &self.backfiller, command, messages).await?;
                Ok(DoPutUpdateResult { record_count }.encode_to_vec().into())
            }
            other => Err(unsupported(&other)),
        }
    }

    async fn update(&self, caller: &Caller, mut statement: SignedStatement) -> Result<Bytes> {
        let limit = statement::timeout(&self.runtime, &statement);
        let mut running = self.engine.queries.begin(&caller.principal, &mut statement, limit)?;
        let context = running.note(self.context(caller, &statement.settings))?;
        let record_count = statement::update(&self.runtime, context, statement, running).await?;
        Ok(DoPutUpdateResult { record_count }.encode_to_vec().into())
    }
}
