//! `PollFlightInfo`: starts a statement, and tells how far it is.

use std::time::{Duration, Instant, SystemTime};

use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightInfo, PollInfo};
use prost::Message;
use tonic::{Request as Call, Response};

use super::{Answer, Service};
use crate::caller::Caller;
use crate::command::Request;
use crate::polling::{LONGEST_WAIT, Phase, Polled};
use crate::status::{named, status};
use crate::ticket::{Kind, LIFETIME, Promise, SignedStatement};
use crate::transport::Deadline;
use crate::{Error, Result, statement};

/// Of the time that its client waits for a call, the part that a poll waits for something to tell.
const WAIT_PART: u32 = 2;

impl Service {
    pub(super) async fn poll(&self, caller: &Caller, call: Call<FlightDescriptor>) -> Answer<PollInfo> {
        let left = call.extensions().get::<Deadline>().map(|deadline| deadline.0 - Instant::now());
        let wait = left.map_or(LONGEST_WAIT, |left| LONGEST_WAIT.min(left / WAIT_PART));
        let descriptor = call.into_inner();
        let statement = match Request::of_descriptor(&descriptor).map_err(|error| status(&error))? {
            Request::Describe(_) => {
                let info = self.flight_info(caller, descriptor).await.map_err(|error| status(&error))?;
                return Ok(Response::new(finished(info, SystemTime::now() + LIFETIME)));
            }
            Request::Statement { sql, transaction_id } => {
                let settings = self.settings(caller, transaction_id.as_ref());
                settings.map(|settings| SignedStatement::unbound(sql, settings))
            }
            Request::Json(query) => self.bound(caller, query).await,
            Request::Prepared { handle } => {
                self.prepared(caller, &handle).map(SignedStatement::without_promise)
            }
            Request::Ticket { handle } => self.signer.verify(&[Kind::Poll], &caller.principal, &handle),
        };
        let statement = statement.map_err(|error| status(&error))?;
        let query_id = statement.query_id.clone();
        let polled = self.poll_statement(caller, descriptor, statement, wait).await;
        polled.map(Response::new).map_err(|error| named(status(&error), &query_id))
    }

    async fn poll_statement(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
        mut statement: SignedStatement,
        wait: Duration,
    ) -> Result<PollInfo> {
        if statement.settings.tail {
            return Err(Error::Unsupported { what: "polling of a tail, which has no end,".to_owned() });
        }
        let principal = &caller.principal;
        self.engine.queries.refuse_cancelled(principal.tenant(), &statement.query_id)?;
        if let Some(polled) = self.polls.of(principal, &statement.query_id) {
            // Who gives up a call gives up the statement.
            let guard = polled.query.stop.guard();
            let phase = polled.look(wait).await;
            guard.disarm();
            return self.told(caller, &polled, phase);
        }
        // The first poll, or one that comes to another server or too late.
        let limit = statement::timeout(&self.runtime, &statement);
        let mut running = self.engine.queries.begin(principal, &mut statement, limit)?;
        let context = running.note(self.context(caller, &statement.settings))?;
        let polled = self.polls.start(&self.runtime, context, descriptor, statement, running)?;
        let guard = polled.query.stop.guard();
        let phase = polled.first_look(wait).await;
        guard.disarm();
        self.told(caller, &polled, phase)
    }

    fn told(&self, caller: &Caller, polled: &Polled, phase: Phase) -> Result<PollInfo> {
        let info = FlightInfo::new()
            .with_descriptor(polled.descriptor.clone())
            .with_app_metadata(polled.query.id.clone());
        let mut statement = polled.statement.clone();
        if let Phase::Running { schema } | Phase::Finished { schema, .. } = &phase {
            statement.promise = Some(Promise::bound(schema)?);
        }
        let info = match phase {
            Phase::Failed(status) => {
                polled.tell();
                return Err(Error::PollFailed(status));
            }
            Phase::Finished { schema, expires } => {
                polled.tell();
                let endpoint = self.endpoint(&caller.principal, statement);
                return Ok(finished(info.try_with_schema(&schema)?.with_endpoint(endpoint), expires));
            }
            Phase::Running { schema } => info.try_with_schema(&schema)?,
            Phase::Planning => info,
        };
        let statement_handle = self.signer.sign(Kind::Poll, &caller.principal, statement);
        let next = TicketStatementQuery { statement_handle }.as_any().encode_to_vec();
        Ok(PollInfo {
            info: Some(info),
            flight_descriptor: Some(FlightDescriptor::new_cmd(next)),
            progress: Some(polled.query.progress()),
            expiration_time: Some((SystemTime::now() + LIFETIME).into()),
        })
    }
}

fn finished(info: FlightInfo, expires: SystemTime) -> PollInfo {
    PollInfo {
        info: Some(info),
        flight_descriptor: None,
        progress: Some(1.0),
        expiration_time: Some(expires.into()),
    }
}
