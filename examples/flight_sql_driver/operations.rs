//! What `drivers/base.py` lists, as far as the client of arrow-rs has a call for it.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow_flight::FlightInfo;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, CommandStatementIngest, EndTransaction,
    SqlInfo, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use futures::future::join_all;
use futures::{TryStreamExt, stream};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

use crate::Result;
use crate::values::{Rows, parameter_batch};

pub(crate) type Client = FlightSqlServiceClient<Channel>;

pub(crate) const OPERATIONS: &[&str] = &[
    "connect",
    "info",
    "catalogs",
    "schemas",
    "tables",
    "table_types",
    "columns",
    "keys",
    "query",
    "shape",
    "prepared",
    "again",
    "bound_rows",
    "update",
    "update_rows",
    "ingest",
    "transaction",
    "cancel",
    "concurrent",
];

const CANCEL_AFTER: Duration = Duration::from_millis(500);

/// A client of its own connection; `credential` has `token`, or `user` and `password`, or nothing.
pub(crate) async fn connect(address: &str, credential: &Value) -> Result<Client> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = FlightSqlServiceClient::new(channel);
    if let Some(token) = credential["token"].as_str() {
        client.set_token(token.to_owned());
    }
    if let (Some(user), Some(password)) = (credential["user"].as_str(), credential["password"].as_str()) {
        client.handshake(user, password).await?;
    }
    Ok(client)
}

/// The answer; `None` if the client has no call for it.
pub(crate) async fn run(client: &Client, address: &str, request: &Value) -> Result<Option<Value>> {
    let mut client = client.clone();
    let sql = text(request, "sql");
    let answer = match request["operation"].as_str().unwrap_or_default() {
        "connect" => only_value(&query(&mut connect(address, request).await?, "SELECT 1").await?)?,
        "query" => query(&mut client, &sql).await?,
        "shape" => shape(&mut client, sql).await?,
        "prepared" => again(&mut client, sql, &json!([request["parameters"]])).await?[0].take(),
        "again" => again(&mut client, sql, &request["parameters"]).await?,
        "bound_rows" => bound_rows(&mut client, sql, &request["parameters"]).await?,
        "update" => json!(client.execute_update(sql, None).await?),
        "update_rows" => update_rows(&mut client, sql, &request["parameters"]).await?,
        "ingest" => ingest(&mut client, request).await?,
        "transaction" => transaction(&mut client, &text(request, "ending")).await?,
        "cancel" => cancel(&mut client, &sql).await?,
        "concurrent" => concurrent(&client, &sql, request["times"].as_u64().unwrap_or_default()).await?,
        _ => return browse(&mut client, request).await,
    };
    Ok(Some(answer))
}

