//! The Flight service: each call is checked for a reader and handed to the module that answers it.
//!
//! This is an implementation of its own and not arrow-flight's blanket one for `FlightSqlService`, which answers
//! `GetSchema` and others with `UNIMPLEMENTED` and cannot be told otherwise.

use std::sync::Arc;
use std::time::SystemTime;

use alula_auth::Principal;
use arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Command,
    DoPutPreparedStatementResult, DoPutUpdateResult, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::{Request as Call, Response, Status, Streaming};

use crate::action::{self, ActionKind, CloseSessionResult, CloseStatus};
use crate::command::{Request, decode, refuse_transaction, unpack, unsupported};
use crate::context::{QueryContext, QueryEngine};
use crate::encode::Encoder;
use crate::runtime::QueryRuntime;
use crate::sql_info::SqlInfos;
use crate::status::status;
use crate::ticket::{Kind, LIFETIME, SignedStatement, Signer};
use crate::wire::schema_bytes;
use crate::{Error, Result, handshake, prepared, statement};

type Answer<T> = Result<Response<T>, Status>;
pub(crate) type Messages<T> = BoxStream<'static, Result<T, Status>>;

/// What all calls share.
pub(crate) struct Service {
    pub(crate) runtime: QueryRuntime,
    pub(crate) engine: QueryEngine,
    pub(crate) signer: Signer,
    pub(crate) sql_infos: SqlInfos,
}

impl Service {
    fn context(&self, principal: &Principal) -> Result<QueryContext> {
        QueryContext::for_principal(&self.engine, principal)
    }

    fn prepared(&self, principal: &Principal, handle: &[u8]) -> Result<SignedStatement> {
        self.signer.verify(&[Kind::Prepared], principal, handle)
    }

    /// The schema of what is asked for, and the ticket that fetches it.
    async fn promise(&self, principal: &Principal, command: &Bytes) -> Result<(SchemaRef, Bytes)> {
        let statement = match Request::decode(command)? {
            Request::Statement { sql } => prepared::unbound(sql),
            Request::Prepared { handle } => self.prepared(principal, &handle)?,
            Request::Describe(description) => return Ok((description.schema(), command.clone())),
            Request::Ticket { .. } => {
                return Err(Error::Unsupported { what: "a ticket as a command".to_owned() });
            }
        };
        let schema = statement::promise(&self.runtime, self.context(principal)?, statement.clone()).await?;
        let statement_handle = self.signer.sign(Kind::Ticket, principal, statement);
        Ok((schema, TicketStatementQuery { statement_handle }.as_any().encode_to_vec().into()))
    }

    async fn flight_info(&self, principal: &Principal, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        let (schema, ticket) = self.promise(principal, &descriptor.cmd).await?;
        let endpoint = FlightEndpoint::new()
            .with_ticket(Ticket::new(ticket))
            .with_expiration_time((SystemTime::now() + LIFETIME).into());
        Ok(FlightInfo::new().try_with_schema(&schema)?.with_endpoint(endpoint).with_descriptor(descriptor))
    }

    async fn schema(&self, principal: &Principal, descriptor: &FlightDescriptor) -> Result<SchemaResult> {
        let schema = match Request::decode(&descriptor.cmd)? {
            // The schema of a statement with parameters is known before they are bound.
            Request::Statement { sql } => {
                prepared::prepare(&self.runtime, self.context(principal)?, sql).await?.dataset
            }
            Request::Prepared { handle } => {
                let statement = self.prepared(principal, &handle)?;
                let context = self.context(principal)?;
                if statement.parameters.is_empty() {
                    prepared::prepare(&self.runtime, context, statement.sql).await?.dataset
                } else {
                    statement::promise(&self.runtime, context, statement).await?
                }
            }
            Request::Describe(description) => description.schema(),
            Request::Ticket { .. } => {
                return Err(Error::Unsupported { what: "a ticket as a command".to_owned() });
            }
        };
        Ok(SchemaResult { schema: schema_bytes(&schema)? })
    }

    async fn rows(&self, principal: &Principal, ticket: &Bytes) -> Result<Messages<FlightData>> {
        let statement = match Request::decode(ticket)? {
            Request::Ticket { handle } => self.signer.verify(&[Kind::Ticket], principal, &handle)?,
            Request::Prepared { handle } => self.prepared(principal, &handle)?,
            Request::Describe(description) => {
                let context = self.context(principal)?;
                let batch = description.rows(&context, &self.sql_infos).await?;
                let mut encoder = Encoder::new();
                let mut messages = vec![encoder.schema_message(&batch.schema())];
                messages.extend(encoder.encode(&batch)?);
                return Ok(futures::stream::iter(messages).map(Ok).boxed());
            }
            Request::Statement { .. } => {
                return Err(Error::Unsupported {
                    what: "a statement as a ticket (ask GetFlightInfo for one)".to_owned(),
                });
            }
        };
        let messages = statement::stream(&self.runtime, self.context(principal)?, statement).await?;
        Ok(messages.map_err(|error| status(&error)).boxed())
    }

