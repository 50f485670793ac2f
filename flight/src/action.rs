//! `DoAction`: preparing and closing. Every other action is answered by its name.

use arrow_flight::sql::ActionCreatePreparedStatementResult;
use arrow_flight::{Action, ActionType};
use bytes::Bytes;
use prost::Message;

use crate::{Error, Result};

/// The actions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionKind {
    CreatePreparedStatement,
    ClosePreparedStatement,
    /// ADBC ends every connection with it. There is no session to close, so it always succeeds.
    CloseSession,
}

impl ActionKind {
    const ALL: [Self; 3] = [Self::CreatePreparedStatement, Self::ClosePreparedStatement, Self::CloseSession];

    pub(crate) fn of(action: &Action) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == action.r#type).ok_or_else(|| {
            let given: String = action.r#type.chars().take(80).collect();
            Error::Unsupported { what: format!("the action {given}") }
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::CreatePreparedStatement => "CreatePreparedStatement",
            Self::ClosePreparedStatement => "ClosePreparedStatement",
            Self::CloseSession => "CloseSession",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::CreatePreparedStatement => {
                "Plans a statement. ActionCreatePreparedStatementRequest -> ActionCreatePreparedStatementResult"
            }
            Self::ClosePreparedStatement => {
                "Ends the use of a handle. ActionClosePreparedStatementRequest -> nothing"
            }
            Self::CloseSession => "Ends a connection. CloseSessionRequest -> CloseSessionResult",
        }
    }
}

pub(crate) fn list() -> Vec<ActionType> {
    let describe = |kind: ActionKind| ActionType {
        r#type: kind.name().to_owned(),
        description: kind.description().to_owned(),
    };
    ActionKind::ALL.into_iter().map(describe).collect()
}

/// The answer to `CreatePreparedStatement`.
pub(crate) fn created(
    handle: Bytes,
    prepared: &crate::prepared::Prepared,
) -> Result<ActionCreatePreparedStatementResult> {
    Ok(ActionCreatePreparedStatementResult {
        prepared_statement_handle: handle,
        dataset_schema: crate::wire::schema_bytes(&prepared.dataset)?,
        parameter_schema: crate::wire::schema_bytes(&prepared.parameters)?,
    })
}

/// The answer to `CloseSession`, which arrow-flight has no type for. It is sent bare, not in an `Any`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct CloseSessionResult {
    #[prost(enumeration = "CloseStatus", tag = "1")]
    pub(crate) status: i32,
}

/// How far closing a session has come.
///
/// Source: <https://github.com/apache/arrow/blob/main/format/Flight.proto>
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum CloseStatus {
    Unspecified = 0,
    Closed = 1,
}
