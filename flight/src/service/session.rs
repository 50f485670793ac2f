//! The actions on sessions. What they change travels in the headers of their answers.

use std::collections::HashMap;

use arrow_flight::Action;
use bytes::Bytes;
use prost::Message;
use tonic::Request as Call;
use tonic::metadata::MetadataMap;

use super::Service;
use crate::caller::Caller;
use crate::command::bare;
use crate::session::messages::{
    CloseSessionResult, CloseStatus, GetSessionOptionsResult, OptionError, SetSessionOptionsRequest,
    SetSessionOptionsResult,
};
use crate::session::{self, options};
use crate::{Error, Result};

/// The longest request. There are few options, and their values are short.
const MAX_REQUEST_BYTES: usize = 64 << 10;

impl Service {
    /// Sets what can be set, and says why the rest is not.
    pub(super) fn set_session_options(
        &self,
        caller: &Caller,
        call: &Call<Action>,
        headers: &mut MetadataMap,
    ) -> Result<Bytes> {
        let body = &call.get_ref().body;
        if body.len() > MAX_REQUEST_BYTES {
            let reason = format!("the SetSessionOptionsRequest has more than {MAX_REQUEST_BYTES} bytes");
            return Err(Error::MalformedMessage { reason });
        }
        let request: SetSessionOptionsRequest = bare(body, "SetSessionOptionsRequest")?;
        let before = self.sessions.of(call.metadata(), &caller.principal)?.unwrap_or_default();
        let mut settings = before.clone();
        let mut errors = HashMap::new();
        for (name, value) in request.session_options {
            let set = options::set(&mut settings, &name, value.option_value.as_ref(), self.runtime.timeout());
            if let Err(error) = set {
                errors.insert(name, OptionError { value: error.into() });
            }
        }
        if settings != before {
            *headers = self.sessions.keep(call.metadata(), &caller.principal, settings);
        }
        Ok(SetSessionOptionsResult { errors }.encode_to_vec().into())
    }

    /// What holds for the caller's statements. There need not be a session, and none is made.
    pub(super) fn session_options(&self, caller: &Caller) -> Bytes {
        let session_options = options::all(&caller.settings, self.runtime.timeout());
        GetSessionOptionsResult { session_options }.encode_to_vec().into()
    }
}

/// Ends the session if there is one. Nothing of it is on the server.
pub(super) fn close_session(call: &Call<Action>, headers: &mut MetadataMap) -> Bytes {
    *headers = session::forget(call.metadata());
    CloseSessionResult { status: CloseStatus::Closed.into() }.encode_to_vec().into()
}
