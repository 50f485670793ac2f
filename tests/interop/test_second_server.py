"""Handles and tickets of one server on another that has its keys, and such that nobody made or that are somebody else's."""

import random
import re

import flightsql.flightsql_pb2 as messages
import otlp
import pyarrow as pa
import pyarrow.flight
import pytest
from drivers.raw_flight import unpack
from flightsql.client import flight_action, flight_descriptor
from test_backup import run

BODIES = ["one", "two", "three"]
SEED = 20_261_121
ALTERATIONS = 200


def send_logs(server, token):
    records = [otlp.LogRecord(time_unix_nano=at, body=otlp.any_value(body)) for at, body in enumerate(BODIES, start=1)]
    with otlp.Client(server.address, token) as client:
        client.export("logs", otlp.logs_request("api", records))


@pytest.fixture
def servers(make_server, tmp_path):
    """Two servers with the same keys, of which the second has a snapshot of the first's data; a token for both."""
    first = make_server().start()
    token = first.token()
    send_logs(first, token)
    run(first, "backup", "--to", tmp_path / "backup")
    second = make_server()
    run(second, "restore", "--from", tmp_path / "backup")
    return first, second.start(), token


def act(flight, kind, request):
    return [answer.body.to_pybytes() for answer in flight.client.do_action(flight_action(kind, request), flight.options)]


def prepare(flight, sql):
    (answer,) = act(flight, "CreatePreparedStatement", messages.ActionCreatePreparedStatementRequest(query=sql))
    made = messages.ActionCreatePreparedStatementResult()
    unpack(answer, made)
    return made.prepared_statement_handle


def execution(handle):
    return flight_descriptor(messages.CommandPreparedStatementQuery(prepared_statement_handle=handle))


def bind(flight, handle, value):
    rows = pa.record_batch({"1": [value]})
    writer, reader = flight.client.do_put(execution(handle), rows.schema, flight.options)
    with writer:
        writer.write_batch(rows)
        writer.done_writing()
        # DoPutPreparedStatementResult, which this library does not know, has the handle in field 1, as this has.
        answer = messages.ActionClosePreparedStatementRequest()
        answer.ParseFromString(reader.read().to_pybytes())
    return answer.prepared_statement_handle


def bodies(flight, info):
    (endpoint,) = info.endpoints
    return flight.fetch(endpoint.ticket).column("body").to_pylist()


def refusal(call, *arguments):
    """The text of a NOT_FOUND, which pyarrow makes a KeyError."""
    with pytest.raises(KeyError) as refused:
        call(*arguments)
    return str(refused.value)


def test_what_one_server_made_another_with_its_keys_answers(servers):
    first, second, token = servers
    with first.flight(token) as here, second.flight(token) as there:
        handle = bind(here, prepare(here, "SELECT body FROM logs WHERE body <> ? ORDER BY timestamp"), "two")
        info = there.client.get_flight_info(execution(handle), there.options)
        assert bodies(there, info) == ["one", "three"]
        ticket = here.client.get_flight_info(execution(handle), here.options).endpoints[0].ticket
        for _ in range(2):
            assert there.fetch(ticket).column("body").to_pylist() == ["one", "three"]
        (answer,) = act(here, "BeginTransaction", messages.ActionBeginTransactionRequest())
        begun = messages.ActionBeginTransactionResult()
        unpack(answer, begun)
        send_logs(second, token)
        command = messages.CommandStatementQuery(query="SELECT body FROM logs", transaction_id=begun.transaction_id)
        info = there.client.get_flight_info(flight_descriptor(command), there.options)
        assert sorted(bodies(there, info)) == sorted(BODIES), "not what came after the transaction began"


def test_a_ticket_or_handle_that_is_not_the_callers_is_unknown_and_nothing_more_is_said(servers):
    first, _, token = servers
    chance = random.Random(SEED)
    with first.flight(token) as owner, first.flight(first.token("rival")) as rival:
        handle = prepare(owner, "SELECT body FROM logs")
        ticket = owner.client.get_flight_info(execution(handle), owner.options).endpoints[0].ticket
        seal = messages.TicketStatementQuery()
        unpack(ticket.ticket, seal)

        def fetched(flight, sealed):
            made = flight_descriptor(messages.TicketStatementQuery(statement_handle=sealed)).command
            return flight.fetch(pa.flight.Ticket(made))

        def executed(flight, sealed):
            return flight.client.get_flight_info(execution(sealed), flight.options)

        assert fetched(owner, seal.statement_handle).num_rows == len(BODIES)
        # Also the ticket as a handle and the handle as a ticket.
        told = {
            refusal(fetched, rival, seal.statement_handle),
            refusal(executed, rival, handle),
            refusal(fetched, owner, handle),
            refusal(executed, owner, seal.statement_handle),
        }
        for call, sealed in [(fetched, seal.statement_handle), (executed, handle)]:
            for _ in range(ALTERATIONS):
                altered = bytearray(sealed)
                altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
                told.add(refusal(call, owner, bytes(altered)))
            for cut in (0, 1, len(sealed) // 2, len(sealed) - 1):
                told.add(refusal(call, owner, sealed[:cut]))
            told.add(refusal(call, owner, sealed + b"\x18\x00"))
            told.add(refusal(call, owner, chance.randbytes(len(sealed))))
        assert len({re.split(r"\. (?:gRPC client|Client) ", text)[0] for text in told}) == 1, told
