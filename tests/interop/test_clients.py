"""What clients do besides reading rows: browsing, parameters, partitions; and what they are told when it goes wrong."""

import datetime
import time
from contextlib import closing

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import credentials
import flightsql.flightsql_pb2 as messages
import grpc
import otlp
import polars
import pyarrow as pa
import pyarrow.flight
import pytest
from adbc_driver_manager import AdbcStatusCode
from flightsql.client import flight_action
from harness import adbc_options, query, rows, scalar

TABLES = ("logs", "metrics", "traces")
VIEWS = ("metric_exemplars", "span_events", "span_links")
RELATIONS = sorted(TABLES + VIEWS)
POINTS = 10


@pytest.fixture(scope="module")
def server(shared_server):
    """A server with the points 0 to 9 of one gauge, of tenant `acme`."""
    now = time.time_ns()
    points = [
        otlp.NumberDataPoint(
            time_unix_nano=now + i, as_int=i, attributes=otlp.attribute_list({"http.route": f"/{i % 2}"})
        )
        for i in range(POINTS)
    ]
    with otlp.Client(shared_server.address, shared_server.token()) as client:
        client.export("metrics", otlp.metrics_request("svc", "numbers", points))
    return shared_server


@pytest.fixture(scope="module")
def token(server):
    return server.token(roles=("read",))


@pytest.fixture
def adbc(server, token):
    with server.adbc(token) as connection:
        yield connection


@pytest.fixture
def flight(server, token):
    with server.flight(token) as client:
        yield client


# Browsing.


def test_adbc_get_info_names_the_server(adbc):
    info = adbc.adbc_get_info()
    assert info["vendor_name"] == "Alula"
    assert info["vendor_version"]
    assert info["driver_name"].startswith("ADBC Flight SQL Driver")


def test_adbc_get_table_types_lists_what_get_objects_uses(adbc):
    assert adbc.adbc_get_table_types() == ["SYSTEM TABLE", "TABLE", "VIEW"]


def objects(adbc, **filters):
    return adbc.adbc_get_objects(**filters).read_all().to_pylist()


def test_adbc_get_objects_goes_as_deep_as_it_is_asked(adbc):
    assert objects(adbc, depth="catalogs") == [{"catalog_name": "alula", "catalog_db_schemas": None}]
    (catalog,) = objects(adbc, depth="db_schemas")
    schemas = [schema["db_schema_name"] for schema in catalog["catalog_db_schemas"]]
    assert schemas == ["information_schema", "public", "system"]
    assert all(schema["db_schema_tables"] is None for schema in catalog["catalog_db_schemas"])
    tables = public_tables(objects(adbc, depth="tables"))
    types = {name: "VIEW" if name in VIEWS else "TABLE" for name in RELATIONS}
    assert [(table["table_name"], table["table_type"]) for table in tables] == list(types.items())
    assert all(table["table_columns"] is None for table in tables)
    tables = public_tables(objects(adbc, depth="all"))
    assert [table["table_name"] for table in tables] == RELATIONS
    for table in tables:
        schema = adbc.adbc_get_table_schema(table["table_name"])
        assert [column["column_name"] for column in table["table_columns"]] == schema.names
        positions = [column["ordinal_position"] for column in table["table_columns"]]
        assert positions == list(range(1, len(positions) + 1))
    types = {column["column_name"]: column["xdbc_type_name"] for column in tables[2]["table_columns"]}
    assert types["timestamp"] == "TIMESTAMP" and types["value"] == "DOUBLE" and types["bucket_counts"] == "ARRAY"


def public_tables(found):
    (catalog,) = found
    (public,) = (schema for schema in catalog["catalog_db_schemas"] if schema["db_schema_name"] == "public")
    return public["db_schema_tables"]


def test_adbc_get_objects_filters_by_patterns_and_types(adbc):
    def names(**filters):
        found = objects(adbc, depth="tables", db_schema_filter="public", **filters)
        return [table["table_name"] for table in public_tables(found)]

    assert names(table_name_filter="m%") == ["metric_exemplars", "metrics"]
    assert names(table_name_filter="_ogs") == ["logs"]
    assert names(table_types_filter=["TABLE"]) == list(TABLES)
    assert names(table_types_filter=["VIEW"]) == list(VIEWS)
    # pandas asks whether its SQL text is the name of a table.
    assert names(table_name_filter="SELECT * FROM logs WHERE body LIKE '100\\%'") == []
    assert objects(adbc, depth="tables", catalog_filter="other") == []