async fn browse(client: &mut Client, request: &Value) -> Result<Option<Value>> {
    let answer = match request["operation"].as_str().unwrap_or_default() {
        "info" => {
            let asked = vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerVersion];
            let info = client.get_sql_info(asked).await?;
            json!(column(&fetch(client, info).await?, 1))
        }
        "catalogs" => {
            let info = client.get_catalogs().await?;
            json!(column(&fetch(client, info).await?, 0))
        }
        "schemas" => {
            let info = client.get_db_schemas(CommandGetDbSchemas::default()).await?;
            fetch(client, info).await?["rows"].take()
        }
        "table_types" => {
            let info = client.get_table_types().await?;
            json!(column(&fetch(client, info).await?, 0))
        }
        "tables" => tables(client, text(request, "schema")).await?,
        "columns" => columns(client, text(request, "table")).await?,
        "keys" => {
            let command = CommandGetPrimaryKeys { table: text(request, "table"), ..Default::default() };
            let info = client.get_primary_keys(command).await?;
            json!(column(&fetch(client, info).await?, 3))
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

async fn tables(client: &mut Client, schema: String) -> Result<Value> {
    let command = CommandGetTables { db_schema_filter_pattern: Some(schema), ..Default::default() };
    let info = client.get_tables(command).await?;
    let found = fetch(client, info).await?;
    Ok(column(&found, 2).into_iter().zip(column(&found, 3)).map(|(name, kind)| json!([name, kind])).collect())
}

async fn columns(client: &mut Client, table: String) -> Result<Value> {
    let command = CommandGetTables {
        db_schema_filter_pattern: Some("public".to_owned()),
        table_name_filter_pattern: Some(table),
        include_schema: true,
        ..Default::default()
    };
    let info = client.get_tables(command).await?;
    let batches = batches(client, info).await?;
    let described = batches.first().ok_or("no such table")?.column(4).as_binary::<i32>().value(0);
    let schema = arrow::ipc::convert::try_schema_from_ipc_buffer(described)?;
    Ok(schema.fields().iter().map(|field| json!(field.name())).collect())
}

fn text(request: &Value, key: &str) -> String {
    request[key].as_str().unwrap_or_default().to_owned()
}

/// The values of one column of `{columns, rows}`.
fn column(found: &Value, number: usize) -> Vec<Value> {
    let rows = found["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| row[number].clone()).collect()
}

fn only_value(found: &Value) -> Result<Value> {
    match found["rows"].as_array().map(Vec::as_slice) {
        Some([row]) => Ok(row[0].clone()),
        _ => Err("not one row".into()),
    }
}

async fn batches(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>> {
    let mut found = Vec::new();
    for endpoint in info.endpoint {
        let ticket = endpoint.ticket.ok_or("an endpoint without a ticket")?;
        found.extend(client.do_get(ticket).await?.try_collect::<Vec<_>>().await?);
    }
    Ok(found)
}

async fn fetch(client: &mut Client, info: FlightInfo) -> Result<Value> {
    let schema = info.clone().try_decode_schema()?;
    let mut rows = Rows::new(&schema);
    for batch in batches(client, info).await? {
        rows.push(&batch)?;
    }
    Ok(rows.into_value())
}

async fn query(client: &mut Client, sql: &str) -> Result<Value> {
    let info = client.execute(sql.to_owned(), None).await?;
    fetch(client, info).await
}

async fn shape(client: &mut Client, sql: String) -> Result<Value> {
    let statement = client.prepare(sql, None).await?;
    let names = statement.dataset_schema()?.fields().iter().map(|field| json!(field.name())).collect();
    statement.close().await?;
    Ok(names)
}

async fn again(client: &mut Client, sql: String, rows: &Value) -> Result<Value> {
    let mut statement = client.prepare(sql, None).await?;
    let mut answers = Vec::new();
    for row in rows.as_array().map(Vec::as_slice).unwrap_or_default() {
        statement.set_parameters(parameter_batch(std::slice::from_ref(row))?)?;
        let info = statement.execute().await?;
        answers.push(fetch(client, info).await?);
    }
    Ok(Value::Array(answers))
}

async fn bound_rows(client: &mut Client, sql: String, rows: &Value) -> Result<Value> {
    let mut statement = client.prepare(sql, None).await?;
    statement.set_parameters(parameter_batch(rows.as_array().ok_or("no parameters")?)?)?;
    let info = statement.execute().await?;
    fetch(client, info).await
}

async fn update_rows(client: &mut Client, sql: String, rows: &Value) -> Result<Value> {
    let mut statement = client.prepare(sql, None).await?;
    statement.set_parameters(parameter_batch(rows.as_array().ok_or("no parameters")?)?)?;
    Ok(json!(statement.execute_update().await?))
}

async fn ingest(client: &mut Client, request: &Value) -> Result<Value> {
    use TableExistsOption as Exists;
    use TableNotExistOption as Missing;

    let (if_missing, if_exists) = match request["mode"].as_str().unwrap_or_default() {
        "create" => (Missing::Create, Exists::Fail),
        "append" => (Missing::Fail, Exists::Append),
        "create_append" => (Missing::Create, Exists::Append),
        _ => (Missing::Create, Exists::Replace),
    };
    let command = CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: if_missing.into(),
            if_exists: if_exists.into(),
        }),
        table: text(request, "table"),
        ..Default::default()
    };
    let values: Int64Array = request["values"].as_array().into_iter().flatten().map(Value::as_i64).collect();
    let batch = RecordBatch::try_from_iter([("a", Arc::new(values) as ArrayRef)])?;
    Ok(json!(client.execute_ingest(command, stream::iter([Ok(batch)])).await?))
}

async fn transaction(client: &mut Client, ending: &str) -> Result<Value> {
    let transaction = client.begin_transaction().await?;
    let info = client.execute("SELECT 1".to_owned(), Some(transaction.clone())).await?;
    let value = only_value(&fetch(client, info).await?)?;
    let ending = if ending == "commit" { EndTransaction::Commit } else { EndTransaction::Rollback };
    client.end_transaction(transaction, ending).await?;
    Ok(value)
}

/// The client cancels by dropping what it waits for.
async fn cancel(client: &mut Client, sql: &str) -> Result<Value> {
    match tokio::time::timeout(CANCEL_AFTER, query(client, sql)).await {
        Err(_) => Ok(json!("cancelled")),
        Ok(ended) => ended,
    }
}

async fn concurrent(client: &Client, sql: &str, times: u64) -> Result<Value> {
    let asked = (0..times).map(|number| {
        let (mut client, sql) = (client.clone(), sql.replace("{}", &number.to_string()));
        async move { only_value(&query(&mut client, &sql).await?) }
    });
    join_all(asked).await.into_iter().collect()
}
