"""What a client cannot do, whatever the server answers: measured, and a footnote of docs/clients.md each.

A check of this list that passes is an error as well: the client has learned it.
"""

# What is said of it, and which abilities of which drivers it goes for.
REASONS = [
    (
        "A result without rows has each of its columns twice.",
        ["jdbc-18.2.0", "jdbc-18.3.0"],
        ["read-empty"],
    ),
    (
        "A time is bound with milliseconds.",
        ["jdbc-18.2.0", "jdbc-18.3.0"],
        ["parameter-timestamp-of-microseconds"],
    ),
    (
        "`java.sql.Time` has milliseconds.",
        ["jdbc-18.2.0", "jdbc-18.3.0"],
        ["type-Time64(Microsecond)", "type-Time64(Nanosecond)"],
    ),
    (
        'Integers beside a null become doubles; `dtype_backend="pyarrow"` keeps them.',
        ["pandas"],
        ["read-metrics", "type-Int64", "type-UInt64"],
    ),
    ("An interval of DuckDB has microseconds.", ["duckdb"], ["type-Duration(Nanosecond)"]),
    ("A date comes as a time at midnight.", ["sqlalchemy"], ["type-Date32", "type-Date64"]),
    ("A duration of nanoseconds comes as a number.", ["sqlalchemy"], ["type-Duration(Nanosecond)"]),
    (
        "The client hides what the server says.",
        ["firetiger", "lakehouse"],
        ["connect-nothing", "connect-wrong"],
    ),
    ("The client hides what the server says.", ["lakehouse"], ["read-syntax", "read-missing"]),
    (
        "The client sends the command without the `Any` around it, so that it names no command.",
        ["firetiger"],
        ["browse-catalogs", "browse-schemas", "browse-types", "browse-keys", "read-shape"],
    ),
    (
        "An error after the first rows leaves the client waiting for ever.",
        ["lakehouse"],
        ["read-runtime"],
    ),
]

LIMITS = {
    f"{driver}/{ability}": reason
    for reason, drivers, abilities in REASONS
    for driver in drivers
    for ability in abilities
}
