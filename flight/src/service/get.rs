//! `DoGet`: the rows that a ticket stands for.

use std::sync::Arc;

use arrow_flight::FlightData;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Response;

use super::{Answer, Messages, Service};
use crate::caller::Caller;
use crate::command::{Description, Request};
use crate::encode::Encoder;
use crate::polling::{self, Spool};
use crate::queries::{Running, State};
use crate::status::{named, status};
use crate::tail::Until;
use crate::ticket::{Kind, SignedStatement};
use crate::transport::Told;
use crate::{Error, Result, statement, tail};

impl Service {
    pub(super) async fn get(&self, caller: &Caller, ticket: &Bytes) -> Answer<Messages<FlightData>> {
        let request = Request::decode(ticket).map_err(|error| status(&error))?;
        let statement = match request {
            Request::Ticket { handle } => self.signer.verify(&[Kind::Ticket], &caller.principal, &handle),
            Request::Prepared { handle } => self.prepared(caller, &handle),
            Request::Describe(description) => {
                let messages = self.described(caller, description).await;
                return messages.map(Response::new).map_err(|error| status(&error));
            }
            // What other clients send in the place of a ticket.
            Request::Statement { sql, transaction_id } => {
                let settings = self.settings(caller, transaction_id.as_ref());
                settings.map(|settings| SignedStatement::unbound(sql, settings))
            }
            Request::Json(query) => self.bound(caller, query).await,
        };
        self.rows(caller, statement.map_err(|error| status(&error))?).await
    }

    /// What a polled statement has kept, or what the statement gives when it runs.
    async fn rows(&self, caller: &Caller, mut statement: SignedStatement) -> Answer<Messages<FlightData>> {
        if let Some(transaction) = &statement.settings.transaction {
            // Its rows are gone with it, kept ones too.
            let checked = self.transactions.check(caller.principal.tenant(), transaction);
            checked.map_err(|error| named(status(&error), &statement.query_id))?;
        }
        let kept = self.polls.of(&caller.principal, &statement.query_id).and_then(|polled| polled.result());
        let limit = statement::timeout(&self.runtime, &statement);
        let running = self.engine.queries.begin(&caller.principal, &mut statement, limit);
        let running = running.map_err(|error| status(&error))?;
        let query = Arc::clone(running.query());
        let messages = match kept {
            Some(kept) => self.kept(kept, running).await.map(StreamExt::boxed),
            None => self.run(caller, statement, running).await,
        };
        let id = query.id.clone();
        let messages = messages.map_err(|error| named(status(&error), &id))?;
        let mut answer =
            Response::new(messages.map_err(move |error| named(status(&error), &id)).boxed() as Messages<_>);
        answer.extensions_mut().insert(Told(query));
        Ok(answer)
    }

    async fn run(
        &self,
        caller: &Caller,
        statement: SignedStatement,
        mut running: Running,
    ) -> Result<BoxStream<'static, Result<FlightData>>> {
        let context = running.note(self.context(caller, &statement.settings))?;
        if statement.settings.tail {
            let slot = running.note(self.tails.enter(caller.principal.tenant()))?;
            let until = Until::new(&caller.principal, &self.tails);
            let context = context.of_query(running.query());
            let stop = running.query().stop.clone();
            let mut messages = tail::stream(&self.runtime, &stop, context, statement, slot, until).boxed();
            let schema = running.note(messages.next().await.ok_or(Error::ShuttingDown).flatten())?;
            return Ok(statement::Answer::new(schema, messages, running, None).boxed());
        }
        let keep_alive = self.keep_alive_interval;
        let answer = statement::stream(&self.runtime, context, statement, running, keep_alive).await?;
        Ok(answer.boxed())
    }

    async fn kept(
        &self,
        result: Arc<Spool>,
        mut running: Running,
    ) -> Result<impl Stream<Item = Result<FlightData>> + Send + use<>> {
        running.query().enter(State::Streaming);
        let mut messages = polling::stream(&self.runtime, running.query(), result);
        let schema = running.note(messages.next().await.ok_or(Error::ShuttingDown).flatten())?;
        Ok(statement::Answer::new(schema, messages, running, None))
    }

    async fn described(&self, caller: &Caller, description: Description) -> Result<Messages<FlightData>> {
        let context = self.context(caller, &caller.settings)?;
        let infos = Arc::clone(&self.sql_infos);
        let messages = self.runtime.run(async move {
            let mut encoder = Encoder::new(context.settings.wire_profile());
            let batch = description.rows(&context, &infos).await?;
            let mut messages = vec![encoder.schema_message(&batch.schema())];
            messages.extend(encoder.encode(&batch)?);
            Ok(messages)
        });
        let messages = messages.await?;
        Ok(futures::stream::iter(messages).map(Ok).boxed())
    }
}