@pytest.mark.parametrize("table", RELATIONS)
def test_the_schema_of_a_table_is_the_schema_of_its_rows(adbc, flight, table):
    described = adbc.adbc_get_table_schema(table)
    assert all(field.metadata for field in described)
    plain = pa.schema([field.remove_metadata() for field in described])
    sql = f"SELECT * FROM {table} LIMIT 1"
    sent = query(adbc, sql).schema
    # Drivers that are known to read more are sent more.
    assert sent.equals(plain) and flight.schema(sql).names == plain.names
    # A column of a result names its table; what it holds is said of tables alone, since JDBC takes that for its label.
    assert all(b"ARROW:FLIGHT:SQL:REMARKS" in field.metadata for field in described)
    assert not any(b"ARROW:FLIGHT:SQL:REMARKS" in (field.metadata or {}) for field in sent)
    if table in TABLES:
        assert {field.metadata[b"ARROW:FLIGHT:SQL:TABLE_NAME"] for field in sent} == {table.encode()}
    assert adbc.adbc_get_table_schema(table, catalog_filter="alula", db_schema_filter="public").equals(described)


def test_the_schema_of_an_unknown_table_is_not_found(adbc):
    fails(lambda: adbc.adbc_get_table_schema("metric"), AdbcStatusCode.NOT_FOUND, "")


def test_information_schema_describes_the_tables(adbc):
    listed = query(adbc, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1")
    assert listed.to_pydict() == {"table_name": RELATIONS}
    columns = query(
        adbc,
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = ? "
        "ORDER BY ordinal_position",
        ("logs",),
    )
    assert columns.column("column_name").to_pylist() == adbc.adbc_get_table_schema("logs").names


def test_pyarrow_lists_the_actions_and_each_is_described(flight):
    actions = {action.type: action.description for action in flight.client.list_actions(flight.options)}
    assert {"CreatePreparedStatement", "ClosePreparedStatement"} <= actions.keys()
    assert all(actions.values())


# Statements.


def test_results_without_rows_have_the_schema_of_results_with_rows(adbc, flight):
    sql = "SELECT timestamp, value_int, attributes, bucket_counts, exemplars FROM metrics"
    for read in (lambda text: query(adbc, text), flight.query):
        full, empty = read(sql), read(f"{sql} WHERE false")
        assert (full.num_rows, empty.num_rows) == (POINTS, 0)
        assert empty.schema.equals(full.schema, check_metadata=True)
    with adbc.cursor() as cursor:
        cursor.execute(f"{sql} WHERE value_int > 1000")
        assert [column[0] for column in cursor.description] == full.column_names
        assert cursor.fetchall() == []


def test_a_ticket_can_be_read_again(flight):
    (endpoint,) = flight.info("SELECT value_int FROM metrics ORDER BY value_int").endpoints
    first, second = flight.fetch(endpoint.ticket), flight.fetch(endpoint.ticket)
    assert first.equals(second) and first.num_rows == POINTS


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("BIGINT", 2**53 + 1),
        ("BIGINT", -(2**63)),
        ("DOUBLE", 0.1),
        ("VARCHAR", "it's ünicode; -- $1 ?"),
        ("VARCHAR", ""),
        ("BOOLEAN", True),
        ("BYTEA", b"\x00\xff"),
        ("DATE", datetime.date(2024, 2, 29)),
        ("BIGINT", None),
        ("VARCHAR", None),
    ],
)
@pytest.mark.parametrize("placeholder", ["?", "$1"])
def test_a_parameter_of_any_type_comes_back_unchanged(adbc, placeholder, kind, value):
    assert scalar(adbc, f"SELECT CAST({placeholder} AS {kind}) AS v", (value,)) == value
    # Without a cast the type is the one that was bound.
    assert scalar(adbc, f"SELECT {placeholder} AS v", (value,)) == value


def test_a_time_can_be_a_parameter(adbc):
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    sql = "SELECT count(*) FROM metrics WHERE timestamp < ? AND timestamp > ?"
    assert scalar(adbc, sql, (later, later - datetime.timedelta(hours=1))) == POINTS
    assert scalar(adbc, sql, (later - datetime.timedelta(hours=1), later)) == 0


