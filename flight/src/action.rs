//! `DoAction`: preparing and closing. Every other action is answered by its name.

use arrow::datatypes::Schema;
use arrow_flight::sql::{ActionCreatePreparedStatementResult, Any, ProstMessageExt};
use arrow_flight::{Action, ActionType};
use bytes::Bytes;
use prost::Message;

use crate::prepared::Prepared;
use crate::wire::schema_bytes;
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
pub(crate) fn created(handle: Bytes, prepared: &Prepared) -> Result<Bytes> {
    // By that JDBC up to 19 tells a statement that changes something, and by `is_update` later.
    let dataset = if prepared.is_update { &Schema::empty() } else { prepared.dataset.as_ref() };
    let result = CreatedPreparedStatement {
        prepared_statement_handle: handle,
        dataset_schema: schema_bytes(dataset)?,
        parameter_schema: schema_bytes(&prepared.parameters)?,
        is_update: Some(prepared.is_update),
    };
    let type_url = ActionCreatePreparedStatementResult::type_url().to_owned();
    Ok(Any { type_url, value: result.encode_to_vec().into() }.encode_to_vec().into())
}

/// An `ActionCreatePreparedStatementResult` with the field that arrow-flight's type lacks.
///
/// Source: <https://github.com/apache/arrow/blob/main/format/FlightSql.proto>
#[derive(Clone, PartialEq, Message)]
struct CreatedPreparedStatement {
    #[prost(bytes = "bytes", tag = "1")]
    prepared_statement_handle: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    dataset_schema: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    parameter_schema: Bytes,
    #[prost(bool, optional, tag = "4")]
    is_update: Option<bool>,
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
