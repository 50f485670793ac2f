//! Commands: what the bytes in a descriptor or ticket ask for.
//!
//! Flight SQL packs its commands into a `google.protobuf.Any`. What else is taken there is what clients of other servers
//! send: the text of a statement (pyarrow, Dremio, Spice), the JSON object of InfluxDB's clients, and the path of a table.

mod json;

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::sql::{Any, Command, CommandGetDbSchemas, CommandGetTables, ProstMessageExt};
use prost::Message;

use crate::{Error, Result};

pub(crate) use json::JsonQuery;

/// The longest command without a statement. pandas asks whether there is a table by the name of a whole statement.
const MAX_COMMAND_BYTES: usize = 1 << 20;

/// The commands that hold a statement or a handle, whose own limits are those of these.
const WITH_STATEMENT: [&str; 6] = [
    "CommandStatementQuery",
    "CommandStatementUpdate",
    "CommandStatementSubstraitPlan",
    "CommandPreparedStatementQuery",
    "CommandPreparedStatementUpdate",
    "TicketStatementQuery",
];

/// Something a client wants rows for.
#[derive(Debug)]
pub(crate) enum Request {
    /// SQL text, to be planned; a ticket for it comes from `GetFlightInfo`.
    Statement { sql: String, transaction_id: Option<bytes::Bytes> },
    /// The same with the values of its parameters, as InfluxDB's clients send it.
    Json(JsonQuery),
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
    /// What a descriptor asks for: a command, or a table by its path.
    pub(crate) fn of_descriptor(descriptor: &FlightDescriptor) -> Result<Self> {
        if descriptor.r#type() == DescriptorType::Path || descriptor.cmd.is_empty() {
            return Ok(Self::Statement { sql: select_all(&descriptor.path)?, transaction_id: None });
        }
        Self::decode(&descriptor.cmd)
    }

    /// What a command or ticket asks for.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let Some(any) = packed(bytes) else { return Self::of_text(bytes) };
        Ok(match unpack_command(any)? {
            Command::CommandStatementQuery(command) => {
                Self::Statement { sql: command.query, transaction_id: command.transaction_id }
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

    /// Bytes that no Flight SQL client packed.
    fn of_text(bytes: &[u8]) -> Result<Self> {
        let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| is_statement(text)) else {
            return Err(not_a_command());
        };
        if text.trim_start().starts_with('{') {
            return Ok(Self::Json(JsonQuery::parse(text)?));
        }
        Ok(Self::Statement { sql: text.to_owned(), transaction_id: None })
    }
}

/// The command in the bytes of a descriptor of `DoPut`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Command> {
    let not_packed =
        || Error::MalformedMessage { reason: "the command is not a google.protobuf.Any".to_owned() };
    unpack_command(packed(bytes).ok_or_else(not_packed)?)
}

/// The longest path of a table: catalog, schema and name.
const MAX_PATH: usize = 3;

/// The statement that a path of one to three names stands for.
fn select_all(path: &[String]) -> Result<String> {
    if path.is_empty() || path.len() > MAX_PATH {
        let reason = "a path names a table: [table], [schema, table] or [catalog, schema, table]".to_owned();
        return Err(Error::MalformedMessage { reason });
    }
    let quoted = path.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
    Ok(format!("SELECT * FROM {}", quoted.collect::<Vec<_>>().join(".")))
}

/// A text that may be a statement; which one, the parser says.
fn is_statement(text: &str) -> bool {
    // Whatever else comes as bytes has control characters among the first.
    !text.trim().is_empty() && !text.chars().take(16).any(|c| c.is_control() && !c.is_whitespace())
}

fn packed(bytes: &[u8]) -> Option<Any> {
    Any::decode(bytes).ok().filter(|any| any.type_url.starts_with("type.googleapis.com/"))
}

fn unpack_command(any: Any) -> Result<Command> {
    let name = name(&any.type_url).to_owned();
    // A list of the shortest members takes many times its bytes when it is decoded.
    if any.value.len() > MAX_COMMAND_BYTES && !WITH_STATEMENT.contains(&name.as_str()) {
        let reason = format!("the {name} in it has more than {MAX_COMMAND_BYTES} bytes");
        return Err(Error::MalformedMessage { reason });
    }
    let malformed = |_| Error::MalformedMessage { reason: format!("the {name} in it cannot be decoded") };
    Command::try_from(any).map_err(malformed)
}

fn not_a_command() -> Error {
    let reason = "the command is neither a google.protobuf.Any nor the text of a statement".to_owned();
    Error::MalformedMessage { reason }
}

/// A message that is sent as it is, without an `Any` around it.
pub(crate) fn bare<M: Message + Default>(body: &[u8], name: &str) -> Result<M> {
    M::decode(body).map_err(|_| Error::MalformedMessage { reason: format!("it is not a {name}") })
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
    let what = match command {
        Command::CommandStatementSubstraitPlan(_) => "a Substrait plan in the place of SQL",
        other => name(other.type_url()),
    };
    Error::Unsupported { what: what.to_owned() }
}

/// `CommandGetTables` of `type.googleapis.com/arrow.flight.protocol.sql.CommandGetTables`.
fn name(type_url: &str) -> &str {
    cut(type_url.rsplit(['/', '.']).next().unwrap_or(type_url))
}

/// What a client wrote, at a length that an error can repeat.
pub(crate) fn cut(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests;
