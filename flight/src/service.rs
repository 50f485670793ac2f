//! The Flight service: each call is checked for a reader and handed to the module that answers it.
//!
//! This is an implementation of its own and not arrow-flight's blanket one for `FlightSqlService`, which answers
//! `GetSchema` and others with `UNIMPLEMENTED` and cannot be told otherwise.

mod act;
mod cancel;
mod get;
mod info;
mod list;
mod poll;
mod put;
mod server;
mod session;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Request as Call, Response, Status, Streaming};

use crate::backfill::Backfiller;
use crate::bindings::Bindings;
use crate::caller::Caller;
use crate::command::JsonQuery;
use crate::context::{QueryContext, QueryEngine};
use crate::polling::Polls;
use crate::runtime::QueryRuntime;
use crate::session::Sessions;
use crate::settings::Settings;
use crate::sql_info::SqlInfos;
use crate::status::status;
use crate::tail::Tails;
use crate::ticket::{Kind, SignedStatement, Signer};
use crate::transaction::Transactions;
use crate::update::writes::Writes;
use crate::{Error, Result, action, handshake, prepared};

pub use server::FlightServer;

type Answer<T> = Result<Response<T>, Status>;
pub(crate) type Messages<T> = BoxStream<'static, Result<T, Status>>;

/// What all calls share.
pub(crate) struct Service {
    pub(crate) runtime: QueryRuntime,
    pub(crate) engine: QueryEngine,
    pub(crate) backfiller: Backfiller,
    pub(crate) signer: Signer,
    pub(crate) bindings: Bindings,
    pub(crate) sessions: Sessions,
    pub(crate) transactions: Arc<Transactions<Writes>>,
    pub(crate) tails: Arc<Tails>,
    pub(crate) sql_infos: Arc<SqlInfos>,
    pub(crate) polls: Polls,
    pub(crate) keep_alive_interval: Duration,
}

impl Service {
    /// # Errors
    /// `UnknownTransaction` — what is to be run belongs to one that has ended.
    fn context(&self, caller: &Caller, settings: &Settings) -> Result<QueryContext> {
        if let Some(transaction) = &settings.transaction {
            self.transactions.check(caller.principal.tenant(), transaction)?;
        }
        QueryContext::for_principal(&self.engine, &caller.principal, settings.clone(), &self.transactions)
    }

    /// The statement of a handle, with what was last bound to it.
    fn prepared(&self, caller: &Caller, handle: &[u8]) -> Result<SignedStatement> {
        let mut statement = self.signer.verify(&[Kind::Prepared], &caller.principal, handle)?;
        if let Some(parameters) = self.bindings.recall(&caller.principal, handle) {
            statement.parameters = parameters;
        }
        Ok(statement)
    }

    /// A statement that came with the values of its parameters.
    async fn bound(&self, caller: &Caller, query: JsonQuery) -> Result<SignedStatement> {
        let context = self.context(caller, &caller.settings)?;
        prepared::bind_json(&self.runtime, context, query).await
    }

    /// The caller, who may read.
    fn reader<T>(&self, call: &Call<T>) -> Result<Caller, Status> {
        Caller::reader(call, &self.sessions).map_err(|error| status(&error))
    }
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
        handshake::shake(call).await.map_err(|error| status(&error))
    }

    async fn list_flights(&self, call: Call<Criteria>) -> Answer<Self::ListFlightsStream> {
        let caller = self.reader(&call)?;
        let flights = self.flights(&caller, call.get_ref()).await.map_err(|error| status(&error))?;
        Ok(Response::new(futures::stream::iter(flights).map(Ok).boxed()))
    }

    async fn get_flight_info(&self, call: Call<FlightDescriptor>) -> Answer<FlightInfo> {
        let caller = self.reader(&call)?;
        let info = self.flight_info(&caller, call.into_inner()).await;
        info.map(Response::new).map_err(|error| status(&error))
    }

    async fn poll_flight_info(&self, call: Call<FlightDescriptor>) -> Answer<PollInfo> {
        let caller = self.reader(&call)?;
        self.poll(&caller, call).await
    }

    async fn get_schema(&self, call: Call<FlightDescriptor>) -> Answer<SchemaResult> {
        let caller = self.reader(&call)?;
        let schema = self.schema(&caller, call.get_ref()).await;
        schema.map(Response::new).map_err(|error| status(&error))
    }

    async fn do_get(&self, call: Call<Ticket>) -> Answer<Self::DoGetStream> {
        let caller = self.reader(&call)?;
        self.get(&caller, &call.get_ref().ticket).await
    }

    async fn do_put(&self, call: Call<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        let caller = self.reader(&call)?;
        let app_metadata = self.put(&caller, call.into_inner()).await.map_err(|error| status(&error))?;
        Ok(Response::new(futures::stream::iter([Ok(PutResult { app_metadata })]).boxed()))
    }

    async fn do_exchange(&self, call: Call<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        self.reader(&call)?;
        Err(status(&Error::Unsupported { what: "DoExchange".to_owned() }))
    }

    async fn do_action(&self, call: Call<Action>) -> Answer<Self::DoActionStream> {
        let mut headers = MetadataMap::new();
        let body = self.act(&call, &mut headers).await.map_err(|error| status(&error))?;
        let results = body.map(|body| Ok(arrow_flight::Result { body }));
        let mut answer = Response::new(futures::stream::iter(results).boxed());
        *answer.metadata_mut() = headers;
        Ok(answer)
    }

    async fn list_actions(&self, call: Call<Empty>) -> Answer<Self::ListActionsStream> {
        self.reader(&call)?;
        Ok(Response::new(futures::stream::iter(action::list()).map(Ok).boxed()))
    }
}
