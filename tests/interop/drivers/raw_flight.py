"""`pyarrow.flight` with the messages of Flight SQL: what Arrow's own client for Python and C++ can do."""

import threading
from contextlib import closing, contextmanager

import flightsql.flightsql_pb2 as messages
import pyarrow as pa
import pyarrow.flight
from drivers import values
from drivers.base import Driver, RefusedError
from flightsql.client import flight_action, flight_descriptor
from google.protobuf.any_pb2 import Any

CANCEL_AFTER_S = 0.5
LIMIT_S = 60

# The first two codes of SqlInfo: name and version of the server.
NAME, VERSION = 0, 1
RAW_ENDING = {"commit": 1, "rollback": 2}


class RawFlight(Driver):
    name = "pyarrow"
    title = "pyarrow.flight"

    def __init__(self, site):
        super().__init__(site)
        self.client = pa.flight.FlightClient(f"grpc://{site.address}")
        self.options = self.call_options()

    def version(self):
        return pa.__version__

    def close(self):
        self.client.close()

    def call_options(self, limit_s=LIMIT_S):
        headers = [(b"authorization", b"Bearer " + self.site.token.encode())]
        return pa.flight.FlightCallOptions(headers=headers, timeout=limit_s)

    @contextmanager
    def refusals(self):
        try:
            yield
        except (pa.ArrowException, pa.flight.FlightError) as error:
            raise RefusedError(f"{type(error).__name__}: {error}") from error

    def connect(self, token=None, user=None, password=None):
        with closing(pa.flight.FlightClient(f"grpc://{self.site.address}")) as client, self.refusals():
            header = None if token is None else (b"authorization", b"Bearer " + token.encode())
            if user is not None:
                header = client.authenticate_basic_token(user, password)
            options = pa.flight.FlightCallOptions(headers=[header] if header else [], timeout=LIMIT_S)
            info = client.get_flight_info(flight_descriptor(messages.CommandStatementQuery(query="SELECT 1")), options)
            return client.do_get(info.endpoints[0].ticket, options).read_all().column(0)[0].as_py()

    def table(self, command, options=None):
        options = options or self.options
        with self.refusals():
            info = self.client.get_flight_info(flight_descriptor(command), options)
            (endpoint,) = info.endpoints
            table = self.client.do_get(endpoint.ticket, options).read_all()
            if not table.schema.equals(info.schema, check_metadata=True):
                raise RefusedError("the stream has another schema than promised")
            return table

    def rows(self, command):
        return [list(row.values()) for row in self.table(command).to_pylist()]

    def info(self):
        found = self.table(messages.CommandGetSqlInfo(info=[NAME, VERSION])).to_pylist()
        return [entry["value"] for entry in sorted(found, key=lambda entry: entry["info_name"])]

    def catalogs(self):
        return [name for (name,) in self.rows(messages.CommandGetCatalogs())]

    def schemas(self):
        return self.rows(messages.CommandGetDbSchemas())

    def tables(self, schema):
        return [row[2:4] for row in self.rows(messages.CommandGetTables(db_schema_filter_pattern=schema))]

    def table_types(self):
        return [name for (name,) in self.rows(messages.CommandGetTableTypes())]

    def columns(self, table):
        command = messages.CommandGetTables(
            db_schema_filter_pattern="public", table_name_filter_pattern=table, include_schema=True
        )
        (row,) = self.rows(command)
        return pa.ipc.read_schema(pa.py_buffer(row[4])).names

    def keys(self, table):
        return [row[3] for row in self.rows(messages.CommandGetPrimaryKeys(table=table))]

    def query(self, sql):
        return values.of_table(self.table(messages.CommandStatementQuery(query=sql)))

    def shape(self, sql):
        with self.refusals():
            descriptor = flight_descriptor(messages.CommandStatementQuery(query=sql))
            return self.client.get_schema(descriptor, self.options).schema.names

    def act(self, kind, request):
        with self.refusals():
            return [
                answer.body.to_pybytes() for answer in self.client.do_action(flight_action(kind, request), self.options)
            ]

    def transaction(self, ending):
        (answer,) = self.act("BeginTransaction", messages.ActionBeginTransactionRequest())
        begun = messages.ActionBeginTransactionResult()
        unpack(answer, begun)
        command = messages.CommandStatementQuery(query="SELECT 1", transaction_id=begun.transaction_id)
        value = self.table(command).column(0)[0].as_py()
        request = messages.ActionEndTransactionRequest(transaction_id=begun.transaction_id, action=RAW_ENDING[ending])
        self.act("EndTransaction", request)
        return value

    def update(self, sql):
        with self.refusals():
            descriptor = flight_descriptor(messages.CommandStatementUpdate(query=sql))
            writer, reader = self.client.do_put(descriptor, pa.schema([]), self.options)
            with writer:
                writer.done_writing()
                answer = messages.DoPutUpdateResult()
                answer.ParseFromString(reader.read().to_pybytes())
                return answer.record_count

    def cancel(self, sql):
        descriptor = flight_descriptor(messages.CommandStatementQuery(query=sql))
        with self.refusals():
            info = self.client.get_flight_info(descriptor, self.options)
            reader = self.client.do_get(info.endpoints[0].ticket, self.options)
            canceller = threading.Timer(CANCEL_AFTER_S, reader.cancel)
            canceller.start()
            try:
                # `read_all` would make a KeyboardInterrupt of it.
                return str(reader.read_chunk())
            except pa.flight.FlightCancelledError:
                return "cancelled"
            finally:
                canceller.cancel()

    def deadline(self, sql, seconds):
        try:
            return str(self.table(messages.CommandStatementQuery(query=sql), self.call_options(seconds)))
        except RefusedError as error:
            if isinstance(error.__cause__, pa.flight.FlightTimedOutError):
                return "deadline"
            raise

    def listed(self):
        with self.refusals():
            flights = [flight.descriptor.path[-1].decode() for flight in self.client.list_flights(b"", self.options)]
            actions = [action.type for action in self.client.list_actions(self.options)]
        return {"flights": flights, "actions": actions}

    def raw(self, sql):
        """Without any message of Flight SQL: the text is the command, and the ticket as well."""
        with self.refusals():
            info = self.client.get_flight_info(pa.flight.FlightDescriptor.for_command(sql), self.options)
            first = self.client.do_get(info.endpoints[0].ticket, self.options).read_all()
            second = self.client.do_get(pa.flight.Ticket(sql), self.options).read_all()
            if not first.equals(second):
                raise RefusedError("the ticket gives another table than the command")
            return values.of_table(first)


def unpack(packed, message):
    """A message out of its `google.protobuf.Any`."""
    wrapper = Any()
    wrapper.ParseFromString(packed)
    wrapper.Unpack(message)