def test_parameters_are_bound_by_their_place_and_by_their_number(adbc):
    assert query(adbc, "SELECT ? AS a, ? AS b, ? AS c", (1, "two", 3.0)).to_pylist() == [{"a": 1, "b": "two", "c": 3.0}]
    assert query(adbc, "SELECT $2 AS b, $1 AS a, $2 AS c", (1, "two")).to_pylist() == [{"b": "two", "a": 1, "c": "two"}]
    sql = "SELECT value_int FROM metrics WHERE value_int >= ? AND attributes->>'http.route' = ? ORDER BY 1 LIMIT ?"
    assert query(adbc, sql, (3, "/1", 2)).to_pydict() == {"value_int": [3, 5]}
    sql = "SELECT value_int FROM metrics WHERE value_int >= $1 AND attributes->>'http.route' = $3 ORDER BY 1 LIMIT $2"
    assert query(adbc, sql, (3, 2, "/1")).to_pydict() == {"value_int": [3, 5]}


def test_a_prepared_statement_runs_again_with_other_values(adbc):
    with adbc.cursor() as cursor:
        parameters = cursor.adbc_prepare("SELECT value_int FROM metrics WHERE value_int = ? AND name = ?")
        assert parameters.types == [pa.int64(), pa.string()]
        for number in (7, 3, 100):
            cursor.execute("SELECT value_int FROM metrics WHERE value_int = ? AND name = ?", (number, "numbers"))
            assert cursor.fetchall() == [(number,)] * (number < POINTS)


def test_the_schema_of_a_statement_is_known_without_running_it(adbc):
    with adbc.cursor() as cursor:
        schema = cursor.adbc_execute_schema("SELECT value_int, timestamp, 1 / 0 AS never FROM metrics WHERE name = ?")
    assert schema.names == ["value_int", "timestamp", "never"]
    assert schema.types == [pa.int64(), pa.timestamp("ns", "UTC"), pa.int64()]


def test_a_partition_is_read_by_another_connection(server, token, adbc):
    with adbc.cursor() as cursor:
        partitions, schema = cursor.adbc_execute_partitions("SELECT value_int FROM metrics ORDER BY value_int")
    assert len(partitions) == 1
    with server.adbc(token) as other, other.cursor() as cursor:
        cursor.adbc_read_partition(partitions[0])
        table = cursor.fetch_arrow_table()
    assert table.schema.equals(schema)
    assert table.to_pydict() == {"value_int": list(range(POINTS))}


def test_an_incremental_statement_gives_its_partitions_once(server, token, adbc):
    incremental = {"adbc.statement.exec.incremental": "true"}
    read = []
    with adbc.cursor(adbc_stmt_kwargs=incremental) as cursor:
        while True:
            partitions, schema = cursor.adbc_execute_partitions("SELECT value_int FROM metrics ORDER BY value_int")
            if not partitions:
                break
            with server.adbc(token) as other:
                for partition in partitions:
                    with other.cursor() as reader:
                        reader.adbc_read_partition(partition)
                        table = reader.fetch_arrow_table()
                        assert table.schema.equals(schema)
                        read += table.column("value_int").to_pylist()
    assert read == list(range(POINTS))


def test_the_statements_of_the_issue_work_as_written(adbc):
    recent = "SELECT count(*) FROM metrics WHERE timestamp > now() - INTERVAL '5 minutes'"
    assert scalar(adbc, recent) == POINTS
    by_name = (
        "SELECT name, count(*) AS cnt FROM metrics WHERE timestamp > now() - INTERVAL '5 minutes' "
        "GROUP BY name ORDER BY cnt DESC"
    )
    assert query(adbc, by_name).to_pylist() == [{"name": "numbers", "cnt": POINTS}]


def test_many_cursors_of_one_connection_do_not_mix(adbc):
    cursors = [adbc.cursor() for _ in range(8)]
    for number, cursor in enumerate(cursors):
        cursor.execute("SELECT value_int + ? AS v FROM metrics ORDER BY value_int", (number,))
    for number, cursor in enumerate(cursors):
        with closing(cursor):
            assert cursor.fetchall() == [(i + number,) for i in range(POINTS)]


def test_polars_reads_with_a_connection_and_parameters(adbc):
    frame = polars.read_database(
        "SELECT timestamp, value_int FROM metrics WHERE value_int > ? ORDER BY value_int",
        adbc,
        execute_options={"parameters": [7]},
    )
    assert frame["value_int"].to_list() == [8, 9]
    assert frame.schema["timestamp"] == polars.Datetime("ns", "UTC")


