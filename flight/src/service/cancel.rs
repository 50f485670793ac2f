//! Cancelling a query, and renewing its ticket.

use std::time::SystemTime;

use arrow_flight::sql::{ActionCancelQueryRequest, ActionCancelQueryResult, ProstMessageExt};
use arrow_flight::{
    CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightEndpoint, FlightInfo,
    RenewFlightEndpointRequest,
};
use bytes::Bytes;
use prost::Message;

use super::Service;
use crate::caller::Caller;
use crate::command::{Request, bare, unpack};
use crate::ticket::{Kind, LIFETIME};
use crate::{Error, Result};

impl Service {
    pub(super) fn cancel_flight_info(&self, caller: &Caller, body: &[u8]) -> Result<Bytes> {
        let request: CancelFlightInfoRequest = bare(body, "CancelFlightInfoRequest")?;
        self.cancel(caller, &request.info.unwrap_or_default())?;
        Ok(CancelFlightInfoResult { status: CancelStatus::Cancelled.into() }.encode_to_vec().into())
    }

    /// The older form of [`Self::cancel_flight_info`].
    pub(super) fn cancel_query(&self, caller: &Caller, body: &[u8]) -> Result<Bytes> {
        let request: ActionCancelQueryRequest = unpack(body)?;
        self.cancel(caller, &bare(&request.info, "FlightInfo")?)?;
        // The results have the numbers of the statuses.
        let result = ActionCancelQueryResult { result: CancelStatus::Cancelled.into() };
        Ok(result.as_any().encode_to_vec().into())
    }

    /// Of a query that is polled there is no ticket yet, but its id; by that its result goes too when it has ended.
    ///
    /// # Errors
    /// `UnknownHandle` — there is no such query that the caller may cancel.
    fn cancel(&self, caller: &Caller, info: &FlightInfo) -> Result<()> {
        let principal = &caller.principal;
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let mut cancelled = false;
        for ticket in tickets {
            // What the other commands stand for is over before it can be cancelled.
            let Request::Ticket { handle } = Request::decode(&ticket.ticket)? else { continue };
            let id = self.signer.query_of(principal, &handle)?;
            self.engine.queries.cancel(principal.tenant(), &id);
            self.polls.forget(principal.tenant(), &id);
            cancelled = true;
        }
        if !cancelled {
            let id = str::from_utf8(&info.app_metadata).map_err(|_| Error::UnknownHandle)?;
            if self.polls.forget_visible(principal, id) {
                self.engine.queries.cancel(principal.tenant(), id);
            } else {
                self.engine.queries.cancel_running(principal, id)?;
            }
        }
        Ok(())
    }

    pub(super) fn renew(&self, caller: &Caller, body: &[u8]) -> Result<Bytes> {
        let request: RenewFlightEndpointRequest = bare(body, "RenewFlightEndpointRequest")?;
        let endpoint = request.endpoint.unwrap_or_default();
        let ticket = endpoint.ticket.as_ref().map(|ticket| &ticket.ticket).ok_or(Error::UnknownHandle)?;
        let renewed = match Request::decode(ticket)? {
            Request::Ticket { handle } => {
                let principal = &caller.principal;
                let statement = self.signer.verify(&[Kind::Ticket], principal, &handle)?;
                self.engine.queries.refuse_cancelled(principal.tenant(), &statement.query_id)?;
                let FlightEndpoint { ticket, expiration_time, .. } = self.endpoint(principal, statement);
                FlightEndpoint { ticket, expiration_time, ..endpoint }
            }
            // A ticket that is a command is good for ever.
            _ => FlightEndpoint { expiration_time: Some((SystemTime::now() + LIFETIME).into()), ..endpoint },
        };
        Ok(renewed.encode_to_vec().into())
    }
}
