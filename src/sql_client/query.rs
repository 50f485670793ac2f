//! One query over one connection, its answer as a stream of batches.

use std::collections::VecDeque;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use futures::TryStreamExt;
use tonic::transport::Channel;

use super::{Credentials, Error, Result, ServerUrl};

/// The largest message accepted from a server. Alula sends at most 4 MiB; others send more.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Finding a host and shaking hands; a query may take as long as it likes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// An open connection that presents the same credentials with every call.
#[derive(Debug)]
pub(crate) struct Connection {
    client: FlightSqlServiceClient<Channel>,
    url: ServerUrl,
}

impl Connection {
    pub(crate) async fn open(url: ServerUrl, credentials: &Credentials) -> Result<Self> {
        let endpoint = url.endpoint()?;
        let channel = match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(source)) => return Err(Error::Connect { url, source: source.into() }),
            Err(_) => return Err(Error::ConnectTimeout { url, timeout: CONNECT_TIMEOUT }),
        };
        let inner = FlightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut client = FlightSqlServiceClient::new_from_inner(inner);
        if let Some(token) = credentials.token() {
            client.set_token(token.to_owned());
        }
        Ok(Self { client, url })
    }

    /// Tells the server how long each further call may take, so that it stops work nobody waits for.
    pub(crate) fn set_deadline(&mut self, timeout: Duration) {
        // The header holds at most eight digits; 99,999,999 ms are more than a day.
        let millis = timeout.as_millis().clamp(1, 99_999_999);
        self.client.set_header("grpc-timeout", format!("{millis}m"));
    }

    /// Plans a query and opens its answer. The rows are fetched as [`Answer::next_batch`] asks for them.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Answer> {
        let url = self.url.clone();
        let info = self
            .client
            .execute(sql.to_owned(), None)
            .await
            .map_err(|error| Error::from_flight(error, &url).before_first_answer())?;
        let planned = planned_schema(&info)?;
        let tickets = info.endpoint.into_iter().filter_map(|endpoint| endpoint.ticket).collect();
        Ok(Answer { client: self.client.clone(), url, planned, tickets, current: None })
    }
}

/// The rows of one query, in the order the server sends them. Dropping it cancels the query.
#[derive(Debug)]
pub(crate) struct Answer {
    client: FlightSqlServiceClient<Channel>,
    url: ServerUrl,
    planned: SchemaRef,
    tickets: VecDeque<Ticket>,
    current: Option<FlightRecordBatchStream>,
}

impl Answer {
    /// The schema that the server promised; an answer without rows has no other.
    pub(crate) fn planned_schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.planned)
    }

    pub(crate) async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(stream) = &mut self.current {
                match stream.try_next().await {
                    Ok(Some(batch)) => return Ok(Some(batch)),
                    Ok(None) => self.current = None,
                    Err(error) => return Err(Error::from_flight(error, &self.url)),
                }
            }
            let Some(ticket) = self.tickets.pop_front() else { return Ok(None) };
            let stream =
                self.client.do_get(ticket).await.map_err(|error| Error::from_flight(error, &self.url))?;
            self.current = Some(stream);
        }
    }
}

fn planned_schema(info: &FlightInfo) -> Result<SchemaRef> {
    if info.schema.is_empty() {
        return Ok(SchemaRef::new(Schema::empty()));
    }
    let schema =
        info.clone().try_decode_schema().map_err(|source| Error::Protocol { source: source.into() })?;
    Ok(SchemaRef::new(schema))
}
