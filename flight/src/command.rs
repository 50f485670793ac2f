//! Commands: what the bytes in a descriptor or ticket ask for.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::{Any, Command, CommandGetDbSchemas, CommandGetTables, ProstMessageExt};
use prost::Message;

use crate::context::QueryContext;
use crate::sql_info::SqlInfos;
use crate::{Error, Result, metadata, sql_info, xdbc_type_info};

/// Something a client wants rows for.
#[derive(Debug)]
pub(crate) enum Request {
    /// SQL text, to be planned; a ticket for it comes from `GetFlightInfo`.
    Statement { sql: String },
    /// A prepared statement handle, as a command or as a ticket.
    Prepared { handle: bytes::Bytes },
    /// A ticket for a statement.
    Ticket { handle: bytes::Bytes },
    /// One of the metadata commands, which is its own ticket.
    Describe(Description),
}

/// A metadata command.
#[derive(Debug)]
pub(crate) enum Description {
    Catalogs,
    DbSchemas(CommandGetDbSchemas),
    Tables(CommandGetTables),
    TableTypes,
    PrimaryKeys,
    ForeignKeys,
    SqlInfo(Vec<u32>),
    XdbcTypeInfo(Option<i32>),
}

impl Request {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(match decode(bytes)? {
            Command::CommandStatementQuery(command) => {
                refuse_transaction(command.transaction_id.as_ref())?;
                Self::Statement { sql: command.query }
            }
            Command::CommandPreparedStatementQuery(command) => {
                Self::Prepared { handle: command.prepared_statement_handle }
            }
            Command::TicketStatementQuery(ticket) => Self::Ticket { handle: ticket.statement_handle },
            Command::CommandGetCatalogs(_) => Self::Describe(Description::Catalogs),
            Command::CommandGetDbSchemas(command) => Self::Describe(Description::DbSchemas(command)),
            Command::CommandGetTables(command) => Self::Describe(Description::Tables(command)),
            Command::CommandGetTableTypes(_) => Self::Describe(Description::TableTypes),
            Command::CommandGetPrimaryKeys(_) => Self::Describe(Description::PrimaryKeys),
            Command::CommandGetImportedKeys(_)
            | Command::CommandGetExportedKeys(_)
            | Command::CommandGetCrossReference(_) => Self::Describe(Description::ForeignKeys),
            Command::CommandGetSqlInfo(command) => Self::Describe(Description::SqlInfo(command.info)),
            Command::CommandGetXdbcTypeInfo(command) => {
                Self::Describe(Description::XdbcTypeInfo(command.data_type))
            }
            other => return Err(unsupported(&other)),
        })
    }
}

impl Description {
    pub(crate) fn schema(&self) -> SchemaRef {
        match self {
            Self::Catalogs => metadata::catalogs_schema(),
            Self::DbSchemas(_) => metadata::db_schemas_schema(),
            Self::Tables(command) => metadata::tables_schema(command),
            Self::TableTypes => metadata::table_types_schema(),
            Self::PrimaryKeys => Arc::clone(&metadata::PRIMARY_KEYS),
            Self::ForeignKeys => Arc::clone(&metadata::FOREIGN_KEYS),
            Self::SqlInfo(_) => sql_info::schema(),
            Self::XdbcTypeInfo(_) => xdbc_type_info::schema(),
        }
    }

    /// All rows, of schema [`Self::schema`].
    pub(crate) async fn rows(self, context: &QueryContext, infos: &SqlInfos) -> Result<RecordBatch> {
        match self {
            Self::Catalogs => metadata::catalogs(),
            Self::DbSchemas(command) => metadata::db_schemas(&context.state, &command),
            Self::Tables(command) => metadata::tables(context, &command).await,
            Self::TableTypes => metadata::table_types(),
            // Telemetry has no keys.
            Self::PrimaryKeys | Self::ForeignKeys => Ok(RecordBatch::new_empty(self.schema())),
            Self::SqlInfo(codes) => sql_info::rows(infos.of(context), codes),
            Self::XdbcTypeInfo(data_type) => xdbc_type_info::rows(data_type),
        }
    }
}

/// The command in the bytes of a descriptor or ticket.
pub(crate) fn decode(bytes: &[u8]) -> Result<Command> {
    let malformed = |reason: String| Error::MalformedMessage { reason };
    let any = Any::decode(bytes)
        .ok()
        .filter(|any| any.type_url.contains('/'))
        .ok_or_else(|| malformed("the command is not a google.protobuf.Any".to_owned()))?;
    let name = name(&any.type_url).to_owned();
    Command::try_from(any).map_err(|_| malformed(format!("the {name} in it cannot be decoded")))
}

/// The message of type `M` in the body of an action.
pub(crate) fn unpack<M: ProstMessageExt>(body: &[u8]) -> Result<M> {
    let expected = name(M::type_url());
    let unpacked = Any::decode(body).ok().and_then(|any| any.unpack::<M>().ok().flatten());
    unpacked.ok_or_else(|| Error::MalformedMessage {
        reason: format!("the body of the action is not a {expected}"),
    })
}

pub(crate) fn unsupported(command: &Command) -> Error {
    Error::Unsupported { what: name(command.type_url()).to_owned() }
}

pub(crate) fn refuse_transaction(id: Option<&bytes::Bytes>) -> Result<()> {
    match id {
        Some(id) if !id.is_empty() => {
            Err(Error::Unsupported { what: "running a statement in a transaction".to_owned() })
        }
        _ => Ok(()),
    }
}

/// `CommandGetTables` of `type.googleapis.com/arrow.flight.protocol.sql.CommandGetTables`, cut to a sane length.
fn name(type_url: &str) -> &str {
    let name = type_url.rsplit(['/', '.']).next().unwrap_or(type_url);
    name.char_indices().nth(80).map_or(name, |(end, _)| &name[..end])
}