def test_polars_reads_with_a_uri(make_server):
    """Polars hands no credential on with a URI, so this server asks for none."""
    server = make_server(SERVER_NO_AUTH="true").start()
    with otlp.Client(server.address, None) as client:
        points = [otlp.NumberDataPoint(time_unix_nano=time.time_ns(), as_int=i) for i in range(3)]
        client.export("metrics", otlp.metrics_request("svc", "numbers", points))
    # It begins a transaction.
    frame = polars.read_database_uri(
        "SELECT tenant_id, value_int FROM metrics WHERE value_int >= ? ORDER BY value_int",
        f"flightsql://{server.address}?transport=tcp",
        engine="adbc",
        execute_options={"parameters": [1]},
    )
    assert frame.rows() == [("default", 1), ("default", 2)]


# What goes wrong.


def fails(act, status, message, error=adbc_driver_manager.Error):
    """The act fails with this status, and the message has this text."""
    with pytest.raises(error) as caught:
        act()
    assert caught.value.status_code == status, caught.value
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "status", "message"),
    [
        ("SELEC 1", AdbcStatusCode.INVALID_ARGUMENT, "syntax error at line 1, column 1"),
        ("SELEC 1", AdbcStatusCode.INVALID_ARGUMENT, "did you mean SELECT?"),
        ("SELECT *\nFROM metrics\nWHER value > 1", AdbcStatusCode.INVALID_ARGUMENT, "line 3"),
        ("SELECT * FROM metric", AdbcStatusCode.NOT_FOUND, "the tables are: metrics, "),
        ("SELECT * FROM other.public.metrics", AdbcStatusCode.NOT_FOUND, "does not exist"),
        ("SELECT valu FROM metrics", AdbcStatusCode.INVALID_ARGUMENT, "did you mean metrics.value?"),
        ("SELECT 1 / (value_int - 3) FROM metrics", AdbcStatusCode.INVALID_ARGUMENT, "division by zero"),
        ("SELECT CAST(name AS INT) FROM metrics", AdbcStatusCode.INVALID_ARGUMENT, "numbers"),
        ("SELECT 1; SELECT 2", AdbcStatusCode.INVALID_ARGUMENT, "one at a time"),
        ("INSERT INTO metrics SELECT * FROM metrics", AdbcStatusCode.INVALID_ARGUMENT, "read-only"),
        ("CREATE VIEW v AS SELECT 1", AdbcStatusCode.INVALID_ARGUMENT, "read-only"),
        ("DROP TABLE metrics", AdbcStatusCode.INVALID_ARGUMENT, "read-only"),
        ("COPY metrics TO '/tmp/x.parquet'", AdbcStatusCode.INVALID_ARGUMENT, "read-only"),
        ("SELECT * FROM '/etc/passwd'", AdbcStatusCode.NOT_FOUND, "does not exist"),
        ("SELECT ? + $1", AdbcStatusCode.INVALID_ARGUMENT, "not both"),
        ("SELECT ?", AdbcStatusCode.INVALID_ARGUMENT, "has no value"),
    ],
)
def test_a_statement_that_cannot_run_says_why(adbc, sql, status, message):
    fails(lambda: query(adbc, sql), status, message)
    # The connection is good for the next statement.
    assert scalar(adbc, "SELECT count(*) FROM metrics") == POINTS


def test_the_wrong_number_of_parameters_is_an_error(adbc):
    fails(lambda: query(adbc, "SELECT ? + ?", (1,)), AdbcStatusCode.INVALID_ARGUMENT, "2 parameters")
    fails(lambda: query(adbc, "SELECT 1", (1,)), AdbcStatusCode.INVALID_ARGUMENT, "0 parameters")


def test_what_is_not_supported_says_so(flight):
    plan = messages.ActionCreatePreparedStatementRequest()
    with pytest.raises(pa.ArrowNotImplementedError, match="not supported"):
        list(flight.client.do_action(flight_action("CreatePreparedSubstraitPlan", plan), flight.options))


def test_pyarrow_gets_the_error_class_of_the_code(server, token, flight):
    for sql, error in [
        ("SELEC 1", pa.ArrowInvalid),
        ("SELECT * FROM metric", pa.ArrowKeyError),
        ("INSERT INTO logs SELECT * FROM logs", pa.ArrowInvalid),
    ]:
        with pytest.raises(error):
            flight.query(sql)
    with pytest.raises(pa.ArrowInvalid):
        flight.fetch(pa.flight.Ticket(b"not a ticket"))
    with server.flight(server.token(roles=("write",))) as writer, pytest.raises(pa.flight.FlightUnauthorizedError):
        writer.query("SELECT 1")


# Who may.


