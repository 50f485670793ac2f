"""`flightsql-dbapi` under SQLAlchemy, as Superset uses it."""

import importlib.metadata
from contextlib import contextmanager

import flightsql.sqlalchemy  # noqa: F401  registers the dialect
import sqlalchemy
from drivers import values
from drivers.base import Driver, NotOfferedError, RefusedError
from drivers.frames import of_pandas

# The types that the driver knows how to bind.
BOUND = (bool, bytes, float, int, str)


class SqlAlchemy(Driver):
    name = "sqlalchemy"
    title = "SQLAlchemy (flightsql-dbapi)"

    def __init__(self, site):
        super().__init__(site)
        self.engine = self.open(token=site.token)

    def open(self, token=None, user=None, password=None):
        credential = "" if user is None else f"{user}:{password}@"
        url = f"datafusion+flightsql://{credential}{self.site.address}?insecure=True"
        if token is not None:
            url += f"&token={token}"
        return sqlalchemy.create_engine(url)

    def version(self):
        return f"{sqlalchemy.__version__} ({importlib.metadata.version('flightsql-dbapi')})"

    def close(self):
        self.engine.dispose()

    @contextmanager
    def refusals(self):
        try:
            yield
        except Exception as error:
            raise RefusedError(f"{type(error).__name__}: {error}") from error

    def connect(self, **credential):
        engine = self.open(**credential)
        with self.refusals():
            try:
                with engine.connect() as connection:
                    return connection.exec_driver_sql("SELECT 1").scalar()
            finally:
                engine.dispose()

    def read(self, sql, parameters=()):
        with self.refusals(), self.engine.connect() as connection:
            answer = connection.exec_driver_sql(sql, parameters)
            names = list(answer.keys())
            rows = [[of_pandas(value) for value in row] for row in answer]
            return {"columns": names, "rows": rows}

    def query(self, sql):
        return self.read(sql)

    def prepared(self, sql, parameters):
        given = tuple(values.to_python(value) for _, value in parameters)
        if not all(type(value) in BOUND for value in given):
            raise NotOfferedError(given)
        return self.read(sql, given)

    def inspector(self):
        return sqlalchemy.inspect(self.engine)

    def schemas(self):
        with self.refusals():
            return [["alula", name] for name in self.inspector().get_schema_names()]

    def tables(self, schema):
        with self.refusals():
            return [[name, None] for name in self.inspector().get_table_names(schema)]

    def columns(self, table):
        with self.refusals():
            return [column["name"] for column in self.inspector().get_columns(table, "public")]
