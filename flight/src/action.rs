//! `DoAction`: what can be asked for. Every other action is refused by its name.

use arrow::datatypes::Schema;
use arrow_flight::sql::{ActionCreatePreparedStatementResult, Any, ProstMessageExt};
use arrow_flight::{Action, ActionType};
use bytes::Bytes;
use prost::Message;

use crate::command::cut;
use crate::prepared::Prepared;
use crate::wire::schema_bytes;
use crate::{Error, Result};

/// The actions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionKind {
    CreatePreparedStatement,
    ClosePreparedStatement,
    BeginTransaction,
    EndTransaction,
    BeginSavepoint,
    EndSavepoint,
    CancelFlightInfo,
    /// The older form of `CancelFlightInfo`.
    CancelQuery,
    RenewFlightEndpoint,
    SetSessionOptions,
    GetSessionOptions,
    /// ADBC ends every connection with it, so it succeeds without a session too.
    CloseSession,
}

impl ActionKind {
    const ALL: [Self; 12] = [
        Self::CreatePreparedStatement,
        Self::ClosePreparedStatement,
        Self::BeginTransaction,
        Self::EndTransaction,
        Self::BeginSavepoint,
        Self::EndSavepoint,
        Self::CancelFlightInfo,
        Self::CancelQuery,
        Self::RenewFlightEndpoint,
        Self::SetSessionOptions,
        Self::GetSessionOptions,
        Self::CloseSession,
    ];

    pub(crate) fn of(action: &Action) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == action.r#type)
            .ok_or_else(|| Error::Unsupported { what: format!("the action {}", cut(&action.r#type)) })
    }

    fn name(self) -> &'static str {
        match self {
            Self::CreatePreparedStatement => "CreatePreparedStatement",
            Self::ClosePreparedStatement => "ClosePreparedStatement",
            Self::BeginTransaction => "BeginTransaction",
            Self::EndTransaction => "EndTransaction",
            Self::BeginSavepoint => "BeginSavepoint",
            Self::EndSavepoint => "EndSavepoint",
            Self::SetSessionOptions => "SetSessionOptions",
            Self::GetSessionOptions => "GetSessionOptions",
            Self::CancelFlightInfo => "CancelFlightInfo",
            Self::CancelQuery => "CancelQuery",
            Self::RenewFlightEndpoint => "RenewFlightEndpoint",
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
            Self::BeginTransaction => {
                "Begins a transaction, which sees the rows of this instant. ActionBeginTransactionRequest -> ActionBeginTransactionResult"
            }
            Self::EndTransaction => "Commits or rolls back. ActionEndTransactionRequest -> nothing",
            Self::BeginSavepoint => {
                "Marks a point in a transaction. ActionBeginSavepointRequest -> ActionBeginSavepointResult"
            }
            Self::EndSavepoint => {
                "Releases a savepoint or rolls back to it. ActionEndSavepointRequest -> nothing"
            }
            Self::SetSessionOptions => {
                "Sets options for later calls. SetSessionOptionsRequest -> SetSessionOptionsResult"
            }
            Self::GetSessionOptions => {
                "Gives the options that hold. GetSessionOptionsRequest -> GetSessionOptionsResult"
            }
            Self::CancelFlightInfo => {
                "Ends a query and makes its tickets unknown. CancelFlightInfoRequest -> CancelFlightInfoResult"
            }
            Self::CancelQuery => {
                "The older form of CancelFlightInfo. ActionCancelQueryRequest -> ActionCancelQueryResult"
            }
            Self::RenewFlightEndpoint => {
                "Gives a ticket more time. RenewFlightEndpointRequest -> FlightEndpoint"
            }
            Self::CloseSession => "Ends a session. CloseSessionRequest -> CloseSessionResult",
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