@pytest.fixture
def guarded(make_server):
    """A server that also knows a key of the test's."""
    server = make_server()
    # Makes the key store.
    server.token()
    credentials.add_shared_key(server.data_dir)
    return server.start()


def bad_tokens(server):
    """Each with a part of what its bearer is told."""
    return {
        "none": (None, "no credential"),
        "expired": (credentials.signed("acme", expires_in_s=-60), "expired at"),
        "wrong key": (credentials.signed("acme", 60, secret=bytes(32)), "signature is wrong"),
        "altered": (credentials.with_altered_signature(server.token()), "signature is wrong"),
        "not a token": ("secret", "not a JWT"),
    }


def test_without_a_valid_token_nobody_reads_or_writes(guarded):
    """Guarantees: both sides answer UNAUTHENTICATED and say what is wrong with the token; with a valid one of the same
    making they let in."""
    for reason, (token, message) in bad_tokens(guarded).items():
        with guarded.adbc(token) as connection:
            fails(lambda: query(connection, "SELECT 1"), AdbcStatusCode.UNAUTHENTICATED, message)
            fails(lambda: objects(connection), AdbcStatusCode.UNAUTHENTICATED, message)
        with guarded.flight(token) as flight, pytest.raises(pa.flight.FlightUnauthenticatedError, match=message):
            flight.query("SELECT 1")
        assert export_status(guarded, token) == grpc.StatusCode.UNAUTHENTICATED, reason
    valid = credentials.signed("acme", 60)
    assert export_status(guarded, valid) == grpc.StatusCode.OK
    with guarded.adbc(valid) as connection:
        assert scalar(connection, "SELECT count(*) FROM metrics") == 1


def export_status(server, token):
    request = otlp.metrics_request("svc", "guarded", [otlp.NumberDataPoint(time_unix_nano=time.time_ns(), as_int=1)])
    with otlp.Client(server.address, token) as client:
        try:
            client.export("metrics", request)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_a_role_allows_what_it_says_and_nothing_else(server):
    reader, writer = server.token("roles", roles=("read",)), server.token("roles", roles=("write",))
    assert export_status(server, reader) == grpc.StatusCode.PERMISSION_DENIED
    assert export_status(server, writer) == grpc.StatusCode.OK
    with server.adbc(writer) as connection:
        fails(lambda: query(connection, "SELECT 1"), AdbcStatusCode.UNAUTHORIZED, "role read")
    with server.adbc(reader) as connection:
        assert scalar(connection, "SELECT count(*) FROM metrics") == 1


def test_a_token_is_taken_as_the_password_too(server, token):
    options = {"username": "anyone", "password": token}
    uri = f"grpc://{server.address}"
    with adbc_driver_flightsql.dbapi.connect(uri, db_kwargs=options, autocommit=True) as connection:
        assert scalar(connection, "SELECT count(*) FROM metrics") == POINTS
    client = pa.flight.FlightClient(uri)
    with closing(client):
        name, value = client.authenticate_basic_token("anyone", token)
        assert (name, value) == (b"authorization", f"Bearer {token}".encode())
        with pytest.raises(pa.flight.FlightUnauthenticatedError):
            client.authenticate_basic_token("anyone", "not a token")


def test_a_connection_with_the_defaults_of_the_driver_works(server, token):
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.address}", db_kwargs=adbc_options(token)) as connection:
        assert scalar(connection, "SELECT count(*) FROM metrics") == POINTS


def test_tenants_see_their_own_rows_only(server, flight):
    """The same statement, and a ticket that changed hands."""
    other_token = server.token("other")
    assert export_status(server, other_token) == grpc.StatusCode.OK
    with server.flight(other_token) as other:
        for sql in (
            "SELECT tenant_id, count(*) AS n FROM metrics GROUP BY 1",
            "WITH m AS (SELECT * FROM metrics) SELECT tenant_id, count(*) AS n FROM m GROUP BY 1",
            "SELECT tenant_id, count(*) AS n FROM metrics WHERE name IN (SELECT name FROM metrics) GROUP BY 1",
        ):
            assert rows(flight.query(sql)) == [{"tenant_id": "acme", "n": POINTS}]
            assert rows(other.query(sql)) == [{"tenant_id": "other", "n": 1}]
        # Another tenant's value 3 would make this an error.
        assert other.query("SELECT 1 / (value_int - 3) FROM metrics").num_rows == 1
        (endpoint,) = flight.info("SELECT * FROM metrics").endpoints
        with pytest.raises(pa.ArrowKeyError, match="unknown or has expired"):
            other.fetch(endpoint.ticket)