    /// Takes parameters, or a statement that changes something.
    async fn put(&self, principal: &Principal, mut messages: Streaming<FlightData>) -> Result<Bytes> {
        let no_command = || Error::MalformedMessage { reason: "the first message has no command".to_owned() };
        let first = messages.next().await.ok_or_else(no_command)?;
        let mut first = first.map_err(|status| Error::MalformedParameters(Box::new(status)))?;
        let descriptor = first.flight_descriptor.take().ok_or_else(no_command)?;
        let messages = futures::stream::iter([Ok(first)]).chain(messages);
        let handle = match decode(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(command) => command.prepared_statement_handle,
            Command::CommandStatementUpdate(command) => {
                refuse_transaction(command.transaction_id.as_ref())?;
                return self.update(principal, prepared::unbound(command.query)).await;
            }
            Command::CommandPreparedStatementUpdate(command) => {
                let statement = self.prepared(principal, &command.prepared_statement_handle)?;
                let context = self.context(principal)?;
                let statement = prepared::rebind(&self.runtime, context, statement, messages).await?;
                return self.update(principal, statement).await;
            }
            other => return Err(unsupported(&other)),
        };
        let statement = self.prepared(principal, &handle)?;
        let bound = prepared::bind(&self.runtime, self.context(principal)?, statement.sql, messages).await?;
        let handle = self.signer.sign(Kind::Prepared, principal, bound);
        let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
        Ok(result.encode_to_vec().into())
    }

    async fn update(&self, principal: &Principal, statement: SignedStatement) -> Result<Bytes> {
        let record_count = statement::update(&self.runtime, self.context(principal)?, statement).await?;
        Ok(DoPutUpdateResult { record_count }.encode_to_vec().into())
    }

    async fn act(&self, principal: &Principal, action: &Action) -> Result<Option<Bytes>> {
        match ActionKind::of(action)? {
            ActionKind::CreatePreparedStatement => {
                let request: ActionCreatePreparedStatementRequest = unpack(&action.body)?;
                refuse_transaction(request.transaction_id.as_ref())?;
                let context = self.context(principal)?;
                let known = prepared::prepare(&self.runtime, context, request.query.clone()).await?;
                let handle = self.signer.sign(Kind::Prepared, principal, prepared::unbound(request.query));
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

/// The caller, who may read.
fn reader<T>(call: &Call<T>) -> Result<Arc<Principal>, Status> {
    let principal = alula_auth::principal_of(call.extensions()).map_err(|error| status(&error.into()))?;
    principal.require_read().map_err(|error| status(&error.into()))?;
    Ok(principal)
}

fn not_built<T, A>(call: &Call<T>, name: &str) -> Answer<A> {
    reader(call)?;
    Err(status(&Error::Unsupported { what: name.to_owned() }))
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoExchangeStream = Messages<FlightData>;
    type DoActionStream = Messages<arrow_flight::Result>;
    type ListActionsStream = Messages<ActionType>;

    async fn handshake(&self, call: Call<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        alula_auth::principal_of(call.extensions()).map_err(|error| status(&error.into()))?;
        Ok(handshake::answer(call.metadata()))
    }

    async fn list_flights(&self, call: Call<Criteria>) -> Answer<Self::ListFlightsStream> {
        not_built(&call, "ListFlights")
    }

    async fn get_flight_info(&self, call: Call<FlightDescriptor>) -> Answer<FlightInfo> {
        let principal = reader(&call)?;
        let info = self.flight_info(&principal, call.into_inner()).await;
        info.map(Response::new).map_err(|error| status(&error))
    }

    async fn poll_flight_info(&self, call: Call<FlightDescriptor>) -> Answer<PollInfo> {
        not_built(&call, "PollFlightInfo")
    }

    async fn get_schema(&self, call: Call<FlightDescriptor>) -> Answer<SchemaResult> {
        let principal = reader(&call)?;
        let schema = self.schema(&principal, call.get_ref()).await;
        schema.map(Response::new).map_err(|error| status(&error))
    }

    async fn do_get(&self, call: Call<Ticket>) -> Answer<Self::DoGetStream> {
        let principal = reader(&call)?;
        let rows = self.rows(&principal, &call.get_ref().ticket).await;
        rows.map(Response::new).map_err(|error| status(&error))
    }

    async fn do_put(&self, call: Call<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        let principal = reader(&call)?;
        let app_metadata = self.put(&principal, call.into_inner()).await.map_err(|error| status(&error))?;
        Ok(Response::new(futures::stream::iter([Ok(PutResult { app_metadata })]).boxed()))
    }

    async fn do_exchange(&self, call: Call<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        not_built(&call, "DoExchange")
    }

    async fn do_action(&self, call: Call<Action>) -> Answer<Self::DoActionStream> {
        let principal = reader(&call)?;
        let body = self.act(&principal, call.get_ref()).await.map_err(|error| status(&error))?;
        let results = body.map(|body| Ok(arrow_flight::Result { body }));
        Ok(Response::new(futures::stream::iter(results).boxed()))
    }

    async fn list_actions(&self, call: Call<Empty>) -> Answer<Self::ListActionsStream> {
        reader(&call)?;
        Ok(Response::new(futures::stream::iter(action::list()).map(Ok).boxed()))
    }
}
