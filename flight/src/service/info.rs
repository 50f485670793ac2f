//! `GetFlightInfo` and `GetSchema`: what a command's rows will be, and the ticket that fetches them. Nothing runs.

use std::time::SystemTime;

use arrow::datatypes::SchemaRef;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, SchemaResult, Ticket};
use bytes::Bytes;
use prost::Message;

use super::Service;
use crate::caller::Caller;
use crate::command::Request;
use crate::ticket::{Kind, LIFETIME, SignedStatement};
use crate::wire::schema_bytes;
use crate::{Error, Result, prepared, statement};

impl Service {
    pub(super) async fn flight_info(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo> {
        let (schema, ticket) = self.promise(caller, &descriptor.cmd).await?;
        let endpoint = FlightEndpoint::new()
            .with_ticket(Ticket::new(ticket))
            .with_expiration_time((SystemTime::now() + LIFETIME).into());
        Ok(FlightInfo::new().try_with_schema(&schema)?.with_endpoint(endpoint).with_descriptor(descriptor))
    }

    /// The schema of what is asked for, and the ticket that fetches it.
    async fn promise(&self, caller: &Caller, command: &Bytes) -> Result<(SchemaRef, Bytes)> {
        let statement = match Request::decode(command)? {
            Request::Statement { sql } => SignedStatement::unbound(sql, caller.settings.clone()),
            Request::Prepared { handle } => self.prepared(caller, &handle)?,
            Request::Describe(description) => return Ok((description.schema(), command.clone())),
            Request::Ticket { .. } => return Err(ticket_as_command()),
        };
        let context = self.context(caller, &statement.settings)?;
        let schema = statement::promise(&self.runtime, context, statement.clone()).await?;
        let statement_handle = self.signer.sign(Kind::Ticket, &caller.principal, statement);
        Ok((schema, TicketStatementQuery { statement_handle }.as_any().encode_to_vec().into()))
    }

    pub(super) async fn schema(
        &self,
        caller: &Caller,
        descriptor: &FlightDescriptor,
    ) -> Result<SchemaResult> {
        let schema = match Request::decode(&descriptor.cmd)? {
            // The schema of a statement with parameters is known before they are bound.
            Request::Statement { sql } => {
                let context = self.context(caller, &caller.settings)?;
                prepared::prepare(&self.runtime, context, sql).await?.dataset
            }
            Request::Prepared { handle } => {
                let statement = self.prepared(caller, &handle)?;
                let context = self.context(caller, &statement.settings)?;
                if statement.parameters.is_empty() {
                    prepared::prepare(&self.runtime, context, statement.sql).await?.dataset
                } else {
                    statement::promise(&self.runtime, context, statement).await?
                }
            }
            Request::Describe(description) => description.schema(),
            Request::Ticket { .. } => return Err(ticket_as_command()),
        };
        Ok(SchemaResult { schema: schema_bytes(&schema)? })
    }
}

fn ticket_as_command() -> Error {
    Error::Unsupported { what: "a ticket as a command".to_owned() }
}
