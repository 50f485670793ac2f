"""The drivers: the columns of docs/clients.md."""

import os
from pathlib import Path

from drivers.adbc import AdbcPython
from drivers.dbapi import SqlAlchemy
from drivers.frames import DuckDb, Pandas, Polars
from drivers.process import ProcessDriver
from drivers.raw_flight import RawFlight

# Where tools/drivers builds what is not Python; tools/interop sets this.
BUILT = Path(os.environ["ALULA_DRIVERS_DIR"])


class AdbcGo(ProcessDriver):
    name = "adbc-go"
    title = "ADBC Go"
    command = (BUILT / "go" / "driver",)


class Jdbc(ProcessDriver):
    """The Arrow Flight SQL JDBC driver of one version."""

    title = "JDBC"

    def __init_subclass__(cls):
        cls.release = cls.name.removeprefix("jdbc-")
        cls.command = (
            "java",
            "--add-opens=java.base/java.nio=ALL-UNNAMED",
            # Times are compared as UTC; JDBC gives them in the zone of the process.
            "-Duser.timezone=UTC",
            "-classpath",
            f"{BUILT}/jdbc/flight-sql-jdbc-driver-{cls.release}.jar:{BUILT}/jdbc/classes",
            "Main",
        )


class Jdbc182(Jdbc):
    name = "jdbc-18.2.0"


class Jdbc183(Jdbc):
    name = "jdbc-18.3.0"


class Firetiger(ProcessDriver):
    name = "firetiger"
    title = "npm @firetiger-oss"
    command = ("node", BUILT / "js" / "main.js", "firetiger")


class Lakehouse(ProcessDriver):
    name = "lakehouse"
    title = "npm @lakehouse-rs"
    command = ("node", BUILT / "js" / "main.js", "lakehouse")


class ArrowRs(ProcessDriver):
    name = "arrow-rs"
    title = "arrow-rs"
    # Beside the server, where cargo puts an example.
    command = (Path(os.environ["ALULA_BINARY"]).parent / "examples" / "flight_sql_driver",)


JDBC = [Jdbc182, Jdbc183]
DRIVERS = [AdbcPython, AdbcGo, *JDBC, RawFlight, Polars, Pandas, DuckDb, SqlAlchemy, ArrowRs, Firetiger, Lakehouse]
