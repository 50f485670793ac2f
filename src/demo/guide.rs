//! How to connect, ready to paste.

use std::net::SocketAddr;

/// Instructions for this server and token. After `--once` the server is gone, which the first line says.
pub(super) fn text(addr: SocketAddr, http_addr: SocketAddr, token: &str, once: bool) -> String {
    let opening = if once {
        "How to connect while `alula demo` runs (this one, with --once, is about to end):"
    } else {
        "How to connect, while this demo runs:"
    };
    format!(
        r#"{opening}

Token (tenant demo, read and write)
  export ALULA_TOKEN={token}

Command line
  alula sql --url grpc://{addr} "SELECT * FROM logs ORDER BY timestamp DESC LIMIT 10"

Python (pip install adbc-driver-flightsql pyarrow polars)
  import os
  from adbc_driver_flightsql import dbapi
  con = dbapi.connect(
      "grpc://{addr}",
      db_kwargs={{"adbc.flight.sql.authorization_header": "Bearer " + os.environ["ALULA_TOKEN"]}},
      autocommit=True,
  )
  cur = con.cursor()
  cur.execute("SELECT service_name, count(*) AS spans FROM traces GROUP BY service_name")
  print(cur.fetch_arrow_table())

Polars, with the same connection
  import polars as pl
  print(pl.read_database("SELECT * FROM metrics LIMIT 10", connection=con))

Go (go get github.com/apache/arrow-adbc/go/adbc)
  import _ "github.com/apache/arrow-adbc/go/adbc/sqldriver/flightsql"
  db, err := sql.Open("flightsql",
      "uri=grpc://{addr};adbc.flight.sql.authorization_header=Bearer "+os.Getenv("ALULA_TOKEN"))

DBeaver and other JDBC tools (driver org.apache.arrow:flight-sql-jdbc-driver; on the JVM
--add-opens=java.base/java.nio=ALL-UNNAMED)
  jdbc:arrow-flight-sql://{addr}?useEncryption=false&token=TOKEN

Grafana: data source InfluxDB with query language SQL, or the Flight SQL plugin
  URL http://{addr} (plugin: {addr}), database public, token TOKEN, insecure connection on

OpenTelemetry Collector, to send your own data
  extensions:
    bearertokenauth:
      token: "${{env:ALULA_TOKEN}}"
  exporters:
    otlp_grpc/alula:
      endpoint: {addr}
      tls: {{ insecure: true }}
      auth: {{ authenticator: bearertokenauth }}
      compression: zstd
  service:
    extensions: [bearertokenauth]
    pipelines:
      traces: {{ receivers: [otlp], exporters: [otlp_grpc/alula] }}
      metrics: {{ receivers: [otlp], exporters: [otlp_grpc/alula] }}
      logs: {{ receivers: [otlp], exporters: [otlp_grpc/alula] }}

OpenTelemetry SDK, over gRPC or over HTTP
  export OTEL_EXPORTER_OTLP_ENDPOINT=http://{addr} OTEL_EXPORTER_OTLP_PROTOCOL=grpc
  export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http_addr} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
  export OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20$ALULA_TOKEN"

"#
    )
}
