//! `ListFlights`: the tables of the tenant, each as a flight that can be read.

use std::sync::Arc;

use arrow_flight::{Criteria, FlightDescriptor, FlightInfo};

use super::Service;
use crate::caller::Caller;
use crate::settings::Settings;
use crate::{Error, Result, metadata};

impl Service {
    /// The flights whose table's name has the pattern that is the expression of `criteria`; all, if it is empty.
    pub(super) async fn flights(&self, caller: &Caller, criteria: &Criteria) -> Result<Vec<FlightInfo>> {
        let pattern = std::str::from_utf8(&criteria.expression).map_err(|_| {
            let reason = "the criteria is not a LIKE pattern of table names".to_owned();
            Error::MalformedMessage { reason }
        })?;
        let pattern = Some(pattern).filter(|pattern| !pattern.is_empty());
        // A table is a flight that ends, and some cannot be followed.
        let settings = Settings { tail: false, tail_from: None, ..caller.settings.clone() };
        let caller = &Caller { settings, principal: Arc::clone(&caller.principal) };
        let context = self.context(caller, &caller.settings)?;
        let mut flights = Vec::new();
        for path in metadata::paths(&context.state, pattern) {
            match self.flight_info(caller, FlightDescriptor::new_path(path.to_vec())).await {
                Ok(flight) => flights.push(flight),
                // Dropped since its name was read.
                Err(Error::UnknownTable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(flights)
    }
}
