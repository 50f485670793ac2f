//! `DoGet`: the rows that a ticket stands for.

use arrow_flight::FlightData;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::{Messages, Service};
use crate::caller::Caller;
use crate::command::{Description, Request};
use crate::encode::Encoder;
use crate::status::status;
use crate::ticket::Kind;
use crate::{Error, Result, statement};

impl Service {
    pub(super) async fn rows(&self, caller: &Caller, ticket: &Bytes) -> Result<Messages<FlightData>> {
        let statement = match Request::decode(ticket)? {
            Request::Ticket { handle } => self.signer.verify(&[Kind::Ticket], &caller.principal, &handle)?,
            Request::Prepared { handle } => self.prepared(caller, &handle)?,
            Request::Describe(description) => return self.described(caller, description).await,
            Request::Statement { .. } => {
                return Err(Error::Unsupported {
                    what: "a statement as a ticket (ask GetFlightInfo for one)".to_owned(),
                });
            }
        };
        let context = self.context(caller, &statement.settings)?;
        let messages = statement::stream(&self.runtime, context, statement).await?;
        Ok(messages.map_err(|error| status(&error)).boxed())
    }

    async fn described(&self, caller: &Caller, description: Description) -> Result<Messages<FlightData>> {
        let context = self.context(caller, &caller.settings)?;
        let batch = description.rows(&context, &self.sql_infos).await?;
        let mut encoder = Encoder::new();
        let mut messages = vec![encoder.schema_message(&batch.schema())];
        messages.extend(encoder.encode(&batch)?);
        Ok(futures::stream::iter(messages).map(Ok).boxed())
    }
}
