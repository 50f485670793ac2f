"""What every driver can be asked. A driver leaves out what its client has no call for."""


class NotOfferedError(Exception):
    """The client has no way to ask for this."""


class RefusedError(Exception):
    """The client reports an error. The text is what its user sees."""


class Driver:
    """A client with one connection, opened for `site`: see `site.Site`.

    Every method raises `NotOfferedError` unless the client offers it, and `RefusedError` with the client's message when
    it fails. Values and results are as `values` has them. `parameters` is a list of `[kind, value]`.
    """

    # As docs/clients.md names the column.
    title = None
    # What the driver is called on the command line of pytest.
    name = None

    def __init__(self, site):
        self.site = site

    def __getattr__(self, operation):
        if operation not in OPERATIONS:
            raise AttributeError(operation)
        raise NotOfferedError(operation)

    def ask(self, operation, /, **arguments):
        """The answer of one operation."""
        return getattr(self, operation)(**arguments)

    def offers(self, operation):
        """Whether the client has a call for this at all."""
        return hasattr(type(self), operation)

    def version(self):
        """The version of the client."""
        raise NotImplementedError

    def has_ended(self):
        """Whether it cannot be asked any more."""
        return False

    def close(self):
        """Ends the connection."""


# By name, with the arguments and what comes back.
OPERATIONS = {
    "connect": "(token | user, password | nothing): a connection of its own; the value of `SELECT 1`",
    "info": "[name, version] of the server",
    "catalogs": "[name]",
    "schemas": "[[catalog, schema]]",
    "tables": "(schema): [[name, type]]",
    "table_types": "[type]",
    "columns": "(table): [name]",
    "keys": "(table): the columns of the primary key",
    "query": "(sql): {columns, rows}",
    "text": "(sql): the same, each value as the text that the client makes of it",
    "shape": "(sql): the names of the columns, without running the statement",
    "prepared": "(sql, parameters): {columns, rows}",
    "again": "(sql, parameters): one prepared statement, run with each row of parameters; a list of {columns, rows}",
    "bound_rows": "(sql, parameters): one run with all rows of parameters bound at once; {columns, rows}",
    "update": "(sql): the number of rows that it counts",
    "update_rows": "(sql, parameters): the number of rows of a prepared update, run for each row of parameters",
    "ingest": "(table, mode, values): appends values to the column `a`; the number of rows",
    "transaction": "(ending): begins, runs `SELECT 1`, ends by `commit` or `rollback`; the value",
    "cancel": "(sql): starts the statement and cancels it from another thread; `cancelled`",
    "deadline": "(sql, seconds): runs it with the client's own time limit; `deadline`",
    "session": "(name, value): sets an option of the session; its value as the server gives it back",
    "partitions": "(sql): {columns, rows} of the partitions, read one by one",
    "polled": "(sql): the same by incremental execution",
    "concurrent": "(sql, times): runs `sql` with `{}` replaced by 0, 1, ... on one connection at once; the values",
    "listed": "the names that ListFlights and the actions that ListActions give: {flights, actions}",
    "raw": "(sql): {columns, rows} of the bare text as command and as ticket",
}
