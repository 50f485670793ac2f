"""Data frame libraries that read and write through the ADBC driver: Polars, pandas, DuckDB."""

from contextlib import contextmanager

import adbc_driver_manager
import duckdb
import numpy
import pandas
import polars
from drivers import adbc, values
from drivers.base import Driver, NotOfferedError, RefusedError

NUMPY_TIMES = (numpy.datetime64, numpy.timedelta64)


class Frames(Driver):
    """A library over one ADBC connection."""

    def __init__(self, site):
        super().__init__(site)
        self.connection = adbc.connect(site.address, site.token)

    def close(self):
        self.connection.close()

    @contextmanager
    def refusals(self):
        """What the driver or the library reports. Polars panics with a class of its own, which is no `Exception`."""
        try:
            yield
        except (adbc_driver_manager.Error, pandas.errors.DatabaseError) as error:
            raise RefusedError(str(error)) from error
        except (Exception, polars.exceptions.PanicException) as error:
            raise RefusedError(f"{type(error).__name__}: {error}") from error


def if_table_exists(mode):
    """What both libraries call the modes of an ingest."""
    modes = {"create": "fail", "append": "append", "replace": "replace"}
    if mode not in modes:
        raise NotOfferedError(mode)
    return modes[mode]


class Polars(Frames):
    name = "polars"
    title = "Polars"

    def version(self):
        return polars.__version__

    def read(self, sql, **options):
        with self.refusals():
            frame = polars.read_database(sql, self.connection, **options)
            # To the Arrow types of what Polars made of it.
            return values.of_table(frame.to_arrow())

    def query(self, sql):
        return self.read(sql)

    def prepared(self, sql, parameters):
        given = [values.to_python(value) for _, value in parameters]
        return self.read(sql, execute_options={"parameters": given})

    def ingest(self, table, mode, values):
        if_exists = if_table_exists(mode)
        with self.refusals():
            frame = polars.DataFrame({"a": values})
            return frame.write_database(table, self.connection, engine="adbc", if_table_exists=if_exists)


class Pandas(Frames):
    name = "pandas"
    title = "pandas"

    def version(self):
        return pandas.__version__

    def query(self, sql):
        with self.refusals():
            frame = pandas.read_sql(sql, self.connection)
            columns = [[of_pandas(value) for value in frame.iloc[:, number]] for number in range(frame.shape[1])]
            return values.result(frame.columns, columns)

    def ingest(self, table, mode, values):
        if_exists = if_table_exists(mode)
        with self.refusals():
            frame = pandas.DataFrame({"a": values})
            return frame.to_sql(table, self.connection, index=False, if_exists=if_exists)


def of_pandas(value):
    if value is pandas.NaT or value is pandas.NA:
        return None
    # pandas has one value for no number and for not a number; the rows that are read here have no NaN elsewhere.
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, numpy.ndarray):
        return [of_pandas(item) for item in value]
    if isinstance(value, dict):
        return {name: of_pandas(item) for name, item in value.items()}
    # A map is a list of pairs.
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        return {key: of_pandas(item) for key, item in value}
    if isinstance(value, NUMPY_TIMES):
        return of_pandas(pandas.Timestamp(value) if isinstance(value, numpy.datetime64) else pandas.Timedelta(value))
    return values.of_python(value.item() if isinstance(value, numpy.generic) else value)


class DuckDb(Frames):
    """DuckDB over the Arrow stream of an ADBC cursor: it has no Flight SQL client of its own."""

    name = "duckdb"
    title = "DuckDB"

    def __init__(self, site):
        super().__init__(site)
        self.database = duckdb.connect()

    def version(self):
        return duckdb.__version__

    def close(self):
        self.database.close()
        super().close()

    def read(self, sql, parameters=None):
        with self.refusals(), self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            self.database.register("stream", cursor.fetch_record_batch())
            return values.of_table(self.database.sql("SELECT * FROM stream").to_arrow_table())

    def query(self, sql):
        return self.read(sql)

    def prepared(self, sql, parameters):
        return self.read(sql, adbc.batch([parameters]))
