//! The Flight service: each call is checked for a reader and handed to the module that answers it.
//!
//! This is an implementation of its own and not arrow-flight's blanket one for `FlightSqlService`, which answers
//! `GetSchema` and others with `UNIMPLEMENTED` and cannot be told otherwise.

mod act;
mod get;
mod info;
mod put;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request as Call, Response, Status, Streaming};

use crate::caller::Caller;
use crate::context::{QueryContext, QueryEngine};
use crate::runtime::QueryRuntime;
use crate::settings::Settings;
use crate::sql_info::SqlInfos;
use crate::status::status;
use crate::ticket::{Kind, SignedStatement, Signer};
use crate::{Error, Result, action, handshake};

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
    fn context(&self, caller: &Caller, settings: &Settings) -> Result<QueryContext> {
        QueryContext::for_principal(&self.engine, &caller.principal, settings.clone())
    }

    fn prepared(&self, caller: &Caller, handle: &[u8]) -> Result<SignedStatement> {
        self.signer.verify(&[Kind::Prepared], &caller.principal, handle)
    }
}

/// The caller, who may read.
fn reader<T>(call: &Call<T>) -> Result<Caller, Status> {
    Caller::reader(call).map_err(|error| status(&error))
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
        let caller = reader(&call)?;
        let info = self.flight_info(&caller, call.into_inner()).await;
        info.map(Response::new).map_err(|error| status(&error))
    }

    async fn poll_flight_info(&self, call: Call<FlightDescriptor>) -> Answer<PollInfo> {
        not_built(&call, "PollFlightInfo")
    }

    async fn get_schema(&self, call: Call<FlightDescriptor>) -> Answer<SchemaResult> {
        let caller = reader(&call)?;
        let schema = self.schema(&caller, call.get_ref()).await;
        schema.map(Response::new).map_err(|error| status(&error))
    }

    async fn do_get(&self, call: Call<Ticket>) -> Answer<Self::DoGetStream> {
        let caller = reader(&call)?;
        let rows = self.rows(&caller, &call.get_ref().ticket).await;
        rows.map(Response::new).map_err(|error| status(&error))
    }

    async fn do_put(&self, call: Call<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        let caller = reader(&call)?;
        let app_metadata = self.put(&caller, call.into_inner()).await.map_err(|error| status(&error))?;
        Ok(Response::new(futures::stream::iter([Ok(PutResult { app_metadata })]).boxed()))
    }

    async fn do_exchange(&self, call: Call<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        not_built(&call, "DoExchange")
    }

    async fn do_action(&self, call: Call<Action>) -> Answer<Self::DoActionStream> {
        let caller = reader(&call)?;
        let body = self.act(&caller, call.get_ref()).await.map_err(|error| status(&error))?;
        let results = body.map(|body| Ok(arrow_flight::Result { body }));
        Ok(Response::new(futures::stream::iter(results).boxed()))
    }

    async fn list_actions(&self, call: Call<Empty>) -> Answer<Self::ListActionsStream> {
        reader(&call)?;
        Ok(Response::new(futures::stream::iter(action::list()).map(Ok).boxed()))
    }
}
