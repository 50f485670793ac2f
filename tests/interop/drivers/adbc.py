"""The ADBC Flight SQL driver for Python: the Go driver in a shared library, under a DB-API."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import pyarrow as pa
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions, StatementOptions
from drivers import values
from drivers.base import Driver, RefusedError

CANCEL_AFTER_S = 0.5
INCREMENTAL = "adbc.statement.exec.incremental"

ARROW_TYPES = {
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "decimal": pa.decimal128(10, 2),
    "text": pa.string(),
    "bool": pa.bool_(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "null": pa.null(),
}


def connect(address, token=None, user=None, password=None, autocommit=True):
    options = {}
    if token is not None:
        options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {token}"
    if user is not None:
        options |= {"username": user, "password": password}
    return adbc_driver_flightsql.dbapi.connect(f"grpc://{address}", db_kwargs=options, autocommit=autocommit)


@contextmanager
def refusals():
    """What the driver reports as an error."""
    try:
        yield
    except adbc_driver_manager.Error as error:
        status = error.status_code.name if error.status_code is not None else ""
        raise RefusedError(f"{status}: {error}") from error


def batch(parameters):
    """Rows of `[kind, value]` as Arrow has them, columns named as the driver names them."""
    columns = zip(*parameters, strict=True)
    arrays = [
        pa.array([values.to_python(value) for _, value in column], ARROW_TYPES[column[0][0]]) for column in columns
    ]
    return pa.record_batch(arrays, names=[str(number) for number in range(len(arrays))])


class AdbcPython(Driver):
    name = "adbc-python"
    title = "ADBC Python"

    def __init__(self, site):
        super().__init__(site)
        self.connection = connect(site.address, site.token)

    def version(self):
        return adbc_driver_flightsql.__version__

    def close(self):
        self.connection.close()

    @contextmanager
    def cursor(self, **options):
        with refusals(), self.connection.cursor(adbc_stmt_kwargs=options) as cursor:
            yield cursor

    def connect(self, **credential):
        with refusals(), connect(self.site.address, **credential) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone()[0]

    def info(self):
        with refusals():
            info = self.connection.adbc_get_info()
        return [info["vendor_name"], info["vendor_version"]]

    def objects(self, **filters):
        with refusals():
            return self.connection.adbc_get_objects(**filters).read_all().to_pylist()

    def catalogs(self):
        return [catalog["catalog_name"] for catalog in self.objects(depth="catalogs")]

    def schemas(self):
        return [
            [catalog["catalog_name"], schema["db_schema_name"]]
            for catalog in self.objects(depth="db_schemas")
            for schema in catalog["catalog_db_schemas"]
        ]

    def tables(self, schema):
        return [
            [table["table_name"], table["table_type"]]
            for catalog in self.objects(depth="tables", db_schema_filter=schema)
            for schemas in catalog["catalog_db_schemas"]
            for table in schemas["db_schema_tables"]
        ]

    def table_types(self):
        with refusals():
            return self.connection.adbc_get_table_types()

    def columns(self, table):
        found = self.objects(depth="all", db_schema_filter="public", table_name_filter=table)
        (described,) = found[0]["catalog_db_schemas"][0]["db_schema_tables"]
        return [column["column_name"] for column in described["table_columns"]]

    def query(self, sql):
        with self.cursor() as cursor:
            cursor.execute(sql)
            return values.of_table(cursor.fetch_arrow_table())

    def shape(self, sql):
        with self.cursor() as cursor:
            return cursor.adbc_execute_schema(sql).names

    def prepared(self, sql, parameters):
        return self.bound_rows(sql, [parameters])

    def again(self, sql, parameters):
        answers = []
        with self.cursor() as cursor:
            for row in parameters:
                cursor.execute(sql, batch([row]))
                answers.append(values.of_table(cursor.fetch_arrow_table()))
        return answers

    def bound_rows(self, sql, parameters):
        with self.cursor() as cursor:
            cursor.execute(sql, batch(parameters))
            return values.of_table(cursor.fetch_arrow_table())

    def update(self, sql):
        with self.cursor() as cursor:
            statement = cursor.adbc_statement
            statement.set_sql_query(sql)
            return statement.execute_update()

    def update_rows(self, sql, parameters):
        with self.cursor() as cursor:
            cursor.executemany(sql, batch(parameters))
            return cursor.rowcount

    def ingest(self, table, mode, values):
        with self.cursor() as cursor:
            return cursor.adbc_ingest(table, pa.table({"a": values}), mode=mode)

    def transaction(self, ending):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                connection = connect(self.site.address, self.site.token, autocommit=False)
            except Warning as warning:
                raise RefusedError(str(warning)) from warning
        with refusals(), closing(connection), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            (value,) = cursor.fetchone()
            getattr(connection, ending)()
            return value

    def cancel(self, sql):
        with self.cursor() as cursor:
            canceller = threading.Timer(CANCEL_AFTER_S, cursor.adbc_cancel)
            canceller.start()
            try:
                return self.ends_with(cursor, sql, adbc_driver_manager.AdbcStatusCode.CANCELLED)
            finally:
                canceller.cancel()

    def deadline(self, sql, seconds):
        options = {StatementOptions.TIMEOUT_FETCH.value: seconds, StatementOptions.TIMEOUT_QUERY.value: seconds}
        with self.cursor(**options) as cursor:
            return self.ends_with(cursor, sql, adbc_driver_manager.AdbcStatusCode.TIMEOUT)

    @staticmethod
    def ends_with(cursor, sql, status):
        names = {"CANCELLED": "cancelled", "TIMEOUT": "deadline"}
        try:
            cursor.execute(sql)
            return str(cursor.fetchall())
        except adbc_driver_manager.Error as error:
            if error.status_code != status:
                raise
            return names[status.name]

    def session(self, name, value):
        key = ConnectionOptions.OPTION_SESSION_OPTION_PREFIX.value + name
        with refusals():
            handle = self.connection.adbc_connection
            handle.set_options(**{key: value})
            return handle.get_option(key)

    def partitions(self, sql):
        with self.cursor() as cursor:
            parts, _ = cursor.adbc_execute_partitions(sql)
            return values.of_table(pa.concat_tables(self.parts(cursor, parts)))

    def polled(self, sql):
        tables = []
        with self.cursor(**{INCREMENTAL: "true"}) as cursor:
            while parts := cursor.adbc_execute_partitions(sql)[0]:
                tables += self.parts(cursor, parts)
        return values.of_table(pa.concat_tables(tables))

    @staticmethod
    def parts(cursor, parts):
        tables = []
        for part in parts:
            cursor.adbc_read_partition(part)
            tables.append(cursor.fetch_arrow_table())
        return tables

    def concurrent(self, sql, times):
        def run(number):
            with self.cursor() as cursor:
                cursor.execute(sql.format(number))
                return cursor.fetchone()[0]

        with ThreadPoolExecutor(times) as pool:
            return list(pool.map(run, range(times)))
