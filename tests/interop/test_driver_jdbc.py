"""The JDBC driver as tools use it: DBeaver's calls, all of `DatabaseMetaData`, and every value as text."""

import pytest
from drivers.abilities import TABLES, VIEWS
from drivers.base import RefusedError
from drivers.dataset import ROWS
from drivers.pending import expected
from drivers.registry import JDBC
from drivers.site import Site

# What the driver has not implemented itself, or rather the library it is built on; none of them asks the server.
STUBS = {
    "deletesAreDetected/1",
    "insertsAreDetected/1",
    "othersDeletesAreVisible/1",
    "othersInsertsAreVisible/1",
    "othersUpdatesAreVisible/1",
    "ownDeletesAreVisible/1",
    "ownInsertsAreVisible/1",
    "ownUpdatesAreVisible/1",
    "supportsResultSetHoldability/1",
    "updatesAreDetected/1",
}


@pytest.fixture(scope="module", params=JDBC, ids=lambda driver: driver.name)
def jdbc(request, shared_server):
    driver = request.param(Site(shared_server))
    yield driver
    driver.close()


def test_no_method_of_the_metadata_throws(jdbc):
    with expected(f"jdbc/{jdbc.release}-metadata"):
        answer = jdbc.ask("metadata")
        assert answer["called"] > 170
        assert answer["thrown"].keys() == STUBS, answer["thrown"]


def test_dbeaver_browses_from_the_connection_to_the_rows(jdbc):
    """Guarantees: every table of every schema can be opened, each value be shown as an object and as text."""
    with expected(f"jdbc/{jdbc.release}-browse"):
        found = jdbc.ask("browse")
        assert (found["product"], found["quote"], found["escape"]) == ("Alula", '"', "\\")
        # Without a word for catalogs the tree of DBeaver shows none.
        assert (found["catalog term"], found["schema term"]) == ("catalog", "schema")
        assert found["catalogs"] == ["alula"] and found["types"] == ["SYSTEM TABLE", "TABLE", "VIEW"]
        assert found["schemas"].keys() == {"information_schema", "public", "system"}
        public = found["schemas"]["public"]
        assert {*TABLES, *VIEWS} <= public.keys()
        for table in TABLES:
            assert public[table]["rows"] == len(ROWS[table])
            types = {name: kind for name, kind, _, _ in public[table]["columns"]}
            assert types["timestamp"] == "TIMESTAMP" and types["attributes"] == "VARCHAR", types


def test_a_column_has_its_comment(jdbc):
    with expected(f"jdbc/{jdbc.release}-remarks"):
        for name, _, _, remarks in jdbc.ask("browse")["schemas"]["public"]["logs"]["columns"]:
            # 18.2.0 does not hand them on.
            assert bool(remarks) == (jdbc.release != "18.2.0"), name


@pytest.mark.parametrize("table", TABLES)
def test_every_value_of_a_table_has_a_text(jdbc, table):
    with expected(f"jdbc/{jdbc.release}-text-of-{table}"):
        answer = jdbc.ask("text", sql=f"SELECT * FROM {table} ORDER BY timestamp")
        rows = [dict(zip(answer["columns"], row)) for row in answer["rows"]]
        for row, sent in zip(rows, sorted(ROWS[table], key=lambda row: row["timestamp"]), strict=True):
            for name, value in sent.items():
                assert (row[name] is None) == (value is None), name
                if isinstance(value, str):
                    assert row[name] == value, name
                if isinstance(value, int) and not isinstance(value, bool) and not name.endswith("timestamp"):
                    assert int(row[name]) == value, name


def test_a_catalog_can_be_named_in_the_connection(jdbc):
    """DBeaver and Tableau put it into the URL."""
    with expected(f"jdbc/{jdbc.release}-catalog"):
        assert jdbc.ask("catalog", name="alula") == 1
        with pytest.raises(RefusedError, match="missing"):
            jdbc.ask("catalog", name="missing")
