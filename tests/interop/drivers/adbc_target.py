"""The server as the checks of adbc_checks.py see it."""

from contextlib import contextmanager
from dataclasses import dataclass

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
from harness import adbc_options


@dataclass
class Target:
    address: str
    token: str
    # What statements read from, and the table that metadata is asked about.
    rows: str
    table: str

    def connect(self, autocommit=True, **options):
        return adbc_driver_flightsql.dbapi.connect(
            f"grpc://{self.address}", db_kwargs=adbc_options(self.token) | options, autocommit=autocommit
        )

    @contextmanager
    def cursor(self, options=None, **connection):
        with self.connect(**connection) as opened, opened.cursor(adbc_stmt_kwargs=options or {}) as cursor:
            yield cursor

    def query(self, sql, parameters=None, **connection):
        with self.cursor(**connection) as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetch_arrow_table()

    def ids(self, condition, parameters):
        return self.query(f"SELECT id FROM {self.rows} WHERE {condition} ORDER BY id", parameters)["id"].to_pylist()

    def objects(self, **filters):
        with self.connect() as connection:
            return connection.adbc_get_objects(**filters).read_all().to_pylist()


def schemas_of(catalogs):
    return [schema for catalog in catalogs for schema in catalog["catalog_db_schemas"] or []]


def tables_of(catalogs):
    return [table for schema in schemas_of(catalogs) for table in schema["db_schema_tables"] or []]


def fails(act, *statuses):
    """The error of the act, which has one of these statuses."""
    try:
        answer = act()
    except adbc_driver_manager.Error as error:
        assert error.status_code.name in statuses, f"{error.status_code.name}: {error}"
        return error
    raise AssertionError(f"no error but {answer!r}")
