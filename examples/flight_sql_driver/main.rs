//! The driver of `tests/interop/drivers/README.md` for Rust: the `FlightSqlServiceClient` of arrow-rs.
//!
//! It reads a line of JSON for each request and writes a line for the answer. It is an example and no test, because the
//! tests that ask it run in another process, against the real binary.

mod operations;
mod values;

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};

use serde_json::{Value, json};

use crate::operations::{Client, OPERATIONS, connect};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The version of arrow-rs, by which `arrow-flight` goes as well.
const VERSION: &str = arrow::ARROW_VERSION;

#[tokio::main]
async fn main() -> Result<()> {
    let mut opened = None;
    for line in stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = if request["operation"] == "open" {
            let address = request["address"].as_str().unwrap_or_default().to_owned();
            opened = Some((connect(&address, &request).await?, address));
            json!({ "value": { "version": VERSION, "operations": OPERATIONS } })
        } else {
            let (client, address) = opened.as_ref().ok_or("a request before `open`")?;
            answer(client, address, &request).await
        };
        let mut output = stdout().lock();
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

async fn answer(client: &Client, address: &str, request: &Value) -> Value {
    match operations::run(client, address, request).await {
        Ok(Some(value)) => json!({ "value": value }),
        Ok(None) => json!({}),
        Err(error) => json!({ "error": error.to_string() }),
    }
}
