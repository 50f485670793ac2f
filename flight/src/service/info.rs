//! `GetFlightInfo` and `GetSchema`: what a command's rows will be, and the ticket that fetches them. Nothing runs.

use std::time::SystemTime;

use alula_auth::Principal;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, SchemaResult, Ticket};
use bytes::Bytes;
use prost::Message;

use super::Service;
use crate::caller::Caller;
use crate::command::Request;
use crate::context::QueryContext;
use crate::ticket::{Kind, LIFETIME, Promise, SignedStatement};
use crate::wire::schema_bytes;
use crate::{Error, Result, parts, prepared, statement, tail};

impl Service {
    pub(super) async fn flight_info(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo> {
        let mut statement = match Request::of_descriptor(&descriptor)? {
            Request::Statement { sql, transaction_id } => {
                SignedStatement::unbound(sql, self.settings(caller, transaction_id.as_ref())?)
            }
            Request::Json(query) => self.bound(caller, query).await?,
            Request::Prepared { handle } => self.prepared(caller, &handle)?.without_promise(),
            Request::Describe(description) => {
                let info = FlightInfo::new().try_with_schema(&description.schema())?;
                let endpoint = endpoint(descriptor.cmd.clone());
                return Ok(info.with_endpoint(endpoint).with_descriptor(descriptor));
            }
            Request::Ticket { .. } => return Err(ticket_as_command()),
        };
        let context = self.context(caller, &statement.settings)?;
        let (schema, parts) = if statement.settings.tail {
            let promised = tail::promise(&self.runtime, context, statement.clone()).await?;
            // From here on: nothing may be lost between this call and the next. The columns are those of telemetry, which stay.
            statement.settings.tail_from = Some(promised.from.0);
            (promised.schema, Vec::new())
        } else {
            // What this call asks for, not what a statement was prepared with: it is no part of what a statement means.
            let most = parts::affordable(&statement, caller.settings.endpoints());
            let (schema, parts) =
                statement::promise_parts(&self.runtime, context, statement.clone(), most).await?;
            statement.promise = Some(Promise::bound(&schema)?);
            (schema, parts)
        };
        // One for all parts: they are cancelled together.
        statement.query_id = self.engine.queries.new_id();
        // Not `ordered`, which would say that the rows have the order of the endpoints: what is cut has no order.
        let mut info = FlightInfo::new()
            .try_with_schema(&schema)?
            .with_app_metadata(statement.query_id.clone())
            .with_descriptor(descriptor);
        for statement in parts::apart(statement, parts) {
            info = info.with_endpoint(self.endpoint(&caller.principal, statement));
        }
        Ok(info)
    }

    /// Where the rows of a statement are fetched.
    pub(super) fn endpoint(&self, principal: &Principal, statement: SignedStatement) -> FlightEndpoint {
        let statement_handle = self.signer.sign(Kind::Ticket, principal, statement);
        endpoint(TicketStatementQuery { statement_handle }.as_any().encode_to_vec().into())
    }

    pub(super) async fn schema(
        &self,
        caller: &Caller,
        descriptor: &FlightDescriptor,
    ) -> Result<SchemaResult> {
        let schema = match Request::of_descriptor(descriptor)? {
            Request::Statement { sql, transaction_id } => {
                let settings = self.settings(caller, transaction_id.as_ref())?;
                self.schema_of(caller, SignedStatement::unbound(sql, settings)).await?
            }
            Request::Prepared { handle } => {
                let statement = self.prepared(caller, &handle)?.without_promise();
                self.schema_of(caller, statement).await?
            }
            Request::Json(query) => {
                let statement = self.bound(caller, query).await?;
                self.schema_of(caller, statement).await?
            }
            Request::Describe(description) => description.schema(),
            Request::Ticket { .. } => return Err(ticket_as_command()),
        };
        Ok(SchemaResult { schema: schema_bytes(&schema)? })
    }

    /// The schema of a statement with parameters is known before they are bound.
    async fn schema_of(&self, caller: &Caller, statement: SignedStatement) -> Result<SchemaRef> {
        let context = self.context(caller, &statement.settings)?;
        if !statement.parameters.is_empty() {
            return self.promised(context, statement).await;
        }
        let known = prepared::prepare(&self.runtime, context, statement.sql.clone()).await?;
        if statement.settings.tail && known.parameters.fields().is_empty() {
            // Not everything that can be planned can be followed.
            let context = self.context(caller, &statement.settings)?;
            return self.promised(context, statement).await;
        }
        Ok(known.dataset)
    }

    async fn promised(&self, context: QueryContext, statement: SignedStatement) -> Result<SchemaRef> {
        if statement.settings.tail {
            Ok(tail::promise(&self.runtime, context, statement).await?.schema)
        } else {
            statement::promise(&self.runtime, context, statement).await
        }
    }
}

fn endpoint(ticket: Bytes) -> FlightEndpoint {
    FlightEndpoint::new()
        .with_ticket(Ticket::new(ticket))
        .with_expiration_time((SystemTime::now() + LIFETIME).into())
}

fn ticket_as_command() -> Error {
    Error::Unsupported { what: "a ticket as a command".to_owned() }
}
